//! Locks, atomics and threads: those of the standard library. In a test build with `--cfg shuttle` those of the model
//! checker, which runs the whole pool, its workers inline, through thousands of schedules: see `src/interleavings.rs`.

#[cfg(all(test, shuttle))]
mod kind {
    pub(crate) use shuttle::sync::atomic::AtomicBool;
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};
    pub(crate) use shuttle::{thread, thread_local};

    /// Nobody blocks in the kernel: all threads are one thread of the kernel's, and others could not go on. Whoever
    /// would, looks again and again instead, and lets others go first.
    pub(crate) const MODELLED: bool = true;

    /// What others share is about to be looked at or changed: here they may go on.
    pub(crate) fn interleave() {
        thread::yield_now();
    }

    /// Whether a thread runs here, and not the checker itself, which panics when it finds all of them waiting.
    pub(crate) fn in_a_thread() -> bool {
        shuttle::current::try_get_current_task().is_some()
    }
}

#[cfg(not(all(test, shuttle)))]
mod kind {
    pub(crate) use std::sync::atomic::AtomicBool;
    pub(crate) use std::sync::{Mutex, MutexGuard};
    pub(crate) use std::{thread, thread_local};

    /// Whoever waits for the kernel blocks in it.
    pub(crate) const MODELLED: bool = false;

    pub(crate) const fn interleave() {}

    /// There is nothing but threads here.
    pub(crate) const fn in_a_thread() -> bool {
        true
    }
}

pub(crate) use kind::{AtomicBool, Mutex, MutexGuard, thread, thread_local};
pub(crate) use kind::{MODELLED, in_a_thread, interleave};
