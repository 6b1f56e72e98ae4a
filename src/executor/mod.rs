//! The pool as people call it.

mod builder;
mod interrupt;
mod output;
mod reserve;
mod shutdown;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::stream::{self, Stream};

use crate::error::{Refusal, StartError, SubmitError, TaskError};
use crate::future::TaskFuture;
use crate::map::Map;
use crate::options::TaskOptions;
use crate::park;
use crate::scheduler::engine::Engine;
use crate::scheduler::machine::Event;
use crate::submit::{Prepared, Submitter};
use crate::sys::plain;
use crate::task::Task;

pub use builder::{Builder, InitializerOutput, StartMethod, WorkerStdio, default_max_workers};
#[cfg(feature = "sandbox")]
pub use builder::{Sandbox, SandboxReport};
pub(crate) use builder::{check_nesting_and_tasks, check_process, check_surroundings};
pub use interrupt::CtrlC;
pub use reserve::{Permit, Reserve};
pub use shutdown::{Shutdown, ShutdownOptions, ShutdownReport};

/// A pool of worker processes that run [`#[task]`](macro@crate::task) functions.
///
/// Workers are this very program, started again; they start when there is work for them, are reused, and are
/// replaced when they die. A worker that dies takes one task with it: the one it was running.
///
/// Programs that a task starts are in the process group of its worker and end with it, however it ends: also those
/// that still run when the task has returned. What leaves the group (`setsid`, a daemon) lives on, unless workers have
/// a control group of their own ([`Limits::processes`](crate::Limits::processes)).
///
/// A clone is another handle of the same pool. **Dropping the last handle ends the pool**: what is queued is
/// cancelled, what runs is killed. It never blocks, also inside of async code. Call
/// [`shutdown`](ProcessPoolExecutor::shutdown) for an orderly end.
///
/// A pool belongs to the process that made it. In a copy of that, made by `fork`, dropping or cancelling what was copied
/// does nothing: no worker hears of it.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, task};
///
/// #[task]
/// fn count(text: &str, letter: char) -> usize {
///     text.chars().filter(|&c| c == letter).count()
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let four = pool.submit(count, ("Mississippi", 's'));
/// assert_eq!(four.result()?, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ProcessPoolExecutor(Submitter);

impl ProcessPoolExecutor {
    /// A pool with as many workers as this process may use CPUs: see [`default_max_workers`].
    ///
    /// # Errors
    ///
    /// See [`Builder::build`].
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procpool::ProcessPoolExecutor::new()?;
    /// assert!(pool.worker_pids().is_empty()); // workers start when there is work
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn new() -> Result<ProcessPoolExecutor, StartError> {
        ProcessPoolExecutor::builder().build()
    }

