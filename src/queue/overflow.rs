//! What lies behind the ring, in a file, and how it gets into the ring again.
//!
//! A call of the kernel for each item in the file would make the consumers the slower side, and the file would not be
//! empty again for a long time. So who gets moves many at once into the ring when that is empty. That changes two words;
//! they are written down beforehand, and whoever finds the lock without its holder brings it to its end.

use std::io;
use std::os::fd::AsFd;

use super::entry::{Head, WORD};
use super::store::{SPILL_HEAD, SPILL_TAIL, Store, TAIL};
use crate::primitive::MODELLED;
use crate::sync::kernel::spill;

/// What `TAIL` and `SPILL_HEAD` are to be when items have been moved from the file into the ring, and that they have been.
const MOVED_TAIL: usize = 10;
const MOVED_HEAD: usize = 11;
const MOVED: usize = 12;

/// After so many bytes the memory of the file behind the ring is given back.
const GIVE_BACK: u64 = 1 << 20;

/// So many bytes are moved from the file into the ring at once, at most. What is larger than a part of them is taken from
/// the file.
const MOVE: u64 = if MODELLED { 64 } else { 64 << 10 };
const LARGE: u64 = MOVE / 4;

impl Store {
    pub(super) fn spill_word(&self, at: u64) -> Option<u64> {
        let mut word = [0; WORD as usize];
        spill::read(self.file.as_fd(), at, &mut word).ok()?;
        Some(u64::from_ne_bytes(word))
    }

    /// Moves the next entries from the file into the ring, which is empty: `false` if they are too large for it.
    pub(super) fn move_many(&self, begin: u64, there: u64) -> io::Result<bool> {
        let is_small = |head: &Head| head.size() <= LARGE;
        if self.spill_word(begin).and_then(Head::from_word).filter(is_small).is_none() {
            return Ok(false);
        }
        let mut bytes = vec![0; there.min(MOVE) as usize];
        spill::read(self.file.as_fd(), begin, &mut bytes)?;
        let size = Head::whole(&bytes);
        let tail = self.get(TAIL);
        self.ring_write(tail, &bytes[..size]);
        self.set(MOVED_TAIL, tail.wrapping_add(size as u64));
        self.set(MOVED_HEAD, begin + size as u64);
        self.set(MOVED, 1);
        self.end_move();
        self.give_back(begin, begin + size as u64);
        Ok(size > 0)
    }

    pub(super) fn end_move(&self) {
        if self.get(MOVED) != 0 {
            self.set(TAIL, self.get(MOVED_TAIL));
            self.set(SPILL_HEAD, self.get(MOVED_HEAD));
            self.set(MOVED, 0);
        }
    }

    /// Gives back the memory of what was taken from behind the ring, not for each item.
    pub(super) fn give_back(&self, from: u64, to: u64) {
        let is_empty = to >= self.get(SPILL_TAIL);
        if is_empty || from / GIVE_BACK != to / GIVE_BACK {
            let end = if is_empty { to.next_multiple_of(GIVE_BACK) } else { to / GIVE_BACK * GIVE_BACK };
            spill::discard(self.file.as_fd(), from / GIVE_BACK * GIVE_BACK, end);
        }
    }
}
