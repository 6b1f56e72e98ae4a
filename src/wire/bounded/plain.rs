//! Slices of numbers, copied as a whole where serde would go from element to element.
//!
//! A number is written as the bytes that it has in memory, wherever it stands: both processes are the same program on
//! the same machine. So a slice of them is its memory with its length before it, and it does not matter which side
//! knows that: a `Vec<u64>` can be written by copying and read one by one into a `HashSet<u64>`.
//!
//! What serde shows is generic. When it writes a `Vec<u64>` or a `[u64]`, it asks for a sequence of the elements of a
//! `&Vec<u64>` or `&[u64]`, which is a type that can be recognised. When it reads one, it offers a visitor of its own,
//! a private type; but it offers the same one to anybody, and so it can be asked beforehand for the visitor's
//! identity. A visitor of somebody else, who may do more with the elements than to collect them, is not that one.

use std::any::TypeId;
use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::sys::plain::{self, id_of};

/// The number of elements and the memory, if these are the elements of a slice or vector of numbers.
#[inline]
pub(super) fn memory<I>(elements: &I) -> Option<(usize, &[u8])> {
    macro_rules! numbers {
        ($($number:ty)*) => {$(
            if let Some(slice) = plain::referred::<$number, I>(elements) {
                return Some((slice.len(), plain::bytes(slice)));
            }
        )*};
    }
    numbers! { u8 i8 bool u16 u32 u64 u128 i16 i32 i64 i128 f32 f64 }
    // Serde makes 64 bits of them.
    #[cfg(target_pointer_width = "64")]
    numbers! { usize isize }
    None
}

/// How a vector is made of its memory.
pub(super) struct Vector<T> {
    /// The bytes of an element.
    pub(super) element: usize,
    /// Fails with what is wrong.
    pub(super) read: fn(&[u8]) -> Result<T, &'static str>,
}

/// How to make what `V` makes, if that is serde's own way to collect numbers in a vector.
#[inline]
pub(super) fn collected_by<'de, V: Visitor<'de>>() -> Option<Vector<V::Value>> {
    let (visitor, value) = (id_of::<V>(), id_of::<V::Value>());
    macro_rules! numbers {
        ($($number:ty)*) => {$(
            if value == TypeId::of::<Vec<$number>>() && Some(visitor) == visitor_of::<Vec<$number>>() {
                return Some(Vector { element: size_of::<$number>(), read: read::<$number, V::Value> });
            }
        )*};
    }
    numbers! { u8 i8 u16 u32 u64 u128 i16 i32 i64 i128 f32 f64 }
    #[cfg(target_pointer_width = "64")]
    numbers! { usize isize }
    if value == TypeId::of::<Vec<bool>>() && Some(visitor) == visitor_of::<Vec<bool>>() {
        return Some(Vector { element: 1, read: read_bools::<V::Value> });
    }
    None
}

const NO_MEMORY: &str = "there is no memory for the value";

fn read<N: plain::Number, T>(bytes: &[u8]) -> Result<T, &'static str> {
    let numbers = plain::numbers::<N>(bytes).ok_or(NO_MEMORY)?;
    Ok(plain::under_other_name(numbers).unwrap_or_else(|_| unreachable!("the two types were compared")))
}

fn read_bools<T>(bytes: &[u8]) -> Result<T, &'static str> {
    if bytes.iter().any(|&byte| byte > 1) {
        return Err("a bool is neither 0 nor 1");
    }
    let mut bools: Vec<bool> = Vec::new();
    bools.try_reserve_exact(bytes.len()).map_err(|_| NO_MEMORY)?;
    bools.extend(bytes.iter().map(|&byte| byte == 1));
    Ok(plain::under_other_name(bools).unwrap_or_else(|_| unreachable!("the two types were compared")))
}

/// The length of a sequence that is not read by element; `None` if there are fewer bytes than elements.
pub(super) struct Length;

impl<'de> Visitor<'de> for Length {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence")
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Option<usize>, A::Error> {
        Ok(elements.size_hint())
    }
}

/// The type of the visitor that `T` reads a sequence with.
#[inline]
fn visitor_of<T: for<'de> Deserialize<'de>>() -> Option<TypeId> {
    T::deserialize(Asked).err()?.0
}

/// A deserializer that gives nothing and remembers who wanted a sequence.
struct Asked;

/// The type of the visitor that was there.
#[derive(Debug)]
struct Seen(Option<TypeId>);

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a visitor was there")
    }
}

impl std::error::Error for Seen {}

impl serde::de::Error for Seen {
    fn custom<T: fmt::Display>(_: T) -> Seen {
        Seen(None)
    }
}

impl<'de> Deserializer<'de> for Asked {
    type Error = Seen;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
        Err(Seen(None))
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
        Err(Seen(Some(id_of::<V>())))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}
