//! Where a worker stands: in its pool, and in how many pools.
//!
//! A worker process has one place, for all its threads. A worker that is a thread of the program has its own, and the
//! threads that its tasks start know it only through the context that they are handed.

use std::cell::Cell;
use std::sync::OnceLock;

use crate::primitive::thread_local;
use crate::wire::hello::Alone;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The worker's number in its pool, from 0.
    pub(crate) index: usize,
    /// How many pools it is nested in; 0 outside of a worker.
    pub(crate) depth: u32,
}

/// Who a process is that was started as a worker, or as a process of its own.
#[derive(Debug)]
pub(crate) struct Identity {
    place: Place,
    /// It is no worker of a pool.
    pub(crate) alone: Option<Alone>,
    /// The process that has started it, which may have ended.
    pub(crate) parent: u32,
}

static PROCESS: OnceLock<Identity> = OnceLock::new();

thread_local! {
    static THREAD: Cell<Option<Place>> = const { Cell::new(None) };
}

/// This process is a worker from now on.
pub(super) fn take_process(place: Place, alone: Option<Alone>, parent: u32) {
    let _ = PROCESS.set(Identity { place, alone, parent });
}

/// Who this process is, if it was started by another of this program.
pub(crate) fn identity() -> Option<&'static Identity> {
    PROCESS.get()
}

/// The name of this process for those who list processes.
pub(super) fn name() -> String {
    match identity() {
        Some(Identity { alone: Some(alone), .. }) => alone.name.clone(),
        Some(Identity { place, .. }) => format!("procpool:{}", place.index),
        None => "procpool:forks".to_owned(),
    }
}

impl Identity {
    /// It ends with its parent.
    pub(crate) fn is_tied(&self) -> bool {
        self.alone.as_ref().is_none_or(|alone| alone.daemon)
    }

    /// The numbers of its ancestors and its own, each among its siblings.
    pub(crate) fn path(&self) -> String {
        match &self.alone {
            Some(alone) => alone.path.clone(),
            None => (self.place.index + 1).to_string(),
        }
    }
}

/// This thread is a worker from now on.
pub(super) fn take_thread(place: Place) {
    THREAD.with(|here| here.set(Some(place)));
}

/// The place of the code that calls this.
pub(crate) fn here() -> Place {
    // A thread that is ending may have lost its variables.
    let thread = THREAD.try_with(Cell::get).ok().flatten();
    thread.or_else(|| identity().map(|identity| identity.place)).unwrap_or_default()
}
