//! What a task can see of itself: whether it is asked to stop, how long it has, which attempt this is.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use pin_project::pin_project;

use crate::worker::current::{self, Registration, Running, Wants};
use crate::worker::place::{self, Place};

/// The task that calls this, as it can see itself: whether it is asked to stop, its deadline, which attempt this is.
///
/// To look costs a few nanoseconds and no system call, so a loop can do it in every turn. A function that is
/// called as an ordinary function, outside of a worker, finds a context that is never cancelled.
///
/// # Examples
///
/// A task that stops when it is asked to, and returns what it has:
///
/// ```
/// use procpool::{OnCancel, ProcessPoolExecutor, TaskOptions, task};
///
/// #[task]
/// fn primes_below(end: u32) -> Vec<u32> {
///     let mut found = Vec::new();
///     for n in 2..end {
///         if procpool::context().is_cancelled() {
///             break;
///         }
///         if found.iter().take_while(|&p| p * p <= n).all(|p| n % p != 0) {
///             found.push(n);
///         }
///     }
///     found
/// }
///
/// let pool = ProcessPoolExecutor::new()?.with(TaskOptions::new().on_cancel(OnCancel::Cooperate));
/// let primes = pool.submit(primes_below, u32::MAX);
/// while !primes.running() {
///     std::thread::yield_now();
/// }
/// primes.cancel();
/// assert!(primes.result()?.len() < 203_280_221);
///
/// assert_eq!(primes_below(10), [2, 3, 5, 7]); // an ordinary call
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn context() -> Context {
    Context { running: current::running() }
}

/// What a task can see of itself; see [`context`].
///
/// It belongs to one attempt at one task, can be cloned, and can be taken to threads and futures that the task
/// starts: they see the same. With [`scope`](Context::scope) or [`scope_future`](Context::scope_future),
/// [`context`] finds it there too, and what is submitted to a pool inherits from it.
///
/// # Inheritance
///
/// A task that is submitted from inside of a task gets the earlier one of its own deadline and of the outer
/// task's, and when the outer task is asked to stop, it is cancelled as by
/// [`TaskFuture::cancel`](crate::TaskFuture::cancel): if it waits, it never starts; if it runs, its own
/// [`OnCancel`](crate::OnCancel) decides, which is [`Cooperate`](crate::OnCancel::Cooperate) here unless
/// something else was said. What is submitted after that never starts. In the scope of
/// [`Context::none`] nothing is inherited.
///
/// # The end of the task
///
/// When the body of the task has ended, however that came, its context is cancelled for good: threads and futures
/// that the task has left behind find out that nobody waits for them any more, and what they submit in its
/// scope never starts. What the task itself has submitted and detached goes on.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, task};
///
/// #[task]
/// fn sum_of_squares(limit: u64) -> Option<u64> {
///     let context = procpool::context();
///     let half = |range: std::ops::Range<u64>, context: procpool::Context| {
///         let mut sum = 0_u64;
///         for n in range {
///             context.check().ok()?;
///             sum += n * n;
///         }
///         Some(sum)
///     };
///     std::thread::scope(|threads| {
///         let low = threads.spawn({
///             let context = context.clone();
///             move || half(0..limit / 2, context)
///         });
///         Some(half(limit / 2..limit, context)? + low.join().ok()??)
///     })
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// assert_eq!(pool.submit(sum_of_squares, 1_000).result()?, Some(332_833_500));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Context {
    running: Option<Arc<Running>>,
}

