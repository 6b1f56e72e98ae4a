//! One clock for two processes.

use std::sync::OnceLock;
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

/// One moment as `Instant` and as nanoseconds: `Instant` does not tell its number, so other moments are reckoned
/// from this one, without another look at the clock.
fn anchor() -> (Instant, u64) {
    static ANCHOR: OnceLock<(Instant, u64)> = OnceLock::new();
    *ANCHOR.get_or_init(|| {
        let bracketed = (0..8).map(|_| {
            let before = nanos();
            let instant = Instant::now();
            let after = nanos();
            (after.saturating_sub(before), (instant, before.midpoint(after)))
        });
        // This thread may be held up between two looks; the closest pair of them was not.
        bracketed
            .min_by_key(|(apart, _)| *apart)
            .map_or_else(|| (Instant::now(), nanos()), |(_, anchor)| anchor)
    })
}

/// The moment of a number that [`nanos`] has shown or will show, unless no `Instant` can say it.
pub(crate) fn instant(nanos: u64) -> Option<Instant> {
    let (instant, at) = anchor();
    match nanos.checked_sub(at) {
        Some(later) => instant.checked_add(Duration::from_nanos(later)),
        None => instant.checked_sub(Duration::from_nanos(at - nanos)),
    }
}

/// What [`nanos`] shows at a moment, from 1 up to what a number can say.
pub(crate) fn nanos_at(moment: Instant) -> u64 {
    let (instant, at) = anchor();
    let between = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let nanos = match moment.checked_duration_since(instant) {
        Some(later) => at.saturating_add(between(later)),
        None => at.saturating_sub(between(instant - moment)),
    };
    nanos.max(1)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn moments_and_numbers_are_the_same_clock() {
        for _ in 0..100 {
            let (before, moment, after) = (nanos(), Instant::now(), nanos());
            let slack = 1_000_000;
            assert!((before - slack..=after + slack).contains(&nanos_at(moment)), "{moment:?}");
        }
        let now = Instant::now();
        for moment in [now, now + Duration::from_secs(3600), now - Duration::from_nanos(1)] {
            assert_eq!(instant(nanos_at(moment)), Some(moment), "there and back");
        }
    }

    #[test]
    fn moments_beyond_the_numbers_are_their_ends() {
        let never = Instant::now() + Duration::from_secs(1000 * 365 * 86_400);
        assert_eq!(nanos_at(never), u64::MAX);
        let long_ago = Instant::now().checked_sub(Duration::from_nanos(nanos()));
        assert!(long_ago.is_none_or(|moment| nanos_at(moment) >= 1));
        assert!(instant(1).is_none_or(|moment| moment < Instant::now()));
    }
}
