//! Slices of numbers are copied as a whole, and nobody can tell by what comes out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Debug};

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::test::{NO_LIMIT, bytes_of, round};
use super::*;

/// Lengths around the sizes of vectors, of pages and of the length's own bytes.
const LENGTHS: [usize; 21] =
    [0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1023, 4096, 16_383, 16_384];

trait Sample: Serialize + DeserializeOwned + PartialEq + Debug + Copy + 'static {
    fn sample(n: u64) -> Self;
}

macro_rules! samples {
    ($($type:ty)*) => {$(
        impl Sample for $type {
            fn sample(n: u64) -> $type {
                // Small ones, and ones with bits everywhere.
                (if n.is_multiple_of(3) { n } else { n.wrapping_mul(0x9e37_79b9_7f4a_7c15) }) as $type
            }
        }
    )*};
}

samples! { u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 usize isize f32 f64 }

impl Sample for bool {
    fn sample(n: u64) -> bool {
        n.is_multiple_of(3)
    }
}

fn samples<T: Sample>(len: usize) -> Vec<T> {
    (1..=len as u64).map(T::sample).collect()
}

/// Runs the same for every type.
macro_rules! for_each_number {
    ($run:ident) => {
        $run::<u8>();
        $run::<i8>();
        $run::<bool>();
        $run::<u16>();
        $run::<i16>();
        $run::<u32>();
        $run::<i32>();
        $run::<u64>();
        $run::<i64>();
        $run::<u128>();
        $run::<i128>();
        $run::<usize>();
        $run::<isize>();
        $run::<f32>();
        $run::<f64>();
    };
}

