//! A task knows when it must be done: from the start of its body, or at a time that was given.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, TaskOptions, context, task};

use crate::{one_worker, support};

const HOUR: Duration = Duration::from_secs(3600);
/// What two processes may differ by in the number that they give to one moment.
const SLACK: Duration = Duration::from_millis(1);

static BEFORE: Mutex<Option<Instant>> = Mutex::new(None);

#[task]
fn note_the_time() {
    *BEFORE.lock().expect("not poisoned") = Some(Instant::now());
}

/// Whether the deadline is as far from the start of the body as `timeout`: it started after the task before it had
/// noted the time, and before it looks itself.
#[task]
fn deadline_counts_from_the_body(timeout: Duration) -> bool {
    let deadline = context().deadline().expect("it has a timeout");
    let before = BEFORE.lock().expect("not poisoned").expect("a task was here before");
    before + timeout <= deadline + SLACK && deadline <= Instant::now() + timeout + SLACK
}

#[task]
fn spend(time: Duration) -> [Option<Duration>; 2] {
    let first = context().remaining();
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::thread::yield_now();
    }
    [first, context().remaining()]
}

/// When the deadline is, on the clock of the machine, as two times between which it lies.
pub(crate) type Bracket = (Duration, Duration);

pub(crate) fn bracket() -> Option<Bracket> {
    let now = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let before = now();
    let left = context().remaining()?;
    Some((before + left, now() + left))
}

pub(crate) fn same(one: Bracket, other: Bracket) -> bool {
    one.0 <= other.1 + SLACK && other.0 <= one.1 + SLACK
}

/// The deadline here, one level below, and one below with timeouts of its own: longer and shorter.
#[task]
fn deadlines_below(levels: u32) -> Vec<Option<Bracket>> {
    let mut all = vec![bracket()];
    if levels > 0 {
        let pool = one_worker();
        for options in [
            TaskOptions::new(),
            TaskOptions::new().timeout(100 * HOUR).deadline(Instant::now() + 100 * HOUR),
            TaskOptions::new().timeout(HOUR / 100),
        ] {
            all.extend(pool.with(options).submit(deadlines_below, levels - 1).result().expect("deadlines"));
        }
    }
    all
}

#[task]
fn remaining() -> Option<Duration> {
    context().remaining()
}

#[task]
fn remaining_of_all_kinds() -> Vec<Option<Duration>> {
    let pool = one_worker();
    let permit = pool.try_reserve().expect("room");
    let mut all = vec![pool.try_submit(remaining, ()).expect("room").result().expect("a value")];
    all.push(permit.submit(remaining, ()).result().expect("a value"));
    all.extend(pool.map(remaining, [(); 5]).into_iter().map(|one| one.expect("a value")));
    all
}

support::isolated! {
    fn the_deadline_is_the_timeout_after_the_start_of_the_body() {
        let pool = one_worker();
        let limited = pool.with(TaskOptions::new().timeout(HOUR));
        let waited = Duration::from_millis(50);
        for _ in 0..5 {
            let busy = pool.submit(spend, waited);
            let noted = pool.submit(note_the_time, ());
            let judged = limited.submit(deadline_counts_from_the_body, HOUR);
            busy.result().expect("it spends time");
            noted.result().expect("it notes the time");
            assert!(judged.result().expect("a value"));
        }
    }

    fn what_remains_is_what_was_not_spent() {
        let pool = one_worker();
        let spent = Duration::from_millis(20);
        assert_eq!(pool.submit(spend, spent).result().expect("values"), [None, None]);
        let limited = pool.with(TaskOptions::new().timeout(HOUR));
        let [first, second] = limited.submit(spend, spent).result().expect("values").map(Option::unwrap);
        assert!(first <= HOUR && second + spent <= first, "{first:?}, then {second:?}");
        let never = pool.with(TaskOptions::new().timeout(Duration::MAX));
        assert_eq!(never.submit(remaining, ()).result().expect("a value"), None);
    }

    fn a_deadline_is_an_absolute_time() {
        let pool = one_worker();
        let before = Instant::now();
        let end = before + HOUR;
        let left = pool.with(TaskOptions::new().deadline(end)).submit(remaining, ()).result();
        let left = left.expect("a value").expect("it has a deadline");
        assert!(left <= HOUR + SLACK && left + SLACK >= end - Instant::now(), "{left:?}");

        // Of two the earlier holds.
        let both = pool.with(TaskOptions::new().deadline(end).timeout(HOUR / 2)).submit(remaining, ()).result();
        assert!(both.expect("a value").expect("a deadline") <= HOUR / 2);
        let both = pool.with(TaskOptions::new().deadline(before + HOUR / 2).timeout(HOUR)).submit(remaining, ());
        assert!(both.result().expect("a value").expect("a deadline") <= HOUR / 2);
    }

    fn a_deadline_is_inherited_through_two_levels() {
        let pool = one_worker();
        let none = pool.submit(deadlines_below, 1).result().expect("deadlines");
        assert!(none[0].is_none() && none[1].is_none(), "{none:?}");
        assert!(none[3].is_some(), "its own timeout");

        let limited = pool.with(TaskOptions::new().timeout(HOUR));
        let all = limited.submit(deadlines_below, 2).result().expect("deadlines");
        let all: Vec<_> = all.into_iter().map(|one| one.expect("a deadline")).collect();
        let [own, rest @ ..] = &all[..] else { panic!("no deadline") };
        for below in rest.chunks(4) {
            let [one, plain, longer, shorter] = below else { panic!("four at each level, not {below:?}") };
            assert!(same(*one, *plain) && same(*one, *longer), "{below:?}");
            assert!(shorter.1 < own.0 && shorter.0 > own.0 - HOUR, "{below:?}");
        }
        let [first, second, third] = [rest[0], rest[4], rest[8]];
        assert!(same(*own, first) && same(*own, second), "{all:?}");
        assert!(third.1 < own.0, "the third has a shorter timeout: {all:?}");
    }

    fn every_way_to_submit_hands_the_deadline_down() {
        let pool: ProcessPoolExecutor = one_worker().with(TaskOptions::new().timeout(HOUR));
        let all = pool.submit(remaining_of_all_kinds, ()).result().expect("values");
        assert_eq!(all.len(), 7);
        assert!(all.iter().all(|one| one.is_some_and(|one| one <= HOUR)), "{all:?}");
    }
}
