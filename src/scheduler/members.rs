//! Tasks that were submitted one by one and travel together: each has a caller of its own.

use std::sync::Arc;

use crate::error::{Ran, TaskError, TaskErrorKind};
use crate::transport::{CallBits, Message, call_bit};
use crate::wire::frame::Kind;
use crate::wire::records::{self, Records};

use super::chunk::Lost;
use super::encoded::Encoded;
use super::gate::Admission;
use super::later::Later;
use super::slot::{Outcome, Slot};
use super::verdict;

/// A task that was put in line. Never used again.
///
/// In two halves, so that a future that has one is not larger for its sake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CallNo {
    high: u32,
    low: u32,
}

impl CallNo {
    pub(super) fn new(number: u64) -> CallNo {
        CallNo { high: (number >> 32) as u32, low: number as u32 }
    }
}

/// Who waits for one of the calls.
#[derive(Debug)]
pub(crate) struct Member {
    pub(super) number: CallNo,
    pub(super) slot: Arc<Slot>,
    /// The place it takes among those that `max_pending` allows.
    pub(super) permit: Option<Admission>,
}

/// The callers of the calls of a chunk, in their order.
#[derive(Debug)]
pub(crate) struct Members {
    /// `None` is one whose caller has been told.
    line: Vec<Option<Member>>,
    numbers: Vec<CallNo>,
    unwanted: CallBits,
    limit: u64,
    /// What a task takes on the average, in nanoseconds.
    length: u64,
}

impl Member {
    /// Tells its caller.
    pub(super) fn settle(self, outcome: Outcome, later: &mut Later) {
        later.tell(self.slot.settle(outcome));
        later.permits.extend(self.permit);
    }

    pub(super) fn cancel(self, was_running: bool, later: &mut Later) {
        let ran = if was_running { Ran::Maybe } else { Ran::No };
        let error = TaskError::new(self.slot.task, ran, TaskErrorKind::Cancelled { was_running });
        self.settle(Outcome::Failed(error), later);
    }
}

impl Members {
    /// Their results have so many bytes at the most, and they take so many nanoseconds each, as far as is known.
    pub(super) fn new(line: Vec<Member>, limit: u64, length: u64) -> Members {
        let numbers = line.iter().map(|member| member.number).collect();
        Members {
            line: line.into_iter().map(Some).collect(),
            numbers,
            unwanted: CallBits::default(),
            limit,
            length,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.line.len() as u32
    }

    /// How many of them have not been told.
    pub(super) fn waiting(&self) -> usize {
        self.line.iter().flatten().count()
    }

    pub(super) fn first(&self) -> Option<CallNo> {
        self.numbers.first().copied()
    }

    /// Which of the calls that is.
    pub(super) fn find(&self, number: CallNo) -> Option<u32> {
        self.numbers.binary_search(&number).ok().map(|call| call as u32)
    }

    pub(super) fn unwanted(&self) -> &CallBits {
        &self.unwanted
    }

    /// A call is not wanted any more: if it has not begun, it never runs.
    pub(super) fn unwant(&mut self, call: u32) {
        let (word, bit) = call_bit(call);
        self.unwanted[word] |= bit;
    }

    /// Who waits for this call, if nobody has been told yet.
    pub(super) fn take(&mut self, call: u32) -> Option<Member> {
        self.line.get_mut(call as usize)?.take()
    }

    /// Records of results have come, from that call on, one for each and not more than there are.
    pub(super) fn tell(&mut self, first: u32, Message { bytes, mut handles }: Message, later: &mut Later) {
        for ((mark, bytes), call) in Records::new(&bytes).zip(first as usize..) {
            if let Some(member) = self.line[call].take() {
                match verdict::kind_of(mark) {
                    Some(Kind::Done) => {
                        let encoded = match handles.is_empty() {
                            true => Encoded::copy(bytes),
                            false => Encoded::take(&mut bytes.to_vec(), std::mem::take(&mut handles)),
                        };
                        let value = Outcome::Value { encoded, nanos: self.length };
                        member.settle(value, later);
                    }
                    kind => {
                        let error = verdict::failed_call(member.slot.task, kind, bytes, self.limit);
                        member.settle(Outcome::Failed(error), later);
                    }
                }
            }
        }
    }

    /// Those that nobody will tell are told why. Says how many they are.
    pub(super) fn lose(&mut self, lost: Lost, first: u32, later: &mut Later) -> usize {
        let before = self.waiting();
        for (place, error) in self.line.iter_mut().skip(first as usize).zip(lost) {
            if let Some(member) = place.take() {
                let error = error.of(member.slot.task);
                member.settle(Outcome::Failed(error), later);
            }
        }
        before - self.waiting()
    }

    /// Those behind the first so many are no longer of these. `None` if nobody waits for any of them.
    pub(super) fn cut(&mut self, begun: u32) -> Option<Members> {
        let begun = begun as usize;
        let (line, numbers) = (self.line.split_off(begun), self.numbers.split_off(begun));
        line.iter().any(Option::is_some).then(|| Members {
            line,
            numbers,
            unwanted: CallBits::default(),
            limit: self.limit,
            length: self.length,
        })
    }

    /// Forgets those who have been told, and gives the records of the calls of the others.
    pub(super) fn compact(mut self, arguments: Records<'_>) -> (Members, Vec<u8>) {
        let mut kept = Vec::new();
        for (place, (task, arguments)) in self.line.iter().zip(arguments) {
            if place.is_some() {
                let at = records::open(&mut kept);
                kept.extend_from_slice(arguments);
                records::close(&mut kept, at, task);
            }
        }
        let mut places = self.line.iter();
        self.numbers.retain(|_| places.next().is_some_and(Option::is_some));
        self.line.retain(Option::is_some);
        (self, kept)
    }
}

#[cfg(test)]
mod test {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::wire::attach::Handles;

