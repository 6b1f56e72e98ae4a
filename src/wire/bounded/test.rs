use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::{FREE_ELEMENTS, MAX_DEPTH};
use crate::wire::codec::{EncodeError, decode, encode};

const NO_LIMIT: usize = 1 << 30;

fn bytes_of<T: Serialize>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode(value, &mut out, NO_LIMIT).unwrap();
    out
}

fn refusal<T: Serialize>(value: &T) -> String {
    let mut out = vec![9];
    let result = encode(value, &mut out, NO_LIMIT);
    assert_eq!(out, [9]);
    match result {
        Err(EncodeError::Refused(text)) => text,
        other => panic!("{other:?}"),
    }
}

/// The number 2^60, then nothing.
const ENORMOUS: [u8; 9] = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];

#[derive(Serialize, Deserialize, Debug, PartialEq)]
enum Chain {
    End,
    Next(Box<Chain>),
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
enum Fields {
    End,
    Next { next: Box<Fields>, number: u64, text: String },
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Nested(Vec<Nested>);

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Linked {
    next: Option<Box<Linked>>,
}

/// A chain that is so many levels deep, its end included.
fn chain(levels: u32) -> Chain {
    (1..levels).fold(Chain::End, |chain, _| Chain::Next(Box::new(chain)))
}

#[test]
fn a_million_levels_are_an_error_even_on_a_small_stack() {
    fn refused<T: DeserializeOwned>(bytes: &[u8]) {
        let message = decode::<T>(bytes).map(drop).unwrap_err();
        assert_eq!(message, "the value is nested more than 128 levels deep; send a flatter one");
    }
    let body = || {
        let bytes = vec![1; 1_000_000];
        refused::<Chain>(&bytes);
        refused::<Fields>(&bytes);
        refused::<Nested>(&bytes);
        refused::<Linked>(&bytes);
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(body).unwrap().join().unwrap();
}

#[test]
fn the_last_allowed_level_is_allowed_both_ways() {
    let deepest = chain(MAX_DEPTH);
    assert_eq!(decode::<Chain>(&bytes_of(&deepest)), Ok(deepest));

    assert!(refusal(&chain(MAX_DEPTH + 1)).contains("128 levels"));
    let mut bytes = vec![1; 128];
    bytes.push(0);
    assert!(decode::<Chain>(&bytes).unwrap_err().contains("128 levels"));
}

#[test]
fn options_newtypes_sequences_maps_and_tuples_are_levels() {
    // Each of these has two levels per turn.
    let linked =
        |levels| (1..levels / 2).fold(Linked { next: None }, |l, _| Linked { next: Some(Box::new(l)) });
    let nested = |levels| (1..levels / 2).fold(Nested(vec![]), |nested, _| Nested(vec![nested]));
    assert_eq!(decode(&bytes_of(&linked(128))), Ok(linked(128)));
    assert!(refusal(&linked(130)).contains("128 levels"));
    assert_eq!(decode(&bytes_of(&nested(128))), Ok(nested(128)));
    assert!(refusal(&nested(130)).contains("128 levels"));

    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Wide(BTreeMap<u8, (u8, Option<Box<Wide>>)>);
    // And this one has four.
    let wide = |levels| {
        (1..levels / 4).fold(Wide(BTreeMap::from([(0, (0, None))])), |wide, _| {
            Wide(BTreeMap::from([(7, (8, Some(Box::new(wide))))]))
        })
    };
    assert_eq!(decode(&bytes_of(&wide(128))), Ok(wide(128)));
    assert!(refusal(&wide(132)).contains("128 levels"));
}

#[test]
fn levels_beside_each_other_do_not_add_up() {
    let many: Vec<Chain> = (0..1000).map(|_| chain(100)).collect();
    assert_eq!(decode::<Vec<Chain>>(&bytes_of(&many)), Ok(many));
}

#[test]
fn a_long_list_of_owned_values_is_refused_before_it_exhausts_the_stack() {
    let levels = 1_000_000;
    let mut list = chain(levels);
    assert!(refusal(&list).contains("128 levels"));
    // The chain's own drop would recurse as well.
    while let Chain::Next(next) = list {
        list = *next;
    }
}

#[test]
fn elements_without_bytes_end() {
    let refused = |message: Result<(), String>| {
        let message = message.unwrap_err();
        assert!(message.contains("more elements than bytes"), "{message}");
    };
    refused(decode::<Vec<()>>(&ENORMOUS).map(drop));
    refused(decode::<HashSet<()>>(&ENORMOUS).map(drop));
    refused(decode::<BTreeMap<(), ()>>(&ENORMOUS).map(drop));
    refused(decode::<Vec<[(); 3]>>(&ENORMOUS).map(drop));
    // Many small ones are not a way around it.
    let mut many = vec![0xff, 0x01];
    many.extend([0xe8, 0x07].repeat(255));
    refused(decode::<Vec<Vec<()>>>(&many).map(drop));
}

#[test]
fn some_elements_without_bytes_are_fine_both_ways() {
    let units = vec![(); 1000];
    assert_eq!(decode::<Vec<()>>(&bytes_of(&units)), Ok(units));

    // The length itself takes three bytes.
    let most = vec![(); FREE_ELEMENTS + 3];
    assert_eq!(decode::<Vec<()>>(&bytes_of(&most)), Ok(most));
    assert!(refusal(&vec![(); FREE_ELEMENTS + 4]).contains("more elements than bytes"));
}

#[test]
fn elements_with_bytes_are_never_too_many() {
    let bytes = vec![vec![7u8; 300]; 1000];
    assert_eq!(decode::<Vec<Vec<u8>>>(&bytes_of(&bytes)), Ok(bytes));
    let nested = vec![vec![Some(()); 3]; 100_000];
    assert_eq!(decode::<Vec<Vec<Option<()>>>>(&bytes_of(&nested)), Ok(nested));
    let tuples = vec![((), 1u8, ((), ())); 100_000];
    assert_eq!(decode::<Vec<((), u8, ((), ()))>>(&bytes_of(&tuples)), Ok(tuples));
}

#[test]
fn too_many_bytes_for_the_limit_are_not_called_too_many_elements() {
    for limit in [0, 1, 10, 100_000] {
        let result = encode(&vec![vec![1u8]; 1_000_000], &mut Vec::new(), limit);
        assert!(matches!(result, Err(EncodeError::TooLarge)), "{limit}: {result:?}");
    }
}

/// The number of elements or entries that a decoder was told to expect.
#[derive(Debug, PartialEq)]
struct Hint<const MAP: bool>(Option<usize>);

impl<'de, const MAP: bool> Deserialize<'de> for Hint<MAP> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Look;
        impl<'de> Visitor<'de> for Look {
            type Value = Option<usize>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence or a map")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let hint = seq.size_hint();
                while seq.next_element::<u8>()?.is_some() {}
                Ok(hint)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Ok(map.size_hint())
            }
        }
        let hint =
            if MAP { deserializer.deserialize_map(Look)? } else { deserializer.deserialize_seq(Look)? };
        Ok(Hint(hint))
    }
}

