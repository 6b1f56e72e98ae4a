//! How a pool ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::park;
use crate::scheduler::engine::Engine;
use crate::scheduler::machine::Close;
use crate::scheduler::supervisor;

/// How to end a pool: see [`ProcessPoolExecutor::shutdown_with`](crate::ProcessPoolExecutor::shutdown_with).
#[derive(Clone, Copy, Debug)]
pub struct ShutdownOptions {
    wait: bool,
    cancel_futures: bool,
    kill: bool,
    within: Option<Duration>,
}

impl Default for ShutdownOptions {
    fn default() -> ShutdownOptions {
        ShutdownOptions { wait: true, cancel_futures: false, kill: false, within: None }
    }
}

impl ShutdownOptions {
    /// Wait for everything that was accepted.
    pub fn new() -> ShutdownOptions {
        ShutdownOptions::default()
    }

    /// Whether the future that `shutdown_with` returns ends with the pool (the default) or at once.
    pub fn wait(mut self, wait: bool) -> ShutdownOptions {
        self.wait = wait;
        self
    }

    /// Cancel what has not started.
    pub fn cancel_futures(mut self, cancel: bool) -> ShutdownOptions {
        self.cancel_futures = cancel;
        self
    }

    /// Cancel what has not started, and kill what runs.
    pub fn kill(mut self, kill: bool) -> ShutdownOptions {
        self.kill = kill;
        self
    }

    /// After so long, cancel and kill what is left.
    pub fn within(mut self, limit: Duration) -> ShutdownOptions {
        self.within = Some(limit);
        self
    }

    pub(super) fn to_close(self) -> Close {
        Close {
            cancel_pending: self.cancel_futures,
            kill: self.kill,
            by: self.within.and_then(|limit| Instant::now().checked_add(limit)),
        }
    }
}

/// What became of a pool's tasks at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Tasks that were cancelled during the life of the pool.
    pub cancelled: usize,
    /// Tasks that were killed while they ran, by cancelling or by their timeout.
    pub killed: usize,
    /// Processes that could not be killed, because the kernel does not let go of them.
    pub leaked: Vec<u32>,
}

/// The end of a pool: see [`ProcessPoolExecutor::shutdown`](crate::ProcessPoolExecutor::shutdown). The pool
/// ends whether this is used or not.
#[derive(Debug)]
pub struct Shutdown {
    engine: Arc<Engine>,
    wait: bool,
}

impl Shutdown {
    pub(super) fn new(engine: Arc<Engine>, options: ShutdownOptions) -> Shutdown {
        Shutdown { engine, wait: options.wait }
    }

    /// Blocks until the pool has ended, if it was to be waited for. Do not call it in async code: await this
    /// instead. In a callback on the pool's own thread, which is the one that ends the pool, it does not wait:
    /// the pool ends after the callback has returned.
    pub fn wait(mut self) -> ShutdownReport {
        self.wait &= !supervisor::is_thread_of(&self.engine);
        park::block_on(self)
    }
}

impl Future for Shutdown {
    type Output = ShutdownReport;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<ShutdownReport> {
        if self.wait {
            ready!(self.engine.poll_terminated(context));
        }
        let (counts, leaked) = self.engine.report();
        Poll::Ready(ShutdownReport { cancelled: counts.cancelled, killed: counts.killed, leaked })
    }
}
