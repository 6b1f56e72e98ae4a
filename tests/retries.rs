//! Nothing is run twice unless asked for; asked for, exactly so often, with the history in the error.

mod support;

use std::time::{Duration, Instant};

use procpool::{OnCancel, ProcessPoolExecutor, Ran, Retry, TaskErrorKind, TaskOptions, task};
use serde::{Deserialize, Deserializer, Serialize};
use support::{Event, Ledger};

#[task]
fn poison(ledger: &str, id: u64) {
    Ledger::record(ledger, id, Event::Started);
    std::process::abort()
}

#[task]
fn good(ledger: &str, id: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    Ledger::record(ledger, id, Event::Finished);
    id
}

#[task]
fn by_attempt(ledger: &str, id: u64, script: &str) -> Result<u32, String> {
    Ledger::record(ledger, id, Event::Started);
    let attempt = procpool::context().attempt();
    match script.as_bytes()[attempt as usize - 1] {
        b'c' => std::process::exit(7),
        b'p' => panic!("attempt {attempt}"),
        b't' => loop {
            std::thread::park()
        },
        b'e' => Err(format!("attempt {attempt}")),
        _ => Ok(attempt),
    }
}

/// Can be decoded once in its life: a file says whether it was.
#[derive(Serialize)]
struct Once<'a>(&'a str);

impl<'de: 'a, 'a> Deserialize<'de> for Once<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Once<'a>, D::Error> {
        let path = <&str>::deserialize(deserializer)?;
        match std::fs::File::create_new(path) {
            Ok(_) => Ok(Once(path)),
            Err(error) => Err(serde::de::Error::custom(error)),
        }
    }
}

#[task]
fn crash_once(argument: Once<'_>) -> usize {
    if !argument.0.is_empty() {
        std::process::abort()
    }
    0
}

#[task(retries = 2)]
fn from_its_attribute() {
    std::process::abort()
}

fn at_once(retries: u32) -> Retry {
    Retry::new(retries).backoff(Duration::ZERO).on_panic(true).on_error(true)
}

