//! The shared page of one worker: which of its tasks has come how far, and its last words.
//!
//! Each task has a slot, found by its sequence number. The parent writes `Sent` before it sends; then exactly
//! one side moves the slot on by compare-and-swap: the worker to `Claimed` when it takes the task up, or the
//! parent to `Revoked` when it wants it back. That is how a task never runs twice and is never lost, without a
//! message, and how the parent knows at any time, death included, what has started.
//!
//! One word beside the slots says which task is asked to stop. Only the task at the head of a worker can run, so
//! one is enough, and a task is asked if the word is its own number: nobody has to clear it.
//!
//! A hostile worker can write what it likes here. It can only lie about the tasks it was given.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};
use std::sync::{Arc, OnceLock};
use std::{io, str};

use crate::primitive::AtomicBool;
use crate::sys::map::SharedMap;
use crate::sys::{barrier, clock, futex};

use super::bell::{BELL_BYTES, Bell};
use super::bulk::BULK_BYTES;
use super::ring::{self, RING_BYTES};
use super::run::{Results, Run, Words};

const SLOTS: u64 = 1024;
const SLOT_BYTES: usize = 16;

/// The sequence number of the task that is asked to stop, then a bell that is rung after each change of it: the
/// kernel lets threads wait for 32 bits only.
const ASKED_AT: usize = 0;
const BELL_AT: usize = 8;
/// What the parent says of barriers, and then the worker.
const FENCES_AT: usize = BELL_AT + 8;
/// Last words: sequence number, length, text.
const WORDS_AT: usize = FENCES_AT + 8;
const TEXT_AT: usize = WORDS_AT + 16;
const TEXT_MAX: usize = SLOTS_AT - TEXT_AT;
const SLOTS_AT: usize = 16 << 10;

/// The bells and the rings, of requests and of replies.
const REQUESTS_BELL_AT: usize = SLOTS_AT + SLOTS as usize * SLOT_BYTES;
const REPLIES_BELL_AT: usize = REQUESTS_BELL_AT + BELL_BYTES;
/// Calls that go together: which is the next to begin, and whose results were left. See `run.rs`.
const NEXT_CALL_AT: usize = REPLIES_BELL_AT + BELL_BYTES;
const LEFT_AT: usize = NEXT_CALL_AT + 8;
/// How far the call has come that began last.
const CALL_AT: usize = LEFT_AT + 8;
const RUNNING_AT: usize = CALL_AT + 8;
const REQUESTS_AT: usize = NEXT_CALL_AT + 64;
const REPLIES_AT: usize = REQUESTS_AT + RING_BYTES;
/// Which calls of a task nobody wants any more, if it has few.
const UNWANTED_AT: usize = REPLIES_AT + RING_BYTES;
/// Where the calls of a task were cut off that were stopped during a run.
const CUT_AT: usize = UNWANTED_AT + CHUNKS as usize * size_of::<CallBits>();

/// Where results are left.
const RESULTS_AT: usize = CUT_AT + CHUNKS as usize * 8;
/// Bytes of results that can be left, without more memory and with it.
const RESULTS: usize = 8 << 10;
const RESULTS_MAX: usize = 128 << 10;

/// A draft has memory up to here, for what both sides write before it is finished.
const DRAFTED: usize = WORDS_AT;
const _: () = assert!(FENCES_AT + 8 <= DRAFTED);

/// What comes from here on has no memory before it is used.
const RESERVED: usize = RESULTS_AT + RESULTS;
const REQUESTS_BULK_AT: usize = RESULTS_AT + RESULTS_MAX;
const REPLIES_BULK_AT: usize = REQUESTS_BULK_AT + BULK_BYTES;

/// The parent makes barriers where they are needed; the worker is part of them.
const MAKES_FENCES: u64 = 1;
const IS_FENCED: u64 = 2;

/// Where there are no more than so many, each can be given up for itself.
pub(crate) const FEW_CALLS: u32 = 512;

