//! Which calls of a task have begun, and what of them is taken back.
//!
//! The worker takes up call by call in one word of the page, [`Words::next`], by compare-and-swap; the parent sets
//! [`STOP`] there, and takes back what has not begun. So a call that is taken up is never taken back.
//!
//! A run of many short calls would be slower by half for that. While one is on, the worker only stores how many have begun
//! in [`Words::running`], and then looks whether it is to stop. The parent sets [`STOP`], makes a barrier for the memory of
//! all (`sys/barrier.rs`), and then reads how many have begun. Either the worker sees that it is to stop before it
//! begins with the call that it has just stored, or the parent sees that it was stored. Where both is so, the one of them
//! who says first in [`Words::cut`] how many calls have begun is right. Without such a barrier each call is
//! taken up as any other.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU64, compiler_fence};

use crate::primitive::{AtomicBool, interleave};
use crate::sys::barrier;
use crate::sys::own_pid::own_pid;

/// Of calls that go together there are fewer than this.
pub(crate) const CALLS_MAX: u32 = 1 << 20;

/// No further call is to begin.
const STOP: u64 = CALLS_MAX as u64;
/// A run is on, which began with the call that the word says.
const RUNNING: u64 = STOP << 1;
const CALL_BITS: u32 = RUNNING.trailing_zeros() + 1;

/// A word that changes more often than this while it is looked at is that of a worker that has gone wrong.
const TRIES: u32 = 1000;

/// The calls of a task, the first so many of which have begun.
fn calls(seq: u64, begun: u32) -> u64 {
    seq << CALL_BITS | u64::from(begun)
}

fn count(word: u64) -> u32 {
    (word & (STOP - 1)) as u32
}

/// What the page says of calls that go together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'w> {
    /// The task, how many of its calls have begun, and [`STOP`] and [`RUNNING`].
    pub(super) next: &'w AtomicU64,
    /// During a run, the task and how many of its calls have begun, unless [`Words::cut`] says otherwise.
    pub(super) running: &'w AtomicU64,
    /// One more than the number of calls that have begun of a task that was stopped during a run, of each task its own.
    pub(super) cut: &'w AtomicU64,
}

impl Words<'_> {
    /// The first call of a task is the next to begin.
    pub(super) fn start(&self, seq: u64) {
        self.next.store(calls(seq, 0), Release);
    }

    /// The worker takes up the next call. If that fails, it and all that follow were taken back.
    #[inline]
    pub(super) fn take(&self, seq: u64, call: u32) -> bool {
        interleave();
        let next = calls(seq, call);
        self.next.compare_exchange(next, next + 1, AcqRel, Acquire).is_ok()
    }

    /// The parent takes back what has not begun. Says how many have; `None` if the worker is not at this task, or they were
    /// taken back before.
    pub(super) fn stop(&self, seq: u64) -> Option<u32> {
        let mut is_fenced = false;
        let mut next = self.next.load(Acquire);
        for _ in 0..TRIES {
            interleave();
            if next >> CALL_BITS != seq || next & STOP != 0 {
                return None;
            }
            // A parent that has lost the right to make barriers since it has said that it can leaves a run alone.
            is_fenced |= next & RUNNING != 0 && barrier::everywhere();
            if next & RUNNING != 0 && !is_fenced {
                return None;
            }
            match self.next.compare_exchange(next, next | STOP, AcqRel, Acquire) {
                Ok(_) => return Some(self.stopped(next)),
                Err(now) => next = now,
            }
        }
        None
    }

    /// How many calls had begun when the worker was told to stop, which was at this.
    fn stopped(&self, next: u64) -> u32 {
        if next & RUNNING == 0 {
            return count(next);
        }
        barrier::everywhere();
        interleave();
        let begun = count(self.running.load(Acquire));
        self.settle(begun).err().unwrap_or(begun)
    }

    /// A run was stopped when so many calls had begun, or as many as the other side has said before.
    fn settle(&self, begun: u32) -> Result<(), u32> {
        interleave();
        let settled = self.cut.compare_exchange(0, u64::from(begun) + 1, AcqRel, Acquire);
        settled.map(drop).map_err(|cut| count(cut.saturating_sub(1)))
    }

    /// How many calls of this task have begun, if it was begun.
    pub(super) fn begun(&self, seq: u64) -> Option<u32> {
        let mut next = self.next.load(Acquire);
        for _ in 0..TRIES {
            if next >> CALL_BITS != seq {
                return None;
            }
            if next & RUNNING == 0 {
                return Some(count(next));
            }
            interleave();
            let cut = if next & STOP == 0 { 0 } else { self.cut.load(Acquire) };
            let running = self.running.load(Acquire);
            if cut > 0 || running >> CALL_BITS == seq {
                return Some(if cut > 0 { count(cut - 1) } else { count(running) });
            }
            // The worker has gone on to another task meanwhile.
            next = self.next.load(Acquire);
        }
        None
    }

    /// The task that the worker is at, or was at last.
    pub(super) fn task(&self) -> u64 {
        self.next.load(Acquire) >> CALL_BITS
    }
}