    /// Configures a pool. What is not said has the default that its method in [`Builder`] names.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procpool::ProcessPoolExecutor::builder().max_workers(2).max_pending(100).build()?;
    /// # let _ = pool;
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Submits a task. Never blocks: the arguments are encoded here and now, on the caller's thread, and may
    /// be borrowed.
    ///
    /// A task of one argument takes it as it is, one of several takes a tuple, one of none takes `()`.
    ///
    /// One worker begins tasks in the order in which they were submitted. Of many short ones, several workers take
    /// portions of the same size, of 1.5 ms of work at the most, by the measured length of those before: a
    /// task may begin some milliseconds before one that was submitted earlier. A long one holds up nobody.
    ///
    /// # Errors
    ///
    /// A refused task (the pool was shut down or is broken, the arguments cannot be encoded, `max_pending` is
    /// reached) is a future that is already resolved with the reason.
    /// [`try_submit`](ProcessPoolExecutor::try_submit) gives the arguments back instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn repeat(word: &str, times: usize) -> String {
    ///     word.repeat(times)
    /// }
    ///
    /// #[task]
    /// fn process() -> u32 {
    ///     std::process::id()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let word = String::from("ho");
    /// assert_eq!(pool.submit(repeat, (&word, 3)).result()?, "hohoho");
    /// assert_ne!(pool.submit(process, ()).result()?, std::process::id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn submit<T: Task>(&self, task: T, args: T::Args<'_>) -> TaskFuture<T::Output> {
        let refused = |reason: Refusal| TaskFuture::refused(TaskError::not_run(T::NAME, reason.into()));
        let args = match plain::into_bytes(args, |len| self.0.is_large(len)) {
            Ok(bytes) => {
                let prepared = self.0.prepare_whole(task, bytes);
                return self.accept_prepared(prepared).unwrap_or_else(refused);
            }
            Err(args) => args,
        };
        let future = self.accept(task, &args).unwrap_or_else(refused);
        // If their `Drop` panics, it must find a future that is dropped by that, which a return value is not.
        drop(args);
        future
    }

    /// Submits a task, or gives its arguments back with the reason of the refusal. Never blocks.
    ///
    /// # Errors
    ///
    /// As [`submit`](ProcessPoolExecutor::submit), as a value.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn add(a: u32, b: u32) -> u32 {
    ///     a + b
    /// }
    ///
    /// let (closed, open) = (ProcessPoolExecutor::new()?, ProcessPoolExecutor::new()?);
    /// closed.shutdown(false);
    /// let sum = closed.try_submit(add, (1, 2)).or_else(|refused| open.try_submit(add, refused.into_args()))?;
    /// assert_eq!(sum.result()?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_submit<'a, T: Task>(
        &self,
        task: T,
        args: T::Args<'a>,
    ) -> Result<TaskFuture<T::Output>, SubmitError<T::Args<'a>>> {
        match self.accept(task, &args) {
            Ok(future) => {
                // As in `submit`.
                drop(args);
                Ok(future)
            }
            Err(reason) => Err(SubmitError { args, reason }),
        }
    }

    /// Runs a task over all items, as Python's `Executor.map`: lazily, bounded, and in order.
    ///
    /// Takes anything that can be iterated. A task of several arguments takes tuples, as
    /// [`zip`](Iterator::zip) makes them: this is `starmap` as well. The result is used as a `Stream` or as an
    /// iterator; see [`Map`] for its settings.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn power(base: u64, exponent: u32) -> u64 {
    ///     base.pow(exponent)
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let powers = pool.map(power, [2, 3, 4].into_iter().zip(5..));
    /// assert_eq!(powers.into_iter().collect::<Result<Vec<_>, _>>()?, [32, 729, 16384]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map<'a, T, I>(&self, task: T, items: I) -> Map<'a, T, stream::Iter<I::IntoIter>>
    where
        T: Task,
        I: IntoIterator<Item = T::Args<'a>>,
    {
        self.map_stream(task, stream::iter(items))
    }

    /// [`map`](ProcessPoolExecutor::map) over the items of a `Stream`.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::channel::mpsc;
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn length(word: String) -> usize {
    ///     word.len()
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # procpool::__private::block_on(async {
    /// let pool = ProcessPoolExecutor::new()?;
    /// let (words, incoming) = mpsc::unbounded();
    /// for word in ["one", "three"] {
    ///     words.unbounded_send(word.to_owned())?;
    /// }
    /// drop(words);
    /// assert_eq!(pool.map_stream(length, incoming).try_collect::<Vec<_>>().await?, [3, 5]);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn map_stream<'a, T, S>(&self, task: T, items: S) -> Map<'a, T, S>
    where
        T: Task,
        S: Stream<Item = T::Args<'a>>,
    {
        Map::new(self.0.clone(), task, items)
    }

    /// Waits for room among the [`max_pending`](Builder::max_pending) tasks, for as long as it takes; without
    /// such a bound there always is room. Await it, or block with [`wait`](Reserve::wait). The [`Permit`] keeps
    /// its place until it is used or dropped.
    ///
    /// # Errors
    ///
    /// When the pool is shut down or broken.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().max_pending(2).build()?;
    /// let mut doubled = Vec::new();
    /// for n in 0..10 {
    ///     doubled.push(pool.reserve().wait()?.submit(double, n)); // never more than two at a time
    /// }
    /// assert_eq!(doubled.pop().unwrap().result()?, 18);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve(&self) -> Reserve {
        Reserve::new(self.0.clone())
    }

    /// A permit, if there is room now.
    ///
    /// # Errors
    ///
    /// [`Refusal::Full`] if there is none; or the pool is shut down or broken.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::Refusal;
    ///
    /// let pool = procpool::ProcessPoolExecutor::builder().max_pending(1).build()?;
    /// let _taken = pool.try_reserve()?;
    /// assert!(matches!(pool.try_reserve().unwrap_err().reason(), Refusal::Full { max_pending: 1, .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_reserve(&self) -> Result<Permit, SubmitError<()>> {
        let room = match self.0.engine().refusal() {
            None => self.0.room(),
            Some(reason) => Err(reason),
        };
        let permit = room.map_err(|reason| SubmitError { args: (), reason })?;
        Ok(Permit::new(self.0.clone(), permit))
    }

    /// The same pool, with other options for the tasks that are submitted through this handle.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, TaskOptions, task};
    ///
    /// #[task]
    /// fn spin() {
    ///     loop {
    ///         std::hint::spin_loop()
    ///     }
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let impatient = pool.with(TaskOptions::new().timeout(Duration::from_millis(50)));
    /// assert!(impatient.submit(spin, ()).result().unwrap_err().is_timeout());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn with(&self, options: TaskOptions) -> ProcessPoolExecutor {
        ProcessPoolExecutor(self.0.with(options))
    }

    /// Starts all workers now instead of when there is work for them. Takes effect at the call; await it, or
    /// block with [`wait`](WarmUp::wait), to know that they are ready.
    ///
    /// # Errors
    ///
    /// Why the pool broke. When it was shut down meanwhile, that is an error as well.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procpool::ProcessPoolExecutor::builder().max_workers(2).build()?;
    /// pool.warm_up().wait()?;
    /// assert_eq!(pool.worker_pids().len(), 2);
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn warm_up(&self) -> WarmUp {
        self.engine().tell([Event::WarmUp]);
        WarmUp { engine: Arc::clone(self.engine()) }
    }

    /// Ends the pool in order: no more tasks are accepted, those that were are finished, then the workers end.
    ///
    /// Takes effect at the call. With `wait`, the returned future (or its [`wait`](Shutdown::wait)) ends when
    /// every task has its outcome and every worker is gone; without, it is ready at once and the pool ends by
    /// itself, also when the handles are dropped. May be called again, from anywhere.
    ///
    /// Python's `Executor.shutdown`. With `wait=False` Python's interpreter still waits for the pool before it
    /// exits; here the end of `main` ends the workers.
    ///
    /// For a bound in time, or to cancel or kill, see
    /// [`shutdown_with`](ProcessPoolExecutor::shutdown_with).
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let accepted = pool.submit(double, 21);
    /// pool.shutdown(true).wait();
    /// assert!(accepted.done() && pool.worker_pids().is_empty());
    /// assert_eq!(accepted.result()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(&self, wait: bool) -> Shutdown {
        self.shutdown_with(ShutdownOptions::new().wait(wait))
    }

    /// Ends the pool as [`shutdown`](ProcessPoolExecutor::shutdown) does, with more to say about how.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, ShutdownOptions, task};
    ///
    /// #[task]
    /// fn spin() {
    ///     loop {
    ///         std::hint::spin_loop()
    ///     }
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let endless = pool.submit(spin, ());
    /// pool.shutdown_with(ShutdownOptions::new().within(Duration::from_millis(100))).wait();
    /// assert!(endless.result().unwrap_err().is_cancelled());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn shutdown_with(&self, options: ShutdownOptions) -> Shutdown {
        self.engine().close(options.to_close());
        Shutdown::new(Arc::clone(self.engine()), options)
    }

    /// The most workers that this pool has at a time.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procpool::ProcessPoolExecutor::new()?;
    /// assert_eq!(pool.max_workers(), procpool::default_max_workers());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn max_workers(&self) -> usize {
        self.engine().max_workers()
    }

    /// Changes the most workers there may be, from 1 to 4096. More are started as there is work for them; those that
    /// are too many finish what they have and end, idle ones first. `min_workers` is cut to the new maximum. Does not
    /// block.
    ///
    /// # Errors
    ///
    /// [`StartError::Invalid`]: the number makes no sense; nothing has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procpool::ProcessPoolExecutor::builder().max_workers(1).build()?;
    /// pool.resize(4)?;
    /// assert_eq!(pool.max_workers(), 4);
    /// assert!(pool.resize(0).is_err());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn resize(&self, max_workers: usize) -> Result<(), StartError> {
        builder::check_max_workers(max_workers)?;
        self.engine().tell([Event::Resize { max_workers }]);
        Ok(())
    }

    /// The process ids of the workers that live now, those that are starting included.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn process() -> u32 {
    ///     std::process::id()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let worker = pool.submit(process, ()).result()?;
    /// assert!(pool.worker_pids().contains(&worker));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn worker_pids(&self) -> Vec<u32> {
        self.engine().pids()
    }

    /// How many tasks have been accepted and are not done.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let _endless = [pool.submit(park, ()), pool.submit(park, ())];
    /// assert_eq!(pool.pending(), 2);
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn pending(&self) -> usize {
        self.engine().pending()
    }

    fn engine(&self) -> &Arc<Engine> {
        self.0.engine()
    }

    pub(crate) fn submitter(&self) -> &Submitter {
        &self.0
    }

    fn accept<T: Task>(&self, task: T, args: &T::Args<'_>) -> Result<TaskFuture<T::Output>, Refusal> {
        self.accept_prepared(self.0.prepare(task, args)?)
    }

    fn accept_prepared<R>(&self, prepared: Prepared) -> Result<TaskFuture<R>, Refusal> {
        self.0.accept(self.0.room()?, prepared)
    }
}

