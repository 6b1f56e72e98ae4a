//! Runs functions in worker processes: [`submit`](ProcessPoolExecutor::submit) returns a `Future`, and one crash
//! costs one task.
//!
//! One line changes, from `spawn_blocking(move || f(x)).await` to `pool.submit(f, x).await`, and `f` can no
//! longer take the program down: a segfault, an abort, an OOM kill, an endless loop or a leak costs that task
//! and nothing else.
//!
//! ```
//! use procpool::{ProcessPoolExecutor, task};
//!
//! #[task]
//! fn is_prime(n: u64) -> bool {
//!     n > 1 && (2..).take_while(|d| d * d <= n).all(|d| n % d != 0)
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # procpool::__private::block_on(async {
//! let pool = ProcessPoolExecutor::new()?;
//!
//! // One call, awaited on any runtime or none; `.result()` blocks instead.
//! let answer: bool = pool.submit(is_prime, 1_000_003).await?;
//! assert!(answer);
//!
//! // Many, lazily and in order. In blocking code: `for prime in pool.map(is_prime, 1..100)`.
//! let mut primes = pool.map(is_prime, 1..100);
//! let mut count = 0;
//! while let Some(prime) = primes.next().await {
//!     count += u32::from(prime?);
//! }
//! assert_eq!(count, 25);
//!
//! pool.shutdown(true).await;
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! That is the whole program: no `init()` call, no guard around `main`, and the same from a `#[test]`, a doctest,
//! a benchmark or an example. Workers are this very program, started again; a hook that runs before `main`
//! recognises them.
//!
//! # What it promises
//!
//! * **One crash, one task.** However a worker dies, only the task it was running is lost. The others return the
//!   right value, the worker is replaced, the pool goes on.
//! * **You are told.** Every error says what happened (panic text and place, signal or exit code, out of memory)
//!   and whether the body [`ran`](TaskError::ran): no, maybe, yes. A task that may have started is never run
//!   again, unless [`Retry`] asks for it.
//! * **Deadlines and cancellation stop the work.** [`timeout`](TaskOptions::timeout) counts from the start of the
//!   body and kills whatever the body does. Dropping a [`TaskFuture`] cancels.
//! * **Nothing hangs, nothing is left behind.** Shutting down is bounded, dropping a pool never blocks, and if the
//!   program dies, its workers are gone a moment later.
//!
//! A process is a crash boundary, not a security boundary: a hostile task can do what the user who runs the program
//! can do: read and write that user's files, use the network, signal, trace and inspect other processes, this one
//! among them. It cannot make the parent crash, hang, or allocate without bound by what it sends. **It is a security
//! boundary only with a sandbox**, which the feature `sandbox` adds: `Builder::sandbox` with `Sandbox::required()`
//! takes all of that away and fails where the system cannot. What it does not protect from (the kernel's own faults,
//! side channels, use of memory and CPU, wrong results, …) is listed on `Sandbox`.
//!
//! # Where to start
//!
//! [`ProcessPoolExecutor`] with its [`builder`](ProcessPoolExecutor::builder); [`macro@task`] for what can be a task;
//! [`TaskFuture`], [`as_completed`], [`wait`], [`Map`]; [`TaskError`]; [`context()`] for what a task sees of itself;
//! [`TaskOptions`] with [`Retry`] and [`Escalation`]; [`Limits`], [`Builder::on_worker_event`], [`Builder::inline`] for
//! the debugger, [`shutdown_on_ctrl_c`](ProcessPoolExecutor::shutdown_on_ctrl_c); [`sync`] for locks and shared numbers,
//! [`Lock`], [`Semaphore`], [`Event`], [`Condition`], [`Barrier`], [`Value`], [`Array`]; [`Pipe`] and [`Queue`]; [`Manager`] with
//! [`macro@managed`] for objects that many processes use. Those who know `concurrent.futures` find everything under its name:
//! see [`from_python`].
//!
//! # How it works
//!
//! A task's way there and back. Each arrow changes one thing.
//!
//! ```text
//! submit(add, (1, 2))      arguments are encoded on the caller's thread      executor
//!   -> Job + slot          room, or a refusal                                executor
//!   -> Machine             numbered, given a worker: Effect::Send            scheduler, under its lock
//!   -> Frame::Run          written by the submitter, after the lock          transport
//!   ===================================== process boundary ======================================
//!   -> Call                claimed on the shared page, task number -> entry  worker
//!   -> T -> reply          run, catch panics, encode                         worker, task
//!   -> Frame::Done
//!   ===================================== process boundary ======================================
//!   -> Event::Replied      Effect::Settle, and Effect::Send of the next      scheduler
//!   -> slot                the TaskFuture wakes and decodes: Result<T, _>    future
//! ```
//!
//! One private socket and one page of shared memory per worker, both without a name; no lock is shared between
//! processes. One thread in the parent per pool, however many workers; besides it async-process keeps two for the
//! whole program. The page says which task of a worker has come how far, so what had not started when a worker
//! died is known and given to another.
//!
//! # Platforms
//!
//! Linux 5.3 or later, any libc. Names, encoding and hand-shake hold nothing that is specific to Linux; other systems
//! are not supported yet.
//!
//! # Features
//!
//! * `auto-init` (default): workers recognise themselves before `main`. Without it, call [`init`] as the first line of
//!   `main`.
//! * `faults`: `Builder::faults`, to test how a program copes when workers die, stall, refuse to start or cut a reply.
//! * `sandbox`: workers that reach no files, network or processes but those that they are given. Adds the crates
//!   `landlock` and `seccompiler`.

