//! Where a worker stands: in its pool, and in how many pools.
//!
//! A worker process has one place, for all its threads. A worker that is a thread of the program has its own, and the
//! threads that its tasks start know it only through the context that they are handed.

use std::cell::Cell;
use std::sync::OnceLock;

use crate::primitive::thread_local;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The worker's number in its pool, from 0.
    pub(crate) index: usize,
    /// How many pools it is nested in; 0 outside of a worker.
    pub(crate) depth: u32,
}

static PROCESS: OnceLock<Place> = OnceLock::new();

thread_local! {
    static THREAD: Cell<Option<Place>> = const { Cell::new(None) };
}

/// This process is a worker from now on.
pub(super) fn take_process(place: Place) {
    let _ = PROCESS.set(place);
}

/// This thread is a worker from now on.
pub(super) fn take_thread(place: Place) {
    THREAD.with(|here| here.set(Some(place)));
}

/// The place of the code that calls this.
pub(crate) fn here() -> Place {
    // A thread that is ending may have lost its variables.
    let thread = THREAD.try_with(Cell::get).ok().flatten();
    thread.or_else(|| PROCESS.get().copied()).unwrap_or_default()
}
