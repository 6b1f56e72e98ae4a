//! While one worker floods its standard error or its channel, its neighbours' latency at most doubles (F65).

mod support;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use procpool::{OnCancel, ProcessPoolExecutor, TaskOptions, task};
use support::rounds;

/// What a neighbour's task takes by itself.
const WORK: Duration = Duration::from_millis(5);
/// With and without a flood in turn, so that whatever else the machine does weighs on both alike.
const BLOCKS: u64 = 8;
/// A busy machine may add to either figure, but not each time to the same.
const TRIALS: usize = 4;

#[task]
fn work(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// As busy as a flood, and silent.
#[task]
fn spin() {
    while !procpool::context().is_cancelled() {
        std::hint::spin_loop();
    }
}

#[task]
fn complain() -> u64 {
    let mut notes = 0;
    while !procpool::context().is_cancelled() {
        writeln!(std::io::stderr(), "note {notes}").expect("standard error is open");
        notes += 1;
    }
    notes
}

#[task]
fn large(bytes: usize) -> String {
    "x".repeat(bytes)
}

#[task]
fn small(n: u64) -> u64 {
    n
}

/// What one worker does while its neighbour is being timed.
#[derive(Clone, Copy, Debug)]
enum Flood {
    Notes,
    LargeResults,
    SmallResults,
}

/// Runs `measured` while one worker floods, or is as busy without.
fn beside<R>(pool: &ProcessPoolExecutor, flood: Option<Flood>, measured: impl FnOnce() -> R) -> R {
    let stoppable = pool.with(TaskOptions::new().on_cancel(OnCancel::Cooperate));
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        let feeder = scope.spawn(|| match flood {
            None | Some(Flood::Notes) => {
                let noisy = flood.map(|_| stoppable.submit(complain, ()));
                let silent = flood.is_none().then(|| stoppable.submit(spin, ()));
                while !enough.load(Ordering::Relaxed) {
                    thread::park();
                }
                // Both stop when they are asked to.
                drop((noisy, silent));
            }
            Some(Flood::LargeResults) => {
                while !enough.load(Ordering::Relaxed) {
                    assert_eq!(pool.submit(large, 32 << 20).result().expect("a value").len(), 32 << 20);
                }
            }
            Some(Flood::SmallResults) => {
                while !enough.load(Ordering::Relaxed) {
                    // So few at a time that it is the replies that matter, and not who waits in front of whom.
                    let replies = pool.map(small, 0..4_096).chunksize(32).buffersize(32);
                    assert!(replies.into_iter().all(|reply| reply.is_ok()));
                }
            }
        });
        let result = measured();
        enough.store(true, Ordering::Relaxed);
        feeder.thread().unpark();
        feeder.join().expect("no panic");
        result
    })
}

fn latencies(pool: &ProcessPoolExecutor, count: u64) -> Vec<Duration> {
    let timed = |_| {
        let began = Instant::now();
        pool.submit(work, WORK.as_millis() as u64).result().expect("a value");
        began.elapsed()
    };
    (0..count).map(timed).collect()
}

fn p99(mut latencies: Vec<Duration>) -> Duration {
    latencies.sort_unstable();
    latencies[latencies.len() * 99 / 100]
}

fn at_most_doubles(flood: Flood) {
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
    pool.warm_up().wait().expect("two workers");
    let each = rounds(240) / BLOCKS;
    for trial in 1..=TRIALS {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..BLOCKS {
            without.extend(beside(&pool, None, || latencies(&pool, each)));
            with.extend(beside(&pool, Some(flood), || latencies(&pool, each)));
        }
        let (with, without) = (p99(with), p99(without));
        println!("{flood:?}: p99 {with:?}, without it {without:?}");
        if with <= 2 * without {
            assert!(pool.shutdown(true).wait().leaked.is_empty());
            return;
        }
        assert!(trial < TRIALS, "{flood:?} takes neighbours from {without:?} to {with:?}, each time");
    }
}

support::isolated! {
    timeout = 180;

    fn whatever_one_worker_pours_out() {
        // One after the other: each would disturb the others' figures.
        for flood in [Flood::Notes, Flood::LargeResults, Flood::SmallResults] {
            at_most_doubles(flood);
        }
    }
}
