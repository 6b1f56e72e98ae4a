//! How a task that must stop is stopped.

use std::time::Duration;

use crate::scheduler::policy;

/// The steps by which a task that must stop is stopped: one that ran out of its
/// [`timeout`](crate::TaskOptions::timeout), or was cancelled under [`OnCancel::Kill`](crate::OnCancel::Kill).
///
/// Without any, the default, its worker is killed at once, with everything in its process group. With
/// [`ask`](Escalation::ask) the task is first asked through its [`context`](crate::context()); with
/// [`terminate`](Escalation::terminate) the worker's process group then gets SIGTERM; after each step the task has the
/// time that was given to end. What a task that ran out of time returns within these times counts. Who cancels is told at
/// once when the task gets SIGTERM, or is killed; until then, while it is asked, what it returns counts. [`TaskFuture::kill`](crate::TaskFuture::kill) and a
/// [shutdown that kills](crate::ShutdownOptions::kill) take no steps.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procpool::{Escalation, ProcessPoolExecutor, TaskOptions, task};
///
/// /// Looks until it is asked to stop, and returns how often it has looked.
/// #[task]
/// fn look() -> u64 {
///     let context = procpool::context();
///     let mut looks = 1;
///     while !context.is_cancelled() {
///         looks += 1;
///     }
///     looks
/// }
///
/// let options = TaskOptions::new()
///     .timeout(Duration::from_millis(20))
///     .escalation(Escalation::new().ask(Duration::from_secs(5)).terminate(Duration::from_secs(1)));
/// let pool = ProcessPoolExecutor::new()?.with(options);
/// assert!(pool.submit(look, ()).result()? >= 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "steps do nothing until they are given to `TaskOptions::escalation`"]
pub struct Escalation(policy::Escalation);

impl Escalation {
    /// No step but the last: the worker is killed at once.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procpool::Escalation::new(), procpool::Escalation::default());
    /// ```
    pub fn new() -> Escalation {
        Escalation::default()
    }

    /// First asks the task, through its [`context`](crate::context()), and gives it so long.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::Escalation;
    ///
    /// let patient = Escalation::new().ask(Duration::from_secs(10));
    /// # let _ = patient;
    /// ```
    pub fn ask(mut self, grace: Duration) -> Escalation {
        self.0.ask = Some(grace);
        self
    }

    /// Before the kill, sends SIGTERM to the worker and everything in its process group, and gives it so long. A
    /// worker that has no handler for it ends at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{Escalation, ExitCause, ProcessPoolExecutor, TaskOptions, WorkerEvent, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let (sender, events) = std::sync::mpsc::channel();
    /// let options = TaskOptions::new()
    ///     .timeout(Duration::from_millis(20))
    ///     .escalation(Escalation::new().terminate(Duration::from_secs(5)));
    /// let pool = ProcessPoolExecutor::builder()
    ///     .task_options(options)
    ///     .on_worker_event(move |event| drop(sender.send(event.clone())))
    ///     .build()?;
    /// assert!(pool.submit(park, ()).result().unwrap_err().is_timeout());
    /// let ended = events.iter().find(|event| matches!(event, WorkerEvent::Ended { .. })).unwrap();
    /// assert!(ended.to_string().contains("SIGTERM"));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn terminate(mut self, grace: Duration) -> Escalation {
        self.0.terminate = Some(grace);
        self
    }

    pub(super) fn policy(self) -> policy::Escalation {
        self.0
    }
}