/// Calls from number to number, one after the other: what each of them changes on the page, and nothing else.
#[derive(Debug)]
pub(crate) struct Run<'w> {
    pub(super) words: Words<'w>,
    pub(super) results: Results<'w>,
    seq: u64,
    /// The call that it began with, and the next one.
    first: u32,
    next: u32,
    /// The parent makes the barriers.
    is_fenced: bool,
    /// The process that it is of.
    pid: u32,
    /// No other call is to begin.
    over: &'w AtomicBool,
}

impl<'w> Run<'w> {
    /// `None` if calls were taken back.
    pub(super) fn begin(
        words: Words<'w>,
        results: Results<'w>,
        (seq, first): (u64, u32),
        is_fenced: bool,
        over: &'w AtomicBool,
    ) -> Option<Run<'w>> {
        if is_fenced {
            let next = calls(seq, first);
            words.running.store(next, Relaxed);
            words.next.compare_exchange(next, next | RUNNING, AcqRel, Acquire).ok()?;
        }
        Some(Run { words, results, seq, first, next: first, is_fenced, pid: own_pid(), over })
    }

    /// Takes up the next call. If that fails, it and all that follow are not to begin here.
    #[inline]
    pub(crate) fn take(&mut self) -> bool {
        if self.over.load(Relaxed) {
            return false;
        }
        let call = self.next;
        interleave();
        let taken = match self.is_fenced {
            false => self.words.take(self.seq, call),
            true => {
                self.words.running.store(calls(self.seq, call + 1), Release);
                compiler_fence(SeqCst);
                interleave();
                self.words.next.load(Acquire) & STOP == 0 || self.is_before_stop(call)
            }
        };
        self.next += u32::from(taken);
        taken
    }

    #[cold]
    fn is_before_stop(&self, call: u32) -> bool {
        self.words.settle(call).is_err_and(|begun| call < begun)
    }

    /// Leaves the result of the call that was taken up: the bytes of a number, which are a power of two.
    #[inline]
    pub(crate) fn leave(&mut self, number: &[u8]) {
        self.results.leave(number);
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        // What a copy of the worker does, made by `fork`, changes nothing.
        if self.is_fenced && self.pid == own_pid() {
            interleave();
            let running = calls(self.seq, self.first) | RUNNING;
            let ended = calls(self.seq, self.next);
            if self.words.next.compare_exchange(running, ended, AcqRel, Acquire).is_err() {
                let _ = self.words.settle(self.next);
            }
        }
    }
}

/// Where results are left, and the next numbers lie behind them.
#[derive(Debug)]
pub(super) struct Results<'w> {
    /// Whose results were left.
    pub(super) left: &'w AtomicU64,
    pub(super) told: u64,
    /// The place that the next number is in, and those behind it.
    pub(super) places: &'w [AtomicU64],
    /// Bytes of those places that are in use, and the last word of them if it is not full.
    pub(super) used: usize,
    pub(super) word: u64,
}

