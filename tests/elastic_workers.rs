//! Workers come with the work, go when they are idle, old or too large, and each replacement has a reason.

mod support;

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use procpool::{Builder, ProcessPoolExecutor, StartError, WorkerEndReason, WorkerEvent, task};
use support::{Event, Ledger, Signal, eventually, kill};

const SOON: Duration = Duration::from_secs(5);

#[task]
fn work(ledger: &str, id: u64, microseconds: u64) -> u32 {
    Ledger::record(ledger, id, Event::Started);
    std::thread::sleep(Duration::from_micros(microseconds));
    Ledger::record(ledger, id, Event::Finished);
    std::process::id()
}

#[task]
fn leak(bytes: usize) -> u32 {
    std::mem::forget(vec![1_u8; bytes]);
    std::process::id()
}

/// A pool whose events can be read.
fn watched(builder: Builder) -> (ProcessPoolExecutor, Receiver<WorkerEvent>) {
    let (sender, events) = channel();
    let observed = builder.on_worker_event(move |event| drop(sender.send(event.clone())));
    (observed.build().expect("a pool"), events)
}

fn builder() -> Builder {
    ProcessPoolExecutor::builder()
}

/// The reasons of all ends so far.
fn ends(events: &Receiver<WorkerEvent>) -> Vec<WorkerEndReason> {
    let ends = events.try_iter().filter_map(|event| match event {
        WorkerEvent::Ended { reason, .. } => Some(reason),
        _ => None,
    });
    ends.collect()
}

