//! Whether a task that failed is tried again.

use std::time::Duration;

use crate::scheduler::policy;

/// How a task that failed is tried again, see [`TaskOptions::retry`](crate::TaskOptions::retry).
///
/// Nothing is retried unless this is given: a task that may have started is never run again by itself. **Retry
/// what can be done twice**: an attempt that failed may have had its effects.
///
/// What counts as a failure is a worker that died or broke the protocol under the task
/// ([`on_crash`](Retry::on_crash)), a [`timeout`](crate::TaskOptions::timeout) ([`on_timeout`](Retry::on_timeout)),
/// a panic ([`on_panic`](Retry::on_panic)), and an `Err` that the task returned ([`on_error`](Retry::on_error)); the
/// first two are retried by default. Values that cannot be encoded or decoded and cancelled tasks are never tried
/// again, nor is a task that could not be done before its [`deadline`](crate::TaskOptions::deadline).
///
/// Between attempts a task waits for [`backoff`](Retry::backoff), outside of the queue, so it delays no other. One
/// that has brought a worker down is sent alone from then on. When all attempts have failed, the last failure is
/// the outcome, and [`TaskError::earlier_attempts`](crate::TaskError::earlier_attempts) has the others.
///
/// The task itself sees in its [`context`](crate::context()) which attempt it is.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procpool::{ProcessPoolExecutor, Retry, TaskOptions, task};
///
/// #[task]
/// fn fragile(limit: u32) -> u32 {
///     let attempt = procpool::context().attempt();
///     if attempt < limit {
///         std::process::abort() // as native code does now and then
///     }
///     attempt
/// }
///
/// let retry = Retry::new(2).backoff(Duration::from_millis(1));
/// let pool = ProcessPoolExecutor::new()?.with(TaskOptions::new().retry(retry));
/// assert_eq!(pool.submit(fragile, 3).result()?, 3);
///
/// let error = pool.submit(fragile, 4).result().unwrap_err();
/// assert!(error.is_worker_died());
/// assert_eq!(error.attempts(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a retry policy does nothing until it is given to `TaskOptions::retry`"]
pub struct Retry(policy::Retry);

impl Retry {
    /// So many attempts after the first, for crashes and timeouts; zero is no retry.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Retry, TaskOptions};
    ///
    /// let options = TaskOptions::new().retry(Retry::new(3));
    /// # let _ = options;
    /// ```
    pub fn new(retries: u32) -> Retry {
        Retry(policy::Retry {
            retries,
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(30),
            on_crash: true,
            on_timeout: true,
            on_panic: false,
            on_error: false,
        })
    }

    /// The pause before the second attempt, from which it doubles up to [`max_backoff`](Retry::max_backoff). Of each
    /// pause up to a half is left out, differently for each task, so that tasks that failed together do not come
    /// back together. The default is 100 ms.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::Retry;
    ///
    /// let at_once = Retry::new(1).backoff(Duration::ZERO);
    /// # let _ = at_once;
    /// ```
    pub fn backoff(mut self, pause: Duration) -> Retry {
        self.0.backoff = pause;
        self
    }

    /// The longest pause between two attempts. The default is 30 s.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::Retry;
    ///
    /// let retry = Retry::new(20).max_backoff(Duration::from_secs(1));
    /// # let _ = retry;
    /// ```
    pub fn max_backoff(mut self, pause: Duration) -> Retry {
        self.0.max_backoff = pause;
        self
    }

    /// Whether a worker's death under the task is retried. The default is yes.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, Retry, TaskOptions, task};
    ///
    /// #[task]
    /// fn crash() {
    ///     std::process::abort()
    /// }
    ///
    /// let options = TaskOptions::new().retry(Retry::new(5).on_crash(false));
    /// let error = ProcessPoolExecutor::new()?.with(options).submit(crash, ()).result().unwrap_err();
    /// assert_eq!(error.attempts(), 1);
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn on_crash(mut self, retry: bool) -> Retry {
        self.0.on_crash = retry;
        self
    }

    /// Whether a task that ran out of its [`timeout`](crate::TaskOptions::timeout) is retried. The default is yes.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::Retry;
    ///
    /// let crashes_only = Retry::new(2).on_timeout(false);
    /// # let _ = crashes_only;
    /// ```
    pub fn on_timeout(mut self, retry: bool) -> Retry {
        self.0.on_timeout = retry;
        self
    }

    /// Whether a panic of the task is retried. The default is no: most panics are bugs and come again.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, Retry, TaskOptions, task};
    ///
    /// #[task]
    /// fn second_time_lucky() {
    ///     assert_eq!(procpool::context().attempt(), 2);
    /// }
    ///
    /// let retry = Retry::new(1).on_panic(true).backoff(Duration::ZERO);
    /// let pool = ProcessPoolExecutor::new()?.with(TaskOptions::new().retry(retry));
    /// pool.submit(second_time_lucky, ()).result()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_panic(mut self, retry: bool) -> Retry {
        self.0.on_panic = retry;
        self
    }

    /// Whether a task that returned an `Err` is retried. The default is no. When all attempts have failed, the last
    /// `Err` is the task's value, as without retries.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, Retry, TaskOptions, task};
    ///
    /// #[task]
    /// fn fetch() -> Result<u32, String> {
    ///     match procpool::context().attempt() {
    ///         1 => Err("try again later".to_owned()),
    ///         attempt => Ok(attempt),
    ///     }
    /// }
    ///
    /// let retry = Retry::new(1).on_error(true).backoff(Duration::ZERO);
    /// let pool = ProcessPoolExecutor::new()?.with(TaskOptions::new().retry(retry));
    /// assert_eq!(pool.submit(fetch, ()).result()?, Ok(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_error(mut self, retry: bool) -> Retry {
        self.0.on_error = retry;
        self
    }

    pub(super) fn policy(&self) -> policy::Retry {
        self.0.clone()
    }
}
