//! Who is asked to stop takes along what it has submitted, and nothing is kept of what is done.

use std::time::Duration;

use procpool::{Context, OnCancel, ProcessPoolExecutor, TaskFuture, TaskOptions, context, task};

use crate::cancelling::spin;
use crate::support::{self, Event, Ledger, eventually, procfs};
use crate::{DETECT, cooperating, one_worker};

/// Submits itself until it is at the bottom, where it spins. Tells of everyone, deepest first, whether it was
/// asked to stop.
#[task]
fn spin_below(levels: u32, ledger: &str) -> Vec<bool> {
    Ledger::record(ledger, u64::from(levels), Event::Started);
    let mut all = match levels {
        0 => {
            spin();
            Vec::new()
        }
        _ => one_worker().submit(spin_below, (levels - 1, ledger)).result().expect("they return"),
    };
    all.push(context().is_cancelled());
    Ledger::record(ledger, u64::from(levels), Event::Finished);
    all
}

/// Does not look, and goes on until it finds a file.
#[task]
fn stubborn(ledger: &str, id: u64, path: &str) -> bool {
    Ledger::record(ledger, id, Event::Started);
    while !std::path::Path::new(path).exists() {
        std::thread::yield_now();
    }
    Ledger::record(ledger, id, Event::Finished);
    context().is_cancelled()
}

fn verdict(outcome: Result<bool, procpool::TaskError>) -> String {
    match outcome {
        Ok(asked) => format!("asked: {asked}"),
        Err(error) => format!("cancelled: {}, ran: {:?}", error.is_cancelled(), error.ran()),
    }
}

/// Submits one task that runs and one that waits behind it; when both have been told that this one is asked to stop,
/// lets the first go on, and tells how they ended.
#[task]
fn two_below(ledger: &str, path: &str, policy: &str) -> Vec<String> {
    let options = match policy {
        "kill" => TaskOptions::new().on_cancel(OnCancel::Kill),
        "finish" => TaskOptions::new().on_cancel(OnCancel::Finish),
        _ => TaskOptions::new(),
    };
    // Whoever was submitted first is told last.
    let (other, pool) = (one_worker(), one_worker().with(options));
    let last = other.submit(spin, ());
    let tasks = [1, 2].map(|id| pool.submit(stubborn, (ledger, id, path)));
    let _ = last.result();
    std::fs::write(path, "").expect("a flag");
    tasks.map(|task| verdict(task.result())).into()
}

/// Is asked to stop, and then submits.
#[task]
fn submit_too_late(ledger: &str) -> [String; 3] {
    let pool = one_worker();
    // An idle worker would start it at once.
    pool.submit(identity, 1).result().expect("a value");
    Ledger::record(ledger, 0, Event::Started);
    spin();
    let late = pool.submit(stubborn, (ledger, 1, "/"));
    let all: Vec<_> = pool.map(stubborn, [(ledger, 2, "/")]).into_iter().map(verdict).collect();
    let cleaning = Context::none().scope(|| pool.submit(stubborn, (ledger, 3, "/")));
    [verdict(late.result()), all.concat(), verdict(cleaning.result())]
}

