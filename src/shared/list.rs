//! A list of a few kinds of values, which several processes read and change.

use std::fmt;
use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

use serde::{Deserialize, Serialize};

use super::memory::SharedMemory;
use super::value::Shared;
use crate::sync::{Lock, LockError};

/// What an element of a [`ShareableList`] can be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ShareableItem {
    /// Nothing.
    #[default]
    None,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A list whose length is fixed, and whose elements all processes that have it can read and replace. Python's
/// `ShareableList`, without a name, and without elements that are half one value and half another.
///
/// An element has the room of its first value, in whole words of eight bytes and at least one: any number fits in any
/// place, and a text or bytes where there were at least as many. Readers never wait, and see an element as it was before
/// a change or as it is after it. Writers take turns; one that dies in the middle of a change has not made it.
///
/// It travels in arguments, results and messages; a clone is the same list. The memory is gone with its last user.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, ShareableItem, ShareableList, task};
///
/// #[task]
/// fn rename(list: ShareableList) -> Result<(), String> {
///     list.set(0, "Grace").map_err(|error| error.to_string())
/// }
///
/// let list = ShareableList::new([ShareableItem::from("Ada     "), 7.into(), 0.5.into(), ShareableItem::None])?;
/// let pool = ProcessPoolExecutor::new()?;
/// pool.submit(rename, list.clone()).result()??;
/// assert_eq!(list.get(0)?, ShareableItem::from("Grace"));
/// assert_eq!((list.len(), list.index_of(&7.into())), (4, Some(1)));
/// assert!(list.set(0, "a name of more than eight bytes").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct ShareableList {
    /// Where the places of the elements begin, in words, and where the last one ends. Nobody can change that.
    layout: Shared<[u64]>,
    /// For each place: how often it was changed, then twice the room for a value. After an even number of changes the
    /// first one counts, after an odd number the second.
    memory: SharedMemory,
    /// Held while a place is changed.
    lock: Lock,
}

/// Words of a place before its two values.
const HEAD: usize = 1;

/// One word before the bytes of a value says what it is, and how many bytes there are.
const KIND_BITS: u32 = 8;

impl ShareableItem {
    /// A number for the kind, and the bytes.
    fn encode(&self) -> (u64, Vec<u8>) {
        match self {
            ShareableItem::None => (0, Vec::new()),
            ShareableItem::Bool(value) => (1, vec![u8::from(*value)]),
            ShareableItem::Int(value) => (2, value.to_ne_bytes().to_vec()),
            ShareableItem::Float(value) => (3, value.to_ne_bytes().to_vec()),
            ShareableItem::Text(value) => (4, value.as_bytes().to_vec()),
            ShareableItem::Bytes(value) => (5, value.clone()),
        }
    }

    fn decode(kind: u64, bytes: Vec<u8>) -> Option<ShareableItem> {
        Some(match (kind, &bytes[..]) {
            (0, []) => ShareableItem::None,
            (1, [value @ (0 | 1)]) => ShareableItem::Bool(*value == 1),
            (2, value) => ShareableItem::Int(i64::from_ne_bytes(value.try_into().ok()?)),
            (3, value) => ShareableItem::Float(f64::from_ne_bytes(value.try_into().ok()?)),
            (4, _) => ShareableItem::Text(String::from_utf8(bytes).ok()?),
            (5, _) => ShareableItem::Bytes(bytes),
            _ => return None,
        })
    }
}

/// Words of a value of so many bytes.
fn words(len: usize) -> usize {
    1 + len.div_ceil(8).max(1)
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// What the processes share makes no sense.
fn damaged() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the list is damaged: a process has written to its memory by mistake",
    )
}

impl ShareableList {
    /// A new list of these elements.
    ///
    /// # Errors
    ///
    /// If the system has no memory or no descriptors for it.
    pub fn new<I>(items: I) -> io::Result<ShareableList>
    where
        I: IntoIterator,
        I::Item: Into<ShareableItem>,
    {
        let items: Vec<ShareableItem> = items.into_iter().map(Into::into).collect();
        let mut layout = vec![0];
        let mut end = 0;
        for item in &items {
            end += HEAD + 2 * words(item.encode().1.len());
            layout.push(end as u64);
        }
        let memory = SharedMemory::create(8 * end)?;
        let list = ShareableList { layout: Shared::from_slice(&layout)?, memory, lock: Lock::new()? };
        for (index, item) in items.into_iter().enumerate() {
            list.write(index, &item)?;
        }
        Ok(list)
    }

    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.layout.len().saturating_sub(1)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the text or the bytes at this place may have; `None` if there is no such place.
    pub fn capacity(&self, index: usize) -> Option<usize> {
        self.place(index).ok().map(|place| 8 * (room(place) - 1))
    }

