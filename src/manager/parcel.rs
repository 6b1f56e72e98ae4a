//! An encoded value of whatever type, with the handles that it holds: so it can be kept, and given on, by who does not
//! know the type.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{CodecSide, Ran, TaskError, TaskErrorKind, What};
use crate::task::guarded;
use crate::transport::Message;
use crate::wire::attach::{self, Handle, Handles};
use crate::wire::codec::{self, EncodeError};

/// The bytes that arguments and results may have.
pub(super) const LIMIT: usize = 1 << 30;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(super) bytes: Vec<u8>,
    pub(super) handles: Handles,
}

impl Parcel {
    /// Of an argument of this task. To encode it is the user's code.
    pub(super) fn of<T: Serialize + ?Sized>(task: &'static str, value: &T) -> Result<Parcel, TaskError> {
        let failed = |kind| TaskError::new(task, Ran::No, kind);
        let refused =
            |message| failed(TaskErrorKind::Codec { what: What::Args, side: CodecSide::Encode, message });
        let mut bytes = Vec::new();
        match guarded(|| codec::encode_attached(value, &mut bytes, LIMIT)) {
            Ok(Ok(handles)) => Ok(Parcel { bytes, handles }),
            Ok(Err(EncodeError::Refused(message))) => Err(refused(message)),
            Ok(Err(EncodeError::TooLarge)) => {
                let (what, size, limit) = (What::Args, codec::size(value), LIMIT as u64);
                Err(failed(TaskErrorKind::TooLarge { what, size, limit }))
            }
            Err(payload) => Err(refused(payload.while_doing("encoding the arguments"))),
        }
    }

    /// Of a key, by which others are compared: what is beside the bytes of it would not be.
    pub(super) fn of_key<T: Serialize + ?Sized>(task: &'static str, key: &T) -> Result<Parcel, TaskError> {
        let parcel = Parcel::of(task, key)?;
        if parcel.handles.is_empty() {
            return Ok(parcel);
        }
        let (what, side) = (What::Args, CodecSide::Encode);
        let message = "a key cannot hold proxies or descriptors; put them into the value".to_owned();
        Err(TaskError::new(task, Ran::No, TaskErrorKind::Codec { what, side, message }))
    }

    /// The value.
    pub(super) fn open<T: DeserializeOwned>(self) -> Result<T, String> {
        let Parcel { bytes, handles } = self;
        attach::offer(handles, || codec::decode_owned(bytes))
    }
}

impl From<Message> for Parcel {
    fn from(Message { bytes, handles }: Message) -> Parcel {
        Parcel { bytes, handles }
    }
}

impl Serialize for Parcel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.bytes, self.handles.as_slice()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Parcel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Parcel, D::Error> {
        let (bytes, handles) = <(Vec<u8>, Vec<Handle>)>::deserialize(deserializer)?;
        Ok(Parcel { bytes, handles: Handles::of(handles) })
    }
}
