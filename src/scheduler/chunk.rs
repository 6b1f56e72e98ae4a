//! A task that is many calls: their results as they come, and where those calls went that were taken back.
//!
//! To the machine a chunk is one task. Its worker takes up call by call, so whatever has not begun can go on as another
//! chunk, when a slow call holds it up or when its worker dies. Then only the call that the worker was at is lost.
//!
//! The calls belong to one reader, who gets their results in their order, or to callers who submitted each for itself.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::{Phase, TaskError};
use crate::primitive::{Mutex, MutexGuard};
use crate::transport::{CallBits, FEW_CALLS, Message};
use crate::wire::records::{self, Records};

use super::later::Later;
use super::machine::TaskNo;
use super::members::Members;
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
    /// Its worker died during this call, which had come so far.
    broken_off: Option<(u32, Phase)>,
    owner: Owner,
}

#[derive(Debug)]
enum Owner {
    Reader(Reader),
    Members(Members),
}

/// Who gets the results in their order.
#[derive(Debug, Default)]
struct Reader {
    /// Results that have not been taken yet.
    results: VecDeque<Message>,
    waker: Option<Waker>,
    rest: Option<Rest>,
    /// Nobody wants the results.
    abandoned: bool,
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

/// Calls that were taken back before they began.
#[derive(Debug)]
pub(crate) enum Cut {
    /// So many, all of them wanted.
    Calls(u32),
    Members(Members),
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

/// Why there are no results of the calls that nobody will tell, one after the other.
#[derive(Debug)]
pub(crate) struct Lost {
    calls: Range<u32>,
    error: TaskError,
    broken_off: Option<(u32, Phase)>,
}

impl Lost {
    pub(crate) fn new(ending: &Ending, error: TaskError) -> Lost {
        Lost { calls: ending.untold.clone(), error, broken_off: ending.broken_off }
    }
}

impl Iterator for Lost {
    type Item = TaskError;

    fn next(&mut self) -> Option<TaskError> {
        let call = self.calls.next()?;
        let error = self.error.clone();
        Some(match self.broken_off {
            Some((at, phase)) if call == at => error.at(phase),
            // Its worker began with the next one.
            Some((at, _)) if call < at => error.at(Phase::Replying),
            _ => error,
        })
    }
}

impl Reader {
    fn add(&mut self, results: Message, later: &mut Later) {
        if !self.abandoned && !results.bytes.is_empty() {
            self.results.push_back(results);
        }
        later.wakers.extend(self.waker.take());
    }
}

impl Chunk {
    /// Of so many calls, for one reader.
    pub(crate) fn new(calls: u32, resends: u8) -> Chunk {
        Chunk::owned(calls, resends, Owner::Reader(Reader::default()))
    }

    /// A call for each member.
    pub(super) fn of_members(members: Members, resends: u8) -> Chunk {
        Chunk::owned(members.len(), resends, Owner::Members(members))
    }

    fn owned(calls: u32, resends: u8, owner: Owner) -> Chunk {
        Chunk { resends, state: Mutex::new(State { end: calls, told: 0, broken_off: None, owner }) }
    }

    /// Whoever panicked under this lock had finished changing the state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn calls(&self) -> u32 {
        self.state().end
    }

    /// Those of its calls that are not wanted any more, if it has few calls.
    pub(super) fn unwanted(&self) -> Option<CallBits> {
        let state = self.state();
        (state.end <= FEW_CALLS).then(|| match &state.owner {
            Owner::Members(members) => *members.unwanted(),
            Owner::Reader(_) => CallBits::default(),
        })
    }

    pub(super) fn has_members(&self) -> bool {
        matches!(self.state().owner, Owner::Members(_))
    }

    /// Does something with its members and the calls that have not been told, if it has members.
    pub(super) fn with_members<T>(&self, act: impl FnOnce(&mut Members, Range<u32>) -> T) -> Option<T> {
        let mut state = self.state();
        let untold = state.told..state.end;
        match &mut state.owner {
            Owner::Members(members) => Some(act(members, untold)),
            Owner::Reader(_) => None,
        }
    }

    /// Results have come, from that call on. Those that are known are passed over. An error if they cannot be.
    pub(super) fn add(&self, first: u32, mut results: Message, later: &mut Later) -> Result<(), ()> {
        let mut state = self.state();
        let known = state.told.checked_sub(first).ok_or(())?;
        if known > 0 {
            let missing =
                records::count(&results.bytes).and_then(|count| count.checked_sub(known)).ok_or(())?;
            let rest = Records::new(&results.bytes).after(known);
            let bytes = rest.and_then(|rest| rest.part(missing)).ok_or(())?;
            results = Message { bytes, ..Message::default() };
        }
        let count = records::count(&results.bytes).ok_or(())?;
        let State { told, end, owner, .. } = &mut *state;
        let before = *told;
        *told = before.checked_add(count).filter(|told| told <= end).ok_or(())?;
        match owner {
            Owner::Reader(reader) => reader.add(results, later),
            Owner::Members(members) => members.tell(before, results, later),
        }
        Ok(())
    }

    /// The last results have come: they must be all.
    pub(super) fn finish(&self, first: u32, results: Message, later: &mut Later) -> Result<(), ()> {
        self.add(first, results, later)?;
        let state = self.state();
        (state.told == state.end).then_some(()).ok_or(())
    }