// `#[task]` names this crate by its public name, also in the crate's own tests.
extern crate self as procpool;

mod completed;
mod context;
mod descriptor;
mod error;
mod executor;
mod faults;
mod future;
/// For the fuzzers only.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
#[cfg(all(test, shuttle))]
mod interleavings;
mod launch;
mod limits;
mod luck;
mod manager;
mod map;
mod nested;
mod options;
mod park;
mod pipe;
mod pool;
mod primitive;
mod process;
mod queue;
mod scheduler;
mod shared;
mod submit;
pub mod sync;
mod sys;
mod task;
mod transport;
mod wire;
mod worker;
mod worker_event;

pub use completed::{
    AsCompleted, AsCompletedTimeout, Completed, CompletedInTime, Completion, ReturnWhen, Wait, Waited,
    as_completed, wait,
};
pub use context::{Cancellation, Cancelled, Context, Scoped, context};
pub use descriptor::Descriptor;
#[cfg(feature = "sandbox")]
pub use error::Protection;
pub use error::{
    CodecSide, CompletedTimeout, ExitCause, GetError, HandshakeError, JoinError, LimitHit, Panic, Phase,
    PutError, Ran, RecvError, Refusal, SendError, StartError, StillRunning, SubmitError, TaskError,
    TaskErrorKind, WaitTimeout, What, WorkerExit,
};
pub use executor::{
    Builder, CtrlC, InitializerOutput, Permit, ProcessPoolExecutor, Reserve, Shutdown, ShutdownOptions,
    ShutdownReport, StartMethod, WarmUp, WorkerStdio, default_max_workers,
};
#[cfg(feature = "sandbox")]
pub use executor::{Sandbox, SandboxReport};
#[cfg(feature = "faults")]
pub use faults::{Fault, Faults};
pub use future::{Done, TaskFuture};
pub use limits::Limits;
pub use manager::{DictProxy, ListProxy, Manager, MethodCall, NamespaceProxy, Proxy, SetProxy, ValueProxy};
pub use map::{Map, MapIter};
pub use options::{Escalation, OnCancel, Retry, TaskOptions};
pub use pipe::{Connection, Pipe, Receiver, RecvIter, Sender};
pub use pool::{AsyncResult, Join, Pool, PoolBuilder};
pub use process::{
    ChildProcess, CurrentProcess, ParentProcess, Process, ProcessHandle, ProcessStdio, active_children,
    cpu_count, current_process, parent_process,
};
pub use procpool_macros::{managed, task};
pub use queue::{Consumer, Items, JoinableQueue, Producer, Queue, SimpleQueue};
pub use shared::{ShareableItem, ShareableList, Shared, SharedMemory};
pub use sync::{Array, Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore, Value};
pub use task::Task;
pub use worker_event::{WorkerEndReason, WorkerEvent};

/// Waiting for one of many pipes, and for other things. Python's `multiprocessing.connection`.
pub mod connection {
    pub use crate::pipe::{Waitable, wait, wait_async};
}

#[doc = include_str!("from_python.md")]
pub mod from_python {}

#[doc = include_str!("features.md")]
pub mod features {}

/// Becomes a worker if this process was started as one; otherwise does nothing and returns.
///
/// With the feature `auto-init`, which is on by default, this happens before `main` and the call is not needed.
/// Without it, call this as the first line of `main`: what comes before runs in every worker as well.
///
/// # Examples
///
/// ```
/// // The first line of `main`.
/// procpool::init();
/// ```
pub fn init() {
    worker::take_over_if_worker(|| {});
}

/// What `#[task]` writes into programs. Not part of the public surface.
#[doc(hidden)]
pub mod __private {
    #[cfg(feature = "faults")]
    pub use crate::faults::Point;
    pub use crate::park::block_on;
    pub use crate::task::{Call, Entry, Numbered, Reply, Returns, ReturnsAnything, TASKS, WrittenOnCancel};
    pub use linkme;
    pub use serde;

    /// What `#[managed]` writes into programs.
    pub mod managed {
        pub use crate::manager::{Root, is, with_mut, with_ref};
    }
}
