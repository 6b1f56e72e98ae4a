//! What was submitted and not yielded.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{SelectAll, Stream, StreamExt};
use serde::de::DeserializeOwned;

use super::calls::Calls;
use super::ready::Ready;
use crate::error::TaskError;
use crate::future::TaskFuture;

/// What comes next.
pub(super) enum Step<T> {
    Result(Result<T, TaskError>),
    /// The results of several calls, in their order.
    Results(Ready<T>),
    /// A call took so long, on the average of those that were measured.
    Took(Duration),
    /// Calls that go on elsewhere.
    Branch(Calls<T>),
}

/// What went to the pool in one piece.
pub(super) enum Piece<T> {
    One(TaskFuture<T>),
    Calls(Calls<T>),
    /// Its result has been given, and this is what it took.
    Took(Duration),
    Done,
}

impl<T: DeserializeOwned> Stream for Piece<T> {
    type Item = Step<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Step<T>>> {
        match &mut *self {
            Piece::Calls(calls) => Pin::new(calls).poll_next(context),
            Piece::One(future) => {
                let (result, took) = std::task::ready!(future.poll_timed(context));
                *self = if result.is_ok() { Piece::Took(took) } else { Piece::Done };
                Poll::Ready(Some(Step::Result(result)))
            }
            Piece::Took(took) => {
                let step = Step::Took(*took);
                *self = Piece::Done;
                Poll::Ready(Some(step))
            }
            Piece::Done => Poll::Ready(None),
        }
    }
}

pub(super) struct Window<T> {
    order: Order<T>,
    /// Results that have come, and are next.
    ready: Ready<T>,
    /// All results that have not been given.
    pending: usize,
}

enum Order<T> {
    AsGiven(VecDeque<Piece<T>>),
    AsDone(SelectAll<Piece<T>>),
}

impl<T: DeserializeOwned> Window<T> {
    pub(super) fn ordered() -> Window<T> {
        Window::new(Order::AsGiven(VecDeque::new()))
    }

    pub(super) fn unordered() -> Window<T> {
        Window::new(Order::AsDone(SelectAll::new()))
    }

    fn new(order: Order<T>) -> Window<T> {
        Window { order, ready: Ready::none(), pending: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.pending
    }

    /// Results are given as they come.
    pub(super) fn is_unordered(&self) -> bool {
        matches!(self.order, Order::AsDone(_))
    }

    pub(super) fn push(&mut self, piece: Piece<T>) {
        self.pending += match &piece {
            Piece::One(_) => 1,
            Piece::Calls(calls) => calls.len(),
            Piece::Took(_) | Piece::Done => 0,
        };
        match &mut self.order {
            Order::AsGiven(queue) => queue.push_back(piece),
            Order::AsDone(set) => set.push(piece),
        }
    }

    /// The next one of those that have come with others.
    #[inline]
    pub(super) fn next_ready(&mut self) -> Option<Result<T, TaskError>> {
        let result = self.ready.next()?;
        self.pending -= 1;
        Some(result)
    }

    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Step<T>>> {
        loop {
            if let Some(result) = self.next_ready() {
                return Poll::Ready(Some(Step::Result(result)));
            }
            match std::task::ready!(self.poll_order(context)) {
                Some(Step::Results(results)) => self.ready = results,
                Some(Step::Branch(calls)) => {
                    if let Order::AsDone(set) = &mut self.order {
                        set.push(Piece::Calls(calls));
                    }
                }
                Some(Step::Result(result)) => {
                    self.pending -= 1;
                    return Poll::Ready(Some(Step::Result(result)));
                }
                step => return Poll::Ready(step),
            }
        }
    }

    fn poll_order(&mut self, context: &mut Context<'_>) -> Poll<Option<Step<T>>> {
        match &mut self.order {
            Order::AsDone(set) => set.poll_next_unpin(context),
            Order::AsGiven(queue) => loop {
                let Some(front) = queue.front_mut() else { return Poll::Ready(None) };
                match std::task::ready!(Pin::new(front).poll_next(context)) {
                    Some(step) => return Poll::Ready(Some(step)),
                    None => drop(queue.pop_front()),
                }
            },
        }
    }
}
