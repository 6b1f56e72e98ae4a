//! What can be said about a task beside its arguments.

use std::time::{Duration, Instant};

use crate::task::Entry;

/// What cancelling does to a task that runs.
///
/// # Examples
///
/// ```
/// use procpool::{OnCancel, ProcessPoolExecutor, TaskOptions, task};
///
/// #[task]
/// fn park() {
///     loop {
///         std::thread::park()
///     }
/// }
///
/// let pool = ProcessPoolExecutor::builder().max_workers(1).build()?;
/// let endless = pool.with(TaskOptions::new().on_cancel(OnCancel::Kill)).submit(park, ());
/// drop(endless); // and with it its worker
/// pool.shutdown(true).wait();
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnCancel {
    /// It goes on; its result is thrown away if nobody wants it any more.
    #[default]
    Finish,
    /// It is asked to stop, through its [`context`](crate::context); it decides, and its outcome is what it makes
    /// of that. A task that does not look goes on.
    Cooperate,
    /// Its worker is killed, and replaced.
    Kill,
}

/// Options for tasks, see [`ProcessPoolExecutor::with`](crate::ProcessPoolExecutor::with).
///
/// What is not set here comes from the task's own attribute, `#[task(timeout = "30s")]`, and then from the
/// pool's [`task_options`](crate::Builder::task_options).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procpool::{OnCancel, TaskOptions};
///
/// let options = TaskOptions::new().timeout(Duration::from_secs(30)).on_cancel(OnCancel::Kill);
/// # let _ = options;
/// ```
#[derive(Clone, Debug, Default)]
pub struct TaskOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) on_cancel: Option<OnCancel>,
    pub(crate) deadline: Option<Instant>,
    /// The pool's own options, which yield to those of the task's attribute.
    pub(crate) defaults: Option<Box<TaskOptions>>,
}

impl TaskOptions {
    /// Nothing set.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, TaskOptions, task};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// assert_eq!(pool.with(TaskOptions::new()).submit(double, 1).result()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new() -> TaskOptions {
        TaskOptions::default()
    }

    /// The longest that the body may run, counted from its start: then its worker is killed with everything in
    /// its process group, the task gets [`TimedOut`](crate::TaskErrorKind::TimedOut), and the pool goes on. A
    /// result that had left the worker counts. Zero times every task out that does not end at once. The default
    /// is no bound.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, TaskErrorKind, TaskOptions, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let limit = Duration::from_millis(50);
    /// let pool = ProcessPoolExecutor::new()?.with(TaskOptions::new().timeout(limit));
    /// let error = pool.submit(park, ()).result().unwrap_err();
    /// assert!(matches!(error.kind(), TaskErrorKind::TimedOut { ran_for, .. } if *ran_for >= limit));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> TaskOptions {
        self.timeout = Some(timeout);
        self
    }

    /// What cancelling, or dropping the future, does to a task that runs. The default is
    /// [`OnCancel::Finish`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{OnCancel, ProcessPoolExecutor, TaskOptions, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?.with(TaskOptions::new().on_cancel(OnCancel::Kill));
    /// let endless = pool.submit(park, ());
    /// while !endless.running() {
    ///     std::thread::yield_now();
    /// }
    /// assert!(endless.cancel());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn on_cancel(mut self, on_cancel: OnCancel) -> TaskOptions {
        self.on_cancel = Some(on_cancel);
        self
    }

    /// The moment by which the task must be done, its waiting included: an absolute time, to be shared by tasks
    /// that belong together. Tasks that the task submits inherit it. The default is none, or the deadline of the
    /// task that submits this one; of two, the earlier holds.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use procpool::{ProcessPoolExecutor, TaskOptions, task};
    ///
    /// #[task]
    /// fn remaining() -> Option<Duration> {
    ///     procpool::context().remaining()
    /// }
    ///
    /// let end = Instant::now() + Duration::from_secs(60);
    /// let pool = ProcessPoolExecutor::new()?.with(TaskOptions::new().deadline(end));
    /// assert!(pool.submit(remaining, ()).result()? < Some(Duration::from_secs(60)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn deadline(mut self, deadline: Instant) -> TaskOptions {
        self.deadline = Some(deadline);
        self
    }

    /// These options, and `other` where these say nothing.
    pub(crate) fn or(self, other: &TaskOptions) -> TaskOptions {
        TaskOptions {
            timeout: self.timeout.or(other.timeout),
            on_cancel: self.on_cancel.or(other.on_cancel),
            deadline: self.deadline.or(other.deadline),
            defaults: other.defaults.clone(),
        }
    }

    /// The options of a pool before anything was said about its tasks.
    pub(crate) fn defaults(self) -> TaskOptions {
        TaskOptions { defaults: Some(Box::new(self)), ..TaskOptions::default() }
    }

    /// What holds for a task of this function.
    pub(crate) fn for_task(&self, entry: &Entry) -> Effective {
        let own_timeout = entry.timeout_ms.map(Duration::from_millis);
        let own_on_cancel =
            entry.kill_on_cancel.map(|kill| if kill { OnCancel::Kill } else { OnCancel::Finish });
        let defaults = self.defaults.as_deref();
        Effective {
            timeout: self
                .timeout
                .or(own_timeout)
                .or_else(|| defaults?.timeout)
                .filter(|&limit| limit < FOREVER),
            on_cancel: self.on_cancel.or(own_on_cancel).or_else(|| defaults?.on_cancel),
            deadline: self.deadline.or_else(|| defaults?.deadline),
        }
    }
}

/// A timeout that no process lives to see is none, and is kept away from the arithmetic of `Instant`.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The options of one task, all said.
pub(crate) struct Effective {
    pub(crate) timeout: Option<Duration>,
    on_cancel: Option<OnCancel>,
    pub(crate) deadline: Option<Instant>,
}

impl Effective {
    pub(crate) fn kill_on_cancel(&self) -> bool {
        self.on_cancel == Some(OnCancel::Kill)
    }

    /// Whether a task that runs is asked to stop when it is cancelled. One that was submitted from inside of a
    /// task is, unless something else was said: so a cancellation goes all the way down.
    pub(crate) fn cooperates(&self, nested: bool) -> bool {
        match self.on_cancel {
            None => nested,
            Some(on_cancel) => on_cancel == OnCancel::Cooperate,
        }
    }
}