#[test]
fn slices_of_every_number_come_back_whatever_their_length() {
    fn run<T: Sample>() {
        for len in LENGTHS {
            let vector = samples::<T>(len);
            let bytes = bytes_of(&vector);
            assert_eq!(bytes_of(&vector[..]), bytes);
            assert_eq!(decode::<Vec<T>>(&bytes).as_ref(), Ok(&vector));
            assert_eq!(decode_owned::<Vec<T>>(bytes.clone()).as_ref(), Ok(&vector));
            assert_eq!(decode::<Box<[T]>>(&bytes).as_deref(), Ok(&vector[..]));
            assert_eq!(decode::<Cow<'_, [T]>>(&bytes).as_deref(), Ok(&vector[..]));
        }
    }
    for_each_number!(run);
}

#[test]
fn what_is_copied_is_what_would_be_written_element_by_element() {
    fn run<T: Sample>() {
        for len in LENGTHS {
            let vector = samples::<T>(len);
            let queue: VecDeque<T> = vector.iter().copied().collect();
            let bytes = bytes_of(&vector);
            assert_eq!(bytes_of(&queue), bytes);
            assert_eq!(decode::<VecDeque<T>>(&bytes), Ok(queue));
        }
        let single = bytes_of(&T::sample(1));
        assert_eq!(single.len(), size_of::<T>());
        assert_eq!(decode::<T>(&single), Ok(T::sample(1)));
    }
    for_each_number!(run);
    let set: BTreeSet<u64> = samples(1000).into_iter().collect();
    let sorted: Vec<u64> = set.iter().copied().collect();
    assert_eq!(decode(&bytes_of(&sorted)), Ok(set));
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Holder<T> {
    before: u16,
    numbers: Vec<T>,
    inside: Option<Box<Holder<T>>>,
    by_name: BTreeMap<String, Vec<T>>,
}

#[test]
fn numbers_come_back_from_every_place_and_no_part_of_them_does() {
    fn run<T: Sample>() {
        let numbers = samples::<T>;
        round(numbers(3));
        round((numbers(2), 7u8, numbers(0), numbers(3), "text".to_owned()));
        round(Some(numbers(2)));
        round(Ok::<_, String>(numbers(2)));
        round(Err::<String, _>(numbers(2)));
        round(vec![numbers(1), numbers(0), numbers(2)]);
        round((numbers(1).into_boxed_slice(), [T::sample(1); 3]));
        let inner = Holder { before: 1, numbers: numbers(2), inside: None, by_name: BTreeMap::new() };
        round(Holder {
            before: 0x100,
            numbers: numbers(0),
            inside: Some(Box::new(inner)),
            by_name: BTreeMap::from([("two".to_owned(), numbers(2)), (String::new(), numbers(1))]),
        });
    }
    for_each_number!(run);
}

#[test]
fn every_bit_of_a_float_comes_back() {
    for bits in [0x7ff0_0000_0000_0001, 0xfff8_0000_0000_dead, 0x8000_0000_0000_0000, u64::MAX, 1] {
        let one = decode::<f64>(&bytes_of(&f64::from_bits(bits))).unwrap();
        let many = decode::<Vec<f64>>(&bytes_of(&vec![f64::from_bits(bits)])).unwrap();
        assert_eq!((one.to_bits(), many[0].to_bits()), (bits, bits));
    }
}

#[test]
fn lengths_that_are_not_true_are_refused_and_allocate_nothing() {
    fn run<T: Sample>() {
        // One element less than is claimed, one byte less, nothing at all.
        let good = bytes_of(&samples::<T>(5));
        let mut claims = vec![good[..good.len() - size_of::<T>()].to_vec(), good[..good.len() - 1].to_vec()];
        claims.push(vec![200]);
        // Much more than there is, and what is nothing once it is multiplied without care.
        let carelessly_nothing = u64::MAX / size_of::<T>() as u64;
        for len in [1 << 28, 1 << 35, 1 << 56, 1 << 63, u64::MAX, carelessly_nothing.saturating_add(1)] {
            let mut claim = varint(len);
            claim.extend([0; 3]);
            claims.push(claim);
        }
        for claim in claims {
            let said = decode::<Vec<T>>(&claim).unwrap_err();
            assert_eq!(said, "the bytes end in the middle of the value", "{claim:?}");
            assert!(decode::<(u8, Vec<Vec<T>>)>(&[&[1, 1][..], &claim].concat()).is_err());
        }
    }
    for_each_number!(run);
    assert_eq!(decode::<Vec<bool>>(&[3, 1, 2, 0]), Err("a bool is neither 0 nor 1".to_owned()));
}

fn varint(mut n: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while n > 0x7f {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
    bytes
}

#[test]
fn numbers_count_as_elements_both_ways() {
    // The whole allowance for elements without bytes, beside numbers that pay for themselves.
    let value = (samples::<u8>(100_000), samples::<f64>(1000), vec![(); FREE_ELEMENTS]);
    assert_eq!(decode(&bytes_of(&value)), Ok(value));
    let value = (samples::<u8>(100_000), vec![(); FREE_ELEMENTS + 7]);
    assert!(matches!(encode(&value, &mut Vec::new(), NO_LIMIT), Err(EncodeError::Refused(_))));
}

#[test]
fn a_large_slice_takes_the_room_it_needs_at_once() {
    let mut out = Vec::new();
    encode(&(samples::<u64>(100_000), 1u8), &mut out, NO_LIMIT).unwrap();
    assert!(out.capacity() < 800_000 + 1000, "{}", out.capacity());
    for limit in [0, 5, 799_999] {
        let mut out = vec![9];
        let result = encode(&samples::<u64>(100_000), &mut out, limit);
        assert!(matches!(result, Err(EncodeError::TooLarge)), "{limit}: {result:?}");
        assert!(out == [9] && out.capacity() < 100, "{limit}: {}", out.capacity());
    }
    assert_eq!(size(&(samples::<u64>(100_000), "text")), 800_000 + 3 + 5);
}

#[test]
fn a_type_that_reads_its_numbers_in_its_own_way_does_so() {
    /// Written as a plain slice, read with every number one larger.
    #[derive(Debug, PartialEq)]
    struct Later(Vec<u64>);
    impl Serialize for Later {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.serialize(serializer)
        }
    }
    struct More;
    impl<'de> Visitor<'de> for More {
        type Value = Vec<u64>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("numbers")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u64>, A::Error> {
            let mut numbers = Vec::new();
            while let Some(number) = seq.next_element::<u64>()? {
                numbers.push(number + 1);
            }
            Ok(numbers)
        }
    }
    impl<'de> Deserialize<'de> for Later {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Later, D::Error> {
            deserializer.deserialize_seq(More).map(Later)
        }
    }
    assert_eq!(decode(&bytes_of(&(Later(vec![1, 2]), 3u8))), Ok((Later(vec![2, 3]), 3u8)));
}

#[test]
fn the_number_of_a_variant_is_not_read_from_what_follows_it() {
    /// Reads the variant as a plain number, as `serde` allows.
    #[derive(Clone, Debug, PartialEq)]
    struct Numbered(u32, u64);
    impl Serialize for Numbered {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_newtype_variant("Numbered", self.0, "any", &self.1)
        }
    }
    struct Any;
    impl<'de> DeserializeSeed<'de> for Any {
        type Value = u32;
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u32, D::Error> {
            u32::deserialize(deserializer)
        }
    }
    impl<'de> Visitor<'de> for Any {
        type Value = Numbered;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a variant")
        }
        fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<Numbered, A::Error> {
            let (number, content) = access.variant_seed(Any)?;
            Ok(Numbered(number, content.newtype_variant()?))
        }
    }
    impl<'de> Deserialize<'de> for Numbered {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Numbered, D::Error> {
            deserializer.deserialize_enum("Numbered", &[], Any)
        }
    }
    assert_eq!(decode(&bytes_of(&Numbered(300, 5))), Ok(Numbered(300, 5)));
    assert_eq!(decode(&bytes_of(&vec![Numbered(0, u64::MAX); 2])), Ok(vec![Numbered(0, u64::MAX); 2]));
}

