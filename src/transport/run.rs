//! Calls from number to number, one after the other: what each of them changes on the page, and nothing else.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::primitive::AtomicBool;

/// The next calls of a task, and where their results are left.
#[derive(Debug)]
pub(crate) struct Run<'w> {
    /// Which call is the next to begin.
    pub(super) next: &'w AtomicU64,
    pub(super) expected: u64,
    /// Whose results were left.
    pub(super) left: &'w AtomicU64,
    pub(super) told: u64,
    /// Where the results are left, from the one on that the next number is in.
    pub(super) places: &'w [AtomicU64],
    /// Bytes of those places that are in use, and the last word of them if it is not full.
    pub(super) used: usize,
    pub(super) word: u64,
    /// No other call is to begin.
    pub(super) over: &'w AtomicBool,
}

impl Run<'_> {
    /// Takes up the next call. If that fails, it and all that follow are not to begin here.
    #[inline]
    pub(crate) fn take(&mut self) -> bool {
        let (seen, next) = (self.expected, self.expected + 1);
        self.expected = next;
        !self.over.load(Relaxed) && self.next.compare_exchange(seen, next, AcqRel, Acquire).is_ok()
    }

    /// Leaves the result of the call that was taken up: the bytes of a number, which are a power of two.
    #[inline]
    pub(crate) fn leave(&mut self, number: &[u8]) {
        for part in number.chunks(8) {
            let inside = self.used % 8;
            self.word |= widened(part) << shift(inside, part.len());
            self.places[self.used / 8].store(self.word, Relaxed);
            self.used += part.len();
            if inside + part.len() == 8 {
                self.word = 0;
            }
        }
        self.told += number.len() as u64;
        self.left.store(self.told, Release);
    }
}

/// Bytes as the low ones of a word.
#[inline]
fn widened(part: &[u8]) -> u64 {
    let mut word = [0; 8];
    let at = if cfg!(target_endian = "little") { 0 } else { 8 - part.len() };
    word[at..at + part.len()].copy_from_slice(part);
    u64::from_ne_bytes(word)
}

/// By how many bits the low bytes of a word are moved to lie behind so many others.
#[inline]
const fn shift(before: usize, len: usize) -> u32 {
    let bytes = if cfg!(target_endian = "little") { before } else { 8 - before - len };
    8 * bytes as u32
}
