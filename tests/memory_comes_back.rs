//! The memory of large values is used again while they come, and given back when they do not.

mod support;

use std::fs;
use std::time::Duration;

use procpool::{Limits, ProcessPoolExecutor, task};
use support::{eventually, procfs};

const LARGE: usize = 64 << 20;
/// What else there may be: stacks, small blocks, and what an allocator keeps.
const NOISE_KIB: u64 = 8 << 10;

#[task]
fn pass_on(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[task]
fn length(bytes: &[u8]) -> usize {
    bytes.len()
}

#[task]
fn pass_on_numbers(numbers: Vec<f64>) -> Vec<f64> {
    numbers
}

/// What the worker holds while it runs a task.
#[task]
fn resident_kib() -> u64 {
    procfs::rss_kib(std::process::id()).expect("it runs")
}

/// How often a process had to be given a page.
fn page_faults(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields = stat.rsplit(')').next().expect("a name in parentheses");
    fields.split_whitespace().nth(7).and_then(|field| field.parse().ok()).expect("a number")
}

fn pool() -> (ProcessPoolExecutor, u32) {
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
    pool.warm_up().wait().expect("a worker");
    let pid = pool.worker_pids()[0];
    (pool, pid)
}

fn own_kib() -> u64 {
    procfs::rss_kib(std::process::id()).expect("it runs")
}

support::isolated! {
    timeout = 120;

    fn large_values_that_come_one_after_the_other_need_no_new_memory() {
        let (pool, worker) = pool();
        let mut bytes = vec![7; LARGE];
        let mut fewest = [u64::MAX; 2];
        for _ in 0..8 {
            let before = [std::process::id(), worker].map(page_faults);
            bytes = pool.submit(pass_on, bytes).result().expect("they come back");
            let after = [std::process::id(), worker].map(page_faults);
            for (fewest, faults) in fewest.iter_mut().zip(after.iter().zip(before).map(|(after, before)| after - before)) {
                *fewest = faults.min(*fewest);
            }
        }
        assert!(bytes.len() == LARGE && bytes.iter().all(|&byte| byte == 7));
        // With the largest pages that there are it would be 32 more.
        assert!(fewest.iter().all(|&faults| faults < 24), "page faults of this program and of the worker: {fewest:?}");
        // This one has what the last of those has left.
        pool.submit(length, bytes.as_slice()).result().expect("a length");
        let fewest = (0..8)
            .map(|_| {
                let before = page_faults(worker);
                assert_eq!(pool.submit(length, bytes.as_slice()).result().expect("a length"), LARGE);
                page_faults(worker) - before
            })
            .min();
        assert!(fewest < Some(24), "page faults of the worker that only looks at them: {fewest:?}");
        pool.shutdown(true).wait();
    }

    fn numbers_are_encoded_and_decoded_in_memory_that_was_used_before() {
        let (pool, worker) = pool();
        let mut numbers = vec![0.5; 1 << 17];
        let mut fewest = [u64::MAX; 2];
        for _ in 0..20 {
            let before = [std::process::id(), worker].map(page_faults);
            numbers = pool.submit(pass_on_numbers, numbers).result().expect("they come back");
            let after = [std::process::id(), worker].map(page_faults);
            for (fewest, (after, before)) in fewest.iter_mut().zip(after.into_iter().zip(before)) {
                *fewest = (*fewest).min(after - before);
            }
        }
        assert!(numbers.len() == 1 << 17 && numbers.iter().all(|&number| number == 0.5));
        // The messages of the arguments and of the result would be 256 pages each. The numbers themselves are too, and they
        // are in memory of the allocator, which may be new.
        assert!(fewest.iter().all(|&faults| faults < 400), "page faults of this program and of the worker: {fewest:?}");
        pool.shutdown(true).wait();
    }

    fn their_memory_is_given_back_when_none_come_any_more() {
        let (pool, worker) = pool();
        let before = [std::process::id(), worker].map(|pid| procfs::rss_kib(pid).expect("it lives"));
        let mut bytes = vec![7; LARGE];
        for _ in 0..3 {
            bytes = pool.submit(pass_on, bytes).result().expect("they come back");
        }
        drop(bytes);
        for (pid, before) in [std::process::id(), worker].into_iter().zip(before) {
            eventually("memory of large values has been given back", Duration::from_secs(10), || {
                procfs::rss_kib(pid).expect("it lives") <= before + NOISE_KIB
            });
        }
        pool.shutdown(true).wait();
    }

    fn a_task_finds_none_of_the_memory_of_others_taken() {
        let (pool, _) = pool();
        let before = pool.submit(resident_kib, ()).result().expect("a figure");
        for _ in 0..5 {
            pool.submit(pass_on, vec![7; LARGE]).result().expect("they come back");
            let after = pool.submit(resident_kib, ()).result().expect("a figure");
            assert!(after <= before + NOISE_KIB, "{before} KiB, then {after} KiB");
        }
        pool.shutdown(true).wait();
    }

    fn workers_with_bounds_of_memory_keep_none() {
        let builder = || ProcessPoolExecutor::builder().max_workers(1);
        for builder in
            [builder().max_worker_rss(1 << 40), builder().limits(Limits::new().address_space(1 << 40))]
        {
            let pool = builder.build().expect("a pool");
            pool.warm_up().wait().expect("a worker");
            let worker = pool.worker_pids()[0];
            let bytes = vec![7; LARGE];
            for _ in 0..4 {
                let before = page_faults(worker);
                assert_eq!(pool.submit(length, bytes.as_slice()).result().expect("a length"), LARGE);
                let faults = page_faults(worker) - before;
                assert!(faults >= 32, "{faults} page faults are too few for new memory");
            }
            pool.shutdown(true).wait();
        }
    }

    fn a_worker_that_never_sleeps_gives_it_back_too() {
        let builder = ProcessPoolExecutor::builder().max_workers(1).spin(Duration::from_secs(3600));
        let pool = builder.build().expect("a pool");
        pool.warm_up().wait().expect("a worker");
        let worker = pool.worker_pids()[0];
        let resident = || procfs::rss_kib(worker).expect("it lives");
        let before = resident();
        for _ in 0..3 {
            pool.submit(length, vec![7; LARGE].as_slice()).result().expect("a length");
        }
        eventually("memory of large values has been given back", Duration::from_secs(10), || {
            resident() <= before + NOISE_KIB
        });
        pool.shutdown(true).wait();
    }

    fn a_pool_that_ends_leaves_none_of_it() {
        let before = own_kib();
        let (pool, _) = pool();
        let bytes = pool.submit(pass_on, vec![7; LARGE]).result().expect("they come back");
        pool.submit(pass_on, bytes).result().expect("they come back");
        pool.shutdown(true).wait();
        drop(pool);
        // The pool's thread has ended, or is about to.
        eventually("all memory has been given back", Duration::from_secs(10), || own_kib() <= before + NOISE_KIB);
    }
}
