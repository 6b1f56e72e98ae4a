//! The result of a task that may not have run yet.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::error::{Ran, TaskError, TaskErrorKind, WaitTimeout};
use crate::park;
use crate::scheduler::engine::Engine;
use crate::scheduler::loose::Number;
use crate::scheduler::machine::Cancel;
use crate::scheduler::slot::{Outcome, Slot, Taken};
use crate::task::guarded;

/// A task that was submitted: a `Future` of its result, on any runtime or none.
///
/// `.await` it, or block with [`result`](TaskFuture::result). The result is decoded by whoever asks for it.
///
/// **Dropping it cancels**: a task that has not started never starts, and one that failed is not tried again. One that
/// runs is left to finish, its result thrown away; or, if [`OnCancel`](crate::OnCancel) says so, it is asked to stop or
/// killed.
/// [`detach`](TaskFuture::detach) lets go without cancelling.
///
/// **The first look may wait for a moment.** Where a pool's tasks take microseconds and nothing else is pending in it, the
/// first `poll` waits for the result itself, some 50 µs and no more: to have another thread wake this one would take longer.
/// If that is in vain, it is tried less often. A future with a callback is not waited for.
///
/// The future does not keep its pool alive; when the pool ends it resolves, to
/// [`Cancelled`](TaskErrorKind::Cancelled) if the task was not done.
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
/// let first = pool.submit(double, 1);
/// let second = pool.submit(double, 2);
/// # procpool::__private::block_on(async {
/// assert_eq!(first.await?, 2);
/// # Ok::<(), procpool::TaskError>(())
/// # })?;
/// assert_eq!(second.result()?, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a `TaskFuture` cancels its task; `.await` it, call `.result()`, or `.detach()` it"]
pub struct TaskFuture<T> {
    slot: Arc<Slot>,
    /// Where the task is; `None` for one that was refused.
    accepted: Option<Accepted>,
    value: PhantomData<fn() -> T>,
}

struct Accepted {
    engine: Arc<Engine>,
    number: Number,
    /// How hard it is cancelled.
    cancel: Cancel,
    /// It has been polled.
    polled: bool,
}

impl<T> TaskFuture<T> {
    pub(crate) fn accepted(slot: Arc<Slot>, engine: Arc<Engine>, number: Number, cancel: Cancel) -> Self {
        TaskFuture {
            slot,
            accepted: Some(Accepted { engine, number, cancel, polled: false }),
            value: PhantomData,
        }
    }

    /// Of a task that no pool has: nobody cancels it by dropping this.
    pub(crate) fn apart(slot: Arc<Slot>) -> Self {
        TaskFuture { slot, accepted: None, value: PhantomData }
    }

    pub(crate) fn refused(error: TaskError) -> Self {
        let slot = Slot::settled(error.task(), Outcome::Failed(error));
        TaskFuture { slot: Arc::new(slot), accepted: None, value: PhantomData }
    }

