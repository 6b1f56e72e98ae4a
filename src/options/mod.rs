//! What can be said about a task beside its arguments.

mod escalation;
mod retry;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::scheduler::machine::Cancel;
use crate::scheduler::policy::{FOREVER, Terms};
use crate::task::Entry;

pub use escalation::Escalation;
pub use retry::Retry;

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
    /// It is stopped, by the steps of its [`Escalation`]: if none is named, its worker is killed at once, and
    /// replaced.
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
    timeout: Option<Duration>,
    queue_timeout: Option<Duration>,
    deadline: Option<Instant>,
    on_cancel: Option<OnCancel>,
    escalation: Option<Escalation>,
    retry: Option<Retry>,
    /// The pool's own options, which yield to those of the task's attribute.
    defaults: Option<Box<TaskOptions>>,
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
    /// its process group (unless an [`escalation`](TaskOptions::escalation) comes first), the task gets [`TimedOut`](crate::TaskErrorKind::TimedOut), and the pool goes on. A
    /// result that had left the worker counts. Zero times every task out that does not end at once, and
    /// `Duration::MAX` takes away the bound that its attribute sets. The default is no bound: then a task is waited for as long as it takes, also while its worker is stopped, by SIGSTOP, a
    /// debugger or a frozen control group. It goes on where it was when the worker does, or can be killed.
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

    /// What cancelling, or dropping the future, does to a task that runs. The default is [`OnCancel::Finish`], and
    /// [`OnCancel::Cooperate`] for what a task submits.
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

    /// The longest that the task may wait for its body to begin, counted from its acceptance: then it never runs,
    /// and gets [`QueueTimedOut`](crate::TaskErrorKind::QueueTimedOut). For answers that nobody wants when they come
    /// too late. It is about the first attempt only. The default is no bound.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{OnCancel, ProcessPoolExecutor, TaskErrorKind, TaskOptions, task};
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
    /// let hasty = pool.with(TaskOptions::new().queue_timeout(Duration::from_millis(20))).submit(park, ());
    /// let error = hasty.result().unwrap_err();
    /// assert!(matches!(error.kind(), TaskErrorKind::QueueTimedOut { .. }) && error.is_timeout());
    /// # drop(endless);
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn queue_timeout(mut self, timeout: Duration) -> TaskOptions {
        self.queue_timeout = Some(timeout);
        self
    }

    /// The moment by which the task must be done, its waiting included: an absolute time, to be shared by tasks
    /// that belong together. A task that has not begun by then never runs, and gets
    /// [`QueueTimedOut`](crate::TaskErrorKind::QueueTimedOut); one that runs is stopped as by its
    /// [`timeout`](TaskOptions::timeout), and gets [`TimedOut`](crate::TaskErrorKind::TimedOut). Tasks that the task submits inherit it. The default is none, or the deadline of the
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

    /// By which steps a task that runs is stopped, when it runs out of time or is cancelled under
    /// [`OnCancel::Kill`]. The default is to kill its worker at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{Escalation, TaskOptions};
    ///
    /// let options = TaskOptions::new()
    ///     .timeout(Duration::from_secs(30))
    ///     .escalation(Escalation::new().ask(Duration::from_secs(2)));
    /// # let _ = options;
    /// ```
    pub fn escalation(mut self, steps: Escalation) -> TaskOptions {
        self.escalation = Some(steps);
        self
    }

    /// Whether the task is tried again when it fails. The default is no, unless its attribute says
    /// `#[task(retries = 2)]`: that stands for `Retry::new(2)`, whatever the pool says of the retries of all tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Retry, TaskOptions};
    ///
    /// let options = TaskOptions::new().retry(Retry::new(2));
    /// # let _ = options;
    /// ```
    pub fn retry(mut self, retry: Retry) -> TaskOptions {
        self.retry = Some(retry);
        self
    }

    /// These options, and `other` where these say nothing.
    pub(crate) fn or(self, other: &TaskOptions) -> TaskOptions {
        TaskOptions {
            timeout: self.timeout.or(other.timeout),
            queue_timeout: self.queue_timeout.or(other.queue_timeout),
            deadline: self.deadline.or(other.deadline),
            on_cancel: self.on_cancel.or(other.on_cancel),
            escalation: self.escalation.or(other.escalation),
            retry: self.retry.or_else(|| other.retry.clone()),
            defaults: other.defaults.clone(),
        }
    }

    /// The options of a pool before anything was said about its tasks.
    pub(crate) fn defaults(self) -> TaskOptions {
        TaskOptions { defaults: Some(Box::new(self)), ..TaskOptions::default() }
    }

    /// Nothing is set, but for what the pool says.
    #[inline]
    fn is_silent(&self) -> bool {
        let TaskOptions { timeout, queue_timeout, deadline, on_cancel, escalation, retry, defaults: _ } =
            self;
        timeout.is_none()
            && queue_timeout.is_none()
            && deadline.is_none()
            && on_cancel.is_none()
            && escalation.is_none()
            && retry.is_none()
    }

    /// What holds for a task of this function that is submitted from inside of a task with this deadline, if it
    /// is.
    pub(crate) fn for_task(&self, entry: &Entry, nested: bool, inherited: Option<Instant>) -> Effective {
        let if_unsaid = if nested { OnCancel::Cooperate } else { OnCancel::Finish };
        let of_pool = self.defaults.as_deref().is_none_or(TaskOptions::is_silent);
        if self.is_silent() && of_pool && entry.has_no_options() && inherited.is_none() {
            return Effective { timeout: None, deadline: None, on_cancel: if_unsaid, terms: None };
        }
        let attribute = TaskOptions {
            timeout: entry.timeout_ms.map(Duration::from_millis),
            on_cancel: entry.on_cancel.map(OnCancel::from_attribute),
            retry: entry.retries.map(Retry::new),
            ..TaskOptions::default()
        };
        let nothing = TaskOptions::default();
        let layers = [self, &attribute, self.defaults.as_deref().unwrap_or(&nothing)];
        let deadline = layers.iter().find_map(|layer| layer.deadline);
        let deadline = [deadline, inherited].into_iter().flatten().min();
        let lived_to_see = |limit: &Duration| *limit < FOREVER;
        let queue_timeout = layers.iter().find_map(|layer| layer.queue_timeout).filter(lived_to_see);
        let stop = layers.iter().find_map(|layer| layer.escalation).unwrap_or_default().policy();
        let retry = layers.iter().find_map(|layer| layer.retry.as_ref()).map(Retry::policy);
        let usual =
            queue_timeout.is_none() && deadline.is_none() && retry.is_none() && stop == Default::default();
        Effective {
            timeout: layers.iter().find_map(|layer| layer.timeout).filter(lived_to_see),
            deadline,
            // A cancellation goes all the way down, unless something else was said.
            on_cancel: layers.iter().find_map(|layer| layer.on_cancel).unwrap_or(if_unsaid),
            terms: (!usual).then(|| Arc::new(Terms { queue_timeout, deadline, retry, stop })),
        }
    }
}

impl OnCancel {
    fn from_attribute(written: crate::task::WrittenOnCancel) -> OnCancel {
        match written {
            crate::task::WrittenOnCancel::Finish => OnCancel::Finish,
            crate::task::WrittenOnCancel::Cooperate => OnCancel::Cooperate,
            crate::task::WrittenOnCancel::Kill => OnCancel::Kill,
        }
    }
}

/// The options of one task, all said.
pub(crate) struct Effective {
    pub(crate) timeout: Option<Duration>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) on_cancel: OnCancel,
    pub(crate) terms: Option<Arc<Terms>>,
}

impl Effective {
    /// How hard its future cancels it.
    pub(crate) fn cancel(&self) -> Cancel {
        match self.on_cancel {
            OnCancel::Finish | OnCancel::Cooperate => Cancel::Mild,
            OnCancel::Kill => Cancel::Stop,
        }
    }

    pub(crate) fn cooperates(&self) -> bool {
        self.on_cancel == OnCancel::Cooperate
    }
}
