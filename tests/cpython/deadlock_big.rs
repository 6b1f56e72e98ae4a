//! Much data, many submissions, and nobody who reads them.

use std::sync::mpsc;
use std::time::Duration;

use procpool::task;

use super::tasks::{echo, pool_of, values};
use crate::support::{self, Signal, kill};

/// More than a pipe or a socket holds.
const MUCH: usize = 4 << 20;

#[task]
fn die_with(text: &str) -> usize {
    assert_eq!(text.len(), MUCH);
    std::process::abort()
}

#[task]
fn die_when_told(text: &str) -> usize {
    if text.starts_with('!') { std::process::abort() } else { text.len() }
}

#[task]
fn length(text: &str) -> usize {
    text.len()
}

support::isolated! {
    timeout = 60;

    fn crashes_under_large_arguments_are_told_for_each_item() {
        let text = "a".repeat(MUCH);
        let pool = pool_of(2);
        let results: Vec<_> = pool.map(die_with, [text.as_str(); 10]).into_iter().collect();
        assert_eq!(results.len(), 10);
        for result in results {
            assert!(result.expect_err("it crashed").is_worker_died());
        }
        assert_eq!(pool.submit(length, &text).result().expect("the pool goes on"), MUCH);
        pool.shutdown(true).wait();
    }

    fn crashes_beside_large_arguments_cost_only_their_own_items() {
        let (good, bad) = ("a".repeat(MUCH), "!".repeat(MUCH));
        let pool = pool_of(2);
        let items = (0..20).map(|n| if n % 4 == 1 { &*bad } else { &*good });
        for (n, result) in pool.map(die_when_told, items).chunksize(4).into_iter().enumerate() {
            match result {
                Ok(taken) => assert!(n % 4 != 1 && taken == MUCH),
                Err(error) => assert!(n % 4 == 1 && error.is_worker_died(), "{n}: {error}"),
            }
        }
        pool.shutdown(true).wait();
    }

    fn submitting_never_blocks_although_no_worker_reads() {
        let pool = pool_of(2);
        pool.warm_up().wait().expect("two workers");
        let workers = pool.worker_pids();
        workers.iter().for_each(|&pid| kill(pid, Signal::STOP));
        let text = "x".repeat(64 << 10);
        let (sender, submitted) = mpsc::channel();
        let submitter = {
            let pool = pool.clone();
            std::thread::spawn(move || {
                let large: Vec<_> = (0..200).map(|_| pool.submit(length, &text)).collect();
                let small: Vec<_> = (0..5_000).map(|n| pool.submit(echo, n)).collect();
                sender.send(()).expect("the test waits");
                (large, small)
            })
        };
        let in_time = submitted.recv_timeout(Duration::from_secs(20));
        workers.iter().for_each(|&pid| kill(pid, Signal::CONT));
        in_time.expect("all was submitted while the workers stood still");
        let (large, small) = submitter.join().expect("no panic");
        for future in large {
            assert_eq!(future.result().expect("a value"), 64 << 10);
        }
        assert_eq!(values(small), (0..5_000).collect::<Vec<_>>());
        pool.shutdown(true).wait();
    }

    fn many_threads_that_submit_at_once_all_get_their_values() {
        let pool = pool_of(2);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let pool = &pool;
                scope.spawn(move || {
                    let range = thread * 1_000..(thread + 1) * 1_000;
                    let futures = range.clone().map(|n| pool.submit(echo, n)).collect();
                    assert_eq!(values(futures), range.collect::<Vec<_>>());
                });
            }
        });
        pool.shutdown(true).wait();
    }
}