/// The nested task is submitted by another thread, or by a future on another.
#[task]
fn spin_below_a_thread(ledger: &str) -> (bool, bool) {
    let (pool, outer) = (one_worker(), context());
    let submit = {
        let (pool, ledger) = (pool.clone(), ledger.to_owned());
        move |id| pool.submit(spin_below, (id, &ledger)).result().is_ok()
    };
    let second = submit.clone();
    let thread = std::thread::spawn({
        let outer = outer.clone();
        move || outer.scope(|| submit(0))
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let future = runtime.spawn(outer.scope_future(async move { second(0) }));
    (thread.join().expect("an outcome"), runtime.block_on(future).expect("an outcome"))
}

/// Ends when it finds a file, and without a word if it is asked to stop before.
#[task]
fn wait_unless_asked(ledger: &str, id: u64, path: &str) {
    Ledger::record(ledger, id, Event::Started);
    while !std::path::Path::new(path).exists() {
        if context().is_cancelled() {
            return;
        }
    }
    Ledger::record(ledger, id, Event::Finished);
}

/// Leaves a detached task behind in a pool that outlives the task, and ends.
#[task]
fn detach_below(ledger: &str, path: &str) {
    static POOL: std::sync::OnceLock<ProcessPoolExecutor> = std::sync::OnceLock::new();
    let pool = POOL.get_or_init(one_worker);
    cooperating(pool).submit(wait_unless_asked, (ledger, 1, path)).detach();
}

#[task]
fn identity(n: u32) -> u32 {
    n
}

/// How much memory this worker has after so many nested tasks, and after ten times as many.
#[task]
fn submit_very_often(tenth: u32) -> [u64; 2] {
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
    let resident = || procfs::rss_kib(std::process::id()).expect("our own memory");
    let submit = |count: u32| {
        for chunk in 0..count / 500 {
            let all: Vec<_> = (0..500).map(|i| pool.submit(identity, chunk + i)).collect();
            for (i, one) in (0..).zip(all) {
                match i % 10 {
                    0 => one.detach(),
                    1 => drop(one),
                    _ => assert_eq!(one.result().expect("a value"), chunk + i),
                }
            }
        }
        eventually("all are settled", Duration::from_secs(30), || pool.pending() == 0);
        resident()
    };
    [submit(tenth), submit(9 * tenth)]
}

fn cancel_soon<T: serde::de::DeserializeOwned>(mut outer: TaskFuture<T>) -> T {
    assert!(!outer.cancel());
    outer.result_timeout(DETECT).expect("it ends soon").expect("it returns")
}

support::isolated! {
    timeout = 120;

    fn a_cancellation_goes_down_two_levels() {
        let ledger = Ledger::create();
        let pool = cooperating(&one_worker());
        let outer = pool.submit(spin_below, (2, ledger.path().as_str()));
        eventually("the deepest runs", Duration::from_secs(10), || ledger.starts(0) == 1);
        assert_eq!(cancel_soon(outer), [true; 3]);
        ledger.assert_ran_exactly_once(0..3);
        let free = pool.submit(identity, 7).result();
        assert_eq!(free.expect("the worker goes on"), 7);
    }

    fn what_waits_below_never_starts_and_what_runs_does_what_its_policy_says() {
        let pool = cooperating(&one_worker());
        for (policy, expected) in [
            ("default", ["asked: true", "cancelled: true, ran: No"]),
            ("finish", ["asked: false", "cancelled: true, ran: No"]),
            ("kill", ["cancelled: true, ran: Maybe", "cancelled: true, ran: No"]),
        ] {
            let ledger = Ledger::create();
            let flag = format!("{}.flag", ledger.path());
            let outer = pool.submit(two_below, (ledger.path().as_str(), flag.as_str(), policy));
            eventually("the first runs", Duration::from_secs(10), || ledger.starts(1) == 1);
            assert_eq!(cancel_soon(outer), expected, "{policy}");
            std::fs::remove_file(&flag).expect("the flag");
        }
    }

    fn what_is_submitted_too_late_never_starts_unless_it_is_to_clean_up() {
        let ledger = Ledger::create();
        let pool = cooperating(&one_worker());
        let outer = pool.submit(submit_too_late, ledger.path().as_str());
        eventually("it has an idle worker", Duration::from_secs(10), || ledger.starts(0) == 1);
        let never = "cancelled: true, ran: No";
        let ends = cancel_soon(outer);
        assert_eq!(ends, [never, never, "asked: false"]);
        ledger.assert_never_ran(1);
        ledger.assert_never_ran(2);
        ledger.assert_ran_exactly_once(3..4);
    }

    fn a_thread_or_future_in_the_scope_of_the_task_hands_down_as_well() {
        let ledger = Ledger::create();
        let pool = cooperating(&one_worker());
        let outer = pool.submit(spin_below_a_thread, ledger.path().as_str());
        eventually("one of them runs", Duration::from_secs(10), || ledger.starts(0) == 1);
        let (thread, future) = cancel_soon(outer);
        assert!(thread != future, "one was stopped while it ran, and the one behind it never started");
        assert_eq!(ledger.starts(0), 1);
    }

    fn the_end_of_a_task_leaves_alone_what_it_has_detached() {
        let ledger = Ledger::create();
        let flag = format!("{}.flag", ledger.path());
        let pool = cooperating(&one_worker());
        pool.submit(detach_below, (ledger.path().as_str(), flag.as_str())).result().expect("it returns");
        assert_eq!(pool.submit(identity, 7).result().expect("a value"), 7);
        eventually("the detached task runs", Duration::from_secs(10), || ledger.starts(1) == 1);
        std::fs::write(&flag, "").expect("a flag");
        eventually("the detached task ends", DETECT, || ledger.finishes(1) == 1);
        std::fs::remove_file(&flag).expect("the flag");
    }

    fn a_hundred_thousand_nested_tasks_leave_nothing() {
        let [tenth, all] = one_worker().submit(submit_very_often, 10_000).result().expect("it returns");
        // Each that was kept would take some 500 bytes.
        assert!(all < tenth + 10 * 1024, "{tenth} KiB after 10 000 tasks, {all} KiB after 100 000");
    }
}
