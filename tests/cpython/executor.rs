//! Submitting, and what the pool lets go of.

use std::sync::atomic::{AtomicUsize, Ordering};

use procpool::{ProcessPoolExecutor, StartError, as_completed, task};
use serde::{Deserialize, Deserializer, Serialize};

use super::gate::{self, Gate};
use super::tasks::{echo, fail, note, pool_of, power, product};
use crate::support::{self, Ledger, procfs};

/// Parameters that are named like what the machinery might use itself.
#[task]
#[allow(clippy::too_many_arguments, reason = "the more names, the better")]
fn crowd(task: u8, args: u8, pool: u8, call: u8, r#fn: u8, body: u8, limit: u8, output: u8) -> Vec<u8> {
    vec![task, args, pool, call, r#fn, body, limit, output]
}

#[task]
fn length_after(gate: &str, text: &str) -> usize {
    gate::pass(gate, 0);
    text.len()
}

#[task]
fn same(text: String) -> String {
    text
}

/// The user's own error, which is a value, and as small as a value can be.
#[task]
fn refuse() -> Result<(), ()> {
    Err(())
}

/// Counts how many of its kind live in this process.
#[derive(Serialize)]
pub struct Counted(u64);

static ALIVE: AtomicUsize = AtomicUsize::new(0);

impl Counted {
    pub fn alive() -> usize {
        ALIVE.load(Ordering::SeqCst)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        ALIVE.fetch_add(1, Ordering::SeqCst);
        Ok(Counted(number))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

#[task]
fn counted(n: u64) -> Counted {
    ALIVE.fetch_add(1, Ordering::SeqCst);
    Counted(n)
}

#[task]
pub fn counted_after(gate: &str, n: u64) -> Counted {
    gate::pass(gate, n);
    ALIVE.fetch_add(1, Ordering::SeqCst);
    Counted(n)
}

fn resident_mib() -> u64 {
    procfs::rss_kib(std::process::id()).expect("a running process has memory") / 1024
}

support::isolated! {
    fn a_submitted_task_gives_its_value() {
        let pool = pool_of(2);
        assert_eq!(pool.submit(power, (2, 8)).result().expect("a value"), 256);
        pool.shutdown(true).wait();
    }

    fn arguments_go_by_place_and_their_names_clash_with_nothing() {
        let pool = pool_of(2);
        assert_eq!(pool.submit(product, (2, 8)).result().expect("a value"), 16);
        let eight = (1, 2, 3, 4, 5, 6, 7, 8);
        assert_eq!(pool.submit(crowd, eight).result().expect("a value"), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(crowd(1, 2, 3, 4, 5, 6, 7, 8), [1, 2, 3, 4, 5, 6, 7, 8]);
        pool.shutdown(true).wait();
    }

    fn a_shutdown_right_after_more_submissions_than_workers_ends() {
        let ledger = Ledger::create();
        let pool = pool_of(5);
        for n in 0..6 {
            pool.submit(note, (&ledger.path(), n)).detach();
        }
        pool.shutdown(true).wait();
        ledger.assert_ran_exactly_once(0..6);
    }

    fn a_caller_may_drop_its_arguments_before_the_task_starts() {
        let gate = Gate::closed();
        let pool = pool_of(1);
        let text = "x".repeat(1000);
        let first = pool.submit(length_after, (&gate.path(), &text));
        let second = pool.submit(length_after, (&gate.path(), &text));
        drop(text);
        gate.open();
        assert_eq!((first.result().expect("a value"), second.result().expect("a value")), (1000, 1000));
        pool.shutdown(true).wait();
    }

    fn arguments_and_results_leave_the_memory_when_their_task_is_done() {
        let pool = pool_of(1);
        let text = "x".repeat(8 << 20);
        assert_eq!(pool.submit(same, text.clone()).result().expect("a value").len(), text.len());
        let before = resident_mib();
        for _ in 0..40 {
            assert_eq!(pool.submit(same, text.clone()).result().expect("a value").len(), text.len());
        }
        // Kept, the arguments alone would be 320 MiB.
        let after = resident_mib();
        assert!(after < before + 100, "{before} MiB, then {after} MiB");
        pool.shutdown(true).wait();
    }

    fn results_that_nobody_takes_leave_the_memory_as_well() {
        let pool = pool_of(1);
        let text = "x".repeat(8 << 20);
        let before = resident_mib();
        for _ in 0..40 {
            pool.submit(same, text.clone()).detach();
            // The one worker does one task after the other.
            assert_eq!(pool.submit(echo, 1).result().expect("a value"), 1);
        }
        let after = resident_mib();
        assert!(after < before + 100, "{before} MiB, then {after} MiB");
        pool.shutdown(true).wait();
    }

    fn no_workers_at_all_are_refused_as_a_setting() {
        let refused = ProcessPoolExecutor::builder().max_workers(0).build().expect_err("no pool");
        assert!(matches!(refused, StartError::Invalid { .. }), "{refused:?}");
        assert!(refused.to_string().contains("`max_workers` is 0"), "{refused}");
    }

    fn more_workers_than_any_machine_has_use_for_are_refused_as_a_setting() {
        let refused = ProcessPoolExecutor::builder().max_workers(1_000_000).build().expect_err("no pool");
        assert!(matches!(refused, StartError::Invalid { .. }), "{refused:?}");
        assert!(refused.to_string().contains("`max_workers` is 1000000"), "{refused}");
    }

    fn the_default_number_of_workers_is_what_this_process_may_use() {
        let pool = ProcessPoolExecutor::new().expect("a pool");
        assert_eq!(pool.max_workers(), procpool::default_max_workers());
        let processors = std::thread::available_parallelism().expect("this system tells").get();
        let overridden = std::env::var_os("PROCPOOL_MAX_WORKERS").is_some();
        assert!(overridden || (1..=processors).contains(&pool.max_workers()), "{}", pool.max_workers());
        pool.shutdown(true).wait();
    }

    fn a_map_keeps_no_result_that_it_gave() {
        let pool = pool_of(2);
        for (n, result) in (0..).zip(pool.map(counted, 0..10)) {
            let result = result.expect("a value");
            assert_eq!((result.0, Counted::alive()), (n, 1));
            drop(result);
            assert_eq!(Counted::alive(), 0);
        }
        pool.shutdown(true).wait();
    }

    fn as_completed_keeps_no_result_that_it_gave() {
        let pool = pool_of(1);
        let (open, closed) = (Gate::closed(), Gate::closed());
        open.open();
        let early = [0, 1].map(|n| pool.submit(counted_after, (&open.path(), n)));
        let early = procpool::wait(early, procpool::ReturnWhen::AllCompleted).wait().done;
        let late = (2..10).map(|n| pool.submit(counted_after, (&closed.path(), n)));
        let mut both = as_completed(early.into_iter().chain(late)).timeout(std::time::Duration::ZERO);
        for _ in 0..2 {
            drop(smol::block_on(both.next()).expect("two are done").expect("in time").expect("a value"));
            assert_eq!(Counted::alive(), 0);
        }
        let late = smol::block_on(both.next()).expect("the timeout").err().expect("eight are not done");
        assert_eq!((late.unfinished, late.total), (8, 10));
        assert!(smol::block_on(both.next()).is_none());
        closed.open();
        let mut rest = 0;
        for result in as_completed(both.into_unfinished()) {
            drop(result.expect("a value"));
            assert_eq!(Counted::alive(), 0);
            rest += 1;
        }
        assert_eq!(rest, 8);
        pool.shutdown(true).wait();
    }

    fn an_error_that_looks_like_nothing_is_an_error() {
        let pool = pool_of(1);
        let error = pool.submit(fail, "").result().expect_err("it panicked");
        assert!(error.is_panic());
        assert_eq!(error.panic().map(|panic| (panic.message(), panic.is_text())), Some(("", true)));
        assert_eq!(pool.submit(refuse, ()).result().expect("a value"), Err(()));
        pool.shutdown(true).wait();
    }
}
