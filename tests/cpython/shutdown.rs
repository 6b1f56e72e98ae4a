//! The end of a pool, and of the program around it.

use std::time::Duration;

use procpool::{ProcessPoolExecutor, ReturnWhen, ShutdownOptions, TaskErrorKind, TaskFuture, task, wait};

use super::gate::{self, Gate};
use super::tasks::{echo, fail, note, pool_of, product, stay, values};
use crate::support::{self, Ledger, Program, eventually, procfs, tagged_pids};

const HOW: &str = "CPYTHON_END";

#[task]
fn print(text: &str) {
    println!("{text}");
}

#[task]
fn pid_after(gate: &str) -> u32 {
    gate::pass(gate, 0);
    std::process::id()
}

/// Submits when it is dropped, which is later than everything else in its program.
struct LastWord(Option<ProcessPoolExecutor>);

impl Drop for LastWord {
    fn drop(&mut self) {
        let pool = self.0.take().expect("only dropped once");
        println!("{}", pool.submit(echo, 1).result().expect_err("the pool is over"));
    }
}

support::program! {
    fn a_program_that_waits_for_its_tasks() {
        let pool = pool_of(5);
        pool.submit(print, "apple").detach();
        pool.shutdown(true).wait();
    }

    fn a_program_that_submits_at_its_very_end() {
        let mut last = LastWord(None);
        let pool = pool_of(5);
        last.0 = Some(pool.clone());
        assert_eq!(pool.submit(echo, 42).result().expect("a value"), 42);
        pool.shutdown(true).wait();
    }

    /// One task runs for ever, others are in line.
    fn a_program_that_does_not_wait() {
        let gate = std::env::var("CPYTHON_GATE").expect("a gate");
        let pool = pool_of(1);
        for n in 0..3 {
            pool.submit(stay, (&gate, n)).detach();
        }
        match std::env::var(HOW).as_deref() {
            Ok("drop") => drop(pool),
            Ok("shut down") => drop(pool.shutdown(false)),
            Ok("cancel") => drop(pool.shutdown_with(ShutdownOptions::new().wait(false).cancel_futures(true))),
            Ok("forget") => std::mem::forget(pool),
            other => panic!("{other:?}"),
        }
    }
}

/// The program ends although its tasks never do, and nothing of it is left.
fn ends_without_waiting(how: &str) {
    let gate = Gate::closed();
    let path = "shutdown::a_program_that_does_not_wait";
    let mut program = Program::named(path).env(HOW, how).env("CPYTHON_GATE", gate.path()).spawn();
    assert_eq!(program.wait(Duration::from_secs(10)).code(), Some(0));
    eventually("its workers are gone", Duration::from_secs(2), || tagged_pids().is_empty());
}

fn gated(pool: &ProcessPoolExecutor, gate: &Gate, count: u64) -> Vec<TaskFuture<u64>> {
    (0..count).map(|n| pool.submit(stay, (&gate.path(), n))).collect()
}

/// Every worker is replaced after each task; one task fails; then the pool is left to end by itself.
fn ends_by_itself_after_a_failure(workers: usize) {
    let gate = Gate::closed();
    let builder = ProcessPoolExecutor::builder().max_workers(workers).max_tasks_per_child(1);
    let pool = builder.build().expect("a pool");
    let first = pool.submit(echo, 1);
    let second = pool.submit(fail, "failing task");
    let third = pool.submit(stay, (&gate.path(), 3));
    assert_eq!(first.result().expect("a value"), 1);
    assert!(second.result().expect_err("it failed").is_panic());
    pool.shutdown(false).wait();
    gate.open();
    assert_eq!(third.result().expect("what was accepted is finished"), 3);
    eventually("all workers are gone", Duration::from_secs(5), || tagged_pids().is_empty());
}

