//! A task that is many calls: their results as they come, and where those calls went that were taken back.
//!
//! To the machine a chunk is one task. Its worker takes up call by call, so whatever has not begun can go on as another
//! chunk, when a slow call holds it up or when its worker dies. Then only the call that the worker was at is lost.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::Phase;
use crate::primitive::{Mutex, MutexGuard};
use crate::transport::Message;
use crate::wire::records;

use super::machine::TaskNo;
use super::slot::Slot;

#[derive(Debug)]
pub(crate) struct Chunk {
    /// How many workers died with its first call, before the body of that began.
    pub(crate) resends: u8,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The calls from here on are not of this chunk any more.
    end: u32,
    /// Calls whose results have come.
    told: u32,
    /// Those that nobody has taken yet.
    results: VecDeque<Message>,
    waker: Option<Waker>,
    rest: Option<Rest>,
    /// Nobody wants the results.
    abandoned: bool,
    /// Its worker died during this call, which had come so far.
    broken_off: Option<(u32, Phase)>,
}

/// Where calls go on that were taken back.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) chunk: Arc<Chunk>,
    pub(crate) slot: Arc<Slot>,
    pub(crate) task: TaskNo,
    /// How many they are, wherever they go on in turn.
    pub(crate) calls: u32,
}

/// What there is to know of a chunk whose task is settled.
#[derive(Debug)]
pub(crate) struct Ending {
    /// The calls whose results nobody has told.
    pub(crate) untold: Range<u32>,
    /// The call that its worker died during, which had come so far.
    pub(crate) broken_off: Option<(u32, Phase)>,
    pub(crate) rest: Option<Rest>,
}

impl Chunk {
    /// Of so many calls.
    pub(crate) fn new(calls: u32, resends: u8) -> Chunk {
        let state = State {
            end: calls,
            told: 0,
            results: VecDeque::new(),
            waker: None,
            rest: None,
            abandoned: false,
            broken_off: None,
        };
        Chunk { resends, state: Mutex::new(state) }
    }

