//! One clock for two processes.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds on the clock that all processes of the machine share, and that `Instant` reads as well.
pub(crate) fn nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The moment that another process read as `then`, given that it is `now` now. A moment in the future is now.
pub(crate) fn moment(then: u64, now: Instant) -> Instant {
    let ago = Duration::from_nanos(nanos().saturating_sub(then));
    now.checked_sub(ago).unwrap_or(now)
}
