//! Waiting for a fact of the outside world, for which no event can be had.

use std::time::{Duration, Instant};

/// Checks `fact` until it holds, and fails with `what` when it does not hold within `limit`.
///
/// Only for what the kernel does not announce to us (the end of someone else's child, a line in `/proc`). What
/// our own code does is awaited through its own futures and channels.
#[track_caller]
pub fn eventually(what: &str, limit: Duration, fact: impl FnMut() -> bool) {
    assert!(holds_within(limit, fact), "not within {limit:?}: {what}");
}

/// Whether `fact` comes to hold within `limit`; it is checked once more at the limit.
pub(super) fn holds_within(limit: Duration, mut fact: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        let late = Instant::now() >= end;
        if fact() {
            return true;
        }
        if late {
            return false;
        }
        pause(Duration::from_millis(5));
    }
}

/// The only sleep of the test suite: the gap between two looks at the outside world.
#[allow(clippy::disallowed_methods, reason = "a gap between looks, never a replacement for an event")]
pub(super) fn pause(gap: Duration) {
    std::thread::sleep(gap);
}
