//! Whenever a task is cancelled, it has one outcome: cancelled before it started, it never runs; done, it stays (F25).

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use procpool::{OnCancel, ProcessPoolExecutor, Ran, TaskError, TaskErrorKind, TaskFuture, TaskOptions, task};
use support::{Event, Ledger, Random, eventually, rounds};

const WORKERS: usize = 2;
const THREADS: u64 = 2;
/// As many tasks at most are submitted and not yet cancelled, so that the cancellation finds them anywhere on their
/// way: waiting, sent ahead, running, replying, done.
const WINDOW: u64 = 60;

#[task]
fn work(ledger: &str, id: u64, microseconds: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    if microseconds > 0 {
        thread::sleep(Duration::from_micros(microseconds));
    }
    Ledger::record(ledger, id, Event::Finished);
    id
}

#[task]
fn blob(ledger: &str, id: u64, text: &str) -> usize {
    Ledger::record(ledger, id, Event::Started);
    Ledger::record(ledger, id, Event::Finished);
    text.len()
}

/// A task and what its future said.
struct Cancelled {
    id: u64,
    /// The answers to a cancellation and to another one.
    answers: [bool; 2],
    /// How often its callback was called.
    calls: Arc<AtomicUsize>,
    future: TaskFuture<u64>,
}

/// What a task and its ledger came to.
#[derive(Default)]
struct Tally {
    values: usize,
    never_started: usize,
    killed: usize,
}

