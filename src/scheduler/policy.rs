//! The numbers behind decisions: when to start again after a failed start, and how much to send ahead.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// What the builder decides for the machine.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Places for workers; also the number of lanes.
    pub(crate) max_workers: usize,
    /// A worker that was sent this many tasks is replaced.
    pub(crate) max_tasks_per_child: Option<u64>,
    /// From the launch of a worker until it must be ready.
    pub(crate) start_timeout: Duration,
    /// From the wish that a worker ends until it is killed, and from there until it is given up.
    pub(crate) stop_timeout: Duration,
}

/// Failed starts in a row after which a pool without a live worker is broken.
pub(crate) const MAX_FAILED_STARTS: u32 = 3;

/// A task that never started goes to another worker this many times.
pub(crate) const MAX_RESENDS: u8 = 3;

/// The tasks a worker may hold at once, which is the number of slots in its shared page.
pub(crate) const SLOTS: u64 = 1024;

/// Work that is sent ahead should keep a worker busy about this long: long enough to hide the way there and
/// back, short enough that nothing waits behind a task that turns out to be slow.
const AHEAD: Duration = Duration::from_micros(200);

/// At most so many tasks are sent ahead, however short they are.
const MAX_AHEAD: u32 = 64;

/// Bytes of arguments that may be on their way to one worker before the next task waits its turn.
pub(crate) const MAX_BYTES_AHEAD: usize = 1 << 20;

/// What was sent behind a task that runs longer than this is taken back.
pub(crate) const STALL: Duration = Duration::from_millis(2);

/// A task with a timeout whose body has not begun after this much time at the head of its worker sits in
/// front of a worker that does not answer.
pub(crate) const UNRESPONSIVE: Duration = Duration::from_secs(5);

/// So does one whose result is still on its way this long after it was seen there. A large one takes a while.
pub(crate) const UNHEARD: Duration = Duration::from_secs(30);

/// How often to look whether a task with a timeout has begun, once it should have ended.
pub(crate) const LOOK_AGAIN: RangeInclusive<Duration> = Duration::from_millis(2)..=Duration::from_millis(10);

/// Counts failed starts and says when the next may be tried: 50 ms after the first, doubling to a second.
/// Workers that are launched together often fail together, for one cause: that counts once.
#[derive(Clone, Debug, Default)]
pub(crate) struct StartBudget {
    failures: u32,
    /// When the last failure was counted.
    last: Option<Instant>,
}

impl StartBudget {
    pub(crate) fn succeeded(&mut self) {
        *self = StartBudget::default();
    }

    pub(crate) fn failed(&mut self, now: Instant, launched: Instant) {
        if self.last.is_none_or(|last| launched > last) {
            self.failures += 1;
            self.last = Some(now);
        }
    }

    /// The last start that was decided has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failures > 0
    }

    pub(crate) fn exhausted(&self) -> bool {
        self.failures >= MAX_FAILED_STARTS
    }

    /// When the next start may be tried, if not at once.
    pub(crate) fn wait_until(&self, now: Instant) -> Option<Instant> {
        let pause = Duration::from_millis(50 << self.failures.saturating_sub(1).min(10));
        let at = self.last? + pause.min(Duration::from_secs(1));
        (at > now).then_some(at)
    }
}

/// The measured length of a worker's tasks, and what follows from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    /// A running mean; `None` before the first task ended.
    mean: Option<Duration>,
}

impl Pace {
    pub(crate) fn note(&mut self, ran_for: Duration) {
        self.mean = Some(match self.mean {
            None => ran_for,
            // A long task counts at once, short ones only when several agree.
            Some(mean) if ran_for > mean => (mean + ran_for) / 2,
            Some(mean) => (mean * 7 + ran_for) / 8,
        });
    }

    /// How many tasks the worker may hold, the running one included.
    pub(crate) fn depth(&self) -> usize {
        let ahead = match self.mean {
            None => 0,
            Some(mean) if mean > AHEAD => 0,
            Some(mean) => (AHEAD.as_nanos() / mean.as_nanos().max(1)).min(u128::from(MAX_AHEAD)) as usize,
        };
        1 + ahead
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_failed_start_waits_longer_each_time_up_to_a_second() {
        let mut now = Instant::now();
        let mut budget = StartBudget::default();
        assert_eq!(budget.wait_until(now), None);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            now += Duration::from_secs(2);
            budget.failed(now, now);
            pauses.push((budget.wait_until(now).unwrap() - now).as_millis());
        }
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000, 1000]);
        assert!(budget.exhausted());
        budget.succeeded();
        assert!(!budget.exhausted() && budget.wait_until(now).is_none());
    }

    #[test]
    fn workers_that_were_launched_together_fail_as_one() {
        let launched = Instant::now();
        let mut budget = StartBudget::default();
        for milliseconds in 0..10 {
            budget.failed(launched + Duration::from_millis(milliseconds), launched);
        }
        assert!(!budget.exhausted());
        assert_eq!(budget.wait_until(launched), Some(launched + Duration::from_millis(50)));
    }

    #[test]
    fn the_depth_follows_the_length_of_the_tasks() {
        let mut pace = Pace::default();
        assert_eq!(pace.depth(), 1, "nothing is known of the first task");
        pace.note(Duration::from_micros(1));
        assert_eq!(pace.depth(), 65);
        for _ in 0..200 {
            pace.note(Duration::from_micros(50));
        }
        assert!((4..=6).contains(&pace.depth()), "{}", pace.depth());
        pace.note(Duration::from_millis(100));
        assert_eq!(pace.depth(), 1);
    }
}