impl fmt::Debug for ProcessPoolExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessPoolExecutor")
            .field("max_workers", &self.max_workers())
            .field("pending", &self.pending())
            .finish_non_exhaustive()
    }
}

/// A future that is ready when all workers are: see [`ProcessPoolExecutor::warm_up`]. The workers start whether
/// this is used or not.
///
/// # Examples
///
/// ```
/// # procpool::__private::block_on(async {
/// let pool = procpool::ProcessPoolExecutor::builder().max_workers(2).build()?;
/// pool.warm_up().await?;
/// # Ok::<(), procpool::StartError>(())
/// # })?;
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Debug)]
pub struct WarmUp {
    engine: Arc<Engine>,
}

impl WarmUp {
    /// Blocks until all workers are ready. Do not call it in async code: await this instead.
    ///
    /// # Errors
    ///
    /// See [`ProcessPoolExecutor::warm_up`].
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procpool::ProcessPoolExecutor::new()?;
    /// pool.shutdown(false);
    /// assert!(pool.warm_up().wait().is_err());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn wait(self) -> Result<(), StartError> {
        park::block_on(self)
    }
}

impl Future for WarmUp {
    type Output = Result<(), StartError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(self.engine.poll_warm(context)) {
            Ok(()) => Ok(()),
            Err(Refusal::PoolBroken(cause)) => Err(cause),
            Err(_) => Err(StartError::invalid("the pool was shut down before all workers were ready")),
        })
    }
}