impl Results<'_> {
    #[inline]
    fn leave(&mut self, number: &[u8]) {
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

#[cfg(test)]
mod test {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;

    use super::*;
    use crate::primitive::thread;

    /// A page of its own.
    #[derive(Debug, Default)]
    struct Memory {
        next: AtomicU64,
        running: AtomicU64,
        cuts: [AtomicU64; 2],
        left: AtomicU64,
        places: [AtomicU64; 32],
        ran: AtomicU32,
    }

    impl Memory {
        fn words(&self, seq: u64) -> Words<'_> {
            Words { next: &self.next, running: &self.running, cut: &self.cuts[seq as usize % 2] }
        }

        fn results(&self) -> Results<'_> {
            Results { left: &self.left, told: 0, places: &self.places, used: 0, word: 0 }
        }
    }

    /// A worker makes calls in runs and one by one, and then those of another task, and the parent takes back what has not
    /// begun of the first. All that begin run, and nothing else does.
    fn taken_back_or_run(runs: &[u32], is_fenced: bool) {
        let memory = Arc::new(Memory::default());
        memory.words(7).start(7);
        let (worker, lengths) = (Arc::clone(&memory), runs.to_vec());
        let worker = thread::spawn(move || {
            let (words, over) = (worker.words(7), AtomicBool::new(false));
            let ran = || worker.ran.load(Relaxed);
            for length in lengths {
                let run = Run::begin(words, worker.results(), (7, ran()), is_fenced, &over);
                let taken = run.is_some_and(|mut run| {
                    (0..length).all(|_| {
                        let taken = run.take();
                        worker.ran.fetch_add(u32::from(taken), Relaxed);
                        taken
                    })
                });
                if !taken || !words.take(7, ran()) {
                    break;
                }
                worker.ran.fetch_add(1, Relaxed);
            }
            let words = worker.words(8);
            words.start(8);
            let mut run =
                Run::begin(words, worker.results(), (8, 0), is_fenced, &over).expect("nobody stops it");
            assert!((0..50).all(|_| run.take()));
        });
        let words = memory.words(7);
        let seen = words.begun(7);
        let stopped = words.stop(7);
        let after = words.begun(7);
        worker.join().unwrap();
        let ran = memory.ran.load(Relaxed);
        let (all, next) = (runs.iter().map(|length| length + 1).sum(), memory.words(8));
        assert!(seen.is_none_or(|seen| seen <= ran + 1), "{seen:?} of {ran}");
        assert_eq!(stopped.unwrap_or(all), ran);
        assert!(
            after.is_none_or(|after| Some(after) == stopped || stopped.is_none()),
            "{after:?} {stopped:?}"
        );
        assert_eq!((words.begun(7), words.stop(7), next.begun(8)), (None, None, Some(50)));
    }

    #[cfg(not(shuttle))]
    #[test]
    #[cfg_attr(miri, ignore = "it knows no barrier for processes")]
    fn a_call_of_a_run_either_begins_or_is_taken_back_never_both() {
        let is_fenced = barrier::join() && barrier::is_possible();
        for turn in 0..3000 {
            taken_back_or_run(&[1, 40, turn % 50, 3], is_fenced);
            taken_back_or_run(&[5, 40], false);
        }
    }

    #[cfg(shuttle)]
    #[test]
    fn a_call_of_a_run_either_begins_or_is_taken_back_never_both() {
        crate::interleavings::explore(|| taken_back_or_run(&[3, 2], true));
        crate::interleavings::explore(|| taken_back_or_run(&[0, 1, 4], true));
        crate::interleavings::explore(|| taken_back_or_run(&[3], false));
    }

    #[cfg(not(shuttle))]
    #[test]
    fn a_run_that_is_over_begins_with_nothing() {
        let (memory, over) = (Memory::default(), AtomicBool::new(true));
        let words = memory.words(7);
        words.start(7);
        for is_fenced in [true, false] {
            let mut run = Run::begin(words, memory.results(), (7, 0), is_fenced, &over).unwrap();
            assert!(!run.take());
        }
        assert_eq!(words.begun(7), Some(0));
        let elsewhere = Run::begin(words, memory.results(), (6, 0), true, &over);
        assert!(elsewhere.is_none());
    }

    #[test]
    fn numbers_of_any_length_lie_beside_each_other() {
        let bytes: Vec<u8> = (1..=96).collect();
        for width in [1, 2, 4, 8, 16] {
            let memory = Memory::default();
            let mut results = memory.results();
            bytes.chunks(width).for_each(|number| results.leave(number));
            let left: Vec<u8> =
                memory.places.iter().flat_map(|place| place.load(Relaxed).to_ne_bytes()).collect();
            assert_eq!(left[..96], bytes);
            assert_eq!(memory.left.load(Relaxed), 96);
        }
    }
}
