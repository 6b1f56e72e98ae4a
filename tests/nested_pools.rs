//! Pools nest: a worker in the middle takes along what is below it and nothing else, and inner pools hold up nobody
//! (F35). How deep they nest is tested in `fork_bomb.rs`.

mod support;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, Ran, task};
use support::{Event, Ledger, Signal, eventually, kill, nothing_left, procfs, tagged_pids, tagged_workers};

const ORPHAN: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(20);

fn pool(workers: usize) -> ProcessPoolExecutor {
    let pool = ProcessPoolExecutor::builder().max_workers(workers).build().expect("a pool");
    pool.warm_up().wait().expect("workers");
    pool
}

#[task]
fn double(n: u64) -> u64 {
    2 * n
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

#[task]
fn leave() {
    std::process::exit(3);
}

/// Records itself under its depth, and nests until the last one, which goes on for ever: stopped, if that is wanted.
/// Each pool has a second worker that is idle. Returns what is told of the death of a worker below.
#[task]
fn descend(ledger: &str, last: u64, stopped: bool) -> String {
    let depth = u64::from(procpool::context().depth());
    if depth < last {
        let pool = pool(2);
        Ledger::record(ledger, depth, Event::Started);
        let below = pool.submit(descend, (ledger, last, stopped)).result();
        assert_eq!(pool.submit(double, depth).result().expect("the pool goes on"), 2 * depth);
        return below
            .unwrap_or_else(|error| format!("depth {depth}: {:?}", (error.is_worker_died(), error.ran())));
    }
    Ledger::record(ledger, depth, Event::Started);
    if stopped {
        kill(std::process::id(), Signal::STOP);
    }
    loop {
        std::thread::park();
    }
}

static INNER: OnceLock<ProcessPoolExecutor> = OnceLock::new();

/// Makes a pool that stays as long as this worker.
#[task]
fn keep_a_pool(workers: usize) {
    INNER.set(pool(workers)).map_err(drop).expect("the first one");
}

#[task]
fn double_inside(n: u64) -> u64 {
    INNER.get().expect("it was made").submit(double, n).result().expect("a value")
}

#[task]
fn park(ledger: &str, id: u64) {
    Ledger::record(ledger, id, Event::Started);
    loop {
        std::thread::park();
    }
}

/// Leaves a task behind in the pool that stays.
#[task]
fn park_inside(ledger: &str) {
    let future = INNER.get().expect("it was made").submit(park, (ledger, 0));
    eventually("it runs", SOON, || future.running());
    future.detach();
}

/// Sums in a pool of its own, one worker of which dies meanwhile.
#[task]
fn sum_inside(from: u64, to: u64) -> u64 {
    let pool = pool(2);
    let crash = pool.submit(leave, ());
    let sum = pool.map(double, from..to).into_iter().map(|value| value.expect("a value")).sum();
    assert!(crash.result().expect_err("it has left").is_worker_died());
    pool.shutdown(true).wait();
    sum
}

/// Kills the worker at one depth while the one at the last depth is busy, and wants everything below to be gone and
/// everything above to be there.
fn a_death_in_the_middle(depth: u64, last: u64, stopped: bool) {
    let ledger = Ledger::create();
    let outer = pool(2);
    let future = outer.submit(descend, (ledger.path().as_str(), last, stopped));
    eventually("the innermost task runs", SOON, || ledger.starts(last) == 1);
    let entries = ledger.entries();
    let at = |depth: u64| entries.iter().find(|entry| entry.id == depth).expect("it runs").pid;
    let killed = at(depth);
    if stopped {
        eventually("it is stopped", SOON, || procfs::state(at(last)) == Some('T'));
    }
    let below = procfs::descendants_of(killed);
    let workers = below.iter().filter(|process| !process.is_template()).count();
    assert_eq!(workers as u64, 2 * (last - depth), "two workers of each pool: {below:?}");
    assert_eq!(tagged_workers().len() as u64, 2 * last);

    let began = Instant::now();
    kill(killed, Signal::KILL);
    let gone =
        |process: &procfs::Process| procfs::process(process.pid).is_none_or(|now| now.start != process.start);
    eventually("all that was below is gone", ORPHAN, || below.iter().all(gone));
    println!("T_orphan at depth {depth}: {:?}", began.elapsed());

    let outcome = future.result();
    if depth == 1 {
        assert!(outcome.expect_err("its worker was killed").is_worker_died());
    } else {
        let told = format!("depth {}: {:?}", depth - 1, (true, Ran::Maybe));
        assert_eq!(outcome.expect("the outer task goes on"), told);
        assert!(procfs::is_alive(at(1)), "those above are not touched");
    }
    outer.warm_up().wait().expect("two workers");
    assert_eq!(outer.submit(double, 21).result().expect("the pool goes on"), 42);
    assert!(outer.shutdown(true).wait().leaked.is_empty());
    nothing_left(ORPHAN);
}

/// A pool whose only worker keeps a pool of its own.
fn around_a_pool(workers: usize) -> ProcessPoolExecutor {
    let outer = ProcessPoolExecutor::builder()
        .max_workers(1)
        .initializer(keep_a_pool, workers)
        .build()
        .expect("a pool");
    assert_eq!(outer.submit(double_inside, 4).result().expect("a value"), 8);
    assert_eq!(tagged_workers().len(), 1 + workers);
    outer
}

/// Shuts a pool down, and wants that to be quick, and nothing to be left.
fn ends_soon(outer: ProcessPoolExecutor) {
    let began = Instant::now();
    let report = outer.shutdown(true).wait();
    assert!(began.elapsed() < ORPHAN, "the shutdown took {:?}", began.elapsed());
    assert_eq!((report.killed, report.leaked), (0, Vec::new()));
    eventually("all inner workers are gone", ORPHAN, || tagged_pids().is_empty());
}

support::isolated! {
    timeout = 90;

    fn a_worker_that_is_killed_in_the_middle_takes_along_what_is_below_it() {
        for depth in 1..=4 {
            a_death_in_the_middle(depth, 4, false);
        }
    }

    fn also_what_is_stopped() {
        a_death_in_the_middle(1, 3, true);
        a_death_in_the_middle(2, 3, true);
    }

    fn a_shutdown_is_not_held_up_by_idle_workers_inside() {
        ends_soon(around_a_pool(3));
    }

    fn a_shutdown_is_not_held_up_by_busy_workers_inside_that_nobody_waits_for() {
        let outer = around_a_pool(2);
        let ledger = Ledger::create();
        outer.submit(park_inside, ledger.path().as_str()).result().expect("it was left behind");
        eventually("it runs", SOON, || ledger.starts(0) == 1);
        ends_soon(outer);
    }

    fn dropping_a_pool_ends_those_inside() {
        let outer = around_a_pool(2);
        drop(outer);
        eventually("all workers are gone", ORPHAN, || tagged_pids().is_empty());
    }

    fn a_worker_that_is_replaced_takes_its_pool_along() {
        let outer = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(1).initializer(keep_a_pool, 2).build().expect("a pool");
        for n in 0..3 {
            assert_eq!(outer.submit(double_inside, n).result().expect("a value"), 2 * n);
        }
        // Before its successor comes, or after.
        eventually("one worker with its two, or none", ORPHAN, || matches!(tagged_workers().len(), 0 | 3));
        ends_soon(outer);
    }

    fn many_pools_inside_of_one_another_do_not_wait_for_each_other() {
        let outer = pool(3);
        let futures: Vec<_> = (0..12).map(|n| outer.submit(sum_inside, (10 * n, 10 * n + 10))).collect();
        for (n, future) in (0..).zip(futures) {
            assert_eq!(future.result().expect("a value"), (10 * n..10 * n + 10).map(|i| 2 * i).sum::<u64>());
        }
        eventually("the inner pools are gone", ORPHAN, || tagged_workers().len() == 3);
        ends_soon(outer);
    }

    fn a_crash_inside_costs_nobody_outside() {
        let outer = pool(1);
        let worker = outer.submit(own_pid, ()).result().expect("a value");
        for _ in 0..5 {
            assert_eq!(outer.submit(sum_inside, (0, 10)).result().expect("a value"), 90);
        }
        assert_eq!(outer.submit(own_pid, ()).result().expect("a value"), worker, "the outer worker is the same");
        ends_soon(outer);
    }
}
