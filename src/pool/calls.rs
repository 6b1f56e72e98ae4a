//! Callbacks that are still to come: whoever waits for the end of a pool waits for them as well.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Counts callbacks from when they are given until they have returned, panicked, or were dropped.
#[derive(Debug, Default)]
pub(super) struct Calls(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    open: usize,
    waiting: Vec<Waker>,
}

/// A callback that is still to come.
pub(super) struct Call(Arc<Calls>);

impl Calls {
    /// Nothing of the user's runs under this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(self: &Arc<Calls>) -> Call {
        self.state().open += 1;
        Call(Arc::clone(self))
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().open == 0
    }

    /// Ready when there is none to come.
    pub(super) fn poll_over(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.open == 0 {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.open -= 1;
        let waiting = if state.open == 0 { std::mem::take(&mut state.waiting) } else { Vec::new() };
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}
