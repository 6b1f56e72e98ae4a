//! Backpressure: a place among the pending tasks, before there is a task.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::error::{Refusal, SubmitError, TaskError};
use crate::future::TaskFuture;
use crate::park;
use crate::scheduler::gate::Admission;
use crate::submit::Submitter;
use crate::task::{Task, guarded};

type Answer = Result<Permit, SubmitError<()>>;

/// A future of a [`Permit`]: see [`ProcessPoolExecutor::reserve`](crate::ProcessPoolExecutor::reserve). Fair:
/// who asks first is served first. Dropping it gives up the place in the line.
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
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # procpool::__private::block_on(async {
/// let pool = ProcessPoolExecutor::builder().max_pending(10).build()?;
/// assert_eq!(pool.reserve().await?.submit(double, 4).await?, 8);
/// # Ok(())
/// # })
/// # }
/// ```
#[must_use = "futures do nothing unless they are awaited or waited for"]
pub struct Reserve(Pin<Box<dyn Future<Output = Answer> + Send>>);

impl Reserve {
    pub(super) fn new(pool: Submitter) -> Reserve {
        Reserve(Box::pin(async move {
            let permit = match &pool.engine().gate {
                Some(gate) => Some(gate.enter().await),
                None => None,
            };
            // A pool that closes lets everybody through, to be told here.
            match pool.engine().refusal() {
                Some(reason) => Err(SubmitError { args: (), reason }),
                None => Ok(Permit::new(pool, permit)),
            }
        }))
    }

    /// Blocks until there is room. Do not call it in async code: await this instead.
    ///
    /// # Errors
    ///
    /// When the pool is shut down or broken.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::Refusal;
    ///
    /// let pool = procpool::ProcessPoolExecutor::new()?;
    /// pool.shutdown(false);
    /// let refused = pool.reserve().wait().unwrap_err();
    /// assert!(matches!(refused.reason(), Refusal::PoolClosed));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn wait(self) -> Result<Permit, SubmitError<()>> {
        park::block_on(self)
    }
}

impl Future for Reserve {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let waker = Waker::from(Arc::new(Tame(context.waker().clone())));
        self.0.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

/// A waker that does not panic. The pool's thread wakes those who wait for room, and a panic there would get past the
/// count of those who were woken as well.
struct Tame(Waker);

impl Wake for Tame {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let _ = guarded(|| self.0.wake_by_ref());
    }
}

impl fmt::Debug for Reserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve").finish_non_exhaustive()
    }
}

/// Room for one task.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, Refusal, task};
///
/// #[task]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// let pool = ProcessPoolExecutor::builder().max_pending(1).build()?;
/// let permit = pool.reserve().wait()?;
/// let full = pool.try_submit(double, 2).unwrap_err();
/// assert!(matches!(full.reason(), Refusal::Full { .. }));
/// assert_eq!(permit.submit(double, 1).result()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a permit holds its place until it is used or dropped"]
pub struct Permit {
    pool: Submitter,
    permit: Option<Admission>,
}

impl Permit {
    pub(super) fn new(pool: Submitter, permit: Option<Admission>) -> Permit {
        Permit { pool, permit }
    }

    /// Submits a task into the reserved place, as
    /// [`ProcessPoolExecutor::submit`](crate::ProcessPoolExecutor::submit) does. The place is free again when the
    /// task is done. Arguments that cannot be encoded, and a pool that ended meanwhile, are told by the future.
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
    /// let pool = ProcessPoolExecutor::builder().max_pending(1).build()?;
    /// let permit = pool.try_reserve()?;
    /// pool.shutdown(false);
    /// let late = permit.submit(double, 1).result().unwrap_err();
    /// assert_eq!(late.ran(), procpool::Ran::No);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn submit<T: Task>(self, task: T, args: T::Args<'_>) -> TaskFuture<T::Output> {
        let refused = |reason: Refusal| TaskFuture::refused(TaskError::not_run(T::NAME, reason.into()));
        let prepared = self.pool.prepare(task, &args);
        // Their `Drop` may panic, and then there is no task yet.
        drop(args);
        prepared.and_then(|prepared| self.pool.accept(self.permit, prepared)).unwrap_or_else(refused)
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
