//! A task that was submitted from inside of a task is cancelled when the outer one is asked to stop.

use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};

use crate::error::{TaskError, TaskErrorKind};
use crate::scheduler::engine::Engine;
use crate::scheduler::machine::{Cancel, TaskNo};
use crate::scheduler::slot::Slot;
use crate::worker::current::{Running, Wants};

/// What is woken to cancel a task. It keeps neither the pool nor the outer task alive.
struct Nested {
    engine: Weak<Engine>,
    task: TaskNo,
    how: Cancel,
}

impl Wake for Nested {
    fn wake(self: Arc<Self>) {
        if let Some(engine) = self.engine.upgrade() {
            engine.cancel(self.task, self.how);
        }
    }
}

/// Whether what would be submitted now was cancelled before: it never starts, however idle the workers are.
pub(crate) fn is_unwanted(outer: Option<&Arc<Running>>) -> bool {
    outer.is_some_and(|outer| outer.is_cancelled())
}

/// How a task ends that was cancelled before it was submitted.
pub(crate) fn unwanted(task: &'static str) -> TaskError {
    TaskError::not_run(task, TaskErrorKind::Cancelled { was_running: false })
}

/// Ties a task that was just accepted to the one that has submitted it, until it is settled.
pub(crate) fn inherit(
    outer: Option<&Arc<Running>>,
    slot: &Slot,
    engine: &Arc<Engine>,
    task: TaskNo,
    how: Cancel,
) {
    let Some(outer) = outer else { return };
    let nested = Waker::from(Arc::new(Nested { engine: Arc::downgrade(engine), task, how }));
    match outer.watch(Wants::Stop, &nested) {
        None => engine.cancel(task, how),
        // Whether it is called, or given back because the outcome is here already: the callback is dropped, and
        // the place among those who wait with it.
        Some(registration) => drop(slot.add_callback(Box::new(move |_| drop(registration)))),
    }
}
