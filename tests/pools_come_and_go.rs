//! Pools of one process are independent, and however many come and go, nothing of them stays (F68).

mod support;

use std::time::Duration;

use procpool::{OnCancel, ProcessPoolExecutor, TaskOptions, task};
use support::{eventually, procfs, rounds, tagged_pids, warmed_up};

const SOON: Duration = Duration::from_secs(10);

#[task]
fn double(n: u64) -> u64 {
    2 * n
}

#[task]
fn spin() {
    loop {
        std::thread::park();
    }
}

#[task]
fn crash() {
    std::process::abort()
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

#[task]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn pool(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().expect("a pool")
}

/// The life of a pool, in one of several ways.
fn live(way: u64) {
    match way % 8 {
        0 => drop(pool(1)),
        1 => drop(pool(2).warm_up()),
        2 => assert_eq!(pool(1).submit(double, 1).result().expect("a value"), 2),
        3 => {
            let pool = pool(1);
            let futures: Vec<_> = (0..20).map(|n| pool.submit(double, n)).collect();
            pool.shutdown(true).wait();
            assert!(futures.into_iter().all(|future| future.result().is_ok()));
        }
        4 => {
            let pool = pool(1);
            let futures: Vec<_> = (0..5).map(|_| pool.submit(spin, ())).collect();
            drop(pool);
            assert!(futures.into_iter().all(|future| future.result().is_err()));
        }
        5 => {
            let (one, other) = (pool(1), pool(1));
            let mut doubled = one.map(double, 0..).into_iter();
            assert_eq!(doubled.next().expect("more").expect("a value"), 0);
            drop(one);
            assert_eq!(other.submit(double, 4).result().expect("a value"), 8);
        }
        6 => {
            let observed = ProcessPoolExecutor::builder().max_workers(1).on_worker_event(|_| {});
            let pool = observed.build().expect("a pool");
            assert!(pool.submit(crash, ()).result().expect_err("a crash").is_worker_died());
        }
        _ => {
            let pool = pool(1);
            let future = pool.with(TaskOptions::new().on_cancel(OnCancel::Kill)).submit(spin, ());
            future.cancel();
            drop(pool.shutdown(false));
        }
    }
}

/// What this process holds when all of its pools have ended.
#[derive(Debug)]
struct Sample {
    fds: usize,
    threads: usize,
    rss_kib: u64,
}

fn sample() -> Sample {
    let own = std::process::id();
    Sample {
        fds: procfs::fds(own).len(),
        threads: procfs::threads(own).len(),
        rss_kib: procfs::rss_kib(own).expect("this process lives"),
    }
}

support::isolated! {
    timeout = 600;

    fn two_pools_know_nothing_of_each_other() {
        let named = |name: &str| {
            ProcessPoolExecutor::builder().max_workers(1).env("POOL", name).build().expect("a pool")
        };
        let (one, other) = (named("one"), named("other"));
        let pid = other.submit(own_pid, ()).result().expect("a value");
        let long = other.submit(spin, ());
        eventually("it runs", SOON, || long.running());
        for _ in 0..5 {
            assert!(one.submit(crash, ()).result().expect_err("a crash").is_worker_died());
        }
        assert_eq!(one.submit(variable, "POOL").result().expect("a value").as_deref(), Some("one"));
        let waiting = other.submit(variable, "POOL");
        assert_eq!((one.pending(), other.pending()), (0, 2));
        assert!(!waiting.done(), "one worker each, and the other's is busy");
        one.shutdown(true).wait();
        assert!(one.submit(double, 1).result().is_err());
        assert!(long.running(), "neither crashes nor the end of one pool concern the other");
        drop(one);
        assert_eq!(other.worker_pids(), [pid]);
        assert!(long.kill());
        assert_eq!(waiting.result().expect("a value").as_deref(), Some("other"));
        other.shutdown(true).wait();
    }

    fn nothing_stays_of_pools_that_come_and_go() {
        // Once per process: a helper thread, and what the allocator keeps.
        warmed_up(|| (0..24).for_each(live));
        let first = sample();
        println!("{first:?}");
        let count = rounds(300);
        for tenth in 1..=10 {
            ((tenth - 1) * count / 10..tenth * count / 10).for_each(live);
            eventually("the pools have ended, and nothing is left of them", SOON, || {
                let now = sample();
                (now.fds, now.threads) == (first.fds, first.threads) && tagged_pids().is_empty()
            });
            let now = sample();
            println!("{now:?} after {} pools", tenth * count / 10);
            // A bound that does not grow with the number of pools: the slope is zero.
            assert!(now.rss_kib <= first.rss_kib + (4 << 10), "{} KiB, then {} KiB", first.rss_kib, now.rss_kib);
        }
    }
}
