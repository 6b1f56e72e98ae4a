//! The results of calls that went to a worker as one task, wherever they went on.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::Stream;
use serde::de::DeserializeOwned;

use super::window::Step;
use crate::error::TaskError;
use crate::scheduler::chunk::{Lost, Rest};
use crate::scheduler::engine::Engine;
use crate::scheduler::machine::Cancel;
use crate::scheduler::slot::Outcome;
use crate::scheduler::verdict;
use crate::submit::Calling;
use crate::transport::Message;
use crate::wire::attach::Handles;
use crate::wire::codec::{self, Source};
use crate::wire::frame::Kind;
use crate::wire::records;

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
    /// Results that have come, as far as `at` given.
    results: Message,
    at: usize,
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
            results: Message::default(),
            at: 0,
            settled: None,
            lost: None,
            failed: None,
            value: PhantomData,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.left as usize
    }

    /// The next result, if it has come.
    fn next_told(&mut self) -> Option<Result<T, TaskError>> {
        let rest = self.results.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
        let (mark, bytes, more) = records::first(rest)?;
        let handles = std::mem::take(&mut self.results.handles);
        let result = self.read(mark, bytes, handles);
        self.at = self.results.bytes.len() - more.len();
        self.given += 1;
        Some(result)
    }

    fn read(&self, mark: u32, bytes: &[u8], handles: Handles) -> Result<T, TaskError> {
        let task = self.part.slot.task;
        match verdict::kind_of(mark) {
            Some(Kind::Done) => {
                let source = Source::new(bytes);
                verdict::decoded(task, handles, || codec::decode_borrowed(&source))
            }
            kind => Err(verdict::failed_call(task, kind, bytes, self.engine.worker.limit)),
        }
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

impl<T: DeserializeOwned> Stream for Calls<T> {
    type Item = Step<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Step<T>>> {
        let this = &mut *self;
        loop {
            if this.left > 0
                && let Some(result) = this.next_told()
            {
                this.left -= 1;
                return Poll::Ready(Some(Step::Result(result)));
            }
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
                Poll::Ready(results) => {
                    (this.results, this.at) = (results, 0);
                    continue;
                }
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