impl Context {
    /// The context of no task: never cancelled, without a deadline. In its [`scope`](Context::scope), what is
    /// submitted inherits nothing; so a task that was asked to stop can still have others clean up after it.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Context, ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn remove(path: String) {
    ///     let _ = std::fs::remove_file(path);
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// Context::none().scope(|| pool.submit(remove, "/tmp/no-such-file".to_owned())).result()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn none() -> Context {
        Context { running: None }
    }

    /// Whether the task is asked to stop. Three loads from memory, no system call. Once true, it stays true; it also
    /// becomes true when the task has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(!procpool::context().is_cancelled(), "this is no task");
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.is_cancelled())
    }

    /// [`is_cancelled`](Context::is_cancelled), to be used with `?`.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the task is asked to stop.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error;
    ///
    /// fn checksum(pages: &[Vec<u8>]) -> Result<u64, Box<dyn Error>> {
    ///     let mut sum = 0;
    ///     for page in pages {
    ///         procpool::context().check()?;
    ///         sum += page.iter().map(|&byte| u64::from(byte)).sum::<u64>();
    ///     }
    ///     Ok(sum)
    /// }
    ///
    /// assert_eq!(checksum(&[vec![1, 2], vec![3]])?, 6);
    /// # Ok::<(), Box<dyn Error>>(())
    /// ```
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled {}) } else { Ok(()) }
    }

    /// A future that is ready when the task is asked to stop, on any runtime: for `select!`. It is ready as well
    /// when the task has ended, so that what the task left behind ends too. Outside of a task it never is.
    ///
    /// The first one in a worker starts a small thread there, which stays.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::future::{Either, select};
    /// use procpool::{OnCancel, ProcessPoolExecutor, TaskOptions, task};
    ///
    /// #[task]
    /// async fn listen() -> String {
    ///     let answer = std::future::pending::<u32>();
    ///     match select(answer, procpool::context().cancelled()).await {
    ///         Either::Left((answer, _)) => format!("heard {answer}"),
    ///         Either::Right((cancelled, _)) => cancelled.to_string(),
    ///     }
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?.with(TaskOptions::new().on_cancel(OnCancel::Cooperate));
    /// let listening = pool.submit(listen, ());
    /// while !listening.running() {
    ///     std::thread::yield_now();
    /// }
    /// listening.cancel();
    /// assert_eq!(listening.result()?, "the task was asked to stop");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancelled(&self) -> Cancellation {
        Cancellation { running: self.running.clone(), registration: None }
    }

    /// When the task must be done: the earlier one of its [`timeout`](crate::TaskOptions::timeout), which
    /// counts from the start of the body, and of its [`deadline`](crate::TaskOptions::deadline), which may be
    /// inherited. `None` if there is neither, and outside of a task. No system call, not even a look at the clock.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, TaskOptions, task};
    ///
    /// #[task]
    /// fn has_a_deadline() -> bool {
    ///     procpool::context().deadline().is_some()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// assert!(!pool.submit(has_a_deadline, ()).result()?);
    /// let limited = pool.with(TaskOptions::new().timeout(Duration::from_secs(30)));
    /// assert!(limited.submit(has_a_deadline, ()).result()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn deadline(&self) -> Option<Instant> {
        self.running.as_ref()?.deadline
    }

    /// How long it is until the [`deadline`](Context::deadline): zero when it has passed, `None` if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// fn refine(mut estimate: f64) -> f64 {
    ///     while procpool::context().remaining().is_none_or(|left| left > Duration::from_millis(100)) {
    ///         let better = (estimate + 2.0 / estimate) / 2.0;
    ///         if (better - estimate).abs() < 1e-15 {
    ///             break;
    ///         }
    ///         estimate = better;
    ///     }
    ///     estimate
    /// }
    ///
    /// assert!((refine(1.5) - 2_f64.sqrt()).abs() < 1e-12);
    /// ```
    pub fn remaining(&self) -> Option<Duration> {
        Some(self.deadline()?.saturating_duration_since(Instant::now()))
    }

    /// Which attempt at the task this is: 1 for the first. It is 1 outside of a task too.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procpool::context().attempt(), 1);
    /// ```
    pub fn attempt(&self) -> u32 {
        self.running.as_ref().map_or(1, |running| running.attempt)
    }

    /// The place of this worker in its pool, from 0; a worker that replaces another has the same. It is there in
    /// initializers as well. Outside of a worker it is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn place() -> usize {
    ///     procpool::context().worker_index()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().max_workers(2).build()?;
    /// assert!(pool.submit(place, ()).result()? < 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn worker_index(&self) -> usize {
        self.place().index
    }

    /// The name of the task, `None` if this is no task.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task(name = "who")]
    /// fn who() -> Option<String> {
    ///     procpool::context().task().map(str::to_owned)
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// assert_eq!(pool.submit(who, ()).result()?.as_deref(), Some("who"));
    /// assert_eq!(who(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task(&self) -> Option<&'static str> {
        Some(self.running.as_ref()?.task)
    }

    /// How many pools this process is nested in: 1 in the worker of a pool, 2 in the worker of a pool that a task
    /// has made. Outside of a worker it is 0.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn how_deep() -> u32 {
    ///     procpool::context().depth()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// assert_eq!((how_deep(), pool.submit(how_deep, ()).result()?), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn depth(&self) -> u32 {
        self.place().depth
    }

    fn place(&self) -> Place {
        self.running.as_ref().map_or_else(place::here, |running| running.place)
    }

    /// Calls `body` with this as the [`context`] of the thread: for a thread that works for a task.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn name_on_another_thread() -> Option<String> {
    ///     let context = procpool::context();
    ///     let thread = std::thread::spawn(move || {
    ///         context.scope(|| procpool::context().task().map(str::to_owned))
    ///     });
    ///     thread.join().ok()?
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// assert!(pool.submit(name_on_another_thread, ()).result()?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scope<R>(&self, body: impl FnOnce() -> R) -> R {
        current::within(self.running.clone(), body)
    }

    /// A future during whose polls this is the [`context`] of the thread: for one that is spawned on a runtime
    /// with threads of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn name_on_a_runtime() -> Option<String> {
    ///     let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    ///     let name = async { procpool::context().task().map(str::to_owned) };
    ///     let spawned = runtime.spawn(procpool::context().scope_future(name));
    ///     runtime.block_on(spawned).unwrap()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// assert!(pool.submit(name_on_a_runtime, ()).result()?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scope_future<F: Future>(&self, future: F) -> Scoped<F> {
        Scoped { context: self.clone(), future }
    }
}