    /// Cancels the task and says whether it is cancelled.
    ///
    /// One that has not started never starts: `true`. One that runs is killed with its worker if
    /// [`OnCancel::Kill`](crate::OnCancel) was chosen, `true`; otherwise it goes on: `false`. So it does if it is asked
    /// to stop first, by [`OnCancel::Cooperate`](crate::OnCancel) or by
    /// [`Escalation::ask`](crate::Escalation::ask): its outcome tells what came of that. One that is done stays as it is: `true` only if it had been cancelled. A task that is
    /// cancelled is not retried.
    ///
    /// Unlike in Python, a task that was sent ahead to a worker and has not started still can be cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn wait(seconds: f64) {
    ///     std::thread::sleep(std::time::Duration::from_secs_f64(seconds))
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).build()?;
    /// let _busy = pool.submit(wait, 0.2);
    /// let waiting = pool.submit(wait, 0.2);
    /// assert!(waiting.cancel());
    /// assert!(waiting.result().unwrap_err().is_cancelled());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn cancel(&self) -> bool {
        self.cancel_by(self.accepted.as_ref().map_or(Cancel::Mild, |accepted| accepted.cancel))
    }

    /// Cancels the task, and kills its worker if it runs. Says whether the task is cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
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
    /// assert!(endless.kill());
    /// assert!(endless.result().unwrap_err().is_cancelled());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn kill(&self) -> bool {
        self.cancel_by(Cancel::Kill)
    }

    fn cancel_by(&self, how: Cancel) -> bool {
        if let Some(Accepted { engine, number, .. }) = &self.accepted {
            // In a copy of the program, made by `fork`, the slot's lock may be held for ever.
            if engine.is_copy() {
                return false;
            }
            if !self.slot.is_done() {
                number.cancel(engine, how);
            }
        }
        self.cancelled()
    }

    /// The task was cancelled: by its future or by the end of its pool. Stays true when the result has been taken.
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
    /// let endless = pool.submit(park, ());
    /// assert!(!endless.cancelled());
    /// drop(pool);
    /// assert!(endless.cancelled());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn cancelled(&self) -> bool {
        self.slot.is_cancelled()
    }

    /// A worker has taken the task up and its outcome is not here yet. Exact: a task that was merely sent
    /// ahead to a worker is not running, while Python's `running()` is true for it.
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
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).build()?;
    /// let (first, second) = (pool.submit(park, ()), pool.submit(park, ()));
    /// while !first.running() {
    ///     std::thread::yield_now();
    /// }
    /// assert!(!second.running());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn running(&self) -> bool {
        match &self.accepted {
            Some(Accepted { engine, number, .. }) => !self.done() && number.is_running(engine),
            None => false,
        }
    }

    /// The outcome is here, whatever it is.
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
    /// let four = pool.submit(double, 2);
    /// while !four.done() {
    ///     std::thread::yield_now(); // or something useful
    /// }
    /// assert_eq!(four.result()?, 4); // at once
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn done(&self) -> bool {
        self.slot.is_done()
    }

    /// Lets go of the task without cancelling it.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn write(path: &str) {
    ///     std::fs::write(path, "done").unwrap()
    /// }
    ///
    /// let path = std::env::temp_dir().join(format!("detach-{}", std::process::id()));
    /// let pool = ProcessPoolExecutor::new()?;
    /// pool.submit(write, path.to_str().unwrap()).detach();
    /// pool.shutdown(true).wait();
    /// assert_eq!(std::fs::read_to_string(&path)?, "done");
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn detach(mut self) {
        self.accepted = None;
    }

    /// Ready when the outcome is here; leaves it to be taken.
    pub(crate) fn poll_done(&self, context: &Context<'_>) -> Poll<()> {
        self.slot.poll_done(context)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.slot.has_failed()
    }

    /// Waits, as long as that makes the outcome come sooner.
    pub(crate) fn help(&self, until: Option<Instant>) {
        if let Some(Accepted { engine, number, .. }) = &self.accepted
            && !park::may_not_block()
        {
            number.help(engine, &self.slot, until);
        }
    }

    /// The first time, waits for a moment if the outcome is about to come. Says whether it has waited.
    fn help_shortly(&mut self) -> bool {
        let Some(Accepted { engine, number, polled, .. }) = &mut self.accepted else { return false };
        !std::mem::replace(polled, true) && !park::may_not_block() && engine.help_shortly(*number, &self.slot)
    }

    /// Waiting on the thread that completes tasks never ends, unless the outcome is here already.
    fn would_deadlock(&self) -> Option<TaskError> {
        (park::may_not_block() && !self.done())
            .then(|| TaskError::new(self.slot.task, Ran::Maybe, TaskErrorKind::WouldDeadlock))
    }
}

impl<T: DeserializeOwned> TaskFuture<T> {
    /// Blocks until the task is done. Do not call it in async code: await the future instead.
    ///
    /// # Errors
    ///
    /// What [`TaskError`] lists. In a callback on the pool's own thread, where waiting would never end:
    /// [`TaskErrorKind::WouldDeadlock`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn divide(a: u32, b: u32) -> u32 {
    ///     a / b
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// assert_eq!(pool.submit(divide, (6, 2)).result()?, 3);
    /// let error = pool.submit(divide, (6, 0)).result().unwrap_err();
    /// assert_eq!(error.panic().unwrap().message(), "attempt to divide by zero");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn result(mut self) -> Result<T, TaskError> {
        if let Some(result) = self.take_now() {
            return result;
        }
        if let Some(error) = self.would_deadlock() {
            return Err(error);
        }
        self.help(None);
        self.take_now().unwrap_or_else(|| park::block_on(self))
    }

    /// The outcome, if it is here: then there is nothing left to wait for, or to cancel.
    fn take_now(&mut self) -> Option<Result<T, TaskError>> {
        let outcome = self.slot.take()?;
        self.accepted = None;
        Some(take(self.slot.task, outcome))
    }

    /// Blocks until the task is done or the time is over; then the task goes on, and the future can be
    /// waited for again.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] when the time is over, with a `timeout` of zero if the task is not done now. The inner
    /// error is the task's own.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn wait(seconds: f64) -> u32 {
    ///     std::thread::sleep(Duration::from_secs_f64(seconds));
    ///     7
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let mut slow = pool.submit(wait, 0.1);
    /// assert!(slow.result_timeout(Duration::ZERO).is_err());
    /// assert_eq!(slow.result()?, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn result_timeout(&mut self, timeout: Duration) -> Result<Result<T, TaskError>, WaitTimeout> {
        if let Some(error) = self.would_deadlock() {
            return Ok(Err(error));
        }
        // A deadline beyond the clock's range is none.
        let deadline = Instant::now().checked_add(timeout);
        self.help(deadline);
        park::block_until(self, deadline).ok_or(WaitTimeout {})
    }

    /// Calls `callback` when the task is done: on the pool's own thread, on a thread that is blocked in
    /// [`result`](TaskFuture::result) for this or another task or polls another future for the first time, on the thread
    /// that cancels the task, or
    /// here and now if it is done already. Callbacks run in the order in which they were added; a panic in one is
    /// caught and forgotten. They should be short and not block: the pool's other tasks wait for them.
    ///
    /// If the result has already been taken from the future, `callback` is dropped.
    ///
    /// On the pool's own thread a callback must not wait for tasks: [`result`](TaskFuture::result) is the error
    /// [`WouldDeadlock`](TaskErrorKind::WouldDeadlock) there, all other waits that would have to block panic, and a
    /// shutdown is not waited for. It may submit tasks, and add callbacks to them.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let (sender, receiver) = mpsc::channel();
    /// let future = pool.submit(double, 21);
    /// future.add_done_callback(move |done| sender.send(done.result().ok()).unwrap());
    /// assert_eq!(receiver.recv()?, Some(42));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_done_callback(&self, callback: impl FnOnce(&Done<'_, T>) + Send + 'static) {
        let task = self.slot.task;
        let callback = move |outcome: &Outcome| callback(&Done { task, outcome, value: PhantomData });
        if let Some((callback, outcome)) = self.slot.add_callback(Box::new(callback)) {
            let _ = guarded(|| callback(&outcome));
        }
    }

    /// The outcome with the time that the body ran.
    pub(crate) fn poll_timed(&self, context: &Context<'_>) -> Poll<(Result<T, TaskError>, Duration)> {
        self.slot.poll_take(context).map(|taken| match taken {
            Some(outcome) => {
                let ran_for = match *outcome {
                    Outcome::Value { nanos, .. } => Duration::from_nanos(nanos),
                    Outcome::Failed(_) => Duration::ZERO,
                };
                (take(self.slot.task, outcome), ran_for)
            }
            None => {
                let message = "the result was already taken from this future".to_owned();
                (
                    Err(TaskError::new(self.slot.task, Ran::Yes, TaskErrorKind::Invalid { message })),
                    Duration::ZERO,
                )
            }
        })
    }
}