support::isolated! {
    fn a_poison_task_is_tried_exactly_so_often_and_delays_nobody() {
        for retries in [0, 1, 3] {
            let ledger = Ledger::create();
            let path = ledger.path();
            let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
            let retrying = pool.with(TaskOptions::new().retry(Retry::new(retries).backoff(Duration::from_millis(5))));
            let culprit = retrying.submit(poison, (path.as_str(), 1000));
            let neighbours: Vec<_> = (0..100).map(|id| pool.submit(good, (path.as_str(), id))).collect();
            for (id, neighbour) in (0..).zip(neighbours) {
                assert_eq!(neighbour.result().expect("a value"), id);
            }
            let error = culprit.result().expect_err("it always crashes");
            assert!(error.is_worker_died(), "{error}");
            assert_eq!(error.ran(), Ran::Maybe);
            assert_eq!(error.attempts(), retries as usize + 1);
            assert_eq!(error.earlier_attempts().len(), retries as usize);
            assert!(error.earlier_attempts().iter().all(|error| error.is_worker_died()));
            assert_eq!(ledger.starts(1000), retries as usize + 1);
            ledger.assert_ran_exactly_once(0..100);
            assert_eq!(pool.submit(good, (path.as_str(), 2000)).result().expect("the pool goes on"), 2000);
            assert!(pool.shutdown(true).wait().leaked.is_empty());
        }
    }

    fn every_kind_of_failure_is_retried_and_told() {
        let ledger = Ledger::create();
        let path = ledger.path();
        // Naming the frames of a backtrace takes its time.
        let options = TaskOptions::new().retry(at_once(4)).timeout(Duration::from_secs(1));
        let pool = ProcessPoolExecutor::builder().max_workers(2).task_options(options).build().expect("a pool");
        let value = pool.submit(by_attempt, (path.as_str(), 1, "cpteo")).result();
        assert_eq!(value.expect("the fifth attempt").expect("a value"), 5);
        assert_eq!(ledger.starts(1), 5);

        let error = pool.submit(by_attempt, (path.as_str(), 2, "epctp")).result().expect_err("the fifth panics");
        assert!(error.is_panic() && error.to_string().contains("attempt 5"), "{error}");
        let kinds: Vec<_> = error.earlier_attempts().iter().map(|error| match error.kind() {
            TaskErrorKind::Failed => "error",
            TaskErrorKind::Panicked(panic) if panic.message() == "attempt 2" => "panic",
            TaskErrorKind::WorkerDied(exit) if exit.cause().to_string() == "exited with code 7" => "crash",
            TaskErrorKind::TimedOut { .. } => "timeout",
            other => panic!("{other:?}"),
        }).collect();
        assert_eq!(kinds, ["error", "panic", "crash", "timeout"]);
        assert!(error.to_string().contains("attempt 5 of a task that failed before"), "{error}");

        let last = pool.submit(by_attempt, (path.as_str(), 3, "eeeee")).result().expect("a value of its own");
        assert_eq!(last.expect_err("the task's error"), "attempt 5");
    }

    fn what_the_policy_does_not_cover_is_not_retried() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let never = Retry::new(3).backoff(Duration::ZERO).on_crash(false).on_timeout(false);
        let pool = pool.with(TaskOptions::new().retry(never).timeout(Duration::from_secs(1)));
        for (id, script) in [(1, "c"), (2, "p"), (3, "t")] {
            let error = pool.submit(by_attempt, (path.as_str(), id, script)).result().expect_err(script);
            assert_eq!((error.attempts(), ledger.starts(id)), (1, 1), "{script}: {error}");
        }
        let error = pool.submit(by_attempt, (path.as_str(), 4, "e")).result().expect("a value");
        assert_eq!(error.expect_err("its own"), "attempt 1");
    }

    fn the_pauses_between_attempts_grow_and_block_nobody() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let slow = pool.with(TaskOptions::new().retry(Retry::new(3).backoff(Duration::from_millis(100))));
        let began = Instant::now();
        let culprit = slow.submit(poison, (path.as_str(), 1));
        let mut others = 0;
        while !culprit.done() {
            pool.submit(good, (path.as_str(), 1_000 + others)).result().expect("a value");
            others += 1;
        }
        assert_eq!(culprit.result().expect_err("it crashes").attempts(), 4);
        // At least half of 100, 200 and 400 ms.
        assert!(began.elapsed() >= Duration::from_millis(350), "{:?}", began.elapsed());
        assert!(others > 20, "{others} tasks went through between the attempts");
        let starts: Vec<_> = ledger.entries().into_iter().filter(|entry| entry.id == 1).collect();
        let pauses: Vec<_> = starts.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
        assert!(pauses[0] >= Duration::from_millis(50) && pauses[2] >= Duration::from_millis(200), "{pauses:?}");
    }

    fn a_task_that_waits_for_its_next_attempt_is_cancelled_or_dropped_at_once() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let hour = Duration::from_secs(3600);
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let patient = pool.with(TaskOptions::new().retry(Retry::new(1).backoff(hour).max_backoff(hour)));
        let waiting = patient.submit(poison, (path.as_str(), 1));
        support::eventually("it has failed once", Duration::from_secs(5), || ledger.starts(1) == 1 && !waiting.running());
        assert!(waiting.cancel());
        let error = waiting.result().expect_err("cancelled");
        assert!(error.is_cancelled() && error.ran() == Ran::Maybe, "{error}");
        assert!(error.earlier_attempts()[0].is_worker_died());
        drop(patient.submit(poison, (path.as_str(), 2)));
        let report = pool.shutdown_with(procpool::ShutdownOptions::new().cancel_futures(true)).wait();
        assert!(report.leaked.is_empty());
        assert!(ledger.starts(1) == 1 && ledger.starts(2) <= 1);
    }

    fn what_is_told_of_the_last_attempt_is_told_of_all() {
        let path = std::env::temp_dir().join(format!("decoded-once-{}", std::process::id()));
        let path = path.to_str().expect("text").to_owned();
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let error = pool.with(TaskOptions::new().retry(at_once(1))).submit(crash_once, Once(&path)).result();
        std::fs::remove_file(&path).expect("a file of ours");
        let error = error.expect_err("the second attempt is refused");
        assert!(matches!(error.kind(), TaskErrorKind::Codec { .. }), "{error}");
        assert_eq!(error.earlier_attempts()[0].ran(), Ran::Maybe);
        assert_eq!(error.ran(), Ran::Maybe, "its body has started, in the first attempt");
    }

    fn a_next_attempt_that_finds_no_worker_ends_at_the_deadline() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let deadline = Instant::now() + Duration::from_secs(4);
        let hopeful = pool.with(TaskOptions::new().retry(at_once(1)).deadline(deadline));
        let hopeful = hopeful.submit(by_attempt, (path.as_str(), 1, "eo"));
        let endless = pool.with(TaskOptions::new().on_cancel(OnCancel::Kill)).submit(by_attempt, (path.as_str(), 2, "t"));
        let error = hopeful.result().expect_err("its worker has something else to do");
        assert!(matches!(error.kind(), TaskErrorKind::QueueTimedOut { .. }), "{error}");
        assert!(Instant::now() >= deadline);
        assert_eq!((error.ran(), error.attempts(), ledger.starts(1)), (Ran::Yes, 2, 1));
        assert!(endless.cancel());
    }

    fn a_kill_ends_all_attempts() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let options = TaskOptions::new().retry(at_once(50)).on_cancel(OnCancel::Kill);
        let pool = ProcessPoolExecutor::builder().max_workers(1).task_options(options).build().expect("a pool");
        let endless = pool.submit(by_attempt, (path.as_str(), 1, "t"));
        support::eventually("it runs", Duration::from_secs(5), || ledger.starts(1) == 1);
        assert!(endless.cancel());
        assert!(endless.result().expect_err("cancelled").is_cancelled());
        pool.shutdown(true).wait();
        assert_eq!(ledger.starts(1), 1);
    }

    fn the_attribute_of_a_task_retries_it() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        assert_eq!(pool.submit(from_its_attribute, ()).result().expect_err("it crashes").attempts(), 3);
        let once = pool.with(TaskOptions::new().retry(Retry::new(0)));
        assert_eq!(once.submit(from_its_attribute, ()).result().expect_err("it crashes").attempts(), 1);
    }
}
