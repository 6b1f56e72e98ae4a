//! The numbers behind decisions: when to start again after a failed start, and how much to send ahead.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::machine::Ended;

/// What the builder decides for the machine.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Places for workers; also the number of lanes.
    pub(crate) max_workers: usize,
    /// How many of them can use a processor at once.
    pub(crate) processors: usize,
    /// So many workers are kept, work or no work.
    pub(crate) min_workers: usize,
    /// A worker above the minimum that has nothing to do for so long ends.
    pub(crate) idle_timeout: Option<Duration>,
    /// A worker that was sent this many tasks is replaced.
    pub(crate) max_tasks_per_child: Option<u64>,
    /// So is one that is so old, or a little younger: not all at once.
    pub(crate) max_worker_age: Option<Duration>,
    /// From the launch of a worker until it must be ready.
    pub(crate) start_timeout: Duration,
    /// From the wish that a worker ends until it is killed, and from there until it is given up.
    pub(crate) stop_timeout: Duration,
}

/// A time that no process lives to see is none, and is kept away from the arithmetic of `Instant`.
pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// What few tasks ask for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// How long it may wait for its body to begin, the first time.
    pub(crate) queue_timeout: Option<Duration>,
    /// When it must be done, its waiting included.
    pub(crate) deadline: Option<Instant>,
    pub(crate) retry: Option<Retry>,
    pub(crate) stop: Escalation,
}

/// Whether, when and how often a task that failed is tried again.
#[derive(Clone, Debug)]
pub(crate) struct Retry {
    /// Attempts after the first.
    pub(crate) retries: u32,
    /// The pause before the second attempt; it doubles from there.
    pub(crate) backoff: Duration,
    pub(crate) max_backoff: Duration,
    pub(crate) on_crash: bool,
    pub(crate) on_timeout: bool,
    pub(crate) on_panic: bool,
    pub(crate) on_error: bool,
}

impl Retry {
    pub(crate) fn covers(&self, ended: Ended) -> bool {
        match ended {
            Ended::Final => false,
            Ended::Failed => self.on_error,
            Ended::Panicked => self.on_panic,
            Ended::Crashed => self.on_crash,
            Ended::TimedOut => self.on_timeout,
        }
    }

    /// The pause after so many failures: at least half of what doubling makes it, so that tasks that failed
    /// together do not come back together.
    pub(crate) fn pause(&self, failures: u32, dice: u64) -> Duration {
        let factor = 1u32.checked_shl(failures - 1).unwrap_or(u32::MAX);
        let full = self.backoff.saturating_mul(factor).min(self.max_backoff).min(FOREVER);
        full.mul_f64(1.0 - 0.5 * fraction(dice))
    }
}

/// How a task that must stop is stopped: each step that is named, then its worker is killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Escalation {
    /// Ask it through its context, and wait so long.
    pub(crate) ask: Option<Duration>,
    /// Send the worker's process group SIGTERM, and wait so long.
    pub(crate) terminate: Option<Duration>,
}

/// The moment at which a worker of this age limit is replaced, up to a tenth before its time.
pub(crate) fn expiry(born: Instant, age: Duration, dice: u64) -> Instant {
    born + age.mul_f64(1.0 - 0.1 * fraction(dice))
}

