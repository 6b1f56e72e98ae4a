//! Waiting for a change of shared memory, across processes.

use std::sync::atomic::AtomicU32;

use std::time::Instant;

use rustix::event::Timespec;
use rustix::io::Errno;
use rustix::thread::futex;
use rustix::time::{ClockId, clock_gettime};

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

/// Wakes as many of those who wait for this number, in whichever process, and tells how many there were.
pub(crate) fn wake(number: &AtomicU32, count: u32) -> usize {
    futex::wake(number, futex::Flags::empty(), count.min(i32::MAX as u32)).unwrap_or(0)
}

/// Sets the lowest bit and wakes all who wait for this number: both or, if this process is killed, neither.
pub(crate) fn set_and_wake_all(number: &AtomicU32) {
    // The call changes the second number and wakes those who wait for the first; here they are one.
    const OR_ONE: u32 = (libc::FUTEX_OP_OR as u32) << 28 | 1 << 12;
    // SAFETY: both addresses are that of a number that stays there during the call, and the kernel changes it
    // atomically.
    let done = unsafe {
        let number = number.as_ptr();
        libc::syscall(libc::SYS_futex, number, libc::FUTEX_WAKE_OP, i32::MAX, 0_usize, number, OR_ONE)
    };
    if done < 0 {
        number.fetch_or(1, std::sync::atomic::Ordering::SeqCst);
        wake_all(number);
    }
}

/// How many numbers [`wait_for_any`] takes.
pub(crate) const ANY_MAX: usize = 128;

/// Waits until somebody wakes those who wait for one of these numbers, if each still is what it is said to be, at most
/// until then. May return early: look again. False if this kernel cannot do that (before Linux 5.16).
pub(crate) fn wait_for_any<'a>(numbers: impl Iterator<Item = (&'a AtomicU32, u32)>, until: Instant) -> bool {
    let waits = numbers.take(ANY_MAX).map(|(number, seen)| {
        let mut wait = futex::Wait::new();
        wait.val = seen.into();
        wait.uaddr = number.as_ptr().cast::<std::ffi::c_void>().into();
        wait.flags = futex::WaitFlags::SIZE_U32;
        wait
    });
    let waits: Vec<_> = waits.collect();
    // The call wants a time, and not how long.
    let now = clock_gettime(ClockId::Monotonic);
    let rest = until.saturating_duration_since(Instant::now());
    let Some(until) = Timespec::try_from(rest).ok().and_then(|rest| now.checked_add(rest)) else {
        return false;
    };
    let waited = futex::waitv(&waits, futex::WaitvFlags::empty(), Some(&until), ClockId::Monotonic);
    !matches!(waited, Err(Errno::NOSYS | Errno::PERM))
}
