//! Slices of numbers, copied as a whole where serde would go from element to element.
//!
//! A number is written as the bytes that it has in memory, wherever it stands: both processes are the same program on
//! the same machine. So a slice of them is its memory with its length before it, and it does not matter which side
//! knows that: a `Vec<u64>` can be written by copying and read one by one into a `HashSet<u64>`.
//!
//! What serde shows is generic. When it writes a `Vec<u64>` or a `[u64]`, it asks for a sequence of the elements of a
//! `&Vec<u64>` or `&[u64]`, which is a type that can be recognised. When it reads one, it offers a visitor of its own,
//! a private type; but it offers the same one to anybody, and so it can be asked beforehand for the visitor's
//! identity. A visitor of somebody else, who may do more with the elements than to collect them, is not that one. Text
//! is a slice of bytes, and read alike: so it need not be lent, and its memory is free to become a large vector.

use std::any::TypeId;
use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::END_INSIDE;
use crate::sys::plain::{self, id_of};
use crate::sys::source::Source;

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

/// How a vector or a text is made of its memory.
pub(super) struct Owned<T> {
    /// Takes so many elements, or says what is wrong with them.
    pub(super) read: fn(&Source<'_>, usize) -> Result<T, &'static str>,
}

/// How to make what `V` makes, if that is serde's own way to collect numbers in a vector, or text.
#[inline]
pub(super) fn made_by<'de, V: Visitor<'de>>() -> Option<Owned<V::Value>> {
    let (visitor, value) = (id_of::<V>(), id_of::<V::Value>());
    macro_rules! numbers {
        ($($number:ty)*) => {$(
            if value == TypeId::of::<Vec<$number>>() && Some(visitor) == visitor_of::<Vec<$number>>() {
                return Some(Owned { read: read::<$number, V::Value> });
            }
        )*};
    }
    if value == TypeId::of::<Vec<u8>>() && Some(visitor) == visitor_of::<Vec<u8>>() {
        return Some(Owned { read: read_bytes::<V::Value> });
    }
    if value == TypeId::of::<String>() && Some(visitor) == visitor_of::<String>() {
        return Some(Owned { read: read_text::<V::Value> });
    }
    numbers! { i8 u16 u32 u64 u128 i16 i32 i64 i128 f32 f64 }
    #[cfg(target_pointer_width = "64")]
    numbers! { usize isize }
    if value == TypeId::of::<Vec<bool>>() && Some(visitor) == visitor_of::<Vec<bool>>() {
        return Some(Owned { read: read_bools::<V::Value> });
    }
    None
}

const NO_MEMORY: &str = "there is no memory for the value";

/// What is said of bytes that are no value, here and by the format.
pub(in crate::wire) const NO_BOOL: &str = "a bool is neither 0 nor 1";
pub(in crate::wire) const NO_TEXT: &str = "a string is not UTF-8";

/// `value` as the type that it is known to be.
fn known<A: plain::Lifeless, T>(value: A) -> T {
    plain::under_other_name(value).unwrap_or_else(|_| unreachable!("the two types were compared"))
}

fn numbers<N: plain::Number>(source: &Source<'_>, len: usize) -> Result<Vec<N>, &'static str> {
    let size = len.checked_mul(size_of::<N>()).ok_or(END_INSIDE)?;
    source.read(size, plain::numbers).ok_or(END_INSIDE)?.ok_or(NO_MEMORY)
}

fn read<N: plain::Number, T>(source: &Source<'_>, len: usize) -> Result<T, &'static str> {
    numbers::<N>(source, len).map(known)
}

fn bytes(source: &Source<'_>, len: usize) -> Result<Vec<u8>, &'static str> {
    match source.give(len) {
        Some(bytes) => Ok(bytes),
        None => numbers(source, len),
    }
}

fn read_bytes<T>(source: &Source<'_>, len: usize) -> Result<T, &'static str> {
    bytes(source, len).map(known)
}

fn read_text<T>(source: &Source<'_>, len: usize) -> Result<T, &'static str> {
    match String::from_utf8(bytes(source, len)?) {
        Ok(text) => Ok(known(text)),
        Err(_) => Err(NO_TEXT),
    }
}

fn read_bools<T>(source: &Source<'_>, len: usize) -> Result<T, &'static str> {
    let bools = |bytes: &[u8]| {
        if bytes.iter().any(|&byte| byte > 1) {
            return Err(NO_BOOL);
        }
        let mut bools: Vec<bool> = Vec::new();
        bools.try_reserve_exact(bytes.len()).map_err(|_| NO_MEMORY)?;
        bools.extend(bytes.iter().map(|&byte| byte == 1));
        Ok(bools)
    };
    source.read(len, bools).ok_or(END_INSIDE)?.map(known)
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

/// The type of the visitor that `T` reads a sequence or a text with.
#[inline]
fn visitor_of<T: for<'de> Deserialize<'de>>() -> Option<TypeId> {
    T::deserialize(Asked).err()?.0
}

/// A deserializer that gives nothing and remembers who wanted a sequence or a text.
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

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Seen> {
        Err(Seen(Some(id_of::<V>())))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str bytes byte_buf option unit unit_struct
        newtype_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}
