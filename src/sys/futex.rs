//! Waiting for a change of shared memory, across processes.

use std::sync::atomic::AtomicU32;

use std::time::Instant;

use rustix::event::Timespec;
use rustix::thread::futex;

/// Waits until somebody wakes those who wait for this number, if it still is `seen`. May return early: look again.
pub(crate) fn wait(number: &AtomicU32, seen: u32) {
    // Whatever ends the wait, a signal or a change that came first, the caller looks again.
    let _ = futex::wait(number, futex::Flags::empty(), seen, None);
}

/// As [`wait`], at most until then.
pub(crate) fn wait_until(number: &AtomicU32, seen: u32, until: Option<Instant>) {
    let rest = until.map(|until| until.saturating_duration_since(Instant::now()));
    let rest = rest.and_then(|rest| Timespec::try_from(rest).ok());
    let _ = futex::wait(number, futex::Flags::empty(), seen, rest.as_ref());
}

/// Wakes one of those who wait for this number, in whichever process.
pub(crate) fn wake_one(number: &AtomicU32) {
    let _ = futex::wake(number, futex::Flags::empty(), 1);
}

/// Wakes all who wait for this number, in whichever process.
pub(crate) fn wake_all(number: &AtomicU32) {
    // Fails only for an address that is none.
    let _ = futex::wake(number, futex::Flags::empty(), i32::MAX as u32);
}
