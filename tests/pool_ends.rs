//! A `Pool` that is closed finishes what it has, one that is terminated ends at once, and one that is dropped is closed.

mod support;

use std::time::{Duration, Instant};

use procpool::{Pool, StartError, TaskErrorKind, task};
use support::{Event, Ledger, Signal, eventually, kill, tagged_pids};

const SOON: Duration = Duration::from_secs(10);
const DROP: Duration = Duration::from_secs(1);

#[task]
fn note(ledger: &str, id: u64) -> u32 {
    Ledger::record(ledger, id, Event::Started);
    std::thread::sleep(Duration::from_millis(5));
    Ledger::record(ledger, id, Event::Finished);
    std::process::id()
}

#[task]
fn park(ledger: &str, id: u64) {
    Ledger::record(ledger, id, Event::Started);
    loop {
        std::thread::park();
    }
}

#[task]
fn refuse() -> Result<(), String> {
    Err("there is no licence".to_owned())
}

fn pool() -> Pool {
    Pool::builder().processes(2).build().expect("a pool")
}

support::isolated! {
    fn close_and_join_finish_what_was_accepted() {
        let ledger = Ledger::create();
        let pool = pool();
        let path = ledger.path();
        let results: Vec<_> = (0..20).map(|id| pool.apply_async(note, (path.as_str(), id))).collect();
        assert!(pool.join().wait().is_err(), "it still runs");
        pool.close();
        pool.close();
        let late = pool.apply_async(note, (path.as_str(), 99));
        assert!(matches!(late.get().expect_err("refused").kind(), TaskErrorKind::PoolClosed));
        let report = pool.join().wait().expect("closed");
        assert_eq!((report.cancelled, report.killed), (0, 0));
        assert!(pool.executor().worker_pids().is_empty() && tagged_pids().is_empty());
        for result in results {
            assert_eq!(result.successful(), Some(true));
            result.get().expect("a value");
        }
        ledger.assert_ran_exactly_once(0..20);
        ledger.assert_never_ran(99);
        pool.join().wait().expect("it may be called again");
    }

    fn terminate_ends_what_runs_and_what_waits_and_every_result_is_told() {
        let ledger = Ledger::create();
        let pool = pool();
        let path = ledger.path();
        let results: Vec<_> = (0..10).map(|id| pool.apply_async(park, (path.as_str(), id))).collect();
        let all = pool.map_async(park, (10..14).map(|id| (path.as_str(), id)));
        eventually("two run", SOON, || ledger.entries().len() == 2);
        pool.terminate();
        pool.join().wait().expect("terminated");
        for result in results {
            assert!(result.get().expect_err("no value").is_cancelled());
        }
        assert!(all.get().expect_err("no value").is_cancelled());
        assert_eq!(ledger.entries().len(), 2, "nothing else has started");
    }

    fn terminate_after_a_worker_was_killed_is_as_quick() {
        let ledger = Ledger::create();
        let pool = pool();
        let path = ledger.path();
        // One busy, one idle, both killed: the queue of Python's pool is locked for ever then.
        let lost = pool.apply_async(park, (path.as_str(), 0));
        pool.executor().warm_up().wait().expect("workers");
        eventually("it runs", SOON, || ledger.starts(0) == 1);
        for pid in pool.executor().worker_pids() {
            kill(pid, Signal::KILL);
        }
        assert!(lost.get().expect_err("its worker is dead").is_worker_died());
        let value = pool.apply(note, (path.as_str(), 1)).expect("the pool goes on");
        assert_ne!(value, std::process::id());
        pool.terminate();
        pool.join().wait().expect("terminated");
    }

    fn dropping_the_last_handle_lets_everything_be_finished_and_does_not_wait_for_it() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool();
        let kept: Vec<_> = (0..10).map(|id| pool.apply_async(note, (path.as_str(), id))).collect();
        for id in 10..20 {
            drop(pool.apply_async(note, (path.as_str(), id)));
        }
        drop(pool.map_async(note, (20..30).map(|id| (path.as_str(), id))));
        let other = pool.clone();
        drop(pool);
        other.apply(note, (path.as_str(), 30)).expect("another handle keeps the pool open");
        let began = Instant::now();
        drop(other);
        assert!(began.elapsed() < DROP);
        for result in kept {
            result.get().expect("a value, after the pool was dropped");
        }
        eventually("all is done and the workers are gone", SOON, || tagged_pids().is_empty());
        ledger.assert_ran_exactly_once(0..31);
    }

    fn dropping_a_pool_does_not_wait_for_a_task_that_never_ends() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = Pool::builder().processes(1).build().expect("a pool");
        let mut endless = pool.apply_async(park, (path.as_str(), 0));
        eventually("it runs", SOON, || ledger.starts(0) == 1);
        let workers = pool.executor().worker_pids();
        let began = Instant::now();
        drop(pool);
        assert!(began.elapsed() < DROP);
        assert!(!endless.wait_timeout(Duration::from_millis(100)), "it goes on");
        workers.into_iter().for_each(|pid| kill(pid, Signal::KILL));
        assert!(endless.get().expect_err("killed").is_worker_died());
    }

    fn a_worker_is_replaced_after_so_many_tasks() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = Pool::builder().processes(1).maxtasksperchild(3).build().expect("a pool");
        let pids = pool.map(note, (0..9).map(|id| (path.as_str(), id))).expect("values");
        // A task that was sent ahead and taken back counts as well, so it may be fewer.
        assert!(pids.iter().all(|pid| pids.iter().filter(|other| *other == pid).count() <= 3), "{pids:?}");
        // Closing while workers are being replaced is Python's issue of its own.
        let rest: Vec<_> = (9..16).map(|id| pool.apply_async(note, (path.as_str(), id))).collect();
        pool.close();
        pool.join().wait().expect("closed");
        for result in rest {
            result.get().expect("a value");
        }
        ledger.assert_ran_exactly_once(0..16);
    }

    fn an_initializer_that_fails_is_told_and_join_returns() {
        let pool = Pool::builder().processes(2).initializer(refuse, ()).build().expect("a pool");
        let ledger = Ledger::create();
        let error = pool.apply(note, (ledger.path().as_str(), 0)).expect_err("no worker");
        match error.kind() {
            TaskErrorKind::PoolBroken(StartError::Initializer { message, .. }) => {
                assert_eq!(message, "there is no licence");
            }
            other => panic!("{other:?}"),
        }
        assert!(pool.join().wait().is_err(), "a broken pool is not a closed one");
        pool.close();
        pool.join().wait().expect("closed");
        ledger.assert_never_ran(0);
    }

    fn settings_that_make_no_sense_are_errors() {
        for builder in [Pool::builder().processes(0), Pool::builder().maxtasksperchild(0)] {
            assert!(matches!(builder.build(), Err(StartError::Invalid { .. })));
        }
    }
}
