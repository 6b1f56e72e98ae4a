//! How a pool ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::park;
use crate::scheduler::engine::Engine;
use crate::scheduler::machine::Close;

/// How to end a pool: see [`ProcessPoolExecutor::shutdown_with`](crate::ProcessPoolExecutor::shutdown_with).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procpool::ShutdownOptions;
///
/// // Finish what runs, but not what waits, and take at most ten seconds.
/// let options = ShutdownOptions::new().cancel_futures(true).within(Duration::from_secs(10));
///
/// let pool = procpool::ProcessPoolExecutor::new()?;
/// pool.shutdown_with(options).wait();
/// # Ok::<(), procpool::StartError>(())
/// ```
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
    /// Wait for everything that was accepted, as long as it takes.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::ShutdownOptions;
    ///
    /// // The same as `pool.shutdown(true)`.
    /// let pool = procpool::ProcessPoolExecutor::new()?;
    /// pool.shutdown_with(ShutdownOptions::new()).wait();
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn new() -> ShutdownOptions {
        ShutdownOptions::default()
    }

    /// Whether the future that `shutdown_with` returns ends with the pool (the default) or at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, ShutdownOptions, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let endless = pool.submit(park, ());
    /// pool.shutdown_with(ShutdownOptions::new().wait(false)).wait(); // comes back at once
    /// assert!(!endless.done());
    /// assert!(endless.kill());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn wait(mut self, wait: bool) -> ShutdownOptions {
        self.wait = wait;
        self
    }

    /// Cancel what has not started. What runs is finished. The default is `false`. Python's `cancel_futures`.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, ShutdownOptions, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).build()?;
    /// let running = pool.submit(park, ());
    /// let waiting = pool.submit(park, ());
    /// while !running.running() {
    ///     std::thread::yield_now();
    /// }
    /// pool.shutdown_with(ShutdownOptions::new().cancel_futures(true).wait(false));
    /// assert!(waiting.cancelled() && !running.done());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn cancel_futures(mut self, cancel: bool) -> ShutdownOptions {
        self.cancel_futures = cancel;
        self
    }

    /// Cancel what has not started, and kill what runs. The default is `false`. Python 3.14's `kill_workers`.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, ShutdownOptions, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let endless = pool.submit(park, ());
    /// pool.shutdown_with(ShutdownOptions::new().kill(true)).wait();
    /// assert!(endless.cancelled());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn kill(mut self, kill: bool) -> ShutdownOptions {
        self.kill = kill;
        self
    }

    /// After so long, counted from the call of `shutdown_with`, cancel and kill what is left. The default is no
    /// bound. Of several such calls on one pool the earliest end holds.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, ShutdownOptions, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let endless = pool.submit(park, ());
    /// let report = pool.shutdown_with(ShutdownOptions::new().within(Duration::from_millis(20))).wait();
    /// assert_eq!((report.cancelled, endless.cancelled()), (1, true));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
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

/// What became of a pool's tasks at its end. Without waiting for the end, as far as is known by then.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, ShutdownOptions, task};
///
/// #[task]
/// fn park() {
///     loop {
///         std::thread::park()
///     }
/// }
///
/// let pool = ProcessPoolExecutor::builder().max_workers(1).build()?;
/// let (running, _waiting) = (pool.submit(park, ()), pool.submit(park, ()));
/// while !running.running() {
///     std::thread::yield_now();
/// }
/// let report = pool.shutdown_with(ShutdownOptions::new().kill(true)).wait();
/// assert_eq!((report.cancelled, report.killed, report.leaked), (2, 1, vec![]));
/// # Ok::<(), procpool::StartError>(())
/// ```
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
///
/// # Examples
///
/// ```
/// # procpool::__private::block_on(async {
/// let pool = procpool::ProcessPoolExecutor::new()?;
/// let report = pool.shutdown(true).await;
/// assert_eq!(report.cancelled, 0);
/// # Ok::<(), procpool::StartError>(())
/// # })?;
/// # Ok::<(), procpool::StartError>(())
/// ```
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
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procpool::ProcessPoolExecutor::new()?;
    /// pool.warm_up().wait()?;
    /// pool.shutdown(true).wait();
    /// assert!(pool.worker_pids().is_empty());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn wait(mut self) -> ShutdownReport {
        self.wait &= !park::may_not_block();
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