/// A task that is several calls is not sent to a worker that is not past the one that is so many before it.
pub(crate) const CHUNKS: u64 = 64;

/// Two bits for each of few calls: in the lower half of its word that it is not wanted, in the upper half that it was
/// taken up. Whoever sets the second of them knows that it was second.
pub(crate) type CallBits = [u64; FEW_CALLS as usize / 32];

/// A frame begins where a line of the cache does.
const _: () = assert!(REQUESTS_AT.is_multiple_of(64) && REPLIES_AT.is_multiple_of(64));

/// The size of the page.
const BOARD_BYTES: usize = REPLIES_BULK_AT + BULK_BYTES;

/// In the place of how far a call has come: each that was taken up has started.
const ALL_START: u64 = u64::MAX;

/// How far a task has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Progress {
    /// On its way, or waiting at the worker.
    Sent = 1,
    /// The worker decodes its arguments.
    Claimed = 2,
    /// Its body runs.
    Started = 3,
    /// Its body has ended.
    Finished = 4,
    /// Taken back: it will not run.
    Revoked = 5,
}

#[derive(Debug)]
pub(crate) struct Board {
    map: Arc<SharedMap>,
    /// There is memory for all results that can be left; nobody knows before somebody tries.
    has_room: OnceLock<bool>,
}

/// A page that a worker can be started with. What the worker touches before [`finish`](Draft::finish) may be refused to it
/// by the kernel, and kill it; then that fails as well, as a rule.
#[derive(Debug)]
pub(crate) struct Draft {
    board: Board,
    fd: OwnedFd,
}

impl Draft {
    /// The descriptor by which the worker finds the page.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Gets the rest of the memory: most of the time that a page takes, in which a worker can be on its way.
    pub(crate) fn finish(self) -> io::Result<(Board, OwnedFd)> {
        SharedMap::reserve(self.fd(), DRAFTED..RESERVED)?;
        Ok((self.board, self.fd))
    }
}

fn state(seq: u64, progress: Progress) -> u64 {
    seq << 3 | progress as u64
}

/// So many bytes of results were left, those from the call `first` on.
fn left(first: u32, len: usize) -> u64 {
    u64::from(first) << 32 | len as u64
}

/// The word of a call among the bits of few, and the bit that it is not wanted.
pub(crate) fn call_bit(call: u32) -> (usize, u64) {
    (call as usize / 32, 1 << (call % 32))
}

fn slot(seq: u64) -> usize {
    SLOTS_AT + (seq % SLOTS) as usize * SLOT_BYTES
}

impl Board {
    fn new(map: SharedMap) -> Board {
        Board { map: Arc::new(map), has_room: OnceLock::new() }
    }

    /// How many bytes of results can be left, if so many may be needed.
    #[inline]
    pub(crate) fn room_for_results(&self, wanted: usize) -> usize {
        match wanted > RESULTS && self.has_room_for_all_results() {
            true => RESULTS_MAX,
            false => RESULTS,
        }
    }

    fn has_room_for_all_results(&self) -> bool {
        *self.has_room.get_or_init(|| self.map.populate(RESULTS_AT, RESULTS_MAX))
    }

    /// A new page, and the descriptor by which the worker finds it.
    pub(crate) fn create() -> io::Result<(Board, OwnedFd)> {
        Board::draft()?.finish()
    }

    /// A new page that lacks some of its memory.
    pub(crate) fn draft() -> io::Result<Draft> {
        let (map, fd) = SharedMap::create(BOARD_BYTES, DRAFTED)?;
        if barrier::is_possible() {
            map.word(FENCES_AT).store(MAKES_FENCES, Release);
        }
        Ok(Draft { board: Board::new(map), fd })
    }

    pub(crate) fn open(fd: BorrowedFd<'_>) -> io::Result<Board> {
        SharedMap::open(fd, BOARD_BYTES).map(Board::new)
    }

