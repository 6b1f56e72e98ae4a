//! What every worker does before its first task.

use std::sync::atomic::{AtomicU64, Ordering};

use procpool::{ProcessPoolExecutor, Refusal, StartError, TaskErrorKind, task};

use super::gate::{self, Gate};
use super::tasks::echo;
use crate::support;

static PREPARED: AtomicU64 = AtomicU64::new(0);

#[task]
fn prepare(with: u64) {
    PREPARED.store(with, Ordering::SeqCst);
}

#[task]
fn prepared(gate: &str) -> (u32, u64) {
    gate::pass(gate, 0);
    (std::process::id(), PREPARED.load(Ordering::SeqCst))
}

#[task]
fn fail_to_prepare(gate: &str) -> Result<(), String> {
    gate::pass(gate, 0);
    Err("error in initializer".to_owned())
}

#[task]
fn panic_while_preparing(gate: &str) {
    gate::pass(gate, 0);
    panic!("panic in initializer");
}

/// A task that waits for workers that never come, and one that comes later.
fn breaks(pool: &ProcessPoolExecutor, gate: &Gate, with: &str) {
    let early = pool.submit(echo, 1);
    gate.arrived();
    gate.open();
    let error = early.result().expect_err("no worker");
    match error.kind() {
        TaskErrorKind::PoolBroken(StartError::Initializer { message, .. }) => {
            assert!(message.contains(with), "{message}");
        }
        other => panic!("{other:?}"),
    }
    let refused = pool.try_submit(echo, 2).expect_err("the pool is broken");
    assert!(matches!(refused.reason(), Refusal::PoolBroken(StartError::Initializer { .. })), "{refused}");
    assert!(refused.to_string().contains(with), "{refused}");
    pool.shutdown(true).wait();
}

support::isolated! {
    fn every_worker_runs_the_initializer_before_its_first_task() {
        let gate = Gate::closed();
        let builder = ProcessPoolExecutor::builder().max_workers(2);
        let pool = builder.initializer(prepare, 77).build().expect("a pool");
        let futures = [(); 2].map(|()| pool.submit(prepared, &gate.path()));
        gate.arrived();
        gate.arrived();
        gate.open();
        let [a, b] = futures.map(|future| future.result().expect("a value"));
        assert_eq!((a.1, b.1), (77, 77));
        assert_ne!(a.0, b.0, "both workers were asked");
        assert_eq!(PREPARED.load(Ordering::SeqCst), 0, "nothing was prepared here");
        pool.shutdown(true).wait();
    }

    fn an_initializer_that_fails_breaks_the_pool_with_its_own_words() {
        let gate = Gate::closed();
        let builder = ProcessPoolExecutor::builder().max_workers(2);
        let pool = builder.initializer(fail_to_prepare, &gate.path()).build().expect("a pool");
        breaks(&pool, &gate, "error in initializer");
    }

    fn an_initializer_that_panics_breaks_the_pool_with_its_own_words() {
        let gate = Gate::closed();
        let builder = ProcessPoolExecutor::builder().max_workers(2);
        let pool = builder.initializer(panic_while_preparing, &gate.path()).build().expect("a pool");
        breaks(&pool, &gate, "panic in initializer");
    }

    fn pools_whose_initializers_fail_leave_nothing_behind() {
        // That nothing is left is what the census finds, which comes after the body of every test here.
        for _ in 0..5 {
            let gate = Gate::closed();
            let builder = ProcessPoolExecutor::builder().max_workers(2);
            let pool = builder.initializer(fail_to_prepare, &gate.path()).build().expect("a pool");
            breaks(&pool, &gate, "error in initializer");
        }
    }
}
