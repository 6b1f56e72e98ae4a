//! The result of an `apply_async` or a `map_async`, which may not be there yet.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::error::{Ran, TaskError, TaskErrorKind, WaitTimeout};
use crate::park;

use super::calls::{Call, Calls};
use super::pending::Pending;

/// What [`Pool::apply_async`](crate::Pool::apply_async) and its kin return: Python's `AsyncResult` and `MapResult`.
///
/// `.await` it, or block with [`get`](AsyncResult::get). **Dropping it lets go** of the tasks, which go on, as in Python
/// and unlike a [`TaskFuture`](crate::TaskFuture): an `apply_async` for the sake of its callback need not be kept.
///
/// # Examples
///
/// ```
/// use procpool::{Pool, task};
///
/// #[task]
/// fn cube(n: u64) -> u64 {
///     n * n * n
/// }
///
/// let pool = Pool::new()?;
/// let results: Vec<_> = (1..=3).map(|n| pool.apply_async(cube, n)).collect();
/// for (result, expected) in results.into_iter().zip([1, 8, 27]) {
///     assert_eq!(result.get()?, expected);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncResult<T> {
    task: &'static str,
    tasks: Box<dyn Pending<T>>,
    /// Callbacks of this result.
    calls: Arc<Calls>,
    /// Callbacks of its pool.
    of_pool: Arc<Calls>,
    /// It was taken, and was a value.
    succeeded: Option<bool>,
}

