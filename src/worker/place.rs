//! Where a worker stands: in its pool, and in how many pools.
//!
//! A worker process has one place, for all its threads. A worker that is a thread of the program has its own, and the
//! threads that its tasks start know it only through the context that they are handed.

use std::cell::Cell;
use std::sync::{PoisonError, RwLock};

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

/// Written at the start of a process only: a copy of it, made at any moment, can read it.
static PROCESS: RwLock<Option<&'static Identity>> = RwLock::new(None);

thread_local! {
    static THREAD: Cell<Option<Place>> = const { Cell::new(None) };
}

/// This process is a worker from now on.
pub(super) fn take_process(place: Place, alone: Option<Alone>, parent: u32) {
    set(Some(Box::leak(Box::new(Identity { place, alone, parent }))));
}

/// This process is a copy of one that may have been a worker, and is none itself.
pub(super) fn leave_process() {
    set(None);
}

fn set(identity: Option<&'static Identity>) {
    *PROCESS.write().unwrap_or_else(PoisonError::into_inner) = identity;
}

/// Who this process is, if it was started by another of this program.
pub(crate) fn identity() -> Option<&'static Identity> {
    *PROCESS.read().unwrap_or_else(PoisonError::into_inner)
}

/// The name of this process for those who list processes.
pub(super) fn name() -> String {
    match identity() {
        Some(Identity { alone: Some(alone), .. }) => alone.name.clone(),
        Some(Identity { place, .. }) => worker_name(place.index),
        None => TEMPLATE.to_owned(),
    }
}

/// What those who list processes see of a process of which workers are copies.
pub(crate) const TEMPLATE: &str = "procpool:forks";

/// What they see of a worker of a pool.
pub(crate) fn worker_name(index: usize) -> String {
    format!("procpool:{index}")
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
