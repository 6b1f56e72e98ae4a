//! Runs functions in worker processes.

// `#[task]` names this crate by its public name, also in the crate's own tests.
extern crate self as procpool;

mod completed;
mod error;
mod executor;
mod future;
mod launch;
mod map;
mod park;
mod scheduler;
mod sys;
mod task;
mod transport;
mod wire;
mod worker;

pub use completed::{AsCompleted, AsCompletedTimeout, Completed, CompletedInTime, Completion, ReturnWhen, Wait, Waited, as_completed, wait};
pub use error::{
    CodecSide, CompletedTimeout, ExitCause, HandshakeError, Panic, Phase, Ran, Refusal, StartError, SubmitError,
    TaskError, TaskErrorKind, WaitTimeout, What, WorkerExit,
};
pub use executor::{
    Builder, InitializerOutput, OnCancel, Permit, ProcessPoolExecutor, Reserve, Shutdown, ShutdownOptions,
    ShutdownReport, TaskOptions, WarmUp, default_max_workers,
};
pub use future::{Done, TaskFuture};
pub use map::{Map, MapIter};
pub use procpool_macros::task;
pub use task::Task;

/// Becomes a worker if this process was started as one; otherwise does nothing and returns.
///
/// With the feature `auto-init`, which is on by default, this happens before `main` and the call is not needed.
/// Without it, call this as the first line of `main`: what comes before runs in every worker as well.
///
/// # Examples
///
/// ```
/// fn main() {
///     procpool::init();
///     // the program
/// }
/// ```
pub fn init() {
    worker::take_over_if_worker(|| {});
}

/// What `#[task]` writes into programs. Not part of the public surface.
#[doc(hidden)]
pub mod __private {
    pub use crate::park::block_on;
    pub use crate::task::{Call, Entry, Numbered, Reply, TASKS};
    pub use linkme;
    pub use serde;
}