/// Turns an outcome into the task's own type, on the thread of whoever asked.
fn decode<T: DeserializeOwned>(task: &'static str, outcome: &Outcome) -> Result<T, TaskError> {
    match outcome {
        Outcome::Value { encoded, .. } => encoded.decode(task),
        Outcome::Failed(error) => Err(error.clone()),
    }
}

/// The same of an outcome that nobody else asks for, unless a callback still has it: its memory may become the value's.
fn take<T: DeserializeOwned>(task: &'static str, outcome: Taken) -> Result<T, TaskError> {
    match outcome.into_own() {
        Ok(Outcome::Value { encoded, .. }) => encoded.decode_owned(task),
        Ok(Outcome::Failed(error)) => Err(error),
        Err(shared) => decode(task, &shared),
    }
}

impl<T: DeserializeOwned> Future for TaskFuture<T> {
    type Output = Result<T, TaskError>;

    /// Cancellation safe: a future that was polled and not ready can be polled again, or dropped, which
    /// cancels the task.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut polled = self.poll_timed(context);
        if polled.is_pending() && self.help_shortly() {
            polled = self.poll_timed(context);
        }
        polled.map(|(result, _)| result)
    }
}

impl<T> Drop for TaskFuture<T> {
    fn drop(&mut self) {
        // In a copy of the program, made by `fork`, the slot's lock may be held for ever.
        if let Some(Accepted { engine, number, cancel, .. }) = &self.accepted
            && !engine.is_copy()
            && !self.slot.let_go()
        {
            number.cancel(engine, *cancel);
        }
    }
}

impl<T> fmt::Debug for TaskFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskFuture")
            .field("task", &self.slot.task)
            .field("done", &self.done())
            .finish_non_exhaustive()
    }
}

/// A task that is done, as its callbacks see it: see [`TaskFuture::add_done_callback`].
///
/// # Examples
///
/// ```
/// use std::sync::mpsc;
/// use procpool::{ProcessPoolExecutor, task};
///
/// #[task]
/// fn divide(a: u32, b: u32) -> u32 {
///     a / b
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let (sender, receiver) = mpsc::channel();
/// let quotient = pool.submit(divide, (1, 0));
/// quotient.add_done_callback(move |done| {
///     sender.send((done.is_ok(), done.cancelled(), done.error())).unwrap();
/// });
/// let (is_ok, cancelled, error) = receiver.recv()?;
/// assert!(!is_ok && !cancelled && error.unwrap().is_panic());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Done<'a, T> {
    task: &'static str,
    outcome: &'a Outcome,
    value: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Done<'_, T> {
    /// The result, decoded afresh at each call.
    ///
    /// # Errors
    ///
    /// What [`TaskError`] lists.
    pub fn result(&self) -> Result<T, TaskError> {
        decode(self.task, self.outcome)
    }
}

impl<T> Done<'_, T> {
    /// The error, if there is one. Decoding the value may still find another.
    pub fn error(&self) -> Option<TaskError> {
        match self.outcome {
            Outcome::Value { .. } => None,
            Outcome::Failed(error) => Some(error.clone()),
        }
    }

    /// The task has a value.
    pub fn is_ok(&self) -> bool {
        self.error().is_none()
    }

    /// The task was cancelled.
    pub fn cancelled(&self) -> bool {
        self.error().is_some_and(|error| error.is_cancelled())
    }
}

impl<T> fmt::Debug for Done<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").field("task", &self.task).field("error", &self.error()).finish()
    }
}
