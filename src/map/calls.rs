//! The results of calls that went to a worker as one task, wherever they went on.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::Stream;
use serde::de::DeserializeOwned;

use super::ready::Ready;
use super::window::Step;
use crate::error::TaskError;
use crate::scheduler::chunk::{Lost, Rest};
use crate::scheduler::engine::Engine;
use crate::scheduler::machine::Cancel;
use crate::scheduler::slot::Outcome;
use crate::scheduler::verdict;
use crate::submit::Calling;
use crate::sys::plain::{self, Numbers};
use crate::task::guarded;
use crate::transport::Message;
use crate::wire::attach;
use crate::wire::codec::{self, Source};
use crate::wire::frame::Kind;
use crate::wire::records::{self, Records};

/// A stream of the results of so many calls, in their order.
pub(super) struct Calls<T> {
    engine: Arc<Engine>,
    /// The chunk that the next results come from.
    part: Rest,
    /// Calls whose results have not been given.
    left: u32,
    branches: bool,
    /// Calls of this chunk whose results have been given.
    given: u32,
    /// How the task of this chunk was settled.
    settled: Option<Outcome>,
    /// Calls of a chunk that came to an end without their results: they come before those of the next chunk.
    lost: Option<Lost>,
    /// What each call gets that is left.
    failed: Option<TaskError>,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Calls<T> {
    /// With `branches`, calls that go on elsewhere are given as a stream of their own.
    pub(super) fn new(Calling { engine, part }: Calling, branches: bool) -> Calls<T> {
        Calls {
            engine,
            left: part.calls,
            part,
            branches,
            given: 0,
            settled: None,
            lost: None,
            failed: None,
            value: PhantomData,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.left as usize
    }

    /// The values of results that have come.
    fn read(&mut self, message: Message) -> Ready<T> {
        let read = match numbers(message, self.left as usize) {
            Ok(numbers) => Ready::Numbers(numbers),
            Err(message) => Ready::Results(self.decode(message).into_iter()),
        };
        self.given += read.len() as u32;
        self.left -= read.len() as u32;
        read
    }

    fn decode(&self, Message { bytes, mut handles }: Message) -> Vec<Result<T, TaskError>> {
        let (task, limit) = (self.part.slot.task, self.engine.worker.limit);
        let most = self.left as usize;
        // What is no records does not come here.
        let Some(count) = records::count(&bytes) else { return Vec::new() };
        let mut read = Vec::with_capacity(most.min(count as usize));
        let mut records = Records::new(&bytes);
        while !records.is_empty() && read.len() < most {
            // Decoding is the user's code. What it panics at has been passed over, and the next are read in another turn.
            let panicked = guarded(|| {
                while read.len() < most
                    && let Some((mark, bytes)) = records.next()
                {
                    read.push(match verdict::kind_of(mark) {
                        Some(Kind::Done) => {
                            let source = Source::new(bytes);
                            let decode = || codec::decode_borrowed(&source);
                            let decoded = attach::offer(std::mem::take(&mut handles), decode);
                            decoded.map_err(|message| verdict::undecodable(task, message))
                        }
                        kind => Err(verdict::failed_call(task, kind, bytes, limit)),
                    });
                }
            });
            if let Err(payload) = panicked {
                read.push(Err(verdict::undecodable_by_panic(task, payload)));
            }
        }
        read
    }

    /// All results of this chunk have been given: what its end means for the calls that are left.
    fn turn_over(&mut self, outcome: Outcome) -> Option<Step<T>> {
        let ending = self.part.chunk.ending();
        let step = match outcome {
            Outcome::Value { nanos, .. } => {
                (self.given > 0).then(|| Step::Took(Duration::from_nanos(nanos / u64::from(self.given))))
            }
            Outcome::Failed(error) => {
                self.lost = Some(Lost::new(&ending, error));
                None
            }
        };
        if let Some(rest) = ending.rest {
            self.part = rest;
            self.given = 0;
        } else if self.lost.is_none() {
            self.failed = Some(verdict::untold(self.part.slot.task));
        }
        step
    }
}

/// Values that are numbers and nothing else, so many at the most.
fn numbers<T>(message: Message, most: usize) -> Result<Numbers<T>, Message> {
    let mut records = Records::new(&message.bytes);
    let Some((_, values)) = (plain::is_number::<T>()
        && records.mark().and_then(verdict::kind_of) == Some(Kind::Done))
    .then(|| records.group_of(size_of::<T>()))
    .flatten()
    .filter(|_| records.is_empty()) else {
        return Err(message);
    };
    let start = values.as_ptr().addr() - message.bytes.as_ptr().addr();
    let len = values.len().min(most.saturating_mul(size_of::<T>()));
    Numbers::of(message.bytes, start..start + len).ok_or_else(Message::default)
}

impl<T: DeserializeOwned> Stream for Calls<T> {
    type Item = Step<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Step<T>>> {
        let this = &mut *self;
        loop {
            if this.left > 0
                && let Some(error) = this.lost.as_mut().and_then(Iterator::next)
            {
                this.left -= 1;
                return Poll::Ready(Some(Step::Result(Err(error))));
            }
            if let Some(error) = this.failed.as_ref() {
                let error = (this.left > 0).then(|| error.clone());
                this.left = this.left.saturating_sub(1);
                return Poll::Ready(error.map(|error| Step::Result(Err(error))));
            }
            if this.branches
                && let Some(part) = this.part.chunk.take_rest()
            {
                this.left = this.left.saturating_sub(part.calls);
                let calling = Calling { engine: Arc::clone(&this.engine), part };
                return Poll::Ready(Some(Step::Branch(Calls::new(calling, true))));
            }
            match this.part.chunk.poll_results(context) {
                Poll::Ready(results) => return Poll::Ready(Some(Step::Results(this.read(results)))),
                Poll::Pending if this.settled.is_none() => {}
                Poll::Pending => {
                    let outcome = this.settled.take();
                    if let Some(step) = outcome.and_then(|outcome| this.turn_over(outcome)) {
                        return Poll::Ready(Some(step));
                    }
                    continue;
                }
            }
            // What comes last is there before the task is settled: so it is looked for once more after that.
            match this.part.slot.poll_take(context) {
                Poll::Ready(Some(taken)) => match taken.into_own() {
                    Ok(outcome) => this.settled = Some(outcome),
                    Err(_) => this.failed = Some(verdict::untold(this.part.slot.task)),
                },
                // Nothing is missing but how long it took.
                _ if this.left == 0 => return Poll::Ready(None),
                Poll::Ready(None) => this.failed = Some(verdict::untold(this.part.slot.task)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<T> Drop for Calls<T> {
    fn drop(&mut self) {
        // In a copy of the program, made by `fork`, locks may be held for ever.
        if self.left == 0 || self.engine.is_copy() {
            return;
        }
        let mut rest = self.part.chunk.abandon();
        self.engine.cancel(self.part.task, Cancel::Mild);
        while let Some(part) = rest {
            rest = part.chunk.abandon();
            self.engine.cancel(part.task, Cancel::Mild);
        }
    }
}