    /// The worker makes itself part of the barriers that the parent makes, if it can.
    pub(crate) fn join_barriers(&self) {
        if self.map.word(FENCES_AT).load(Acquire) == MAKES_FENCES && barrier::join() {
            self.map.word(FENCES_AT).store(IS_FENCED, Release);
        }
    }

    /// Wakes the worker.
    pub(crate) fn requests_bell(&self) -> Bell {
        Bell::new(Arc::clone(&self.map), REQUESTS_BELL_AT)
    }

    /// Wakes the parent.
    pub(crate) fn replies_bell(&self) -> Bell {
        Bell::new(Arc::clone(&self.map), REPLIES_BELL_AT)
    }

    /// The parent's end of the ring to the worker. There is one.
    pub(crate) fn requests_writer(&self) -> ring::Writer {
        ring::Writer::new(Arc::clone(&self.map), REQUESTS_AT, REQUESTS_BULK_AT)
    }

    pub(crate) fn requests_reader(&self) -> ring::Reader {
        ring::Reader::new(Arc::clone(&self.map), REQUESTS_AT, REQUESTS_BULK_AT, slot)
    }

    pub(crate) fn replies_writer(&self) -> ring::Writer {
        ring::Writer::new(Arc::clone(&self.map), REPLIES_AT, REPLIES_BULK_AT)
    }

    pub(crate) fn replies_reader(&self) -> ring::Reader {
        ring::Reader::new(Arc::clone(&self.map), REPLIES_AT, REPLIES_BULK_AT, slot)
    }

    /// Changes with each reply in the ring.
    pub(crate) fn replies_written(&self) -> u64 {
        self.map.word(REPLIES_AT + ring::WRITTEN_AT).load(Acquire)
    }

    /// The parent is about to send this task.
    pub(crate) fn publish(&self, seq: u64) {
        self.map.word(slot(seq) + 8).store(0, Relaxed);
        self.map.word(slot(seq)).store(state(seq, Progress::Sent), Release);
    }

    /// The parent takes a task back. If that succeeds, it never runs.
    pub(crate) fn revoke(&self, seq: u64) -> bool {
        self.move_on(seq, Progress::Revoked)
    }

    /// The worker takes a task up. If that fails, the task was taken back.
    pub(crate) fn claim(&self, seq: u64) -> bool {
        self.move_on(seq, Progress::Claimed)
    }

    fn move_on(&self, seq: u64, to: Progress) -> bool {
        let sent = state(seq, Progress::Sent);
        self.map.word(slot(seq)).compare_exchange(sent, state(seq, to), AcqRel, Acquire).is_ok()
    }

    /// The body of a claimed task starts now, which is the time that is given back.
    pub(crate) fn start(&self, seq: u64) -> u64 {
        let now = clock::nanos();
        self.map.word(slot(seq) + 8).store(now, Relaxed);
        self.map.word(slot(seq)).store(state(seq, Progress::Started), Release);
        now
    }

    /// The body of a task has ended.
    pub(crate) fn finish(&self, seq: u64) {
        self.map.word(slot(seq)).store(state(seq, Progress::Finished), Release);
    }

    /// A claimed task starts that consists of calls, the first of which is the next to begin.
    pub(crate) fn start_calls(&self, seq: u64) -> u64 {
        // Whoever sees that it has started finds nothing here any more of the one before.
        self.map.word(LEFT_AT).store(0, Relaxed);
        self.map.word(CALL_AT).store(0, Relaxed);
        self.calls(seq).start(seq);
        self.start(seq)
    }

    /// The body of a call starts, or has ended.
    pub(crate) fn call_is(&self, call: u32, progress: Progress) {
        self.map.word(CALL_AT).store(state(call.into(), progress), Release);
    }