fn cancel_twice(id: u64, future: TaskFuture<u64>) -> Cancelled {
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    future.add_done_callback(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    Cancelled { id, answers: [future.cancel(), future.cancel()], calls, future }
}

/// Submits tasks and cancels each at a random time, one in twenty by force.
fn storm(pool: &ProcessPoolExecutor, ledger: &str, ids: std::ops::Range<u64>, seed: u64) -> Vec<Cancelled> {
    let by = |policy| pool.with(TaskOptions::new().on_cancel(policy));
    let (kill, cooperate) = (by(OnCancel::Kill), by(OnCancel::Cooperate));
    let mut random = Random::new(seed);
    let mut cancelled = Vec::new();
    let mut live = Vec::new();
    let mut left = ids;
    loop {
        let full = live.len() as u64 > random.below(WINDOW);
        match if full { None } else { left.next() } {
            Some(id) => {
                let pool = match random.below(100) {
                    0..5 => &kill,
                    5..25 => &cooperate,
                    _ => pool,
                };
                live.push((id, pool.submit(work, (ledger, id, random.below(4) * 40))));
            }
            None if live.is_empty() => return cancelled,
            None => {
                let (id, future) = live.swap_remove(random.below(live.len() as u64) as usize);
                cancelled.push(cancel_twice(id, future));
                // About as fast as the workers are.
                thread::sleep(Duration::from_micros(random.below(150)));
            }
        }
    }
}

fn judge(cancelled: Vec<Cancelled>, ledger: &Ledger) -> Tally {
    let mut counts: HashMap<u64, (usize, usize)> = HashMap::new();
    let outcomes: Vec<(u64, [bool; 2], Result<u64, TaskError>)> = cancelled
        .into_iter()
        .map(|Cancelled { id, answers, calls, future }| {
            eventually("the callback is called", Duration::from_secs(10), || {
                calls.load(Ordering::Relaxed) > 0
            });
            assert_eq!(future.cancel(), answers[0], "a third cancellation changes nothing");
            assert_eq!((future.cancelled(), future.done(), future.running()), (answers[0], true, false));
            let outcome = future.result();
            assert_eq!(calls.load(Ordering::Relaxed), 1);
            (id, answers, outcome)
        })
        .collect();
    for entry in ledger.entries() {
        let (starts, finishes) = counts.entry(entry.id).or_default();
        match entry.event {
            Event::Started => *starts += 1,
            Event::Finished => *finishes += 1,
        }
    }
    let mut tally = Tally::default();
    for (id, answers, outcome) in outcomes {
        let (starts, finishes) = counts.get(&id).copied().unwrap_or_default();
        match outcome {
            Ok(value) => {
                assert_eq!((value, answers, starts, finishes), (id, [false; 2], 1, 1), "task {id}");
                tally.values += 1;
            }
            Err(error) => match error.kind() {
                TaskErrorKind::Cancelled { was_running: false, .. } => {
                    assert_eq!((answers, starts, error.ran()), ([true; 2], 0, Ran::No), "task {id}");
                    tally.never_started += 1;
                }
                TaskErrorKind::Cancelled { was_running: true, .. } => {
                    assert_eq!((answers, error.ran()), ([true; 2], Ran::Maybe), "task {id}");
                    assert!(starts <= 1 && finishes <= starts, "task {id}: {starts}, {finishes}");
                    tally.killed += 1;
                }
                _ => panic!("task {id}: {error}"),
            },
        }
    }
    tally
}

support::isolated! {
    timeout = 120;

    fn tasks_that_are_cancelled_at_random_times_have_one_true_outcome_each() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder().max_workers(WORKERS).build().expect("a pool");
        pool.warm_up().wait().expect("workers");
        let each = rounds(10_000) / THREADS;
        let cancelled = thread::scope(|scope| {
            let storms: Vec<_> = (0..THREADS)
                .map(|at| {
                    let (pool, path) = (&pool, path.as_str());
                    scope.spawn(move || storm(pool, path, at * each..(at + 1) * each, at))
                })
                .collect();
            storms.into_iter().flat_map(|storm| storm.join().expect("no panic")).collect::<Vec<_>>()
        });
        assert_eq!(cancelled.len() as u64, each * THREADS);
        let tally = judge(cancelled, &ledger);
        println!("{} values, {} never started, {} killed", tally.values, tally.never_started, tally.killed);
        assert!(tally.values > 0 && tally.never_started > 0 && tally.killed > 0, "cancelled too early or too late");
        pool.warm_up().wait().expect("all workers again");
        assert_eq!((pool.worker_pids().len(), pool.pending()), (WORKERS, 0));
        assert_eq!(pool.submit(work, (path.as_str(), u64::MAX, 0)).result().expect("the pool goes on"), u64::MAX);
        pool.shutdown(true).wait();
    }

    fn so_have_those_that_are_cancelled_while_the_pool_ends_and_after() {
        for seed in 0..20 {
            let ledger = Ledger::create();
            let path = ledger.path();
            let pool = ProcessPoolExecutor::builder().max_workers(WORKERS).build().expect("a pool");
            let mut live: Vec<_> = (0..100).map(|id| (id, pool.submit(work, (path.as_str(), id, 100)))).collect();
            let mut random = Random::new(seed);
            let end = pool.shutdown(true);
            let mut cancelled = Vec::new();
            while live.len() > 50 {
                let (id, future) = live.swap_remove(random.below(live.len() as u64) as usize);
                cancelled.push(cancel_twice(id, future));
                thread::sleep(Duration::from_micros(random.below(200)));
            }
            let report = end.wait();
            let late: Vec<_> = live.into_iter().map(|(id, future)| cancel_twice(id, future)).collect();
            assert!(late.iter().all(|one| one.answers == [false; 2]), "they had finished");
            cancelled.extend(late);
            let tally = judge(cancelled, &ledger);
            assert_eq!((tally.values + tally.never_started, tally.killed), (100, 0));
            assert_eq!(report.cancelled, tally.never_started);
        }
    }

    fn so_have_those_whose_arguments_are_large() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder().max_workers(WORKERS).build().expect("a pool");
        let text = "7".repeat(4 << 20);
        let mut random = Random::new(7);
        for id in 0..40 {
            let future = pool.submit(blob, (path.as_str(), id, text.as_str()));
            thread::sleep(Duration::from_micros(random.below(20_000)));
            let answer = future.cancel();
            match future.result() {
                Ok(length) => assert_eq!((answer, length, ledger.finishes(id)), (false, text.len(), 1)),
                Err(error) => assert!(answer && error.is_cancelled() && error.ran() == Ran::No, "{error}"),
            }
            // What was half-way to the worker must not spoil what comes after it.
            let next = pool.submit(work, (path.as_str(), 1000 + id, 0));
            assert_eq!(next.result().expect("a value"), 1000 + id);
            assert!(!answer || ledger.starts(id) == 0, "task {id} ran although it was cancelled");
        }
        pool.shutdown(true).wait();
    }
}
