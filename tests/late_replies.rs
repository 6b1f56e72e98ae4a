//! The first decision stands: a reply that comes after its task timed out or was cancelled is dropped and freed (F70).

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, Ran, TaskError, TaskErrorKind, TaskFuture, TaskOptions, task};
use support::{Event, Ledger, Random, eventually, procfs, rounds};

/// A reply of this size takes a while on its way.
const SIZE: usize = 1 << 20;
const SOON: Duration = Duration::from_secs(10);

/// Runs for as long as it says and returns a large result.
#[task]
fn reply_after(ledger: &str, id: u64, microseconds: u64) -> String {
    let end = Instant::now() + Duration::from_micros(microseconds);
    Ledger::record(ledger, id, Event::Started);
    thread::sleep(end.saturating_duration_since(Instant::now()));
    Ledger::record(ledger, id, Event::Finished);
    format!("{id:020}").repeat(SIZE / 20)
}

#[task]
fn echo(id: u64) -> u64 {
    id
}

#[derive(Clone, Copy, Debug)]
enum How {
    /// The body may run so long.
    Timeout,
    /// It must be done by then.
    Deadline,
    /// It is killed then.
    Kill,
}

#[derive(Default)]
struct Tally {
    values: AtomicUsize,
    ended: AtomicUsize,
}

/// One task that is decided about when it is just about to reply. What the ledger must say of it is returned.
fn round(pool: &ProcessPoolExecutor, path: &str, id: u64, random: &mut Random, tally: &Tally) -> bool {
    let how = [How::Timeout, How::Deadline, How::Kill][random.below(3) as usize];
    let works = Duration::from_micros(1_500 + random.below(1_500));
    let limit = works + Duration::from_micros(random.below(2_000)) - Duration::from_millis(1);
    let options = match how {
        How::Timeout => TaskOptions::new().timeout(limit),
        // The way to the worker takes a part of it.
        How::Deadline => TaskOptions::new().deadline(Instant::now() + limit + Duration::from_millis(1)),
        How::Kill => TaskOptions::new(),
    };
    let future = pool.with(options).submit(reply_after, (path, id, works.as_micros() as u64));
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    future.add_done_callback(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let next = pool.submit(echo, id);
    let killed = matches!(how, How::Kill) && kill_after(&future, limit);
    let outcome = future.result();
    assert_eq!(next.result().expect("the next task"), id, "a late reply is not taken for the next task's");
    eventually("the callback was called", SOON, || calls.load(Ordering::Relaxed) > 0);
    assert_eq!(calls.load(Ordering::Relaxed), 1, "{how:?} {id}");
    match &outcome {
        Ok(text) => {
            assert!(!killed && text.len() == SIZE / 20 * 20 && text.starts_with(&format!("{id:020}")));
            tally.values.fetch_add(1, Ordering::Relaxed);
        }
        Err(error) => {
            assert!(is_of(how, error), "{how:?} {id}: {error}");
            assert_eq!(killed, matches!(how, How::Kill), "what `kill` says is what happens");
            tally.ended.fetch_add(1, Ordering::Relaxed);
        }
    }
    outcome.is_ok()
}

/// Kills it when its body has run for so long, and says whether it is cancelled.
fn kill_after<T>(future: &TaskFuture<T>, limit: Duration) -> bool {
    while !future.running() && !future.done() {
        thread::yield_now();
    }
    thread::sleep(limit);
    future.kill()
}

fn is_of(how: How, error: &TaskError) -> bool {
    match (how, error.kind()) {
        (How::Timeout | How::Deadline, TaskErrorKind::TimedOut { limit, ran_for, .. }) => ran_for >= limit,
        (How::Deadline, TaskErrorKind::QueueTimedOut { .. }) => error.ran() == Ran::No,
        (How::Kill, TaskErrorKind::Cancelled { .. }) => true,
        _ => false,
    }
}

support::isolated! {
    timeout = 600;

    fn a_decision_at_the_moment_of_the_reply_stands() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        pool.warm_up().wait().expect("workers");
        let tally = Tally::default();
        let run = |ids: std::ops::Range<u64>| {
            let (pool, path, tally) = (&pool, path.as_str(), &tally);
            thread::scope(|scope| {
                let half = ids.start + (ids.end - ids.start) / 2;
                let halves = [ids.start..half, half..ids.end].map(|ids| {
                    scope.spawn(move || {
                        let mut random = Random::new(ids.start);
                        ids.map(|id| (id, round(pool, path, id, &mut random, tally))).collect::<Vec<_>>()
                    })
                });
                halves.into_iter().flat_map(|half| half.join().expect("no panic")).collect::<Vec<_>>()
            })
        };
        let rss = || procfs::rss_kib(std::process::id()).expect("this process lives");
        let count = rounds(600);
        let mut replies = run(0..count / 5);
        let before = rss();
        replies.extend(run(count / 5..count));
        let grown = rss().saturating_sub(before);
        let (values, ended) = (tally.values.into_inner(), tally.ended.into_inner());
        println!("{values} values, {ended} timed out or killed; {grown} KiB more");
        assert!(values > 20 && ended > 20, "{values} values and {ended} others: the times do not meet");
        // Less than a twentieth of the results, should all others have been lost.
        assert!(grown <= 16 << 10, "{grown} KiB more");
        let mut counts = vec![(0, 0); count as usize];
        for entry in ledger.entries() {
            let (starts, finishes) = &mut counts[entry.id as usize];
            match entry.event {
                Event::Started => *starts += 1,
                Event::Finished => *finishes += 1,
            }
        }
        for (id, has_value) in replies {
            let (starts, finishes) = counts[id as usize];
            assert!(starts <= 1 && finishes <= starts, "task {id}: {starts} starts, {finishes} finishes");
            assert!(!has_value || finishes == 1, "task {id} has a value and did not finish");
        }
        pool.warm_up().wait().expect("all workers again");
        assert_eq!((pool.worker_pids().len(), pool.pending()), (2, 0));
        pool.shutdown(true).wait();
    }

    fn the_late_replies_of_tasks_that_nobody_waits_for_are_freed() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        let mut random = Random::new(1);
        let rss = || procfs::rss_kib(std::process::id()).expect("this process lives");
        let mut before = 0;
        let count = rounds(600);
        for id in 0..count {
            let future = pool.submit(reply_after, (path.as_str(), id, 100));
            while !future.running() && !future.done() {
                thread::yield_now();
            }
            thread::sleep(Duration::from_micros(random.below(600)));
            drop(future);
            if id == count / 5 {
                before = rss();
            }
        }
        eventually("nothing is pending", SOON, || pool.pending() == 0);
        let grown = rss().saturating_sub(before);
        println!("{grown} KiB more");
        assert!(grown <= 16 << 10, "{grown} KiB more");
        ledger.assert_ran_exactly_once(0..count.min(100));
        pool.shutdown(true).wait();
    }
}