    /// How far a call has come that has begun.
    pub(crate) fn call_progress(&self, call: u32) -> Progress {
        let progress = self.map.word(CALL_AT).load(Acquire);
        if progress == ALL_START {
            return Progress::Started;
        }
        let told = [Progress::Started, Progress::Finished];
        told.into_iter().find(|&told| state(call.into(), told) == progress).unwrap_or(Progress::Claimed)
    }

    /// The worker takes up the next call. If that fails, it and all that follow were taken back.
    pub(crate) fn take_call(&self, seq: u64, call: u32) -> bool {
        self.calls(seq).take(seq, call)
    }

    fn calls(&self, seq: u64) -> Words<'_> {
        let word = |at| self.map.word(at);
        Words {
            next: word(NEXT_CALL_AT),
            running: word(RUNNING_AT),
            cut: word(CUT_AT + (seq % CHUNKS) as usize * 8),
        }
    }

    /// The parent is about to send a task of calls, of which, if they are few, it does not want some.
    pub(crate) fn publish_calls(&self, seq: u64, unwanted: Option<&CallBits>) {
        for (word, &bits) in self.unwanted(seq).iter().zip(unwanted.into_iter().flatten()) {
            word.store(bits, Relaxed);
        }
        self.calls(seq).cut.store(0, Relaxed);
    }

    /// The parent does not want one of few calls any more. If that succeeds, it never runs.
    pub(crate) fn revoke_call(&self, seq: u64, call: u32) -> bool {
        let (word, unwanted) = call_bit(call);
        self.unwanted(seq)[word].fetch_or(unwanted, AcqRel) & unwanted << 32 == 0
    }

    /// The worker begins with one of few calls. If that fails, nobody wants it.
    pub(crate) fn claim_call(&self, seq: u64, call: u32) -> bool {
        let (word, unwanted) = call_bit(call);
        self.unwanted(seq)[word].fetch_or(unwanted << 32, AcqRel) & unwanted == 0
    }

    fn unwanted(&self, seq: u64) -> &[AtomicU64] {
        let bytes = size_of::<CallBits>();
        self.map.words(UNWANTED_AT + (seq % CHUNKS) as usize * bytes, bytes / 8)
    }

    /// Whether a call of this task has begun, or the worker is past all of them.
    pub(crate) fn has_begun(&self, seq: u64, call: u32) -> bool {
        let calls = self.calls(seq);
        calls.begun(seq).map_or_else(|| calls.task() > seq, |begun| begun > call)
    }

    /// The parent takes back what has not begun of the calls of a task. Says how many have; `None` if the worker is not
    /// at this task, or they were taken back before.
    pub(crate) fn stop_calls(&self, seq: u64) -> Option<u32> {
        self.calls(seq).stop(seq)
    }

    /// How many calls of this task have begun, if it was begun.
    pub(crate) fn calls_begun(&self, seq: u64) -> Option<u32> {
        self.calls(seq).begun(seq)
    }

    /// The worker has begun with the calls of a later task than this.
    pub(crate) fn is_past_calls(&self, seq: u64) -> bool {
        self.calls(seq).task() > seq
    }

    /// The worker leaves results, those of the calls from `first` on, which are as they were left before but for what comes
    /// after so many bytes. A parent that it cannot tell any more finds them.
    #[inline]
    pub(crate) fn leave_results(&self, first: u32, before: usize, results: &[u8]) {
        let start = before / 8 * 8;
        let (words, last) = results[start..].as_chunks::<8>();
        let places = self.map.words(RESULTS_AT + start, words.len() + usize::from(!last.is_empty()));
        for (place, &word) in places.iter().zip(words) {
            place.store(u64::from_ne_bytes(word), Relaxed);
        }
        if !last.is_empty() {
            let mut word = [0; 8];
            word[..last.len()].copy_from_slice(last);
            places[words.len()].store(u64::from_ne_bytes(word), Relaxed);
        }
        self.tell_left(first, results.len());
    }

    /// Calls begin that have nothing to decode and return numbers, `call` the first of them. Those from `first` on have left
    /// these results, and the next numbers lie behind them. Each has started that is taken up, until [`Board::call_is`]
    /// says something else. None begins any more when it is `over`. `None` if they were taken back.
    pub(crate) fn run<'w>(
        &'w self,
        (seq, call): (u64, u32),
        (first, results): (u32, &[u8]),
        most: usize,
        over: &'w AtomicBool,
    ) -> Option<Run<'w>> {
        self.map.word(CALL_AT).store(ALL_START, Release);
        let (words, last) = results.as_chunks::<8>();
        let start = 8 * words.len();
        let mut word = [0; 8];
        word[..last.len()].copy_from_slice(last);
        let results = Results {
            left: self.map.word(LEFT_AT),
            told: left(first, results.len()),
            places: self.map.words(RESULTS_AT + start, (results.len() + most - start).div_ceil(8)),
            used: last.len(),
            word: u64::from_ne_bytes(word),
        };
        let is_fenced = self.map.word(FENCES_AT).load(Relaxed) == IS_FENCED;
        Run::begin(self.calls(seq), results, (seq, call), is_fenced, over)
    }

    /// The worker has told all results before those of the call `first`.
    pub(crate) fn forget_results(&self, first: u32) {
        self.tell_left(first, 0);
    }

    fn tell_left(&self, first: u32, len: usize) {
        self.map.word(LEFT_AT).store(left(first, len), Release);
    }

    /// The results that a worker has left of this task, from that call on. `None` if it is about to leave others, or is
    /// not at this task.
    pub(crate) fn results_left(&self, seq: u64) -> Option<(u32, Vec<u8>)> {
        let first_left = |left: u64| (left >> 32) as u32;
        let left = self.map.word(LEFT_AT).load(Acquire);
        let len = left as u32 as usize;
        let len = len.min(self.room_for_results(len));
        let results = self.map.read(RESULTS_AT, len);
        fence(Acquire);
        // What was left stays as it is until the number of the first one changes, but for the head of a group that is closed.
        // Its length is stored as that of what is there; half of each makes no record, and the worker tells them all later.
        let unchanged = first_left(self.map.word(LEFT_AT).load(Relaxed)) == first_left(left);
        // A worker that goes on to other calls says so before it leaves results of those.
        (unchanged && self.calls_begun(seq).is_some()).then(|| (first_left(left), results))
    }

    /// The parent asks a task that was claimed to stop.
    pub(crate) fn ask_to_stop(&self, seq: u64) {
        self.map.word(ASKED_AT).store(seq, Release);
        self.ring();
    }

    /// Wakes those who wait for the bell.
    pub(crate) fn ring(&self) {
        let bell = self.map.half_word(BELL_AT);
        bell.fetch_add(1, Release);
        futex::wake_all(bell);
    }

    /// Whether this is the task that is asked to stop. Tasks are counted from 1.
    pub(crate) fn is_asked(&self, seq: u64) -> bool {
        self.map.word(ASKED_AT).load(Acquire) == seq
    }

    /// How often the bell was rung. What was asked before is seen by whoever reads this.
    pub(crate) fn rung(&self) -> u32 {
        self.map.half_word(BELL_AT).load(Acquire)
    }

    /// Waits for the bell, unless it was rung since it was `rung`. May return early.
    pub(crate) fn await_bell(&self, rung: u32) {
        futex::wait(self.map.half_word(BELL_AT), rung);
    }

    /// How far a task has come, and when its body started.
    pub(crate) fn progress(&self, seq: u64) -> (Progress, u64) {
        let progress = self.map.word(slot(seq)).load(Acquire);
        let since = self.map.word(slot(seq) + 8).load(Relaxed);
        let known =
            [Progress::Sent, Progress::Claimed, Progress::Started, Progress::Finished, Progress::Revoked];
        match known.into_iter().find(|&known| state(seq, known) == progress) {
            Some(progress) => (progress, since),
            // Nobody writes that but a worker gone wrong, and a worker gone wrong may have done anything.
            None => (Progress::Started, since),
        }
    }

    /// Leaves a text that survives the worker. Safe to call in a signal handler.
    pub(crate) fn say(&self, seq: u64, text: &str) {
        let text = &text.as_bytes()[..text.len().min(TEXT_MAX)];
        self.map.write(TEXT_AT, text);
        self.map.word(WORDS_AT + 8).store(text.len() as u64, Relaxed);
        self.map.word(WORDS_AT).store(seq, Release);
    }

    /// What was said is not of the call that comes now.
    pub(crate) fn forget_words(&self) {
        self.map.word(WORDS_AT).store(0, Release);
    }

    /// The text that the worker left during this task.
    pub(crate) fn said(&self, seq: u64) -> Option<String> {
        if self.map.word(WORDS_AT).load(Acquire) != seq {
            return None;
        }
        let len = usize::try_from(self.map.word(WORDS_AT + 8).load(Relaxed)).ok()?.min(TEXT_MAX);
        let bytes = self.map.read(TEXT_AT, len);
        Some(match str::from_utf8(&bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
        })
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_task_is_either_claimed_or_revoked_never_both() {
        let (board, _fd) = Board::create().unwrap();
        for seq in 1..=3000 {
            board.publish(seq);
            let (claimed, revoked) = std::thread::scope(|scope| {
                let revoke = scope.spawn(|| board.revoke(seq));
                (board.claim(seq), revoke.join().unwrap())
            });
            assert!(claimed != revoked, "task {seq}");
        }
    }

    #[test]
    fn a_call_is_either_given_up_or_runs_never_both() {
        let (board, _fd) = Board::create().unwrap();
        for seq in 1..=2000 {
            board.publish_calls(seq, Some(&CallBits::default()));
            board.start_calls(seq);
            let (ran, given_up) = std::thread::scope(|scope| {
                let given_up =
                    scope.spawn(|| (0..20).map(|call| board.revoke_call(seq, call)).collect::<Vec<_>>());
                let run = |call| board.take_call(seq, call) && board.claim_call(seq, call);
                ((0..20).map(run).collect::<Vec<_>>(), given_up.join().unwrap())
            });
            assert!(ran.iter().zip(&given_up).all(|(ran, up)| ran != up), "{ran:?} {given_up:?}");
            assert!(board.has_begun(seq, 19) && !board.has_begun(seq, 20) && !board.has_begun(seq + 1, 0));
            assert!(board.has_begun(seq - 1, 300), "the worker is past that one");
        }
    }

    #[test]
    fn a_task_that_has_started_has_nothing_of_the_one_before() {
        let (board, _fd) = Board::create().unwrap();
        let (sent, seen) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let observer = scope.spawn(|| {
                for seq in 1..=3000 {
                    while sent.load(Acquire) < seq {}
                    while board.progress(seq).0 != Progress::Started {}
                    assert_eq!(board.calls_begun(seq), Some(0));
                    let left = board.results_left(seq).unwrap_or_default();
                    assert!(left.1.is_empty() || left == (0, seq.to_ne_bytes().to_vec()), "{seq}: {left:?}");
                    seen.store(seq, Release);
                }
            });
            for seq in 1..=3000 {
                board.publish(seq);
                sent.store(seq, Release);
                assert!(board.claim(seq));
                board.start_calls(seq);
                board.leave_results(0, 0, &seq.to_ne_bytes());
                while seen.load(Acquire) < seq {
                    assert!(!observer.is_finished(), "it found something of the one before");
                }
                assert_eq!(board.results_left(seq + 1), None, "it is not at that one");
                assert!(board.is_past_calls(seq - 1) && !board.is_past_calls(seq));
            }
        });
    }

    #[test]
    fn a_call_either_begins_or_is_taken_back_never_both() {
        let (board, _fd) = Board::create().unwrap();
        for seq in 1..=2000 {
            board.start_calls(seq);
            let (begun, stopped) = std::thread::scope(|scope| {
                let stop = scope.spawn(|| board.stop_calls(seq));
                let begun = (0..20).take_while(|&call| board.take_call(seq, call)).count();
                (begun as u32, stop.join().unwrap())
            });
            assert_eq!((Some(begun), board.calls_begun(seq)), (stopped, stopped), "task {seq}");
            assert_eq!(board.stop_calls(seq), None, "once is enough");
            assert_eq!((board.stop_calls(seq + 1), board.calls_begun(seq + 1)), (None, None));
        }
    }

    #[test]
    fn results_that_were_left_are_found() {
        let (board, _fd) = Board::create().unwrap();
        board.start_calls(7);
        assert_eq!(board.results_left(7), Some((0, Vec::new())));
        assert_eq!(board.call_progress(0), Progress::Claimed);
        for progress in [Progress::Started, Progress::Finished] {
            board.call_is(3, progress);
            assert_eq!((board.call_progress(3), board.call_progress(4)), (progress, Progress::Claimed));
        }
        let results = [[1; 8], [1; 8], [2; 8]].concat();
        for (before, len) in [(0, 16), (16, 17), (17, 19), (19, 24)] {
            board.leave_results(3, before, &results[..len]);
            assert_eq!(board.results_left(7), Some((3, results[..len].to_vec())));
        }
        board.forget_results(6);
        assert_eq!(board.results_left(7), Some((6, Vec::new())));
    }

    #[test]
    fn progress_is_told_step_by_step() {
        let (board, _fd) = Board::create().unwrap();
        board.publish(7);
        assert_eq!(board.progress(7), (Progress::Sent, 0));
        assert!(board.claim(7));
        assert_eq!(board.progress(7).0, Progress::Claimed);
        board.start(7);
        let (progress, since) = board.progress(7);
        assert!(progress == Progress::Started && since > 0);
        board.finish(7);
        assert_eq!(board.progress(7).0, Progress::Finished);
        assert!(!board.revoke(7));
        assert_eq!(board.progress(7 + SLOTS).0, Progress::Started, "a slot that holds nonsense may have run");
    }

    #[test]
    fn one_task_is_asked_to_stop_and_not_the_next() {
        let (board, _fd) = Board::create().unwrap();
        assert!(!board.is_asked(1), "nobody has asked");
        board.ask_to_stop(1);
        assert!(board.is_asked(1) && !board.is_asked(2) && !board.is_asked(1 + SLOTS));
        board.ask_to_stop(u64::MAX >> 3);
        assert!(board.is_asked(u64::MAX >> 3) && !board.is_asked(1));
        board.say(9, &"x".repeat(TEXT_MAX));
        assert!(board.is_asked(u64::MAX >> 3), "last words leave it alone");
    }

    #[test]
    fn the_bell_is_heard_through_another_mapping_and_never_missed() {
        let (board, fd) = Board::create().unwrap();
        let worker = Board::open(fd.as_fd()).unwrap();
        let (sender, heard) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for seq in 1..=1000 {
                loop {
                    let rung = worker.rung();
                    if worker.is_asked(seq) {
                        break;
                    }
                    worker.await_bell(rung);
                }
                sender.send(seq).unwrap();
            }
        });
        for seq in 1..=1000 {
            board.ask_to_stop(seq);
            let patience = std::time::Duration::from_secs(10);
            assert_eq!(heard.recv_timeout(patience), Ok(seq), "it never heard the bell");
        }
    }

    #[test]
    fn last_words_belong_to_one_task_and_are_cut_to_fit() {
        let (board, _fd) = Board::create().unwrap();
        assert_eq!(board.said(4), None);
        board.say(4, &"x".repeat(100_000));
        assert_eq!(board.said(4).unwrap().len(), TEXT_MAX);
        assert_eq!(board.said(5), None);
    }
}
