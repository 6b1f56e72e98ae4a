//! Bodies that are too large for a ring, beside it.
//!
//! Their frames are in the ring. The bodies lie one behind the other in the order of the frames, so the reader knows
//! where each begins, and what the writer says is only how long it is. Whoever never sends such a body has no memory here.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::sys::map::SharedMap;

/// How many bytes were ever read, beside nothing else, then the bodies.
const READ_AT: usize = 0;
const BODIES_AT: usize = 64;

const WORDS: usize = 32 << 10;
const CAPACITY: u64 = 8 * WORDS as u64;

/// The size in shared memory.
pub(crate) const BULK_BYTES: usize = BODIES_AT + 8 * WORDS;

/// Larger bodies go through the socket.
pub(crate) const BODY_MAX: usize = 128 << 10;

/// One end: that of the writer or that of the reader.
#[derive(Debug)]
pub(super) struct Bulk {
    map: Arc<SharedMap>,
    at: usize,
    /// Bytes that this end has written or read, whole words.
    passed: u64,
    /// To the writer: what the reader was last seen to have read.
    read: u64,
    /// The memory can be used; nobody knows before somebody tries.
    there: Option<bool>,
    /// The writer would use it.
    wanted: bool,
}

impl Bulk {
    pub(super) fn new(map: Arc<SharedMap>, at: usize) -> Bulk {
        Bulk { map, at, passed: 0, read: 0, there: None, wanted: false }
    }

    /// Whether the writer can use it, which it would like to.
    pub(super) fn is_there(&mut self) -> bool {
        self.wanted |= self.there.is_none();
        self.there == Some(true)
    }

    /// Gets the memory that the writer would like to use. That is a call of the kernel.
    pub(super) fn extend(&mut self) {
        if std::mem::take(&mut self.wanted) {
            self.populate();
        }
    }

    fn populate(&mut self) -> bool {
        let (map, at) = (&self.map, self.at);
        *self.there.get_or_insert_with(|| map.populate(at, BULK_BYTES))
    }

    /// The place of the next body, in two parts where it goes on at the beginning.
    fn place(&self, words: usize) -> [&[std::sync::atomic::AtomicU64]; 2] {
        let all = self.map.words(self.at + BODIES_AT, WORDS);
        let start = (self.passed / 8) as usize % WORDS;
        let first = words.min(WORDS - start);
        [&all[start..start + first], &all[..words - first]]
    }

    /// Puts a body there, if there is room.
    pub(super) fn put(&mut self, body: &[u8]) -> bool {
        let words = body.len().div_ceil(8);
        if body.len() > BODY_MAX || !self.is_there() {
            return false;
        }
        if !self.has_room(words) {
            self.read = self.map.word(self.at + READ_AT).load(Acquire);
            if !self.has_room(words) {
                return false;
            }
        }
        let (whole, rest) = body.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        let places = self.place(words).into_iter().flatten();
        for (place, &bytes) in places.zip(whole.iter().chain([&last])) {
            place.store(u64::from_ne_bytes(bytes), Relaxed);
        }
        self.passed += 8 * words as u64;
        true
    }

    /// A reader that claims to have read what was not written has no room either.
    fn has_room(&self, words: usize) -> bool {
        let used = self.passed.wrapping_sub(self.read);
        used <= CAPACITY && CAPACITY - used >= 8 * words as u64
    }

    /// The next body, which has so many bytes. `None` if that is too many, or there is no memory.
    pub(super) fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        if len > BODY_MAX || !self.populate() {
            return None;
        }
        let words = len.div_ceil(8);
        let mut body = Vec::with_capacity(8 * words);
        for part in self.place(words) {
            SharedMap::append(part, &mut body);
        }
        body.truncate(len);
        self.passed += 8 * words as u64;
        self.map.word(self.at + READ_AT).store(self.passed, Release);
        Some(body)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::transport::bodies::body;

    fn ends() -> (Bulk, Bulk, Arc<SharedMap>) {
        let map = Arc::new(SharedMap::create(BULK_BYTES, 64).unwrap().0);
        let mut writer = Bulk::new(Arc::clone(&map), 0);
        assert!(!writer.put(b"early"), "nobody has asked for memory");
        writer.extend();
        (writer, Bulk::new(Arc::clone(&map), 0), map)
    }

    #[test]
    fn bodies_of_all_lengths_come_out_as_they_went_in_round_after_round() {
        let (mut writer, mut reader, _map) = ends();
        let rounds = if cfg!(miri) { 20 } else { 600 };
        for round in 0..rounds {
            let lengths = [round * 37 % 9000, round % 9, BODY_MAX.min(round * 997), 4096];
            for len in lengths {
                assert!(writer.put(body(round, len)), "there is room for {len}");
            }
            for len in lengths {
                assert_eq!(reader.take(len).unwrap(), body(round, len));
            }
        }
    }

    #[test]
    fn what_has_no_room_is_not_there() {
        let (mut writer, mut reader, map) = ends();
        assert!(!writer.put(&vec![1; BODY_MAX + 1]));
        assert!(writer.put(&vec![1; BODY_MAX]) && writer.put(&vec![2; BODY_MAX]) && !writer.put(&[3]));
        assert_eq!(reader.take(BODY_MAX + 1), None);
        assert_eq!(reader.take(BODY_MAX).unwrap(), vec![1; BODY_MAX]);
        assert!(writer.put(&[3]));
        for read in [8, CAPACITY, 1 << 63] {
            map.word(READ_AT).store(writer.passed.wrapping_add(read), Relaxed);
            writer.read = writer.passed.wrapping_add(read);
            assert!(!writer.put(&[4]), "{read} more than were written");
        }
    }
}
