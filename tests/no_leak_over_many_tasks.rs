//! Our own overhead does not grow with the number of tasks, neither in the parent nor in a worker (F55).

mod support;

use std::time::Duration;

use procpool::{ProcessPoolExecutor, TaskFuture, task};
use support::{eventually, procfs, rounds};

const BATCHES: u64 = 20;
/// Of the batches, those after which everything has had its turn.
const WARM: u64 = 5;
/// What an allocator may keep or give back meanwhile, however many tasks there are.
const NOISE_KIB: u64 = 1 << 10;

#[task]
fn echo(n: u64) -> u64 {
    n
}

#[task]
fn mirror(text: &str) -> String {
    text.chars().rev().collect()
}

#[task]
fn fail(n: u64) -> Result<u64, String> {
    Err(format!("number {n}"))
}

#[task]
fn explode(n: u64) -> u64 {
    panic!("number {n}")
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    fds: usize,
    threads: usize,
    rss_kib: u64,
}

fn held(pid: u32) -> Held {
    Held {
        fds: procfs::fds(pid).len(),
        threads: procfs::threads(pid).len(),
        rss_kib: procfs::rss_kib(pid).expect("the process lives"),
    }
}

#[track_caller]
fn assert_flat(who: &str, before: Held, after: Held, count: u64) {
    println!("{who}: {before:?}, then {after:?}");
    assert_eq!((after.fds, after.threads), (before.fds, before.threads), "{who}");
    let grown = after.rss_kib.saturating_sub(before.rss_kib);
    assert!(grown <= NOISE_KIB, "{who}: {grown} KiB more after {count} tasks");
}

/// Tasks of all kinds, most of them short.
fn batch(pool: &ProcessPoolExecutor, size: u64, text: &str) {
    let echoes = |range: std::ops::Range<u64>| {
        let futures: Vec<TaskFuture<u64>> = range.map(|n| pool.submit(echo, n)).collect();
        for (n, future) in futures.into_iter().enumerate() {
            if n % 50 == 0 {
                future.add_done_callback(|done| assert!(done.is_ok() || done.cancelled()));
            }
            if n % 10 == 0 {
                drop(future);
            } else {
                future.result().expect("a value");
            }
        }
    };
    for start in (0..size / 2).step_by(500) {
        echoes(start..(start + 500).min(size / 2));
    }
    for mirrored in pool.map(mirror, std::iter::repeat_n("to and fro", (size / 2) as usize)) {
        assert_eq!(mirrored.expect("a value"), "orf dna ot");
    }
    for n in 0..(size / 1_000).max(2) {
        assert!(pool.submit(fail, n).result().expect("a value").is_err());
        assert!(pool.submit(explode, n).result().expect_err("a panic").is_panic());
        assert_eq!(pool.submit(mirror, text).result().expect("a value").len(), text.len());
    }
    eventually("nothing is pending", Duration::from_secs(10), || pool.pending() == 0);
}

support::isolated! {
    timeout = 600;

    fn neither_parent_nor_worker_grows_with_the_number_of_tasks() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).env("RUST_BACKTRACE", "0").build().expect("a pool");
        let (count, text) = (rounds(100_000), "to and fro".repeat(10_000));
        let mut before = None;
        for number in 0..BATCHES {
            batch(&pool, count / BATCHES, &text);
            if number + 1 == WARM {
                let worker = pool.worker_pids()[0];
                before = Some((worker, held(worker), held(std::process::id())));
            }
        }
        let (worker, worker_before, own_before) = before.expect("there are more batches");
        assert_eq!(pool.worker_pids(), [worker], "one worker did it all");
        assert_flat("the worker", worker_before, held(worker), count);
        assert_flat("the parent", own_before, held(std::process::id()), count);
        pool.shutdown(true).wait();
    }
}
