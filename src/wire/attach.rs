//! Handles inside values: descriptors that travel beside the bytes of the message that they are in.
//!
//! In the bytes a handle is a number, its place among the handles of the message. While a value is encoded, the handles
//! that it holds are collected; while it is decoded, those that came with it are on offer. Both are known to the thread
//! that does it, because a `Serialize` has nobody else to ask. Anywhere else a handle refuses to be encoded, so that it
//! is never written to a file as a number that means nothing.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the kernel carries with one message, at most.
pub(crate) const HANDLES_MAX: usize = 253;

/// A descriptor that can be part of a value. Clones share it; it is closed with the last of them.
#[derive(Clone, Debug)]
pub(crate) struct Handle(Arc<OwnedFd>);

impl Handle {
    pub(crate) fn new(fd: OwnedFd) -> Handle {
        Handle(Arc::new(fd))
    }

    /// The descriptor itself, if no other clone has it.
    pub(crate) fn into_own(self) -> Result<OwnedFd, Handle> {
        Arc::try_unwrap(self.0).map_err(Handle)
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Equal are clones of one another, and no others.
impl PartialEq for Handle {
    fn eq(&self, other: &Handle) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Handle {}

/// The handles of a message, which usually has none: a single pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Handles(Option<Box<Offer>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Offer {
    /// How many the message was sent with.
    announced: usize,
    /// Those that came, in their order.
    came: Vec<Handle>,
}

impl Handles {
    /// Those of a message that was sent with so many, of which these came. More than were announced are closed.
    pub(crate) fn arrived(announced: usize, fds: Vec<OwnedFd>) -> Handles {
        let came = fds.into_iter().take(announced).map(Handle::new).collect();
        Handles((announced > 0).then(|| Box::new(Offer { announced, came })))
    }

    /// Those of a value, all of them.
    pub(crate) fn of(came: Vec<Handle>) -> Handles {
        Handles((!came.is_empty()).then(|| Box::new(Offer { announced: came.len(), came })))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn as_slice(&self) -> &[Handle] {
        self.0.as_ref().map_or(&[], |offer| &offer.came)
    }

    fn get(&self, index: u32) -> Result<Handle, String> {
        let Some(offer) = &self.0 else {
            return Err("the value names a handle, and its message has none".to_owned());
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        match offer.came.get(index) {
            Some(handle) => Ok(handle.clone()),
            None if index < offer.announced => Err(format!(
                "{} of the {} handles of the value did not arrive: the process that receives them has no room for \
                 more open descriptors, or too many are on their way; raise its limit (RLIMIT_NOFILE), or send fewer \
                 at once",
                offer.announced - offer.came.len(),
                offer.announced
            )),
            None => Err(format!("the value names handle {index} of {}", offer.announced)),
        }
    }
}

/// Handles that are being collected.
#[derive(Default)]
struct Collected {
    handles: Vec<Handle>,
    /// There was no place for another. Remembered because a `Serialize` may lose the error.
    too_many: bool,
}

impl Collected {
    /// The place of a handle among them.
    fn add(&mut self, handle: &Handle) -> Result<u32, String> {
        if let Some(known) = self.handles.iter().position(|known| known == handle) {
            return Ok(known as u32);
        }
        if self.handles.len() == HANDLES_MAX {
            self.too_many = true;
            return Err(too_many());
        }
        self.handles.push(handle.clone());
        Ok(self.handles.len() as u32 - 1)
    }
}

thread_local! {
    /// How far the value has come that this thread encodes, if it encodes one. Most have no handles, and to find that out
    /// costs them a look at a plain number.
    static COLLECTING: Cell<Collecting> = const { Cell::new(Collecting::Off) };
    /// The handles of that value, if it has any.
    static COLLECTED: Cell<Option<Box<Collected>>> = const { Cell::new(None) };
    /// Whether any are on offer to the value that this thread decodes: most have none, and this costs them nothing.
    static OFFERING: Cell<bool> = const { Cell::new(false) };
    /// Those of the value that this thread decodes.
    static OFFERED: Cell<Option<Handles>> = const { Cell::new(None) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Collecting {
    Off,
    NoneSoFar,
    Some,
}

const NO_PLACE: &str = "a handle can only travel in an argument, a result or a message of procpool";

fn too_many() -> String {
    format!("the value holds more than {HANDLES_MAX} handles, and a message carries no more; send several")
}

/// Encodes a value by `encode`, and gives the handles that it holds, or says why they cannot be carried. A value that is
/// encoded inside of `encode` on its own account is another one, and has its own.
#[inline]
pub(crate) fn collect<R>(encode: impl FnOnce() -> R) -> (R, Result<Handles, String>) {
    let before = Before::new();
    let encoded = encode();
    let handles = match COLLECTING.get() {
        Collecting::Some => take_collected(),
        Collecting::Off | Collecting::NoneSoFar => Ok(Handles::default()),
    };
    drop(before);
    (encoded, handles)
}

/// What was being collected before, which is put back however `encode` ends.
struct Before {
    state: Collecting,
    collected: Option<Box<Collected>>,
}

impl Before {
    #[inline]
    fn new() -> Before {
        let state = COLLECTING.replace(Collecting::NoneSoFar);
        let collected = if state == Collecting::Some { put_collected(None) } else { None };
        Before { state, collected }
    }
}

impl Drop for Before {
    #[inline]
    fn drop(&mut self) {
        let state = COLLECTING.replace(self.state);
        if [state, self.state].contains(&Collecting::Some) {
            put_collected(self.collected.take());
        }
    }
}

/// A thread that ends has no place any more where handles are collected: then there are none.
#[cold]
fn put_collected(collected: Option<Box<Collected>>) -> Option<Box<Collected>> {
    COLLECTED.try_with(|place| place.replace(collected)).ok().flatten()
}

#[cold]
fn take_collected() -> Result<Handles, String> {
    match put_collected(None) {
        None => Ok(Handles::default()),
        Some(collected) if collected.too_many => Err(too_many()),
        Some(collected) => Ok(Handles::of(collected.handles)),
    }
}

/// Decodes a value by `decode`, while these handles are on offer. Those that it does not take are closed.
#[inline]
pub(crate) fn offer<R>(handles: Handles, decode: impl FnOnce() -> R) -> R {
    if handles.is_empty() && !OFFERING.try_with(Cell::get).unwrap_or(false) {
        return decode();
    }
    struct Before(Option<Handles>);
    impl Drop for Before {
        fn drop(&mut self) {
            put(self.0.take());
        }
    }
    fn put(handles: Option<Handles>) -> Option<Handles> {
        let _ = OFFERING.try_with(|offering| offering.set(handles.is_some()));
        OFFERED.try_with(|place| place.replace(handles)).ok().flatten()
    }
    let _before = Before(put(Some(handles)));
    decode()
}

impl Serialize for Handle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let add = |place: &Cell<Option<Box<Collected>>>| {
            // Nothing of the user's runs before they are back in their place.
            let mut collected = place.take();
            let index = collected.get_or_insert_default().add(self);
            place.set(collected);
            COLLECTING.set(Collecting::Some);
            index
        };
        let index = match COLLECTING.get() {
            Collecting::Off => None,
            Collecting::NoneSoFar | Collecting::Some => COLLECTED.try_with(add).ok(),
        };
        let index = index.unwrap_or_else(|| Err(NO_PLACE.to_owned()));
        serializer.serialize_u32(index.map_err(S::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Handle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Handle, D::Error> {
        let index = u32::deserialize(deserializer)?;
        let handle = OFFERED
            .try_with(|place| {
                // Nothing of the user's runs before they are back in their place.
                let offered = place.take();
                let handle = offered.as_ref().map_or_else(|| Err(NO_PLACE.to_owned()), |all| all.get(index));
                place.set(offered);
                handle
            })
            .unwrap_or_else(|_| Err(NO_PLACE.to_owned()));
        handle.map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod test {
    use std::fmt::Write;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::wire::codec::{self, EncodeError};

    fn handle() -> Handle {
        Handle::new(std::fs::File::open("/dev/null").unwrap().into())
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, EncodeError>) -> String {
        match result {
            Err(EncodeError::Refused(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_handle_is_a_number_in_the_bytes_and_the_same_one_is_the_same_number() {
        let (one, other) = (handle(), handle());
        let value = (one.clone(), "text", vec![other.clone(), one.clone()]);
        let mut bytes = Vec::new();
        let handles = codec::encode_attached(&value, &mut bytes, 1000).unwrap();
        assert_eq!(handles.as_slice(), [one.clone(), other.clone()]);
        assert_eq!(codec::size(&value), bytes.len() as u64);
        // To encode it again collects them again, and no more than that.
        let again = codec::encode_attached(&value, &mut Vec::new(), 1000).unwrap();
        assert_eq!(again, handles);
        let back: (Handle, String, Vec<Handle>) = offer(handles, || codec::decode(&bytes)).unwrap();
        assert_eq!(back, (one.clone(), "text".to_owned(), vec![other, one]));
    }

    #[test]
    fn outside_of_a_message_a_handle_is_refused_both_ways() {
        let mut bytes = Vec::new();
        assert!(refused(codec::encode(&handle(), &mut bytes, 1000)).contains("can only travel"));
        let error = codec::decode::<Handle>(&0_u32.to_ne_bytes()).unwrap_err();
        assert!(error.contains("can only travel"), "{error}");
    }

    #[test]
    fn a_number_without_its_handle_is_an_error_that_says_what_is_missing() {
        let decode = |announced, came: usize, index: u32| {
            let fds = (0..came).map(|_| handle().into_own().unwrap()).collect();
            let handles = Handles::arrived(announced, fds);
            offer(handles, || codec::decode::<Handle>(&index.to_ne_bytes()))
        };
        assert!(decode(2, 2, 1).is_ok());
        assert!(decode(2, 2, 2).unwrap_err().contains("handle 2 of 2"));
        assert!(decode(2, 2, u32::MAX).unwrap_err().contains("of 2"));
        assert!(decode(0, 3, 0).unwrap_err().contains("can only travel"), "what nobody announced is closed");
        let error = decode(8, 3, 3).unwrap_err();
        assert!(error.contains("5 of the 8") && error.contains("RLIMIT_NOFILE"), "{error}");
        assert!(decode(8, 3, 2).is_ok());
    }

    #[test]
    fn more_than_the_kernel_carries_is_refused_even_if_the_value_swallows_the_error() {
        struct Careless(Vec<Handle>);
        impl Serialize for Careless {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                for handle in &self.0 {
                    // A formatter is a serializer as well.
                    let _ = write!(String::new(), "{}", std::fmt::from_fn(|f| handle.serialize(f)));
                }
                serializer.serialize_unit()
            }
        }
        let many: Vec<Handle> = (0..HANDLES_MAX).map(|_| handle()).collect();
        assert!(codec::encode_attached(&many, &mut Vec::new(), 10_000).is_ok());
        let more = [many, vec![handle()]].concat();
        let mut bytes = vec![9];
        assert!(refused(codec::encode_attached(&more, &mut bytes, 10_000)).contains("more than 253"));
        assert_eq!(bytes, [9], "nothing of it stays");
        assert!(refused(codec::encode_attached(&Careless(more), &mut bytes, 10_000)).contains("253"));
        assert_eq!(bytes, [9]);
    }

    #[test]
    fn a_value_inside_of_a_value_has_its_own_handles_and_a_panic_leaves_none_behind() {
        struct Nested(Handle, Handle);
        impl Serialize for Nested {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let inner = codec::encode_attached(&self.1, &mut Vec::new(), 100).unwrap();
                assert_eq!(inner.as_slice(), std::slice::from_ref(&self.1));
                self.0.serialize(serializer)
            }
        }
        struct Panics(Handle);
        impl Serialize for Panics {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer).map(|_| panic!("as it likes"))
            }
        }
        let (one, other) = (handle(), handle());
        let nested = Nested(one.clone(), other);
        let handles = codec::encode_attached(&nested, &mut Vec::new(), 100).unwrap();
        assert_eq!(handles.as_slice(), std::slice::from_ref(&one));
        drop((handles, nested));
        let panics = Panics(one);
        let encode = || codec::encode_attached(&panics, &mut Vec::new(), 100).map(drop);
        assert!(catch_unwind(AssertUnwindSafe(encode)).is_err());
        assert!(refused(codec::encode(&panics.0, &mut Vec::new(), 100)).contains("can only travel"));
        assert!(panics.0.into_own().is_ok(), "nobody else has it");
    }
}
