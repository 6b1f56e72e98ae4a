//! An `AsyncResult` tells whether it is ready, waits as long as it is told to, and can be awaited.

mod support;

use std::time::Duration;

use procpool::{Pool, TaskErrorKind, task};
use support::{Event, Ledger};

#[task]
fn invert(n: i64) -> i64 {
    100 / n
}

/// Ends when a file is there.
#[task]
fn wait_for(path: &str, value: u64) -> u64 {
    while !std::path::Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    value
}

#[task]
fn note(ledger: &str, id: u64) {
    Ledger::record(ledger, id, Event::Started);
    Ledger::record(ledger, id, Event::Finished);
}

/// A file that is not there until it is opened.
struct Gate(String);

impl Gate {
    fn new(ledger: &Ledger) -> Gate {
        Gate(format!("{}.gate", ledger.path()))
    }

    fn open(&self) {
        std::fs::write(&self.0, "").expect("a file");
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn pool() -> Pool {
    Pool::builder().processes(2).build().expect("a pool")
}

support::isolated! {
    fn a_wait_that_runs_out_leaves_the_task_alone() {
        let (pool, ledger) = (pool(), Ledger::create());
        let gate = Gate::new(&ledger);
        let mut one = pool.apply_async(wait_for, (gate.0.as_str(), 1));
        let mut many = pool.map_async(wait_for, (0..3).map(|n| (gate.0.as_str(), n)));
        for _ in 0..3 {
            let late = Duration::from_millis(5);
            assert!(one.get_timeout(late).is_err() && many.get_timeout(late).is_err());
            assert!(!one.wait_timeout(late) && !many.wait_timeout(late));
            assert!(!one.ready() && !many.ready());
            assert_eq!((one.successful(), many.successful()), (None, None));
        }
        gate.open();
        one.wait();
        many.wait();
        assert_eq!((one.successful(), many.successful()), (Some(true), Some(true)));
        assert_eq!(one.get_timeout(Duration::ZERO).expect("in time").expect("a value"), 1);
        assert_eq!(many.get_timeout(Duration::MAX).expect("in time").expect("values"), [0, 1, 2]);
        // What was taken is gone, but how it ended is still known.
        assert_eq!((one.successful(), one.ready()), (Some(true), true));
        assert!(matches!(one.get().expect_err("taken").kind(), TaskErrorKind::Invalid { .. }));
    }

    fn an_error_is_ready_and_not_successful() {
        let pool = pool();
        let mut one = pool.apply_async(invert, 0);
        let mut many = pool.map_async(invert, [1, 0, 2]);
        one.wait();
        many.wait();
        assert_eq!((one.successful(), many.successful()), (Some(false), Some(false)));
        assert!(one.get_timeout(Duration::ZERO).expect("in time").expect_err("an error").is_panic());
        assert_eq!(one.successful(), Some(false), "also when it was taken");
        assert!(many.get().expect_err("an error").is_panic());
        pool.terminate();
        let refused = pool.apply_async(invert, 1);
        assert_eq!((refused.ready(), refused.successful()), (true, Some(false)));
    }

    fn results_can_be_awaited_together() {
        let pool = pool();
        let (one, many) = smol::block_on(async {
            futures::join!(pool.apply_async(invert, 5), pool.map_async(invert, [1, 2]))
        });
        assert_eq!((one.expect("a value"), many.expect("values")), (20, vec![100, 50]));
    }

    fn a_result_that_is_dropped_lets_its_tasks_run() {
        let (pool, ledger) = (pool(), Ledger::create());
        let path = ledger.path();
        for id in 0..50 {
            drop(pool.apply_async(note, (path.as_str(), id)));
        }
        let mut late = pool.map_async(note, (50..100).map(|id| (path.as_str(), id)));
        let _ = late.get_timeout(Duration::ZERO);
        drop(late);
        pool.close();
        pool.join().wait().expect("closed");
        ledger.assert_ran_exactly_once(0..100);
    }
}