/// A number from 0 to 1 that looks like chance and is the same every time.
fn fraction(dice: u64) -> f64 {
    let mixed = (dice + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as f64 / (1u64 << 24) as f64
}

/// Failed starts in a row after which a pool without a live worker is broken.
pub(crate) const MAX_FAILED_STARTS: u32 = 3;

/// A task that never started goes to another worker this many times.
pub(crate) const MAX_RESENDS: u8 = 3;

/// The tasks a worker may hold at once, which is the number of slots in its shared page.
pub(crate) const SLOTS: u64 = 1024;

/// Work that is sent ahead should keep a worker busy about this long: long enough to hide the way there and
/// back, short enough that nothing waits behind a task that turns out to be slow. These and the following are nanoseconds.
const AHEAD: u64 = 200_000;

/// A worker whose tasks are shorter than this does not call for each of them when it has many: its replies are
/// collected.
const BRISK: u64 = 50_000;

/// To wake a worker takes about as long, and half of that is the time of whoever wakes it.
const WAKE: u64 = 15_000;

/// How long those replies may lie there, and how long if many more are to come.
const COLLECT: RangeInclusive<u64> = 25_000..=150_000;
pub(crate) const LEISURE: u64 = 1_200_000;

/// At most so many tasks are sent ahead, however short they are.
const MAX_AHEAD: u64 = 511;

/// Bytes of arguments that may be on their way to one worker before the next task waits its turn.
pub(crate) const MAX_BYTES_AHEAD: usize = 1 << 20;

/// A worker that has said what no worker says is killed after this much time, if the task that it is at has not ended.
pub(crate) const STRAYED: Duration = Duration::from_millis(50);

/// What was sent behind a task that runs longer than this is taken back. Even at leisure results are fetched twice before
/// that.
pub(crate) const STALL: Duration = Duration::from_millis(3);
const _: () = assert!(2 * (LEISURE as u128) < STALL.as_nanos());

/// How often to look at a task of many calls that its worker has not begun with, at the least.
pub(crate) const LOOK_AGAIN_AT_UNBEGUN: Duration = Duration::from_millis(128);

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
    /// Workers in a row that died before they had done anything.
    stumbles: u32,
    /// When the last of those died.
    stumbled: Option<Instant>,
}

impl StartBudget {
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.last = None;
    }

    /// A worker has done something.
    pub(crate) fn proven(&mut self) {
        self.stumbles = 0;
    }

    /// A worker died that had not done anything, and not of a task: its start was no success.
    pub(crate) fn stumbled(&mut self, now: Instant) {
        self.stumbles += 1;
        self.stumbled = Some(now);
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

    /// When the next start may be tried, if not at once. What waits for a worker bounds by itself how often that
    /// goes wrong; workers that are only to be there are replaced more slowly when they stumble.
    pub(crate) fn wait_until(&self, now: Instant, for_tasks: bool) -> Option<Instant> {
        let pause = |count: u32| {
            let doubled = Duration::from_millis(50 << count.saturating_sub(1).min(10));
            doubled.min(Duration::from_secs(1))
        };
        let failed = self.last.map(|last| last + pause(self.failures));
        let stumbled = self.stumbled.filter(|_| !for_tasks && self.stumbles > 0);
        let at = failed.max(stumbled.map(|last| last + pause(self.stumbles)))?;
        (at > now).then_some(at)
    }
}

/// The measured length of a worker's tasks, and what follows from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    /// A running mean in nanoseconds, at least 1; 0 before the first task ended.
    mean: u64,
}

impl Pace {
    pub(crate) fn note(&mut self, ran_for: Duration) {
        let ran_for = u64::try_from(ran_for.as_nanos()).unwrap_or(u64::MAX).clamp(1, u64::MAX / 16);
        self.mean = match self.mean {
            0 => ran_for,
            // A long task counts at once, short ones only when several agree.
            mean if ran_for > mean => (mean + ran_for) / 2,
            mean => (mean * 7 + ran_for) / 8,
        }
        .max(1);
    }

    /// How long so many tasks take; `None` before that is known of one.
    fn time_of(&self, tasks: usize) -> Option<u64> {
        (self.mean > 0).then(|| self.mean.saturating_mul(tasks as u64))
    }

    /// After how long to collect the replies of a worker that has so many tasks. `None` if it should call, because
    /// they are long and nobody has time to wait, or because it would have nothing to do soon.
    pub(crate) fn collect_after(&self, tasks: usize, at_leisure: bool) -> Option<Duration> {
        let busy = self.time_of(tasks).filter(|_| at_leisure || self.mean < BRISK)?;
        let most = if at_leisure { LEISURE } else { *COLLECT.end() };
        (busy >= COLLECT.start() * 3 / 2).then(|| Duration::from_nanos((busy / 10 * 7).min(most)))
    }