/// A future that is polled in the scope of a [`Context`]: see [`Context::scope_future`].
///
/// # Examples
///
/// ```
/// let scoped = procpool::Context::none().scope_future(async { procpool::context().task() });
/// # procpool::__private::block_on(async {
/// assert_eq!(scoped.await, None);
/// # })
/// ```
#[pin_project]
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Scoped<F> {
    context: Context,
    #[pin]
    future: F,
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.context.scope(|| this.future.poll(context))
    }
}

/// A future that is ready when the task is asked to stop, or has ended: see [`Context::cancelled`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procpool::{Cancellation, ProcessPoolExecutor, task};
///
/// async fn patiently(work: impl Future<Output = u32> + Unpin, stop: Cancellation) -> Option<u32> {
///     match futures::future::select(work, stop).await {
///         futures::future::Either::Left((done, _)) => Some(done),
///         futures::future::Either::Right(_) => None,
///     }
/// }
///
/// # procpool::__private::block_on(async {
/// let work = std::future::ready(7);
/// assert_eq!(patiently(work, procpool::context().cancelled()).await, Some(7));
/// # })
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Cancellation {
    running: Option<Arc<Running>>,
    registration: Option<Registration>,
}

impl Future for Cancellation {
    type Output = Cancelled;

    /// Cancellation safe, and ready again if polled again.
    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Cancelled> {
        // Outside of a task nobody ever asks.
        let Some(running) = &self.running else { return Poll::Pending };
        match &self.registration {
            Some(registration) => registration.renew(context.waker()),
            None => {
                let registration = running.watch(Wants::StopOrEnd, context.waker());
                self.registration = registration;
            }
        }
        // In this order: who asks after the look finds the waker.
        if self.running.as_ref().is_some_and(|running| running.is_cancelled()) {
            self.registration = None;
            return Poll::Ready(Cancelled {});
        }
        if self.running.as_ref().is_some_and(|running| !running.is_heard()) {
            self.registration = None;
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("task", &self.task())
            .field("cancelled", &self.is_cancelled())
            .field("deadline", &self.deadline())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

/// The task was asked to stop: see [`Context::check`].
///
/// # Examples
///
/// ```
/// fn work() -> Result<u32, procpool::Cancelled> {
///     procpool::context().check()?;
///     Ok(7)
/// }
///
/// assert_eq!(work(), Ok(7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cancelled {}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task was asked to stop")
    }
}

impl std::error::Error for Cancelled {}