/// Decodes a message of its own and tells whether the memory that `find` finds in the value is the message's.
#[track_caller]
fn is_the_message<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    value: &T,
    find: impl Fn(&T) -> *const u8,
) -> bool {
    let message = bytes_of(value);
    let place = message.as_ptr();
    let decoded: T = decode_owned(message).unwrap();
    assert_eq!(&decoded, value);
    find(&decoded) == place
}

#[test]
fn a_large_vector_or_text_is_the_memory_of_its_message() {
    let large = || samples::<u8>(100_000);
    let text = || "text".repeat(10_000);
    assert!(is_the_message(&large(), |bytes| bytes.as_ptr()));
    assert!(is_the_message(&large().into_boxed_slice(), |bytes| bytes.as_ptr()));
    assert!(is_the_message(&text(), |text| text.as_ptr()));
    assert!(is_the_message(&Ok::<_, String>(large()), |bytes| bytes.as_ref().unwrap().as_ptr()));
    assert!(is_the_message(&Err::<u8, _>(text()), |text| text.as_ref().unwrap_err().as_ptr()));
    let image = |bytes| ("a name".to_owned(), 640u32, Some(bytes), vec![1.5f64; 3], "another".to_owned());
    assert!(is_the_message(&image(large()), |image| image.2.as_ref().unwrap().as_ptr()));
    assert!(is_the_message(&vec![vec![1], large(), vec![2, 3]], |many| many[1].as_ptr()));
    // Not one that would keep as much again, or that has other numbers, whose memory is aligned in another way.
    assert!(!is_the_message(&vec![large(), large()], |many| many[0].as_ptr()));
    assert!(!is_the_message(&samples::<u64>(10_000), |words| words.as_ptr().cast()));
    // A callback leaves the message where it is.
    assert_eq!(decode::<Vec<u8>>(&bytes_of(&large())), Ok(large()));
}

#[test]
fn what_somebody_still_looks_at_is_not_taken() {
    /// Holds on to the text that it was lent, while it reads the bytes that follow.
    #[derive(Debug, PartialEq, Serialize)]
    struct Labelled(&'static str, Vec<u8>, bool);
    struct Parts;
    impl<'de> Visitor<'de> for Parts {
        type Value = Labelled;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a label and bytes")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Labelled, A::Error> {
            let label: &'de str = seq.next_element()?.unwrap();
            let mut bytes: Vec<u8> = seq.next_element()?.unwrap();
            bytes.fill(0);
            let last = seq.next_element()?.unwrap();
            assert_eq!(label, "label");
            Ok(Labelled("label", bytes, last))
        }
    }
    impl<'de> Deserialize<'de> for Labelled {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Labelled, D::Error> {
            deserializer.deserialize_tuple(3, Parts)
        }
    }
    let bytes = bytes_of(&Labelled("label", samples(100_000), true));
    assert_eq!(decode_owned(bytes), Ok(Labelled("label", vec![0; 100_000], true)));
}

#[test]
fn large_text_that_is_none_is_refused() {
    let mut bytes = bytes_of(&"x".repeat(10_000));
    *bytes.last_mut().unwrap() = 0xff;
    assert_eq!(decode::<String>(&bytes), Err("a string is not UTF-8".to_owned()));
    assert_eq!(decode_owned::<String>(bytes), Err("a string is not UTF-8".to_owned()));
}

#[test]
fn bytes_of_other_crates_are_the_memory_of_their_message_too() {
    /// As `bytes::Bytes` and `serde_bytes::ByteBuf` do it.
    #[derive(Debug, PartialEq)]
    struct Buffer(Vec<u8>);
    impl Serialize for Buffer {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }
    struct Take;
    impl<'de> Visitor<'de> for Take {
        type Value = Buffer;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }
        fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Buffer, E> {
            Ok(Buffer(bytes.to_vec()))
        }
        fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Buffer, E> {
            Ok(Buffer(bytes))
        }
    }
    impl<'de> Deserialize<'de> for Buffer {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Buffer, D::Error> {
            deserializer.deserialize_byte_buf(Take)
        }
    }
    round(Buffer(samples(3)));
    assert!(is_the_message(&Buffer(samples(100_000)), |buffer| buffer.0.as_ptr()));
    assert!(is_the_message(&(7u64, Buffer(samples(100_000)), 'x'), |(_, buffer, _)| buffer.0.as_ptr()));
    assert_eq!(bytes_of(&Buffer(samples(300))), bytes_of(&samples::<u8>(300)));
}