    /// Whoever panicked under this lock had finished changing the state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn calls(&self) -> u32 {
        self.state().end
    }

    /// Results have come, from that call on. Those that are known are passed over. An error if they cannot be.
    pub(crate) fn add(&self, first: u32, mut results: Message) -> Result<Option<Waker>, ()> {
        let mut state = self.state();
        let known = state.told.checked_sub(first).ok_or(())?;
        if known > 0 {
            let missing = records::after(&results.bytes, known).ok_or(())?.to_vec();
            results = Message { bytes: missing, ..Message::default() };
        }
        let count = records::count(&results.bytes).ok_or(())?;
        state.told = state.told.checked_add(count).filter(|&told| told <= state.end).ok_or(())?;
        if count > 0 && !state.abandoned {
            state.results.push_back(results);
        }
        Ok(state.waker.take())
    }

    /// The last results have come: they must be all.
    pub(crate) fn finish(&self, first: u32, results: Message) -> Result<(), ()> {
        // Who waits is woken by the slot as well, a moment later.
        drop(self.add(first, results)?);
        let state = self.state();
        (state.told == state.end).then_some(()).ok_or(())
    }

    /// Its worker has died at this call, which is lost if it had come so far, and has left results, those from `first` on.
    pub(crate) fn break_off(&self, call: u32, lost: Option<Phase>, first: u32, left: Vec<u8>) {
        // What cannot be is of a worker that has lied, and is as good as nothing.
        let _ = self.add(first, Message { bytes: left, ..Message::default() });
        let mut state = self.state();
        state.broken_off = lost.filter(|_| state.told <= call.min(state.end)).map(|phase| (call, phase));
    }

    /// The calls after the first so many are no longer of this chunk. Says how many they are, if anybody wants them.
    pub(crate) fn cut(&self, begun: u32) -> Option<u32> {
        let mut state = self.state();
        // A page that says something else is of a worker that has lied: what it has not told may have run.
        let cut = state.end.checked_sub(begun).filter(|&cut| cut > 0 && begun >= state.told)?;
        state.end = begun;
        (!state.abandoned).then_some(cut)
    }

    /// Where the calls go on that were cut off.
    pub(crate) fn goes_on(&self, rest: Rest) -> Option<Waker> {
        let mut state = self.state();
        state.rest = Some(rest);
        state.waker.take()
    }

    /// Where calls went that were cut off, for whoever does not wait for those before.
    pub(crate) fn take_rest(&self) -> Option<Rest> {
        self.state().rest.take()
    }

    /// Nobody wants the results any more.
    pub(crate) fn abandon(&self) -> Option<Rest> {
        let mut state = self.state();
        state.abandoned = true;
        state.results.clear();
        state.waker = None;
        state.rest.take()
    }

    /// The results that come next, in the order of the calls.
    pub(crate) fn poll_results(&self, context: &Context<'_>) -> Poll<Message> {
        let mut state = self.state();
        if let Some(results) = state.results.pop_front() {
            return Poll::Ready(results);
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// For when the task is settled and all results have been taken.
    pub(crate) fn ending(&self) -> Ending {
        let mut state = self.state();
        Ending { untold: state.told..state.end, broken_off: state.broken_off, rest: state.rest.take() }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn results(tags: std::ops::Range<u8>) -> Message {
        let mut bytes = Vec::new();
        for tag in tags {
            let at = records::open(&mut bytes);
            bytes.push(tag);
            records::close(&mut bytes, at, tag);
        }
        Message { bytes, ..Message::default() }
    }

    fn told(chunk: &Chunk) -> Vec<u8> {
        let mut told = Vec::new();
        let context = Context::from_waker(Waker::noop());
        while let Poll::Ready(message) = chunk.poll_results(&context) {
            let mut rest = &message.bytes[..];
            while let Some((tag, _, more)) = records::first(rest) {
                told.push(tag);
                rest = more;
            }
        }
        told
    }

    #[test]
    fn results_come_in_order_and_must_be_all() {
        let chunk = Chunk::new(5, 0);
        chunk.add(0, results(0..2)).unwrap();
        assert!(chunk.add(2, results(2..6)).is_err(), "one too many");
        assert!(chunk.add(3, results(3..4)).is_err(), "one is left out");
        assert!(chunk.add(0, results(0..3)).is_ok(), "two are known");
        assert!(chunk.finish(2, results(2..5)).is_ok());
        assert_eq!(told(&chunk), [0, 1, 2, 3, 4]);
        let short = Chunk::new(5, 0);
        assert!(short.finish(0, results(0..4)).is_err(), "one is missing");
        let nonsense = Message { bytes: vec![1; 9], ..Message::default() };
        assert!(short.add(0, nonsense).is_err());
    }

    #[test]
    fn what_a_dead_worker_left_counts_once() {
        for (first, left, begun, expected, broken_off) in [
            (0, results(0..4), 5, 4, true),
            (2, results(2..4), 4, 4, false),
            (2, results(2..2), 2, 2, false),
            (2, results(2..2), 3, 2, true),
            // It says that it left what was not told before, or more than there is.
            (3, results(3..4), 4, 2, true),
            (2, results(2..20), 4, 2, true),
        ] {
            let chunk = Chunk::new(6, 0);
            chunk.add(0, results(0..2)).unwrap();
            chunk.break_off(begun - 1, Some(Phase::Running), first, left.bytes);
            assert_eq!(told(&chunk), (0..expected).collect::<Vec<u8>>(), "{first} {begun}");
            assert_eq!(chunk.ending().broken_off.is_some(), broken_off, "{first} {begun}");
            assert_eq!(chunk.cut(begun), Some(6 - begun));
            assert_eq!(chunk.ending().untold, u32::from(expected)..begun, "{first} {begun}");
        }
    }

    #[test]
    fn what_was_cut_off_is_not_waited_for() {
        let chunk = Chunk::new(5, 0);
        assert_eq!((chunk.cut(6), chunk.cut(3), chunk.cut(3)), (None, Some(2), None));
        assert!(chunk.finish(0, results(0..3)).is_ok());
        assert_eq!(chunk.cut(2), None, "three have been told");
        let unwanted = Chunk::new(5, 0);
        unwanted.abandon();
        assert_eq!(unwanted.cut(1), None, "nobody wants the rest");
        assert!(unwanted.finish(0, results(0..1)).is_ok());
        assert!(told(&unwanted).is_empty());
    }
}
