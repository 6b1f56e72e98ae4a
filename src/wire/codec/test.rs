use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::DeserializeOwned;
use serde::ser::{Error as _, SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};

use super::*;

pub(super) const NO_LIMIT: usize = 1 << 30;

pub(super) fn bytes_of<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode(value, &mut out, NO_LIMIT).unwrap();
    out
}

pub(super) fn round<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let bytes = bytes_of(&value);
    assert_eq!(decode::<T>(&bytes).as_ref(), Ok(&value));
    assert_eq!(decode_owned::<T>(bytes.clone()).as_ref(), Ok(&value));
    // No proper beginning of the bytes is the value too, since every type tried here ends with its last byte.
    for cut in 0..bytes.len() {
        assert!(decode::<T>(&bytes[..cut]).is_err(), "{value:?} cut to {cut} of {} bytes", bytes.len());
    }
    let mut longer = bytes.clone();
    longer.push(0);
    let message = decode::<T>(&longer).unwrap_err();
    assert!(message.starts_with(&format!("1 of {} bytes are left over", longer.len())), "{message}");
    // Every limit below the size refuses, and the size itself does not.
    for limit in 0..=bytes.len() {
        let mut out = b"before".to_vec();
        let result = encode(&value, &mut out, limit);
        if limit < bytes.len() {
            assert!(matches!(result, Err(EncodeError::TooLarge)), "{value:?} within {limit}: {result:?}");
            assert_eq!(out, b"before");
        } else {
            result.unwrap();
            assert_eq!(out[6..], bytes);
        }
    }
}

#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
enum Shape {
    Nothing,
    Circle(f64),
    Line((i32, i32), (i32, i32)),
    Named { name: String, inner: Option<Box<Shape>> },
    Group(Vec<Shape>),
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Unit;

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Metres(f32);

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Pair(Metres, Unit, u16);

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Record {
    id: i128,
    letter: char,
    shape: Shape,
    #[serde(skip)]
    scratch: u8,
    by_name: BTreeMap<String, Vec<Option<u16>>>,
}

fn shape() -> Shape {
    let inner = Shape::Line((1, -2), (i32::MIN, i32::MAX));
    Shape::Group(vec![
        Shape::Nothing,
        Shape::Circle(-0.5),
        Shape::Named { name: String::new(), inner: None },
        Shape::Named { name: "ß".into(), inner: Some(Box::new(inner)) },
        Shape::Group(vec![]),
    ])
}

#[test]
fn values_of_every_shape_come_back_and_no_part_of_them_does() {
    round(());
    round(Unit);
    round((true, false));
    round((u8::MAX, u16::MAX, u32::MAX, u64::MAX, u128::MAX, usize::MAX));
    round((i8::MIN, i16::MIN, i32::MIN, i64::MIN, i128::MIN, isize::MIN));
    round((0u64, 127u64, 128u64, -1i64, i128::MAX));
    round((f32::MIN_POSITIVE, f64::INFINITY, -0.0f64));
    round(('\0', 'a', 'ß', '\u{10ffff}'));
    round((String::new(), "text".to_owned(), "\0".to_owned()));
    round([Some(None), None, Some(Some(7u8))]);
    round(Some(Some(Some(()))));
    round((Vec::<u8>::new(), vec![0u8, 255], vec![vec![1u64], vec![]]));
    round([[1u8; 4]; 3]);
    round(HashMap::from([(1u8, "one".to_owned()), (2, String::new())]));
    round(HashSet::from([-1i8, 1]));
    round(BTreeMap::from([((1u8, 'x'), Ok::<u8, String>(1)), ((2, 'y'), Err("no".to_owned()))]));
    round(Pair(Metres(1.5), Unit, 300));
    round(Box::new(shape()));
    round(Record {
        id: -(1 << 100),
        letter: '→',
        shape: shape(),
        scratch: 0,
        by_name: BTreeMap::from([("a".to_owned(), vec![None, Some(1)]), (String::new(), vec![])]),
    });
    round((std::time::Duration::from_nanos(1_000_000_001), std::num::NonZeroU32::MIN));
    round(std::net::SocketAddr::from(([127, 0, 0, 1], 80)));
}

#[test]
fn text_and_bytes_are_borrowed_from_the_input() {
    #[derive(Serialize, Deserialize)]
    struct View<'a> {
        text: &'a str,
        #[serde(borrow)]
        more: Option<(&'a [u8], &'a str)>,
    }
    let bytes = bytes_of(&View { text: "name", more: Some((b"\xff\0", "")) });
    let source = Source::new(&bytes);
    let view = decode_borrowed::<View<'_>>(&source).unwrap();
    let (data, empty) = view.more.unwrap();
    assert_eq!((view.text, data, empty), ("name", &b"\xff\0"[..], ""));
    let input = bytes.as_ptr_range();
    assert!(input.contains(&view.text.as_ptr()) && input.contains(&data.as_ptr()));
}

#[test]
fn unsized_values_encode_without_a_copy_of_them() {
    assert_eq!(bytes_of("ab"), b"\x02ab");
    assert_eq!(bytes_of(&[1u8, 2][..]), [2, 1, 2]);
}

#[test]
fn the_buffer_never_grows_beyond_the_limit() {
    for limit in [1, 63, 64, 65, 1000, 4097] {
        let mut out = vec![9; 3];
        let result = encode(&vec![7u8; 5000], &mut out, limit);
        assert!(matches!(result, Err(EncodeError::TooLarge)));
        assert_eq!(out, [9; 3]);
        assert!(out.capacity() <= 3 + limit, "{} for a limit of {limit}", out.capacity());
    }
    let mut out = vec![9; 3];
    assert!(matches!(encode("far too long", &mut out, 5), Err(EncodeError::TooLarge)));
    assert_eq!(out, [9; 3]);
}

