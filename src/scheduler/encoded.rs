//! Encoded values that wait: arguments for a worker, results for their caller.

use std::ops::Deref;

use serde::de::DeserializeOwned;

use crate::sys::plain;
use crate::sys::spare::Reusable;
use crate::transport::Message;
use crate::wire::attach::{Handle, Handles};
use crate::wire::codec;

use super::verdict;
use crate::error::TaskError;

/// One value. Few bytes take no memory of their own. It is three words, and each task that waits has one: so what is not
/// few is a pointer, with its length at the most.
#[derive(Debug)]
pub(crate) enum Encoded {
    Few {
        len: u8,
        bytes: [u8; FEW],
    },
    Many(Box<[u8]>),
    /// So many that their memory is not moved to be no longer than they are.
    Large {
        bytes: Box<Reusable>,
        /// It is a vector of bytes, or a text, that is its own memory: its lead is left out.
        whole: bool,
    },
    /// It holds handles.
    Attached(Box<Message>),
}

const FEW: usize = 22;
const LARGE: usize = 64 << 10;

impl Default for Encoded {
    fn default() -> Encoded {
        Encoded::Few { len: 0, bytes: [0; FEW] }
    }
}

impl Encoded {
    pub(crate) fn copy(bytes: &[u8]) -> Encoded {
        let mut few = [0; FEW];
        match few.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Encoded::Few { len: bytes.len() as u8, bytes: few }
            }
            None => Encoded::Many(bytes.into()),
        }
    }

    /// Takes the bytes, or copies them if they are few and leaves the memory.
    pub(crate) fn take(encoded: &mut Vec<u8>, handles: Handles) -> Encoded {
        if !handles.is_empty() {
            return Encoded::Attached(Box::new(Message { bytes: std::mem::take(encoded), handles }));
        }
        if encoded.len() > LARGE {
            return Encoded::large(std::mem::take(encoded));
        }
        if encoded.len() > FEW {
            return Encoded::Many(std::mem::take(encoded).into());
        }
        let few = Encoded::copy(encoded);
        encoded.clear();
        few
    }

    /// Memory that stays as it is.
    pub(super) fn large(bytes: Vec<u8>) -> Encoded {
        Encoded::Large { bytes: Box::new(Reusable::new(bytes)), whole: false }
    }

    /// A vector of bytes, or a text, without its lead.
    pub(crate) fn whole(bytes: Vec<u8>) -> Encoded {
        Encoded::Large { bytes: Box::new(Reusable::new(bytes)), whole: true }
    }

    pub(crate) fn handles(&self) -> &[Handle] {
        match self {
            Encoded::Attached(message) => message.handles.as_slice(),
            Encoded::Few { .. } | Encoded::Many(_) | Encoded::Large { .. } => &[],
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Encoded::Large { whole: true, .. })
    }

    /// It holds handles.
    pub(crate) fn is_attached(&self) -> bool {
        matches!(self, Encoded::Attached(_))
    }

    /// The result of a task. Decoding it is the user's code.
    pub(crate) fn decode<T: DeserializeOwned>(&self, task: &'static str) -> Result<T, TaskError> {
        let handles = match self {
            Encoded::Attached(message) => message.handles.clone(),
            Encoded::Large { bytes, whole: true } => return decode_whole(task, bytes.to_vec()),
            Encoded::Few { .. } | Encoded::Many(_) | Encoded::Large { .. } => Handles::default(),
        };
        verdict::decoded(task, handles, || codec::decode(self))
    }

    /// The same, and its memory may become that of the value.
    pub(crate) fn decode_owned<T: DeserializeOwned>(self, task: &'static str) -> Result<T, TaskError> {
        let (bytes, handles) = match self {
            Encoded::Few { .. } => {
                return plain::number_of(&self).map_or_else(|| self.decode(task), Ok);
            }
            Encoded::Many(bytes) => (bytes.into_vec(), Handles::default()),
            Encoded::Large { bytes, whole: true } => return decode_whole(task, bytes.into_vec()),
            Encoded::Large { bytes, whole: false } => (bytes.into_vec(), Handles::default()),
            Encoded::Attached(message) => (message.bytes, message.handles),
        };
        verdict::decoded(task, handles, || codec::decode_owned(bytes))
    }
}

fn decode_whole<T: DeserializeOwned>(task: &'static str, bytes: Vec<u8>) -> Result<T, TaskError> {
    verdict::decoded(task, Handles::default(), || codec::decode_borrowed(&codec::whole(bytes).source()))
}

/// The bytes of the value, without the lead of one that is its own memory.
impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Encoded::Few { len, bytes } => &bytes[..usize::from(*len)],
            Encoded::Many(bytes) => bytes,
            Encoded::Large { bytes, .. } => bytes,
            Encoded::Attached(message) => &message.bytes,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::scheduler::slot::Slot;

    #[test]
    fn what_waits_for_each_task_stays_small() {
        assert_eq!(size_of::<Encoded>(), 3 * size_of::<usize>());
        // With the two counts of its `Arc` and the word of an allocator it is 80 bytes, of which a step is 16.
        assert!(size_of::<Slot>() <= 56);
    }
}