#[test]
fn nobody_is_told_to_expect_more_elements_than_there_are_bytes() {
    assert_eq!(decode::<Hint<true>>(&ENORMOUS), Ok(Hint(Some(ENORMOUS.len()))));
    assert_eq!(decode::<Hint<false>>(&[3, 1, 2, 3]), Ok(Hint(Some(3))));
    // What has been decoded no longer counts.
    let (elements, hint) = decode::<(Vec<u8>, Hint<true>)>(&[3, 1, 2, 3, 0x7f]).unwrap();
    assert_eq!((elements, hint), (vec![1, 2, 3], Hint(Some(2))));
}

#[test]
fn the_format_is_not_for_humans() {
    #[derive(Debug, PartialEq)]
    struct Readable(bool);
    impl Serialize for Readable {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.is_human_readable().serialize(serializer)
        }
    }
    impl<'de> Deserialize<'de> for Readable {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let readable = deserializer.is_human_readable();
            bool::deserialize(deserializer).map(|written| Readable(written || readable))
        }
    }
    let value = Some((1u8, Readable(true)));
    assert_eq!(decode(&bytes_of(&value)), Ok(Some((1u8, Readable(false)))));
}

#[test]
fn what_cannot_be_skipped_is_refused_and_not_guessed() {
    assert!(decode::<IgnoredAny>(&[1, 2, 3]).is_err());
}
