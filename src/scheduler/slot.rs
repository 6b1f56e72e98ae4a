//! Where a task's outcome waits for whoever asked for it.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::TaskError;
use crate::primitive::{Mutex, MutexGuard};

use super::encoded::Encoded;

/// How a task ended, its value still encoded.
#[derive(Debug)]
pub(crate) enum Outcome {
    Value {
        encoded: Encoded,
        /// How long the body ran. A number, because an outcome waits for each task of a large set.
        nanos: u64,
    },
    Failed(TaskError),
}

/// An outcome as it is handed out.
#[derive(Debug)]
pub(crate) enum Taken {
    Own(Outcome),
    /// Callbacks have it as well.
    Shared(Arc<Outcome>),
}

impl Deref for Taken {
    type Target = Outcome;

    fn deref(&self) -> &Outcome {
        match self {
            Taken::Own(outcome) => outcome,
            Taken::Shared(outcome) => outcome,
        }
    }
}

pub(crate) type Callback = Box<dyn FnOnce(&Outcome) + Send>;

type Callbacks = Option<Box<Vec<Callback>>>;

/// Shared by the pool, which settles it once, and the future, which takes what is settled.
pub(crate) struct Slot {
    /// The task's name, for errors.
    pub(crate) task: &'static str,
    state: Mutex<State>,
}

enum State {
    Pending {
        waker: Option<Waker>,
        /// Few tasks have any, so these take no room.
        callbacks: Callbacks,
    },
    Settled(Taken),
    /// Gone to the caller; whether it was a cancellation is remembered.
    Taken {
        cancelled: bool,
    },
}

/// What is to be told, outside of any lock.
#[derive(Default)]
pub(crate) struct Told {
    waker: Option<Waker>,
    callbacks: Callbacks,
    outcome: Option<Arc<Outcome>>,
}

impl Taken {
    /// Another hand on it.
    fn share(&mut self) -> Arc<Outcome> {
        let gone = Outcome::Value { encoded: Encoded::default(), nanos: 0 };
        let shared = match std::mem::replace(self, Taken::Own(gone)) {
            Taken::Own(outcome) => Arc::new(outcome),
            Taken::Shared(outcome) => outcome,
        };
        *self = Taken::Shared(Arc::clone(&shared));
        shared
    }

    /// The outcome, if nobody else has it.
    pub(crate) fn into_own(self) -> Result<Outcome, Arc<Outcome>> {
        match self {
            Taken::Own(outcome) => Ok(outcome),
            Taken::Shared(outcome) => Arc::try_unwrap(outcome),
        }
    }
}

impl Slot {
    pub(crate) fn new(task: &'static str) -> Slot {
        Slot { task, state: Mutex::new(State::Pending { waker: None, callbacks: None }) }
    }

    pub(crate) fn settled(task: &'static str, outcome: Outcome) -> Slot {
        Slot { task, state: Mutex::new(State::Settled(Taken::Own(outcome))) }
    }

    /// Whoever panicked under this lock had finished changing the state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the outcome. Only the first one counts.
    pub(crate) fn settle(&self, outcome: Outcome) -> Told {
        let mut state = self.state();
        let State::Pending { waker, callbacks } = &mut *state else { return Told::default() };
        let mut told = Told { waker: waker.take(), callbacks: callbacks.take(), outcome: None };
        let mut outcome = Taken::Own(outcome);
        if told.callbacks.is_some() {
            told.outcome = Some(outcome.share());
        }
        *state = State::Settled(outcome);
        told
    }

    /// Takes the outcome if it is there now.
    pub(crate) fn take(&self) -> Option<Taken> {
        let mut state = self.state();
        match &*state {
            State::Settled(_) => Some(take(&mut state)),
            State::Pending { .. } | State::Taken { .. } => None,
        }
    }

    /// Takes the outcome once it is there; `None` if it was taken before.
    pub(crate) fn poll_take(&self, context: &Context<'_>) -> Poll<Option<Taken>> {
        let mut state = self.state();
        match &mut *state {
            State::Pending { waker, .. } => {
                let before = remember(waker, context);
                drop(state);
                drop(before);
                Poll::Pending
            }
            State::Taken { .. } => Poll::Ready(None),
            State::Settled(_) => Poll::Ready(Some(take(&mut state))),
        }
    }

    /// Ready once the outcome is there; leaves it.
    pub(crate) fn poll_done(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        let State::Pending { waker, .. } = &mut *state else { return Poll::Ready(()) };
        let before = remember(waker, context);
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// Nobody waits for the outcome any more, so no waker is kept for it. Says whether the outcome is there.
    pub(crate) fn let_go(&self) -> bool {
        let waker = match &mut *self.state() {
            State::Pending { waker, .. } => waker.take(),
            State::Settled(_) | State::Taken { .. } => return true,
        };
        drop(waker);
        false
    }

    pub(crate) fn is_done(&self) -> bool {
        !matches!(*self.state(), State::Pending { .. })
    }

    /// Somebody is to be called back when the outcome is there.
    pub(crate) fn has_callbacks(&self) -> bool {
        matches!(&*self.state(), State::Pending { callbacks: Some(_), .. })
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        match &*self.state() {
            State::Pending { .. } => false,
            State::Settled(outcome) => is_cancelled(outcome),
            State::Taken { cancelled } => *cancelled,
        }
    }

    /// The outcome is there and is an error other than a cancellation.
    pub(crate) fn has_failed(&self) -> bool {
        let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(error) if !error.is_cancelled());
        matches!(&*self.state(), State::Settled(outcome) if failed(outcome))
    }

    /// Runs `callback` when the outcome is there; gives it back with the outcome if that is now, and drops it
    /// if the outcome is gone.
    pub(crate) fn add_callback(&self, callback: Callback) -> Option<(Callback, Arc<Outcome>)> {
        match &mut *self.state() {
            State::Pending { callbacks, .. } => {
                callbacks.get_or_insert_default().push(callback);
                None
            }
            State::Settled(outcome) => Some((callback, outcome.share())),
            State::Taken { .. } => None,
        }
    }
}

/// Takes an outcome that is there.
fn take(state: &mut State) -> Taken {
    let cancelled = matches!(state, State::Settled(outcome) if is_cancelled(outcome));
    match std::mem::replace(state, State::Taken { cancelled }) {
        State::Settled(outcome) => outcome,
        State::Pending { .. } | State::Taken { .. } => unreachable!("the state was looked at under the lock"),
    }
}

/// Gives back the waker that is not needed any more, to be dropped when the lock is released: its end may be that of
/// other futures.
fn remember(slot: &mut Option<Waker>, context: &Context<'_>) -> Option<Waker> {
    match slot {
        Some(waker) if waker.will_wake(context.waker()) => None,
        _ => slot.replace(context.waker().clone()),
    }
}

fn is_cancelled(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(error) if error.is_cancelled())
}

impl Told {
    pub(super) fn is_empty(&self) -> bool {
        self.waker.is_none() && self.callbacks.is_none()
    }

    /// Wakes and calls back. Wakers and callbacks are the user's code: a panic in one is its own affair.
    pub(crate) fn tell(self) {
        if let Some(waker) = self.waker {
            let _ = crate::task::guarded(|| waker.wake());
        }
        if let Some(outcome) = self.outcome {
            for callback in self.callbacks.into_iter().flat_map(|callbacks| *callbacks) {
                let _ = crate::task::guarded(|| callback(&outcome));
            }
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("task", &self.task).field("done", &self.is_done()).finish()
    }
}
