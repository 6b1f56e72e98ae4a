//! The tasks that several of the tests use, and the futures in every state that they start from.

use procpool::{ProcessPoolExecutor, ReturnWhen, TaskFuture, task, wait};

use super::gate::{self, Gate};
use crate::support::{Event, Ledger};

#[task]
pub fn echo(n: u64) -> u64 {
    n
}

#[task]
pub fn product(a: u64, b: u64) -> u64 {
    a * b
}

#[task]
pub fn power(base: u64, exponent: u32) -> u64 {
    base.pow(exponent)
}

/// Panics when it divides by zero.
#[task]
pub fn divide(a: u64, b: u64) -> (u64, u64) {
    (a / b, a % b)
}

#[task]
pub fn own_pid() -> u32 {
    std::process::id()
}

/// Waits at a gate.
#[task]
pub fn stay(gate: &str, n: u64) -> u64 {
    gate::pass(gate, n);
    n
}

/// Waits at a gate and fails.
#[task]
pub fn stay_and_fail(gate: &str, why: &str) -> u64 {
    gate::pass(gate, 0);
    panic!("{why}")
}

#[task]
pub fn fail(why: &str) -> u64 {
    panic!("{why}")
}

/// Records itself.
#[task]
pub fn note(ledger: &str, n: u64) -> u64 {
    Ledger::record(ledger, n, Event::Started);
    Ledger::record(ledger, n, Event::Finished);
    n
}

/// Records itself, and waits at a gate between its start and its end.
#[task]
pub fn note_and_stay(ledger: &str, gate: &str, n: u64) -> u64 {
    Ledger::record(ledger, n, Event::Started);
    gate::pass(gate, n);
    Ledger::record(ledger, n, Event::Finished);
    n
}

pub fn pool_of(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().expect("a pool")
}

/// One future in each state that there is. The running one holds the only worker until the gate opens.
pub struct States {
    pub pending: TaskFuture<u64>,
    /// Its value is 1.
    pub running: TaskFuture<u64>,
    pub cancelled: TaskFuture<u64>,
    /// It panicked with `on purpose`.
    pub failed: TaskFuture<u64>,
    /// Its value is 42.
    pub successful: TaskFuture<u64>,
    pub gate: Gate,
    pub pool: ProcessPoolExecutor,
}

impl States {
    pub fn new() -> States {
        let gate = Gate::closed();
        let pool = pool_of(1);
        let both = [pool.submit(echo, 42), pool.submit(fail, "on purpose")];
        let [successful, failed] = done(both);
        let running = pool.submit(stay, (&gate.path(), 1));
        assert_eq!(gate.arrived(), 1);
        let [pending, cancelled] = [pool.submit(echo, 7), pool.submit(echo, 8)];
        assert!(cancelled.cancel());
        States { pending, running, cancelled, failed, successful, gate, pool }
    }
}

/// The same futures, done, and their outcomes not taken.
pub fn done<const N: usize>(futures: [TaskFuture<u64>; N]) -> [TaskFuture<u64>; N] {
    let waited = wait(futures, ReturnWhen::AllCompleted).wait();
    assert!(waited.not_done.is_empty());
    waited.done.try_into().expect("as many as were given")
}

/// The values of futures that were successful.
pub fn values(futures: Vec<TaskFuture<u64>>) -> Vec<u64> {
    futures.into_iter().map(|future| future.result().expect("a value")).collect()
}
