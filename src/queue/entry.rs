//! An item as it lies in the queue: a word with its length and the number of its handles, if it has handles a word with
//! the number of the parcel that they come in, then its bytes, up to a whole word.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{GetError, PutError};
use crate::wire::attach::{self, HANDLES_MAX, Handles};
use crate::wire::codec::{self, EncodeError};

/// Bytes of an item, at most.
const LIMIT: usize = 1 << 30;

pub(super) const WORD: u64 = 8;
const HANDLES_SHIFT: u32 = 48;

/// The first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) len: u64,
    pub(super) handles: u64,
}

impl Head {
    pub(super) fn from_word(word: u64) -> Option<Head> {
        let head = Head { len: word & ((1 << HANDLES_SHIFT) - 1), handles: word >> HANDLES_SHIFT };
        (head.len <= LIMIT as u64 && head.handles <= HANDLES_MAX as u64).then_some(head)
    }

    fn to_word(self) -> u64 {
        self.handles << HANDLES_SHIFT | self.len
    }

    /// Where the bytes of the item begin.
    pub(super) fn before(self) -> u64 {
        if self.handles > 0 { 2 * WORD } else { WORD }
    }

    /// Bytes of the whole entry.
    pub(super) fn size(self) -> u64 {
        self.before() + self.len.next_multiple_of(WORD)
    }

    /// How many of these bytes are whole entries, from the first one on.
    pub(super) fn whole(bytes: &[u8]) -> usize {
        let mut end = 0;
        while let Some(word) = bytes[end..].first_chunk().copied() {
            match Head::from_word(u64::from_ne_bytes(word)) {
                Some(head) if head.size() <= (bytes.len() - end) as u64 => end += head.size() as usize,
                _ => break,
            }
        }
        end
    }
}

/// One that is to be put.
#[derive(Debug)]
pub(super) struct Entry {
    memory: Vec<u8>,
    /// Where it begins in its memory.
    start: usize,
    pub(super) handles: Handles,
}

impl Entry {
    pub(super) fn of<T: Serialize + ?Sized>(item: &T) -> Result<Entry, PutError> {
        const ROOM: usize = 2 * WORD as usize;
        let mut memory = Vec::with_capacity(64);
        memory.resize(ROOM, 0);
        let handles = codec::encode_attached(item, &mut memory, LIMIT).map_err(|error| match error {
            EncodeError::Refused(message) => PutError::Encode { message },
            EncodeError::TooLarge => PutError::TooLarge { size: codec::size(item), limit: LIMIT as u64 },
        })?;
        let head = Head { len: (memory.len() - ROOM) as u64, handles: handles.as_slice().len() as u64 };
        let start = ROOM - head.before() as usize;
        memory[start..start + WORD as usize].copy_from_slice(&head.to_word().to_ne_bytes());
        memory.resize(memory.len().next_multiple_of(WORD as usize), 0);
        Ok(Entry { memory, start, handles })
    }

    /// Its handles come in the parcel with this number.
    pub(super) fn set_parcel(&mut self, number: u64) {
        let at = self.start + WORD as usize;
        self.memory[at..at + WORD as usize].copy_from_slice(&number.to_ne_bytes());
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..]
    }
}

/// One that was got.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) bytes: Vec<u8>,
    pub(super) handles: Handles,
}

impl Item {
    pub(super) fn decode<T: DeserializeOwned>(self) -> Result<T, GetError> {
        let Item { bytes, handles } = self;
        attach::offer(handles, || codec::decode_owned(bytes)).map_err(|message| GetError::Decode { message })
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn an_entry_says_its_size_and_is_whole_words() {
        for text in ["", "1234567", "12345678", "a longer one"] {
            let entry = Entry::of(text).unwrap();
            let word: [u8; 8] = entry.bytes()[..8].try_into().unwrap();
            let head = Head::from_word(u64::from_ne_bytes(word)).unwrap();
            assert_eq!((head.size(), head.handles), (entry.bytes().len() as u64, 0));
            let bytes = entry.bytes()[8..][..head.len as usize].to_vec();
            assert_eq!(Item { bytes, handles: Handles::default() }.decode::<String>().unwrap(), text);
        }
    }

    #[test]
    fn of_many_entries_those_are_counted_that_are_whole() {
        let entries: Vec<Vec<u8>> =
            ["", "1234567", "a longer one"].map(|text| Entry::of(text).unwrap().bytes().to_vec()).into();
        let (all, two) = (entries.concat(), entries[..2].concat().len());
        assert_eq!(Head::whole(&all), all.len());
        for cut in two..all.len() {
            assert_eq!(Head::whole(&all[..cut]), two, "{cut}");
        }
        assert_eq!(Head::whole(&u64::MAX.to_ne_bytes()), 0);
    }

    #[test]
    fn what_cannot_be_a_head_is_none() {
        assert_eq!(Head::from_word(u64::MAX), None);
        assert_eq!(Head::from_word(LIMIT as u64 + 1), None);
        assert_eq!(Head::from_word(254 << HANDLES_SHIFT), None);
        let most = Head { len: LIMIT as u64, handles: 253 };
        assert_eq!(Head::from_word(most.to_word()), Some(most));
    }
}