    /// An element.
    ///
    /// # Errors
    ///
    /// If there are not so many.
    pub fn get(&self, index: usize) -> io::Result<ShareableItem> {
        let place = self.place(index)?;
        let (changes, _) = place.split_first().ok_or_else(damaged)?;
        loop {
            let before = changes.load(Acquire);
            let read = read(value(place, before));
            // What was read before this is older than the number that is read after it.
            fence(Acquire);
            if changes.load(Relaxed) == before {
                let (kind, bytes) = read.ok_or_else(damaged)?;
                return ShareableItem::decode(kind, bytes).ok_or_else(damaged);
            }
        }
    }

    /// Replaces an element.
    ///
    /// # Errors
    ///
    /// If there are not so many, or if its place has no room for so many bytes. Then nothing is changed.
    pub fn set(&self, index: usize, item: impl Into<ShareableItem>) -> io::Result<()> {
        let item = item.into();
        let _alone = match self.lock.lock() {
            Ok(guard) => guard,
            // Who died has not made his change, and has left nothing half done.
            Err(LockError::OwnerDied(died)) => died.repaired(),
            Err(LockError::NotTaken(error)) => return Err(io::Error::other(error)),
        };
        self.write(index, &item)
    }

    /// Writes a value to where nobody reads, then makes it the one that counts.
    fn write(&self, index: usize, item: &ShareableItem) -> io::Result<()> {
        let place = self.place(index)?;
        let (kind, bytes) = item.encode();
        if words(bytes.len()) > room(place) {
            return Err(invalid(format!(
                "{} bytes do not fit into place {index}, which has room for {}",
                bytes.len(),
                8 * (room(place) - 1)
            )));
        }
        let changes = place.first().ok_or_else(damaged)?;
        let after = changes.load(Relaxed).wrapping_add(1);
        let (head, body) = value(place, after).split_first().ok_or_else(damaged)?;
        // Who reads any of what follows sees that the value which was here before does not count any more.
        fence(Release);
        head.store((bytes.len() as u64) << KIND_BITS | kind, Relaxed);
        for (word, bytes) in body.iter().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(whole), Relaxed);
        }
        changes.store(after, Release);
        Ok(())
    }

    /// The words of a place.
    fn place(&self, index: usize) -> io::Result<&[AtomicU64]> {
        let (Some(&from), Some(&to)) = (self.layout.get(index), self.layout.get(index.saturating_add(1)))
        else {
            return Err(invalid(format!("there is no place {index} in a list of {}", self.len())));
        };
        let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
        let place = range.and_then(|(from, to)| self.memory.words().get(from..to));
        place.filter(|place| place.len() >= HEAD + 2 * words(0)).ok_or_else(damaged)
    }

    /// The place of the first element that equals this one. Python's `index`.
    pub fn index_of(&self, item: &ShareableItem) -> Option<usize> {
        (0..self.len()).find(|&index| self.get(index).is_ok_and(|other| other == *item))
    }

    /// How many elements equal this one.
    pub fn count(&self, item: &ShareableItem) -> usize {
        (0..self.len()).filter(|&index| self.get(index).is_ok_and(|other| other == *item)).count()
    }

    /// All elements, each as it is when it is read.
    ///
    /// # Errors
    ///
    /// If a process has damaged the list.
    pub fn to_vec(&self) -> io::Result<Vec<ShareableItem>> {
        (0..self.len()).map(|index| self.get(index)).collect()
    }
}

/// Words for a value in a place.
fn room(place: &[AtomicU64]) -> usize {
    (place.len() - HEAD) / 2
}

/// The value that counts after so many changes.
fn value(place: &[AtomicU64], changes: u64) -> &[AtomicU64] {
    let (one, other) = place[HEAD..].split_at(room(place));
    if changes.is_multiple_of(2) { one } else { other }
}

/// The kind and the bytes of a value that may be changing; `None` if it cannot be one.
fn read(value: &[AtomicU64]) -> Option<(u64, Vec<u8>)> {
    let (head, body) = value.split_first()?;
    let head = head.load(Relaxed);
    let len = usize::try_from(head >> KIND_BITS).ok()?;
    if len > 8 * body.len() {
        return None;
    }
    let mut bytes = Vec::with_capacity(len.next_multiple_of(8));
    for word in &body[..len.div_ceil(8)] {
        bytes.extend_from_slice(&word.load(Relaxed).to_ne_bytes());
    }
    bytes.truncate(len);
    Some((head & ((1 << KIND_BITS) - 1), bytes))
}

macro_rules! items {
    ($($type:ty => $variant:ident)*) => {$(
        impl From<$type> for ShareableItem {
            fn from(value: $type) -> ShareableItem {
                ShareableItem::$variant(value.into())
            }
        }
    )*};
}

items! {
    bool => Bool
    i64 => Int i32 => Int i16 => Int i8 => Int u32 => Int u16 => Int u8 => Int
    f64 => Float f32 => Float
    &str => Text String => Text
    &[u8] => Bytes Vec<u8> => Bytes
}

impl<T: Into<ShareableItem>> From<Option<T>> for ShareableItem {
    fn from(value: Option<T>) -> ShareableItem {
        value.map_or(ShareableItem::None, Into::into)
    }
}

impl fmt::Debug for ShareableList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..self.len()).map(|index| self.get(index))).finish()
    }
}
