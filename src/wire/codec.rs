//! Values as bytes. The only file that names postcard.
//!
//! The format is compact and does not describe itself: what decodes must be the type that was encoded, which the
//! hand-shake between the two processes makes sure of.

use postcard::ser_flavors::{Flavor, Size};
use serde::{Deserialize, Serialize};

use super::bounded::{
    BoundedDeserializer, BoundedSerializer, Bounds, Cause, FREE_ELEMENTS, too_many_elements,
};

/// Why a value has no bytes.
#[derive(Debug)]
pub(crate) enum EncodeError {
    /// They are more than the limit, or more than there is memory for.
    TooLarge,
    /// The value does not allow it; the text says why.
    Refused(String),
}

/// Appends the bytes of `value` to `out`, at most `limit` of them.
///
/// Nothing larger is ever built: neither the length nor the capacity of `out` grows by more than `limit`. If there
/// is no value, or its `Serialize` panics, `out` holds what it held before.
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), EncodeError> {
    let mut tail = Tail::new(out, limit);
    let bounds = Bounds::for_bytes(limit);
    let mut serializer = postcard::Serializer { output: &mut tail };
    let mut result = value.serialize(BoundedSerializer::new(&mut serializer, &bounds));
    let elements = limit.saturating_add(FREE_ELEMENTS) - bounds.elements_left();
    if result.is_ok() && elements > tail.len().saturating_add(FREE_ELEMENTS) {
        result = Err(too_many_elements());
    }
    // Asked first and not read from the result, because a `Serialize` may lose an error or replace it.
    if tail.full {
        return Err(EncodeError::TooLarge);
    }
    match result {
        Ok(()) => {
            tail.keep();
            Ok(())
        }
        Err(error) => Err(EncodeError::Refused(match error.into_cause() {
            Cause::Said(text) => text,
            Cause::Format(error) => explain(&error),
        })),
    }
}

/// How many bytes a value has, without making them; 0 if it has none. For telling how much too large it is.
pub(crate) fn size<T: Serialize + ?Sized>(value: &T) -> u64 {
    let bounds = Bounds::for_bytes(usize::MAX);
    let mut serializer = postcard::Serializer { output: Size::default() };
    match value.serialize(BoundedSerializer::new(&mut serializer, &bounds)) {
        Ok(()) => serializer.output.finalize().map_or(0, |size| size as u64),
        Err(_) => 0,
    }
}

/// The value that all of `bytes` are. Text and bytes are borrowed where the type allows it.
pub(crate) fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, String> {
    let bounds = Bounds::for_bytes(bytes.len());
    let mut deserializer = postcard::Deserializer::from_bytes(bytes);
    let value =
        T::deserialize(BoundedDeserializer::new(&mut deserializer, &bounds)).map_err(|error| match error
            .into_cause()
        {
            Cause::Said(text) => text,
            Cause::Format(error) => explain(&error),
        })?;
    match deserializer.finalize() {
        Ok([]) => Ok(value),
        Ok(rest) => Err(format!(
            "{} of {} bytes are left over after the value; its type must read all that it writes",
            rest.len(),
            bytes.len()
        )),
        Err(error) => Err(explain(&error)),
    }
}

/// The part of a buffer that one value is written to. It goes away again unless the value is kept.
struct Tail<'a> {
    out: &'a mut Vec<u8>,
    /// Where the value starts.
    start: usize,
    /// The length that `out` must not exceed.
    end: usize,
    /// Something did not fit. Nothing may be kept then, since later and smaller writes may have fitted.
    full: bool,
}

impl<'a> Tail<'a> {
    fn new(out: &'a mut Vec<u8>, limit: usize) -> Tail<'a> {
        let start = out.len();
        Tail { out, start, end: start.saturating_add(limit), full: false }
    }

    fn len(&self) -> usize {
        self.out.len() - self.start
    }

    fn keep(mut self) {
        self.start = self.out.len();
    }

    /// Makes room for `more` bytes, if the limit and the memory allow them.
    #[inline]
    fn reserve(&mut self, more: usize) -> postcard::Result<()> {
        let len = self.out.len();
        if more <= self.end - len && (more <= self.out.capacity() - len || self.grow(more)) {
            return Ok(());
        }
        self.full = true;
        Err(postcard::Error::SerializeBufferFull)
    }

    /// Doubles the capacity as a `Vec` would, but not beyond the limit, and by less where memory is short. The
    /// caller has checked that the limit allows `more`.
    #[cold]
    fn grow(&mut self, more: usize) -> bool {
        let len = self.out.len();
        let wanted = self.out.capacity().saturating_mul(2).max(64).min(self.end).max(len + more);
        self.out.try_reserve_exact(wanted - len).is_ok() || self.out.try_reserve_exact(more).is_ok()
    }
}

impl Drop for Tail<'_> {
    fn drop(&mut self) {
        self.out.truncate(self.start);
    }
}

impl Flavor for &mut Tail<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.reserve(1)?;
        self.out.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.reserve(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// What the format's own errors mean for whoever wrote the type.
#[cold]
fn explain(error: &postcard::Error) -> String {
    use postcard::Error;
    match error {
        Error::WontImplement => {
            "the type wants to be told what the bytes are, and they do not say; `untagged`, internally tagged \
             and flattened types need a plain one in their place"
        }
        Error::SerializeSeqLengthUnknown => {
            "a sequence or map does not know its length in advance; collect it first (`flatten` makes such a map)"
        }
        Error::CollectStrError => "a `Display` used for encoding failed, or did not write the same twice",
        Error::DeserializeUnexpectedEnd => "the bytes end in the middle of the value",
        Error::DeserializeBadVarint => "an integer or a length is out of range for its type",
        Error::DeserializeBadBool => "a bool is neither 0 nor 1",
        Error::DeserializeBadChar => "a char is not one Unicode character",
        Error::DeserializeBadUtf8 => "a string is not UTF-8",
        Error::DeserializeBadOption => "an option is neither absent nor present",
        Error::DeserializeBadEnum => "an enum's variant is out of range",
        other => return other.to_string().to_lowercase(),
    }
    .to_owned()
}

#[cfg(test)]
mod test;