#[test]
fn an_error_that_a_type_swallows_does_not_make_half_a_value() {
    struct Swallows;
    impl Serialize for Swallows {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut seq = serializer.serialize_seq(Some(2))?;
            let _ = seq.serialize_element(&"longer than the limit");
            seq.serialize_element(&1u8)?;
            seq.end()
        }
    }
    let mut out = vec![9];
    assert!(matches!(encode(&Swallows, &mut out, 8), Err(EncodeError::TooLarge)));
    assert_eq!(out, [9]);
}

/// Writes 1 MiB, then gives up in one way or another.
struct GivesUp(fn());

impl Serialize for GivesUp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(1025))?;
        for _ in 0..1024 {
            seq.serialize_element(&"x".repeat(1024))?;
        }
        (self.0)();
        Err(S::Error::custom("changed my mind"))
    }
}

#[test]
fn a_value_that_refuses_after_a_mebibyte_leaves_the_buffer_and_its_reason() {
    let mut out = b"before".to_vec();
    let refused = encode(&(1u8, Some(GivesUp(|| ()))), &mut out, NO_LIMIT);
    assert!(matches!(refused, Err(EncodeError::Refused(text)) if text == "changed my mind"));
    assert_eq!(out, b"before");
}

#[test]
fn a_value_that_panics_while_it_is_encoded_leaves_the_buffer() {
    let mut out = b"before".to_vec();
    let encoding = AssertUnwindSafe(|| encode(&GivesUp(|| panic!("while encoding")), &mut out, NO_LIMIT));
    assert!(catch_unwind(encoding).is_err());
    assert_eq!(out, b"before");
}

#[test]
fn what_types_say_when_they_refuse_is_told() {
    let mut out = Vec::new();
    let broken = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff");
    let refused = encode(&vec![Some(std::path::Path::new(broken))], &mut out, NO_LIMIT);
    assert!(
        matches!(refused, Err(EncodeError::Refused(text)) if text == "path contains invalid UTF-8 characters")
    );

    let message = decode::<Vec<(u8, Shape)>>(&[1, 0, 5]).unwrap_err();
    assert!(message.contains("variant index 0 <= i < 5"), "{message}");
    let message = decode::<Option<std::num::NonZeroU8>>(&[1, 0]).unwrap_err();
    assert!(message.contains("expected a nonzero u8"), "{message}");
}

#[test]
fn what_the_format_cannot_do_is_explained() {
    #[derive(Serialize, Deserialize, Debug)]
    #[serde(untagged)]
    enum Untagged {
        Number(u8),
    }
    let message = decode::<Untagged>(&[1]).unwrap_err();
    assert!(message.contains("`untagged`"), "{message}");

    #[derive(Serialize)]
    struct Flat {
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }
    let refused = encode(&Flat { rest: BTreeMap::new() }, &mut Vec::new(), NO_LIMIT);
    assert!(matches!(refused, Err(EncodeError::Refused(text)) if text.contains("flatten")));
}

#[test]
fn every_message_of_the_format_is_ours() {
    for (bytes, part) in [(&[2][..], "bool"), (&[][..], "end in the middle")] {
        let message = decode::<bool>(bytes).unwrap_err();
        assert!(message.contains(part), "{message}");
    }
    assert!(decode::<Option<u8>>(&[2]).unwrap_err().contains("option"));
    assert!(decode::<char>(&[1, 0xff]).unwrap_err().contains("char"));
    assert!(decode::<String>(&[1, 0xff]).unwrap_err().contains("UTF-8"));
    assert!(decode::<Vec<u16>>(&[0xff; 11]).unwrap_err().contains("out of range"));
    assert!(decode::<u16>(&[0xff]).unwrap_err().contains("end in the middle"));
    assert!(decode::<String>(&[0xff, 0xff, 0xff, 0xff, 0x0f]).unwrap_err().contains("end in the middle"));
}

#[test]
fn random_bytes_never_panic_and_what_decodes_encodes() {
    fn attempt<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
        let Ok(value) = decode::<T>(bytes) else { return false };
        encode(&value, &mut Vec::new(), NO_LIMIT).unwrap();
        true
    }
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut decoded = [0; 7];
    for round in 0..20_000 {
        let len = random() % 40;
        // Small bytes make plausible lengths, variants and options; large ones make varints go on.
        let mask = if random() % 2 == 0 { 0x03 } else { 0xff };
        let bytes: Vec<u8> = (0..len).map(|_| random() as u8 & mask).collect();
        for (count, ok) in decoded.iter_mut().zip([
            attempt::<Shape>(&bytes),
            attempt::<Record>(&bytes),
            attempt::<Vec<HashMap<char, Option<i128>>>>(&bytes),
            attempt::<(String, Vec<Vec<bool>>)>(&bytes),
            // A random length is often one that takes its time before it is refused.
            round % 64 == 0 && attempt::<Vec<()>>(&bytes),
            attempt::<Vec<Pair>>(&bytes),
            attempt::<Result<Vec<u64>, Box<Shape>>>(&bytes),
        ]) {
            *count += usize::from(ok);
        }
    }
    // Otherwise the test would have tried nothing but the first check of each type.
    assert!(decoded[0] > 0 && decoded[3] > 0 && decoded[4] > 0 && decoded[6] > 0, "{decoded:?}");
}
