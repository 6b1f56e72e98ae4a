//! Waiting for a change of shared memory, across processes.

use std::sync::atomic::AtomicU32;

use rustix::thread::futex;

/// Waits until somebody wakes those who wait for this number, if it still is `seen`. May return early: look again.
pub(crate) fn wait(number: &AtomicU32, seen: u32) {
    // Whatever ends the wait, a signal or a change that came first, the caller looks again.
    let _ = futex::wait(number, futex::Flags::empty(), seen, None);
}

/// Wakes all who wait for this number, in whichever process.
pub(crate) fn wake_all(number: &AtomicU32) {
    // Fails only for an address that is none.
    let _ = futex::wake(number, futex::Flags::empty(), i32::MAX as u32);
}
