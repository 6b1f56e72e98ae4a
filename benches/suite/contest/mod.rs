//! What every contestant does, written once: the peers' programs include this folder too, so all are measured by the
//! same code.
//!
//! A contestant is a small adapter: how this library runs one task, many tasks, a map. The workloads call it, time it
//! and check its results; they print one line per figure, `metric value`, which the driver reads.

pub mod awaited;
mod burst;
mod clock;
mod kin;
pub mod locks;
pub mod manager;
mod memory;
mod payload;
pub mod pipes;
pub mod queues;
mod recovery;
mod single;
mod work;

use std::time::Duration;

pub use kin::threads_of;
pub use memory::private_bytes;
pub use recovery::spawn_of;
pub use single::latency_of;
pub use work::{Size, burn, die, expected_sum, last, micros};

/// How many workers a contestant has, unless a workload says otherwise.
pub const WORKERS: usize = 2;

/// How the items of a map travel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Chunk {
    /// One by one.
    One,
    /// As the library does it when nothing is said.
    Default,
    /// This many together.
    Of(u64),
}

/// A library at work. `None` is: this library cannot do that, or has nothing that is natural for it.
///
/// The task is the same everywhere: `n -> n + 1`, so that the sum of the results proves that each was run.
pub trait Contestant: Sized {
    /// Starts with so many workers. No worker need be up.
    fn start(workers: usize) -> Self;

    /// Runs one task and waits for it.
    fn one(&mut self, n: u64) -> Option<u64>;

    /// Submits a task for each of `0..count`, all at once, then gathers: the sum of the results.
    fn many(&mut self, count: u64) -> Option<u64>;

    /// Maps the task over `0..count`: the sum of the results.
    fn map(&mut self, _count: u64, _chunk: Chunk) -> Option<u64> {
        None
    }

    /// Sends bytes to a worker, which sends them back.
    fn echo(&mut self, _bytes: Vec<u8>) -> Option<Vec<u8>> {
        None
    }

    /// Submits tasks that last so long each by the clock on the wall, all at once, then waits for all.
    fn last(&mut self, _lengths: &[Duration]) -> Option<()> {
        None
    }

    /// Submits `count` tasks that use `each` of CPU time, all at once, then waits for all.
    fn burn(&mut self, _count: u64, _each: Duration) -> Option<()> {
        None
    }

    /// Has a worker that kills itself, and waits until that is reported; false if it is not.
    fn die(&mut self) -> Option<bool> {
        None
    }

    /// Starts one process (or one of its own workers) that says its first word, waits for that, and calls `said` before
    /// anything is cleared away.
    fn spawn(_said: &mut dyn FnMut()) -> Option<()> {
        None
    }

    /// Keeps all workers busy for about a second, submits `count` tasks behind that, and calls `full` when all are
    /// pending.
    fn pend(&mut self, _count: u64, _full: &mut dyn FnMut()) -> Option<()> {
        None
    }
}

/// Says one figure.
pub fn emit(metric: &str, value: f64) {
    println!("{metric} {value}");
}

/// Does one workload. False if there is none of that name.
pub fn run<C: Contestant>(workload: &str, size: Size) -> bool {
    match workload {
        "latency" => single::latency::<C>(size),
        "throughput" => burst::throughput::<C>(size),
        "map" => burst::map::<C>(size),
        "bytes" => payload::bytes::<C>(size),
        "start" => recovery::start::<C>(),
        "spawn" => recovery::spawn::<C>(size),
        "crash" => recovery::crash::<C>(),
        "skew" => burst::skew::<C>(size),
        "efficiency" => burst::efficiency::<C>(size),
        "memory" => memory::memory::<C>(size),
        "idle" => memory::idle::<C>(size),
        _ => return false,
    }
    true
}