impl<T: 'static> AsyncResult<T> {
    pub(super) fn new(
        task: &'static str,
        tasks: impl Pending<T> + 'static,
        of_pool: Arc<Calls>,
    ) -> AsyncResult<T> {
        AsyncResult { task, tasks: Box::new(tasks), calls: Arc::default(), of_pool, succeeded: None }
    }

    /// Calls `callback` with the value, if there is one, before the result is [`ready`](AsyncResult::ready). Of a
    /// `map_async`, with the values of all items.
    ///
    /// On which thread, and that it should be short, is told at
    /// [`add_done_callback`](crate::TaskFuture::add_done_callback). A panic in it is caught and forgotten, and hurts
    /// nobody; in Python it makes every later `get` of the pool wait for ever. [`Pool::join`](crate::Pool::join) waits
    /// for callbacks as well. The value is decoded once more for each callback.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn square(n: u32) -> u32 {
    ///     n * n
    /// }
    ///
    /// let squares = Arc::new(Mutex::new(Vec::new()));
    /// let pool = Pool::new()?;
    /// for n in 0..5 {
    ///     let squares = Arc::clone(&squares);
    ///     pool.apply_async(square, n).callback(move |value| squares.lock().unwrap().push(value));
    /// }
    /// pool.close();
    /// pool.join().wait()?;
    /// let mut squares = squares.lock().unwrap();
    /// squares.sort();
    /// assert_eq!(*squares, [0, 1, 4, 9, 16]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn callback(self, callback: impl FnOnce(T) + Send + 'static) -> AsyncResult<T> {
        self.on_done(|result| {
            if let Ok(value) = result {
                callback(value);
            }
        })
    }

    /// Calls `callback` with the error, if there is no value, before the result is [`ready`](AsyncResult::ready). Of a
    /// `map_async`, with the first error in the order of the items.
    ///
    /// Otherwise as [`callback`](AsyncResult::callback). An `Err` that the function itself returns is a value: it goes
    /// there. When the pool is terminated, that is an error like others.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn invert(n: i32) -> i32 {
    ///     100 / n
    /// }
    ///
    /// let (sender, errors) = mpsc::channel();
    /// let pool = Pool::new()?;
    /// pool.apply_async(invert, 0)
    ///     .callback(|_| unreachable!("there is no value"))
    ///     .error_callback(move |error| sender.send(error.panic().unwrap().message().to_owned()).unwrap());
    /// assert_eq!(errors.recv()?, "attempt to divide by zero");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn error_callback(self, callback: impl FnOnce(TaskError) + Send + 'static) -> AsyncResult<T> {
        self.on_done(|result| {
            if let Err(error) = result {
                callback(error);
            }
        })
    }

    fn on_done(self, callback: impl FnOnce(Result<T, TaskError>) + Send + 'static) -> AsyncResult<T> {
        let ends = Ends(self.calls.begin(), self.of_pool.begin());
        self.tasks.on_done(Box::new(move |result| {
            let _ends = ends;
            callback(result);
        }));
        self
    }

    /// Blocks until the result is there, and takes it. Do not call it in async code: await this instead.
    ///
    /// Takes this, so the value is moved and not copied.
    ///
    /// # Errors
    ///
    /// What [`TaskError`] lists. Of a `map_async` the first in the order of the items, when all of them are done. In a
    /// callback on the pool's own thread, where waiting would never end: [`TaskErrorKind::WouldDeadlock`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// let pool = Pool::new()?;
    /// assert_eq!(pool.apply_async(double, 21).get()?, 42);
    /// assert_eq!(pool.map_async(double, [1, 2, 3]).get()?, [2, 4, 6]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(self) -> Result<T, TaskError> {
        match self.would_deadlock() {
            Some(error) => Err(error),
            None => {
                self.tasks.help(None);
                park::block_on(self)
            }
        }
    }

    /// Blocks until the result is there or the time is over; then the tasks go on, and this can be asked again.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] when the time is over. The inner error is as of [`get`](AsyncResult::get).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn wait(seconds: f64) -> u32 {
    ///     std::thread::sleep(Duration::from_secs_f64(seconds));
    ///     7
    /// }
    ///
    /// let pool = Pool::new()?;
    /// let mut slow = pool.apply_async(wait, 0.1);
    /// assert!(slow.get_timeout(Duration::ZERO).is_err());
    /// assert_eq!(slow.get()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<Result<T, TaskError>, WaitTimeout> {
        if let Some(error) = self.would_deadlock() {
            return Ok(Err(error));
        }
        // A deadline beyond the clock's range is none.
        let deadline = Instant::now().checked_add(timeout);
        self.tasks.help(deadline);
        park::block_until(self, deadline).ok_or(WaitTimeout {})
    }

    /// Blocks until the result is there, and leaves it. Do not call it in async code.
    ///
    /// # Panics
    ///
    /// In a callback on the pool's own thread, where waiting would never end.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// let mut result = Pool::new()?.apply_async(double, 21);
    /// result.wait();
    /// assert!(result.ready());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn wait(&mut self) {
        self.wait_until(None);
    }

    /// Blocks until the result is there or the time is over, and says whether it is there. Python's `wait` does not
    /// say.
    ///
    /// # Panics
    ///
    /// As [`wait`](AsyncResult::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let pool = Pool::new()?;
    /// let mut endless = pool.apply_async(park, ());
    /// assert!(!endless.wait_timeout(Duration::from_millis(10)));
    /// pool.terminate();
    /// assert!(endless.wait_timeout(Duration::from_secs(10)));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn wait_timeout(&mut self, timeout: Duration) -> bool {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> bool {
        self.tasks.help(deadline);
        park::block_until(std::future::poll_fn(|context| self.poll_ready(context)), deadline).is_some()
    }

    /// The result is there, and the callbacks have been called.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let pool = Pool::new()?;
    /// assert!(!pool.apply_async(park, ()).ready());
    /// pool.terminate();
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn ready(&self) -> bool {
        self.succeeded.is_some() || (self.tasks.is_done() && self.calls.is_over())
    }

    /// Whether the result is a value; `None` if it is not [`ready`](AsyncResult::ready), which is a `ValueError` in
    /// Python. Decoding the value may still find an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn invert(n: i32) -> i32 {
    ///     100 / n
    /// }
    ///
    /// let pool = Pool::new()?;
    /// let (mut good, mut bad) = (pool.apply_async(invert, 5), pool.apply_async(invert, 0));
    /// good.wait();
    /// bad.wait();
    /// assert_eq!((good.successful(), bad.successful()), (Some(true), Some(false)));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn successful(&self) -> Option<bool> {
        self.succeeded.or_else(|| self.ready().then(|| !self.tasks.has_failed()))
    }

    fn poll_ready(&self, context: &Context<'_>) -> Poll<()> {
        ready!(self.tasks.poll_done(context));
        self.calls.poll_over(context)
    }

    /// Waiting on the thread that completes tasks never ends, unless the result is there already.
    fn would_deadlock(&self) -> Option<TaskError> {
        (park::may_not_block() && !self.ready())
            .then(|| TaskError::new(self.task, Ran::Maybe, TaskErrorKind::WouldDeadlock))
    }
}

/// A callback is over for its result, and for the pool.
struct Ends(#[expect(dead_code, reason = "for its end")] Call, #[expect(dead_code, reason = "as well")] Call);

impl<T: 'static> Future for AsyncResult<T> {
    type Output = Result<T, TaskError>;

    /// Cancellation safe. Once it was ready, it is ready again, with an error of kind
    /// [`Invalid`](TaskErrorKind::Invalid).
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.poll_ready(context));
        let result = ready!(self.tasks.poll_take(context));
        self.succeeded.get_or_insert(result.is_ok());
        Poll::Ready(result)
    }
}

impl<T: 'static> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult")
            .field("task", &self.task)
            .field("ready", &self.ready())
            .finish_non_exhaustive()
    }
}