    /// Its worker has died at this call, which is lost if it had come so far, and has left results, those from `first` on.
    pub(super) fn break_off(
        &self,
        call: u32,
        lost: Option<Phase>,
        (first, left): (u32, Vec<u8>),
        later: &mut Later,
    ) {
        // What cannot be is of a worker that has lied, and is as good as nothing.
        let _ = self.add(first, Message { bytes: left, ..Message::default() }, later);
        let mut state = self.state();
        state.broken_off = lost.filter(|_| state.told <= call.min(state.end)).map(|phase| (call, phase));
    }

    /// The calls after the first so many are no longer of this chunk. Gives them, if anybody wants them.
    pub(super) fn cut(&self, begun: u32) -> Option<Cut> {
        let mut state = self.state();
        // A page that says something else is of a worker that has lied: what it has not told may have run.
        let cut = state.end.checked_sub(begun).filter(|&cut| cut > 0 && begun >= state.told)?;
        state.end = begun;
        match &mut state.owner {
            Owner::Reader(reader) => (!reader.abandoned).then_some(Cut::Calls(cut)),
            Owner::Members(members) => members.cut(begun).map(Cut::Members),
        }
    }

    /// Where the calls go on that were cut off, for the one who reads.
    pub(super) fn goes_on(&self, rest: Rest, later: &mut Later) {
        if let Owner::Reader(reader) = &mut self.state().owner {
            reader.rest = Some(rest);
            later.wakers.extend(reader.waker.take());
        }
    }

    /// Where calls went that were cut off, for whoever does not wait for those before.
    pub(crate) fn take_rest(&self) -> Option<Rest> {
        self.with_reader(|reader| reader.rest.take())
    }

    /// Nobody wants the results any more.
    pub(crate) fn abandon(&self) -> Option<Rest> {
        self.with_reader(|reader| {
            reader.abandoned = true;
            reader.results.clear();
            reader.waker = None;
            reader.rest.take()
        })
    }

    fn with_reader<T>(&self, act: impl FnOnce(&mut Reader) -> Option<T>) -> Option<T> {
        match &mut self.state().owner {
            Owner::Reader(reader) => act(reader),
            Owner::Members(_) => None,
        }
    }

    /// The results that come next, in the order of the calls.
    pub(crate) fn poll_results(&self, context: &Context<'_>) -> Poll<Message> {
        let next = self.with_reader(|reader| {
            let next = reader.results.pop_front();
            if next.is_none() {
                match &mut reader.waker {
                    Some(waker) => waker.clone_from(context.waker()),
                    none => *none = Some(context.waker().clone()),
                }
            }
            next
        });
        next.map_or(Poll::Pending, Poll::Ready)
    }

    /// For when the task is settled and all results have been taken.
    pub(crate) fn ending(&self) -> Ending {
        let rest = self.take_rest();
        let state = self.state();
        Ending { untold: state.told..state.end, broken_off: state.broken_off, rest }
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
            records::close(&mut bytes, at, tag.into());
        }
        Message { bytes, ..Message::default() }
    }

    fn cut(chunk: &Chunk, begun: u32) -> Option<u32> {
        chunk.cut(begun).map(|cut| match cut {
            Cut::Calls(calls) => calls,
            Cut::Members(members) => panic!("{members:?}"),
        })
    }

    fn told(chunk: &Chunk) -> Vec<u8> {
        let mut told = Vec::new();
        let context = Context::from_waker(Waker::noop());
        while let Poll::Ready(message) = chunk.poll_results(&context) {
            told.extend(Records::new(&message.bytes).map(|(tag, _)| tag as u8));
        }
        told
    }

    #[test]
    fn results_come_in_order_and_must_be_all() {
        let (chunk, later) = (Chunk::new(5, 0), &mut Later::default());
        chunk.add(0, results(0..2), later).unwrap();
        assert!(chunk.add(2, results(2..6), later).is_err(), "one too many");
        assert!(chunk.add(3, results(3..4), later).is_err(), "one is left out");
        assert!(chunk.add(0, results(0..3), later).is_ok(), "two are known");
        assert!(chunk.finish(2, results(2..5), later).is_ok());
        assert_eq!(told(&chunk), [0, 1, 2, 3, 4]);
        let short = Chunk::new(5, 0);
        assert!(short.finish(0, results(0..4), later).is_err(), "one is missing");
        let nonsense = Message { bytes: vec![1; 9], ..Message::default() };
        assert!(short.add(0, nonsense, later).is_err());
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
            let (chunk, later) = (Chunk::new(6, 0), &mut Later::default());
            chunk.add(0, results(0..2), later).unwrap();
            chunk.break_off(begun - 1, Some(Phase::Running), (first, left.bytes), later);
            assert_eq!(told(&chunk), (0..expected).collect::<Vec<u8>>(), "{first} {begun}");
            assert_eq!(chunk.ending().broken_off.is_some(), broken_off, "{first} {begun}");
            assert_eq!(cut(&chunk, begun), Some(6 - begun));
            assert_eq!(chunk.ending().untold, u32::from(expected)..begun, "{first} {begun}");
        }
    }

    #[test]
    fn what_was_cut_off_is_not_waited_for() {
        let (chunk, later) = (Chunk::new(5, 0), &mut Later::default());
        assert_eq!((cut(&chunk, 6), cut(&chunk, 3), cut(&chunk, 3)), (None, Some(2), None));
        assert!(chunk.finish(0, results(0..3), later).is_ok());
        assert_eq!(cut(&chunk, 2), None, "three have been told");
        let unwanted = Chunk::new(5, 0);
        unwanted.abandon();
        assert_eq!(cut(&unwanted, 1), None, "nobody wants the rest");
        assert!(unwanted.finish(0, results(0..1), later).is_ok());
        assert!(told(&unwanted).is_empty());
    }
}