support::isolated! {
    fn a_submission_after_the_shutdown_is_refused() {
        let pool = pool_of(2);
        pool.shutdown(true).wait();
        let error = pool.submit(product, (2, 5)).result().expect_err("refused");
        assert!(matches!(error.kind(), TaskErrorKind::PoolClosed), "{error}");
        let refused = pool.try_submit(product, (2, 5)).expect_err("refused");
        assert_eq!(refused.into_args(), (2, 5));
    }

    fn a_program_that_waits_at_its_end_loses_no_task() {
        let mut program = Program::named("shutdown::a_program_that_waits_for_its_tasks").spawn();
        assert_eq!(program.line(), "apple");
        assert_eq!(program.wait(Duration::from_secs(10)).code(), Some(0));
    }

    fn a_submission_at_the_very_end_of_a_program_is_refused() {
        let mut program = Program::named("shutdown::a_program_that_submits_at_its_very_end").spawn();
        let line = program.line();
        assert!(line.contains("the pool was shut down"), "{line}");
        assert_eq!(program.wait(Duration::from_secs(10)).code(), Some(0));
    }

    fn a_program_that_drops_a_busy_pool_ends_at_once() {
        ends_without_waiting("drop");
    }

    fn a_program_that_shuts_down_without_waiting_ends_at_once() {
        ends_without_waiting("shut down");
    }

    fn a_program_that_cancels_without_waiting_ends_at_once() {
        ends_without_waiting("cancel");
    }

    fn a_program_that_forgets_its_busy_pool_ends_at_once() {
        ends_without_waiting("forget");
    }

    fn a_shutdown_finishes_everything_that_was_accepted() {
        let ledger = Ledger::create();
        let pool = pool_of(5);
        let futures = (0..50).map(|n| pool.submit(note, (&ledger.path(), n))).collect();
        pool.shutdown(true).wait();
        ledger.assert_ran_exactly_once(0..50);
        assert_eq!(values(futures), (0..50).collect::<Vec<_>>());
    }

    fn a_shutdown_that_cancels_leaves_what_runs_and_cancels_the_rest() {
        let gate = Gate::closed();
        let pool = pool_of(5);
        let futures = gated(&pool, &gate, 50);
        let mut running: Vec<_> = (0..5).map(|_| gate.arrived()).collect();
        let shutdown = pool.shutdown_with(ShutdownOptions::new().cancel_futures(true));
        gate.open();
        let report = shutdown.wait();
        let (cancelled, others): (Vec<_>, Vec<_>) = futures.into_iter().partition(TaskFuture::cancelled);
        assert_eq!((cancelled.len(), others.len(), report.cancelled, report.killed), (45, 5, 45, 0));
        assert!(others.iter().all(|future| future.done()));
        running.sort_unstable();
        assert_eq!(values(others), running);
    }

    fn a_task_that_is_cancelled_right_before_the_shutdown_does_not_hold_it_up() {
        let pool = pool_of(1);
        assert_eq!(pool.submit(echo, 0).result().expect("a value"), 0);
        for n in 0..20 {
            // It may have started already, which is as good.
            let _ = pool.submit(echo, n).cancel();
        }
        let _ = pool.submit(echo, 1).cancel();
        pool.shutdown(true).wait();
        assert_eq!(pool.pending(), 0);
    }

    fn a_shutdown_ends_all_the_workers_that_there_are() {
        let gate = Gate::closed();
        let pool = pool_of(5);
        let futures = [(); 3].map(|()| pool.submit(pid_after, &gate.path()));
        for _ in 0..3 {
            gate.arrived();
        }
        let workers = pool.worker_pids();
        assert_eq!(workers.len(), 3, "as many as there was work for");
        gate.open();
        for future in futures {
            assert!(workers.contains(&future.result().expect("a value")));
        }
        pool.shutdown(true).wait();
        assert!(!workers.iter().any(|&pid| procfs::state(pid).is_some()), "none lives, none is a zombie");
    }

    fn a_map_that_was_taken_to_its_end_leaves_a_pool_that_shuts_down() {
        let pool = pool_of(5);
        let items = [5, 4, 3, 2, 1, 0, 1, 2, 3, 4];
        let results = pool.map(echo, items).into_iter().collect::<Result<Vec<_>, _>>();
        assert_eq!(results.expect("values"), items);
        let workers = pool.worker_pids();
        pool.shutdown(true).wait();
        assert!(!workers.iter().any(|&pid| procfs::state(pid).is_some()));
    }

    fn a_dropped_pool_cancels_and_its_workers_end() {
        let gate = Gate::closed();
        let pool = pool_of(2);
        let futures = gated(&pool, &gate, 10);
        gate.arrived();
        drop(pool);
        for future in futures {
            assert!(future.result().expect_err("no value").is_cancelled());
        }
        eventually("all workers are gone", Duration::from_secs(5), || tagged_pids().is_empty());
    }

    fn a_pool_that_is_shut_down_and_dropped_still_finishes_what_it_accepted() {
        let gate = Gate::closed();
        let pool = pool_of(2);
        let futures = gated(&pool, &gate, 10);
        gate.arrived();
        pool.shutdown(false).wait();
        drop(pool);
        gate.open();
        assert_eq!(values(futures), (0..10).collect::<Vec<_>>());
        eventually("all workers are gone", Duration::from_secs(5), || tagged_pids().is_empty());
    }

    fn two_workers_with_one_task_each_end_by_themselves_after_a_failure() {
        ends_by_itself_after_a_failure(2);
    }

    fn four_workers_with_one_task_each_end_by_themselves_after_a_failure() {
        ends_by_itself_after_a_failure(4);
    }

    fn pools_come_and_go_while_other_threads_submit_to_another_one() {
        let busy = pool_of(1);
        std::thread::scope(|scope| {
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let busy = &busy;
            scope.spawn(move || {
                while stopped.try_recv().is_err_and(|error| error == std::sync::mpsc::TryRecvError::Empty) {
                    assert_eq!(busy.submit(echo, 1).result().expect("a value"), 1);
                }
            });
            for n in 0..20 {
                let pool = pool_of(1);
                let waited = wait([pool.submit(echo, n)], ReturnWhen::AllCompleted).wait();
                assert_eq!(values(waited.done), [n]);
                pool.shutdown(true).wait();
            }
            drop(stop);
        });
        busy.shutdown(true).wait();
    }
}
