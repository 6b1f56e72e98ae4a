//! What was measured to hang or to be lost with Python's pools does neither here, scenario by scenario.
//!
//! `src/features.md` has the list of what was measured, and names for each the test here or elsewhere.

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use procpool::sync::Event as Go;
use procpool::{
    CodecSide, Pool, ProcessPoolExecutor, Ran, ShutdownOptions, StartError, TaskErrorKind, TaskFuture, What,
    as_completed, task,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use support::{Event, Ledger, Signal, eventually, kill, procfs};

/// For what takes the start of a worker or two.
const SOON: Duration = Duration::from_secs(10);

/// Says that it runs, and waits until it may go on.
#[task]
fn note_and_wait(ledger: &str, id: u64, go: Go) -> (u64, u32) {
    Ledger::record(ledger, id, Event::Started);
    go.wait();
    Ledger::record(ledger, id, Event::Finished);
    (id, std::process::id())
}

#[task]
fn square(n: u64) -> u64 {
    n * n
}

#[task]
fn exit_at(n: u64, last: u64) -> u64 {
    if n == last {
        std::process::exit(7);
    }
    n
}

#[task]
fn refuse(ledger: &str) -> Result<(), String> {
    Ledger::record(ledger, 0, Event::Started);
    Err("there is no licence".to_owned())
}

/// Python's exception whose constructor needs two arguments: it can be sent, and not be made again.
#[derive(Debug, Serialize)]
struct OneWay(u64);

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OneWay, D::Error> {
        match u64::deserialize(deserializer)? {
            0 => Err(D::Error::custom("this needs two arguments")),
            n => Ok(OneWay(n)),
        }
    }
}

#[task]
fn fail_one_way(n: u64) -> Result<u64, OneWay> {
    Err(OneWay(n))
}

support::isolated! {
    fn an_idle_worker_of_a_pool_that_is_killed_holds_up_nobody() {
        let ledger = Ledger::create();
        let (path, go) = (ledger.path(), Go::new().expect("an event"));
        let pool = Pool::builder().processes(2).build().expect("a pool");
        pool.executor().warm_up().wait().expect("two workers");
        // Whoever has the task, the other one is idle and waits for its next, where a worker of Python holds a lock.
        let busy = pool.apply_async(note_and_wait, (path.as_str(), 0, go.clone()));
        eventually("it runs", SOON, || ledger.starts(0) == 1);
        let worker = ledger.entries()[0].pid;
        for idle in pool.executor().worker_pids().into_iter().filter(|pid| *pid != worker) {
            kill(idle, Signal::KILL);
            eventually("it is dead", SOON, || !procfs::is_alive(idle));
        }
        let later: Vec<_> = (0..10).map(|n| pool.apply_async(square, n)).collect();
        for (n, mut result) in (0..).zip(later) {
            let outcome = result.get_timeout(SOON).expect("the other worker is replaced");
            assert_eq!(outcome.expect("it waits for nobody"), n * n);
        }
        go.set();
        assert_eq!(busy.get().expect("its worker is alive"), (0, worker));
        pool.terminate();
        pool.join().wait().expect("terminated");
    }

    fn a_worker_that_exits_costs_one_future_and_its_code_is_told() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        let before: Vec<_> = (0..5).map(|n| pool.submit(exit_at, (n, 100))).collect();
        let fatal = pool.submit(exit_at, (7, 7));
        let after: Vec<_> = (20..40).map(|n| pool.submit(exit_at, (n, 100))).collect();
        let error = fatal.result().expect_err("its worker has exited");
        assert!(error.is_worker_died() && error.to_string().contains("exited with code 7"), "{error}");
        for (n, future) in (0..5).chain(20..40).zip(before.into_iter().chain(after)) {
            assert_eq!(future.result().expect("another task"), n);
        }
        assert_eq!(pool.submit(square, 9).result().expect("the pool goes on"), 81);
        pool.shutdown(true).wait();
    }

    fn one_task_runs_on_one_worker_and_each_of_the_others_can_be_cancelled() {
        let ledger = Ledger::create();
        let (path, go) = (ledger.path(), Go::new().expect("an event"));
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let futures = [0, 1, 2, 3].map(|id| pool.submit(note_and_wait, (path.as_str(), id, go.clone())));
        eventually("the first is told to run", SOON, || futures[0].running());
        eventually("it runs", SOON, || ledger.starts(0) == 1);
        assert_eq!(futures.each_ref().map(TaskFuture::running), [true, false, false, false]);
        assert_eq!(futures.each_ref().map(TaskFuture::cancel), [false, true, true, true]);
        go.set();
        let [first, rest @ ..] = futures;
        assert_eq!(first.result().expect("it was left alone").0, 0);
        for future in rest {
            assert_eq!(future.result().expect_err("it was cancelled").ran(), Ran::No);
        }
        pool.shutdown(true).wait();
        ledger.assert_ran_exactly_once(0..1);
        (1..4).for_each(|id| ledger.assert_never_ran(id));
    }

    fn an_initializer_that_fails_starts_few_workers_and_is_told() {
        let ledger = Ledger::create();
        let pool = Pool::builder().processes(2).initializer(refuse, ledger.path().as_str()).build().expect("a pool");
        let results: Vec<_> = (0..10).map(|n| pool.apply_async(square, n)).collect();
        for result in results {
            match result.get().expect_err("there is no worker").kind() {
                TaskErrorKind::PoolBroken(StartError::Initializer { message, .. }) => {
                    assert_eq!(message, "there is no licence");
                }
                other => panic!("{other:?}"),
            }
        }
        pool.terminate();
        pool.join().wait().expect("terminated");
        // Three in a row, and those that were being started at the same time.
        assert!((1..=5).contains(&ledger.entries().len()), "{} workers", ledger.entries().len());
    }

    fn a_result_that_cannot_be_decoded_is_the_error_of_its_own_get() {
        let pool = Pool::builder().processes(1).build().expect("a pool");
        let [before, bad, after] = [1, 0, 2].map(|n| pool.apply_async(fail_one_way, n));
        let error = bad.get().expect_err("it cannot be made again");
        match error.kind() {
            TaskErrorKind::Codec { what: What::Result, side: CodecSide::Decode, message, .. } => {
                assert!(message.contains("this needs two arguments"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(before.get().expect("a value").expect_err("the function's own").0, 1);
        assert_eq!(after.get().expect("a value").expect_err("the function's own").0, 2);
        assert_eq!(pool.map(square, [1, 2, 3]).expect("the pool goes on"), [1, 4, 9]);
        pool.close();
        pool.join().wait().expect("closed");
    }

    fn cancelling_without_waiting_tells_whoever_waits_for_all() {
        let ledger = Ledger::create();
        let (path, go) = (ledger.path(), Go::new().expect("an event"));
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let futures: Vec<_> = (0..10)
            .map(|id| (id, pool.submit(note_and_wait, (path.as_str(), id, go.clone()))))
            .collect();
        eventually("the first runs", SOON, || ledger.starts(0) == 1);
        let completed = as_completed(futures);
        pool.shutdown_with(ShutdownOptions::new().cancel_futures(true).wait(false));
        go.set();
        let mut told = BTreeSet::new();
        for (id, outcome) in completed {
            match outcome {
                Ok((value, _)) => assert_eq!((id, value), (0, 0), "only the first ran"),
                Err(error) => assert!(error.is_cancelled(), "{error}"),
            }
            assert!(told.insert(id), "{id} was told twice");
        }
        assert_eq!(told.len(), 10);
        pool.shutdown(true).wait();
    }
}