support::isolated! {
    timeout = 60;

    fn the_minimum_is_there_before_any_work_and_comes_back_after_a_kill() {
        let (pool, events) = watched(builder().max_workers(3).min_workers(2));
        eventually("two workers", SOON, || pool.worker_pids().len() == 2);
        for _ in 0..3 {
            let killed = pool.worker_pids()[0];
            eventually("it is up", SOON, || events.try_iter().any(|event| matches!(event, WorkerEvent::Started { .. })));
            kill(killed, Signal::KILL);
            eventually("another one", SOON, || {
                let pids = pool.worker_pids();
                pids.len() == 2 && !pids.contains(&killed)
            });
        }
        pool.shutdown(true).wait();
    }

    fn idle_workers_end_and_no_task_is_lost_at_that_moment() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let (pool, events) = watched(builder().max_workers(3).idle_timeout(Duration::from_millis(1)));
        let mut random = 88_172_645_463_325_252_u64;
        let mut pids = HashSet::new();
        for round in 0..200 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let burst = 1 + random % 5;
            let futures: Vec<_> = (0..burst).map(|at| pool.submit(work, (path.as_str(), round * 10 + at, 50))).collect();
            for future in futures {
                pids.insert(future.result().expect("a value"));
            }
            std::thread::sleep(Duration::from_micros(random % 3_000));
        }
        eventually("all are gone", SOON, || pool.worker_pids().is_empty());
        let entries = ledger.entries();
        let ids: HashSet<_> = entries.iter().map(|entry| entry.id).collect();
        ledger.assert_ran_exactly_once(ids.into_iter());
        assert!(pids.len() > 3, "{} workers served", pids.len());
        let ends = ends(&events);
        assert!(ends.len() >= pids.len() && ends.iter().all(|end| *end == WorkerEndReason::Idle), "{ends:?}");
        pool.shutdown(true).wait();
    }

    fn the_minimum_stays_when_idle() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let (pool, events) =
            watched(builder().max_workers(3).min_workers(1).idle_timeout(Duration::from_millis(20)));
        let futures: Vec<_> = (0..3).map(|id| pool.submit(work, (path.as_str(), id, 20_000))).collect();
        for future in futures {
            future.result().expect("a value");
        }
        eventually("one is left", SOON, || pool.worker_pids().len() == 1);
        let stays = pool.worker_pids()[0];
        assert_eq!(pool.submit(work, (path.as_str(), 9, 0)).result().expect("a value"), stays);
        assert_eq!(ends(&events), [WorkerEndReason::Idle, WorkerEndReason::Idle]);
        pool.shutdown(true).wait();
    }

    fn workers_of_age_are_replaced_between_tasks() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let (pool, events) = watched(builder().max_workers(2).max_worker_age(Duration::from_millis(60)));
        let futures: Vec<_> = (0..200).map(|id| pool.submit(work, (path.as_str(), id, 2_000))).collect();
        let pids: HashSet<_> = futures.into_iter().map(|future| future.result().expect("a value")).collect();
        ledger.assert_ran_exactly_once(0..200);
        assert!(pids.len() >= 4, "{} workers served", pids.len());
        let ends = ends(&events);
        assert!(!ends.is_empty() && ends.iter().all(|end| *end == WorkerEndReason::MaxAge), "{ends:?}");
        pool.shutdown(true).wait();
    }

    fn a_worker_that_has_grown_is_replaced_and_no_task_is_lost() {
        let (pool, events) = watched(builder().max_workers(1).max_worker_rss(120 << 20));
        let pids: Vec<_> = (0..300).map(|_| pool.submit(leak, 3 << 20).result().expect("a value")).collect();
        let distinct: HashSet<_> = pids.iter().collect();
        // 120 MiB hold less than 40 leaks of 3 MiB, and a tenth less more than 30.
        assert!((300 / 40..=300 / 30 + 1).contains(&distinct.len()), "{} workers served", distinct.len());
        let ends = ends(&events);
        assert!(ends.len() >= distinct.len() - 1, "{ends:?}");
        assert!(ends.iter().all(|end| *end == WorkerEndReason::MaxRss), "{ends:?}");
        pool.shutdown(true).wait();
    }

    fn a_pool_grows_and_shrinks_under_load() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let (pool, events) = watched(builder().max_workers(1));
        let mut futures = Vec::new();
        for (step, size) in [4, 1, 3, 2, 5, 1].into_iter().enumerate() {
            pool.resize(size).expect("a size");
            let first = step as u64 * 100;
            futures.extend((first..first + 100).map(|id| pool.submit(work, (path.as_str(), id, 300))));
            assert_eq!(pool.max_workers(), size);
        }
        for future in futures {
            future.result().expect("a value");
        }
        ledger.assert_ran_exactly_once(0..600);
        eventually("one is left", SOON, || pool.worker_pids().len() == 1);
        let ends = ends(&events);
        assert!(!ends.is_empty() && ends.iter().all(|end| *end == WorkerEndReason::Resized), "{ends:?}");
        pool.shutdown(true).wait();
    }

    fn a_pool_ends_in_the_middle_of_everything() {
        for limit in 1..=3 {
            let ledger = Ledger::create();
            let path = ledger.path();
            let pool = builder()
                .max_workers(3)
                .min_workers(1)
                .max_tasks_per_child(limit)
                .idle_timeout(Duration::from_millis(1))
                .max_worker_age(Duration::from_millis(20))
                .build()
                .expect("a pool");
            let futures: Vec<_> = (0..100).map(|id| pool.submit(work, (path.as_str(), id, 100))).collect();
            pool.resize(2).expect("a size");
            // Pending tasks still finish.
            drop(pool.shutdown(false));
            for future in futures {
                future.result().expect("a value");
            }
            ledger.assert_ran_exactly_once(0..100);
            assert!(pool.shutdown(true).wait().leaked.is_empty());
        }
    }

    fn every_death_has_its_reason() {
        let (pool, events) = watched(builder().max_workers(1));
        pool.submit(leak, 0).result().expect("a value");
        kill(pool.worker_pids()[0], Signal::KILL);
        eventually("it is told", SOON, || ends(&events) == [WorkerEndReason::Died]);
        pool.submit(leak, 0).result().expect("a value");
        pool.shutdown(true).wait();
        assert_eq!(ends(&events), [WorkerEndReason::Shutdown]);
    }

    fn settings_that_make_no_sense_are_refused() {
        let refused = |builder: Builder| match builder.build() {
            Err(StartError::Invalid { message, .. }) => message,
            other => panic!("{other:?}"),
        };
        assert!(refused(builder().max_workers(2).min_workers(3)).contains("`min_workers` is 3"));
        assert!(refused(builder().max_worker_age(Duration::ZERO)).contains("max_worker_age"));
        assert!(refused(builder().max_worker_rss(0)).contains("max_worker_rss"));
        assert!(refused(builder().idle_timeout(Duration::MAX)).contains("idle_timeout"));
        let pool = builder().max_workers(2).build().expect("a pool");
        for size in [0, 5_000] {
            assert!(pool.resize(size).is_err());
        }
        assert_eq!(pool.max_workers(), 2);
    }
}
