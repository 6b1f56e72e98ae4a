//! Keeps what a value may cost within bounds, whatever the other side sent and whatever the value is.
//!
//! The format underneath follows the type it is given: it recurses as often as the bytes say and takes any length
//! at its word. The wrappers here stand between the format and the type. They count how deep a value nests and how
//! many elements it has, and they keep the text of an error that the type itself raised, which the format drops.
//! Both directions count alike, so what is refused is refused where it is made.
//!
//! They also pass numbers by the format, see [`plain`]: a number is the bytes that it has in memory, and so a slice
//! of numbers is copied as a whole.
//!
//! **Invariant:** a value that encodes within the bounds decodes within them.

mod bytes;
mod de;
mod plain;
mod ser;
#[cfg(test)]
mod test;

use std::cell::Cell;
use std::fmt;

use crate::sys::source::Source;

pub(super) use bytes::{Full, Sink};
pub(super) use de::Bounded as BoundedDeserializer;
pub(super) use plain::{NO_BOOL, NO_TEXT};
pub(super) use ser::Bounded as BoundedSerializer;

/// How many containers, options, newtypes and enum variants may be inside each other.
pub(super) const MAX_DEPTH: u32 = 128;

/// How many elements a value may have beyond its number of bytes. An element that takes at least one byte can never
/// come near the bound; this is the allowance for those that take none.
pub(super) const FREE_ELEMENTS: usize = 65_536;

/// What is counted over one whole value, and its bytes: a [`Sink`] or a [`Source`].
pub(super) struct Bounds<B> {
    pub(super) bytes: B,
    /// How many more elements of sequences and maps may follow. Fields of tuples and structs are not elements: their
    /// number is the type's and not the sender's.
    elements_left: Cell<usize>,
    /// The text of an error that is on its way out through the format, whose own errors cannot carry it.
    said: Cell<Option<String>>,
}

impl<B> Bounds<B> {
    /// The bounds of a value of so many bytes.
    pub(super) fn new(bytes: B, len: usize) -> Bounds<B> {
        let elements_left = Cell::new(len.saturating_add(FREE_ELEMENTS));
        Bounds { bytes, elements_left, said: Cell::new(None) }
    }

    /// How many more elements may follow.
    pub(super) fn elements_left(&self) -> usize {
        self.elements_left.get()
    }

    /// How many elements can still follow if each takes a byte, which is as much as anybody should allocate in
    /// advance for a length that the bytes merely claim.
    #[inline]
    fn plausible(&self) -> usize {
        self.elements_left.get().saturating_sub(FREE_ELEMENTS)
    }

    #[inline]
    fn count_element<E>(&self) -> Result<(), Error<E>> {
        self.count_elements(1)
    }

    #[inline]
    fn count_elements<E>(&self, elements: usize) -> Result<(), Error<E>> {
        match self.elements_left.get().checked_sub(elements) {
            Some(left) => {
                self.elements_left.set(left);
                Ok(())
            }
            None => Err(too_many_elements()),
        }
    }

    /// Takes the text out of an error before the format sees it.
    #[cold]
    fn set_aside<E>(&self, error: Error<E>, stand_in: impl FnOnce(&str) -> E) -> E {
        match *error.0 {
            Cause::Format(error) => error,
            Cause::Said(text) => {
                let error = stand_in(&text);
                self.said.set(Some(text));
                error
            }
        }
    }

    /// Gives an error that comes out of the format its text back.
    #[cold]
    fn recover<E>(&self, error: E) -> Error<E> {
        match self.said.take() {
            Some(text) => Error::said(text),
            None => Error(Box::new(Cause::Format(error))),
        }
    }
}

/// The level below `depth`, unless that is too deep.
#[inline]
fn below<E>(depth: u32) -> Result<u32, Error<E>> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(too_deep()) }
}

#[cold]
fn too_deep<E>() -> Error<E> {
    Error::said(format!("the value is nested more than {MAX_DEPTH} levels deep; send a flatter one"))
}

#[cold]
pub(super) fn too_many_elements<E>() -> Error<E> {
    Error::said(format!(
        "the value has more elements than bytes, beyond the {FREE_ELEMENTS} extra that are allowed; send the number \
         of elements that take no space, not the elements"
    ))
}

/// What is said of bytes that end too early.
pub(super) const END_INSIDE: &str = "the bytes end in the middle of the value";

/// Why a value was refused. One pointer wide, so that results on the hot path stay small.
pub(super) struct Error<E>(Box<Cause<E>>);

/// Who refused a value.
pub(super) enum Cause<E> {
    /// The format.
    Format(E),
    /// The type, or one of the bounds.
    Said(String),
}

impl<E> Error<E> {
    #[cold]
    fn said(text: impl Into<String>) -> Error<E> {
        Error(Box::new(Cause::Said(text.into())))
    }

    /// Who refused, and why.
    pub(super) fn into_cause(self) -> Cause<E> {
        *self.0
    }
}

impl<E: serde::de::Error> serde::de::Error for Error<E> {
    fn custom<T: fmt::Display>(message: T) -> Error<E> {
        Error::said(message.to_string())
    }
}

impl<E: serde::ser::Error> serde::ser::Error for Error<E> {
    fn custom<T: fmt::Display>(message: T) -> Error<E> {
        Error::said(message.to_string())
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Format(error) => error.fmt(f),
            Cause::Said(text) => f.write_str(text),
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Format(error) => error.fmt(f),
            Cause::Said(text) => text.fmt(f),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for Error<E> {}
