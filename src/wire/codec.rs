//! Values as bytes. The only file that names postcard.
//!
//! The format is compact and does not describe itself: what decodes must be the type that was encoded, which the
//! hand-shake between the two processes makes sure of. It is postcard's but for numbers of more than one byte, which are
//! the bytes that they have in memory: their slices are copied as a whole, and no message is long enough for shorter
//! numbers to be worth their time.

use postcard::{de_flavors, ser_flavors};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::attach::{self, Handles};
use crate::sys::plain;

use super::bounded::{
    BoundedDeserializer, BoundedSerializer, Bounds, Cause, END_INSIDE, FREE_ELEMENTS, Full, NO_BOOL, NO_TEXT,
    Sink, too_many_elements,
};

pub(crate) use crate::sys::source::{Body, Source};
use crate::sys::source::{LEAD_MAX, Lead};

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
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<(), EncodeError> {
    // What the rest of this would do, too.
    if let Some(bytes) = plain::number_bytes(value)
        && bytes.len() <= limit.min(out.capacity() - out.len())
    {
        out.extend_from_slice(bytes);
        return Ok(());
    }
    encode_any(value, out, limit)
}

fn encode_any<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>, limit: usize) -> Result<(), EncodeError> {
    let bounds = Bounds::new(Sink::new(out, limit), limit);
    let mut serializer = postcard::Serializer { output: &bounds.bytes };
    let mut result = value.serialize(BoundedSerializer::new(&mut serializer, &bounds));
    let elements = limit.saturating_add(FREE_ELEMENTS) - bounds.elements_left();
    if result.is_ok() && elements > bounds.bytes.len().saturating_add(FREE_ELEMENTS) {
        result = Err(too_many_elements());
    }
    // Asked first and not read from the result, because a `Serialize` may lose an error or replace it.
    if bounds.bytes.is_full() {
        return Err(EncodeError::TooLarge);
    }
    match result {
        Ok(()) => {
            bounds.bytes.keep();
            Ok(())
        }
        Err(error) => Err(EncodeError::Refused(match error.into_cause() {
            Cause::Said(text) => text,
            Cause::Format(error) => explain(&error),
        })),
    }
}

/// [`encode`], of a value that may hold handles: they are given back, to be sent beside the bytes.
#[inline]
pub(crate) fn encode_attached<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
    limit: usize,
) -> Result<Handles, EncodeError> {
    if plain::is_number::<T>() {
        return encode(value, out, limit).map(|()| Handles::default());
    }
    let before = out.len();
    let (encoded, handles) = attach::collect(|| encode(value, out, limit));
    encoded?;
    handles.map_err(|message| {
        out.truncate(before);
        EncodeError::Refused(message)
    })
}

/// How many bytes a value has, without making them; 0 if it has none. For telling how much too large it is.
pub(crate) fn size<T: Serialize + ?Sized>(value: &T) -> u64 {
    let mut nothing = Vec::new();
    let bounds = Bounds::new(Sink::counting(&mut nothing), usize::MAX);
    let mut serializer = postcard::Serializer { output: &bounds.bytes };
    let (encoded, _) = attach::collect(|| value.serialize(BoundedSerializer::new(&mut serializer, &bounds)));
    match encoded {
        Ok(()) => bounds.bytes.counted(),
        Err(_) => 0,
    }
}

/// The value that all of `bytes` are.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    decode_borrowed(&Source::new(bytes))
}

/// What comes before the bytes of a vector of bytes, or of a text, of this length.
pub(crate) fn lead(len: usize) -> Lead {
    let mut bytes = [0; LEAD_MAX];
    // There is room for the longest.
    let written = postcard::to_slice(&len, &mut bytes).map_or(0, |written| written.len());
    Lead::new(bytes, written)
}

/// A vector of bytes, or a text, that comes without its lead.
pub(crate) fn whole(bytes: Vec<u8>) -> Body {
    Body::led_by(lead(bytes.len()), bytes)
}

/// The value that all of `bytes` are; their memory may become a part of it.
pub(crate) fn decode_owned<T: DeserializeOwned>(bytes: Vec<u8>) -> Result<T, String> {
    match plain::number_of(&bytes) {
        Some(number) => Ok(number),
        None => decode_borrowed(&Body::new(bytes).source()),
    }
}

/// The value that all bytes of `source` are. Text and bytes are borrowed where the type allows it.
#[inline]
pub(crate) fn decode_borrowed<'de, T: Deserialize<'de>>(source: &'de Source<'de>) -> Result<T, String> {
    if let Some(number) = source.all(plain::number_of) {
        return Ok(number);
    }
    decode_any(source)
}

fn decode_any<'de, T: Deserialize<'de>>(source: &'de Source<'de>) -> Result<T, String> {
    let len = source.left();
    let bounds = Bounds::new(source, len);
    let mut deserializer = postcard::Deserializer::from_flavor(Reader(source));
    let value =
        T::deserialize(BoundedDeserializer::new(&mut deserializer, &bounds)).map_err(|error| match error
            .into_cause()
        {
            Cause::Said(text) => text,
            Cause::Format(error) => explain(&error),
        })?;
    match source.left() {
        0 => Ok(value),
        left => Err(format!(
            "{left} of {len} bytes are left over after the value; its type must read all that it writes"
        )),
    }
}

impl ser_flavors::Flavor for &Sink<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.push(byte).map_err(|Full| postcard::Error::SerializeBufferFull)
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.write(bytes).map_err(|Full| postcard::Error::SerializeBufferFull)
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// The format reads from what the wrapper around it reads from as well.
struct Reader<'de>(&'de Source<'de>);

impl<'de> de_flavors::Flavor<'de> for Reader<'de> {
    type Remainder = ();
    type Source = &'de [u8];

    #[inline]
    fn pop(&mut self) -> postcard::Result<u8> {
        self.0.array().map(|[byte]| byte).ok_or(postcard::Error::DeserializeUnexpectedEnd)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.0.left())
    }

    #[inline]
    fn try_take_n(&mut self, len: usize) -> postcard::Result<&'de [u8]> {
        self.0.lend(len).ok_or(postcard::Error::DeserializeUnexpectedEnd)
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
        Error::DeserializeUnexpectedEnd => END_INSIDE,
        Error::DeserializeBadVarint => "an integer or a length is out of range for its type",
        Error::DeserializeBadBool => NO_BOOL,
        Error::DeserializeBadChar => "a char is not one Unicode character",
        Error::DeserializeBadUtf8 => NO_TEXT,
        Error::DeserializeBadOption => "an option is neither absent nor present",
        Error::DeserializeBadEnum => "an enum's variant is out of range",
        other => return other.to_string().to_lowercase(),
    }
    .to_owned()
}

#[cfg(test)]
mod numbers;
#[cfg(test)]
mod test;