    fn members(count: u64) -> (Members, Vec<Arc<Slot>>) {
        let slots: Vec<_> = (0..count).map(|_| Arc::new(Slot::new("one"))).collect();
        let member = |(number, slot): (u64, &Arc<Slot>)| Member {
            number: CallNo::new(2 * number),
            slot: Arc::clone(slot),
            permit: None,
        };
        (Members::new((0..).zip(&slots).map(member).collect(), 1 << 20, 0), slots)
    }

    /// Records of one byte each, with these marks.
    fn records(marked: impl IntoIterator<Item = (u32, u8)>) -> Vec<u8> {
        let mut out = Vec::new();
        for (mark, byte) in marked {
            let at = records::open(&mut out);
            out.push(byte);
            records::close(&mut out, at, mark);
        }
        out
    }

    fn told(slot: &Slot) -> Option<Result<Vec<u8>, TaskError>> {
        match slot.poll_take(&Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(taken)) => Some(match taken.into_own() {
                Ok(Outcome::Value { encoded, .. }) => Ok(encoded.to_vec()),
                Ok(Outcome::Failed(error)) => Err(error),
                Err(shared) => panic!("{shared:?}"),
            }),
            _ => None,
        }
    }

    #[test]
    fn who_has_been_told_does_not_go_on() {
        let (mut all, _slots) = members(6);
        for call in [2, 3, 5] {
            assert!(all.take(call).is_some() && all.take(call).is_none());
        }
        let rest = all.cut(1).expect("two wait");
        assert_eq!((all.len(), all.waiting(), rest.len(), rest.waiting()), (1, 1, 5, 2));
        let (rest, kept) = rest.compact(Records::new(&records((1..6).map(|n| (u32::from(n), n)))));
        assert_eq!(kept, records([(1, 1), (4, 4)]));
        assert_eq!((rest.len(), rest.find(CallNo::new(2)), rest.find(CallNo::new(8))), (2, Some(0), Some(1)));
        assert_eq!(
            (rest.find(CallNo::new(4)), all.find(CallNo::new(2)), all.find(CallNo::new(0))),
            (None, None, Some(0))
        );
        assert!(all.cut(1).is_none());
    }

    #[test]
    fn what_a_worker_says_of_each_is_told_to_each() {
        let (mut all, slots) = members(5);
        let mut later = Later::default();
        all.unwant(3);
        drop(all.take(3));
        let [done, skipped, no_kind] = [Kind::Done.tag(), Kind::Skipped.tag(), 250].map(u32::from);
        let said = records([(done, 1), (skipped, 2), (no_kind, 3), (skipped, 4), (records::MARKS - 1, 5)]);
        all.tell(0, Message { bytes: said, handles: Handles::default() }, &mut later);
        assert_eq!(told(&slots[0]).expect("an outcome").expect("a value"), [1]);
        for lied in [1, 2, 4] {
            let error = told(&slots[lied]).expect("an outcome").expect_err("nobody says that");
            assert!(matches!(error.kind(), TaskErrorKind::Protocol { .. }), "{error}");
        }
        assert!(told(&slots[3]).is_none(), "somebody else has told that one");
    }
}