    /// Whether so many tasks are done before a sleeping worker would have begun with one of them.
    pub(crate) fn is_done_soon(&self, tasks: usize) -> bool {
        self.time_of(tasks).is_some_and(|time| time < WAKE)
    }

    /// How many tasks the worker may hold, the running one included.
    pub(crate) fn depth(&self) -> usize {
        match self.mean {
            0 => 1,
            mean => 1 + (AHEAD / mean).min(MAX_AHEAD) as usize,
        }
    }

    /// The same of tasks that are many calls: there is one to go on with, unless they are slow.
    pub(crate) fn depth_of_calls(&self) -> usize {
        if (1..STALL.as_nanos() as u64).contains(&self.mean) { self.depth().max(2) } else { 1 }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_failed_start_waits_longer_each_time_up_to_a_second() {
        let mut now = Instant::now();
        let mut budget = StartBudget::default();
        assert_eq!(budget.wait_until(now, true), None);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            now += Duration::from_secs(2);
            budget.failed(now, now);
            pauses.push((budget.wait_until(now, true).unwrap() - now).as_millis());
        }
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000, 1000]);
        assert!(budget.exhausted());
        budget.succeeded();
        assert!(!budget.exhausted() && budget.wait_until(now, true).is_none());
    }

    #[test]
    fn no_pause_is_longer_than_a_clock_can_tell() {
        let now = Instant::now();
        let endless = Duration::MAX;
        let retry = Retry {
            retries: u32::MAX,
            backoff: endless,
            max_backoff: endless,
            on_crash: true,
            on_timeout: true,
            on_panic: true,
            on_error: true,
        };
        for failures in [1, 2, 31, 32, 33, u32::MAX] {
            assert!(now.checked_add(retry.pause(failures, u64::from(failures))).is_some(), "{failures}");
        }
    }

    #[test]
    fn workers_that_were_launched_together_fail_as_one() {
        let launched = Instant::now();
        let mut budget = StartBudget::default();
        for milliseconds in 0..10 {
            budget.failed(launched + Duration::from_millis(milliseconds), launched);
        }
        assert!(!budget.exhausted());
        assert_eq!(budget.wait_until(launched, true), Some(launched + Duration::from_millis(50)));
    }

    #[test]
    fn replies_are_collected_while_there_is_enough_to_do() {
        let micros = |pace: &Pace, tasks, at_leisure| {
            pace.collect_after(tasks, at_leisure).map(|after| after.as_micros())
        };
        let mut pace = Pace::default();
        assert_eq!(micros(&pace, 5, true), None, "nothing is known");
        pace.note(Duration::from_micros(40));
        assert_eq!([1, 2, 9].map(|tasks| micros(&pace, tasks, false)), [Some(28), Some(56), Some(150)]);
        assert_eq!([1, 2, 90].map(|tasks| micros(&pace, tasks, true)), [Some(28), Some(56), Some(1200)]);
        pace.note(Duration::from_millis(1));
        assert_eq!([1, 9].map(|tasks| micros(&pace, tasks, false)), [None, None], "they are worth a call");
        assert_eq!(micros(&pace, 1, true), Some(364));
        assert_eq!(micros(&pace, 0, true), None);
    }

    #[test]
    fn the_depth_follows_the_length_of_the_tasks() {
        let mut pace = Pace::default();
        assert_eq!((pace.depth(), pace.depth_of_calls()), (1, 1), "nothing is known of the first task");
        pace.note(Duration::from_micros(1));
        assert_eq!(pace.depth(), 201);
        for _ in 0..200 {
            pace.note(Duration::from_micros(50));
        }
        assert!((4..=6).contains(&pace.depth()), "{}", pace.depth());
        pace.note(Duration::from_millis(1));
        assert_eq!((pace.depth(), pace.depth_of_calls()), (1, 2), "batches may be long, and divided");
        pace.note(Duration::from_millis(100));
        assert_eq!((pace.depth(), pace.depth_of_calls()), (1, 1));
    }
}
