//! What becomes of workers, for those who want to know.

use std::fmt;
use std::time::Duration;

use crate::error::{ExitCause, StartError};

/// Something that happened to a worker, told to the builder's
/// [`on_worker_event`](crate::Builder::on_worker_event).
///
/// # Examples
///
/// ```
/// use std::sync::mpsc;
/// use procpool::{ProcessPoolExecutor, WorkerEndReason, WorkerEvent, task};
///
/// #[task]
/// fn crash() {
///     std::process::abort()
/// }
///
/// let (sender, events) = mpsc::channel();
/// let pool = ProcessPoolExecutor::builder()
///     .max_workers(1)
///     .on_worker_event(move |event| drop(sender.send(event.clone())))
///     .build()?;
/// assert!(pool.submit(crash, ()).result().is_err());
/// assert!(matches!(events.recv()?, WorkerEvent::Started { index: 0, .. }));
/// match events.recv()? {
///     WorkerEvent::Ended { reason, cause, .. } => {
///         assert_eq!(reason, WorkerEndReason::Died);
///         assert!(cause.to_string().contains("SIGABRT"));
///     }
///     other => panic!("{other}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WorkerEvent {
    /// A worker takes tasks.
    #[non_exhaustive]
    Started {
        /// Its place in the pool, which its replacement takes over.
        index: usize,
        /// Its process.
        pid: u32,
        /// How long its start took, the initializer included.
        after: Duration,
    },
    /// A worker has ended and was reaped.
    #[non_exhaustive]
    Ended {
        /// Its place in the pool.
        index: usize,
        /// What was its process.
        pid: u32,
        /// Why.
        reason: WorkerEndReason,
        /// How the process ended.
        cause: ExitCause,
    },
    /// A worker could not be started. If that goes on, the pool breaks.
    #[non_exhaustive]
    StartFailed {
        /// Its place in the pool.
        index: usize,
        /// What went wrong.
        error: StartError,
    },
}

/// Why a worker has ended.
///
/// # Examples
///
/// ```
/// use std::sync::mpsc;
/// use procpool::{ProcessPoolExecutor, WorkerEndReason, WorkerEvent, task};
///
/// #[task]
/// fn nothing() {}
///
/// let (sender, events) = mpsc::channel();
/// let pool = ProcessPoolExecutor::builder()
///     .max_tasks_per_child(1)
///     .on_worker_event(move |event| {
///         if let WorkerEvent::Ended { reason, .. } = event {
///             let _ = sender.send(reason.clone());
///         }
///     })
///     .build()?;
/// pool.submit(nothing, ()).result()?;
/// assert_eq!(events.recv()?, WorkerEndReason::MaxTasks);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerEndReason {
    /// It has had its [`max_tasks_per_child`](crate::Builder::max_tasks_per_child).
    MaxTasks,
    /// It has reached its [`max_worker_age`](crate::Builder::max_worker_age).
    MaxAge,
    /// It has reached its [`max_worker_rss`](crate::Builder::max_worker_rss).
    MaxRss,
    /// It had nothing to do for the [`idle_timeout`](crate::Builder::idle_timeout).
    Idle,
    /// The pool was made smaller.
    Resized,
    /// The pool ends.
    Shutdown,
    /// It died by itself, or somebody else killed it.
    Died,
    /// It was killed because its task ran out of time.
    TimedOut,
    /// It was killed because its task was cancelled.
    Cancelled,
    /// It was killed because it broke the protocol.
    #[non_exhaustive]
    Protocol {
        /// What it said.
        message: String,
    },
    /// It was killed because it did not answer, or did not end when asked.
    Unresponsive,
}

impl fmt::Display for WorkerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkerEvent::Started { index, pid, after } => {
                write!(f, "worker {index} (process {pid}) started in {after:?}")
            }
            WorkerEvent::Ended { index, pid, reason, cause } => {
                write!(f, "worker {index} (process {pid}) {cause}: {reason}")
            }
            WorkerEvent::StartFailed { index, error } => write!(f, "worker {index} did not start: {error}"),
        }
    }
}

impl fmt::Display for WorkerEndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WorkerEndReason::MaxTasks => "it has had its share of tasks",
            WorkerEndReason::MaxAge => "it has reached its age",
            WorkerEndReason::MaxRss => "it has grown beyond its memory",
            WorkerEndReason::Idle => "it had nothing to do",
            WorkerEndReason::Resized => "the pool was made smaller",
            WorkerEndReason::Shutdown => "the pool ends",
            WorkerEndReason::Died => "it died",
            WorkerEndReason::TimedOut => "its task ran out of time",
            WorkerEndReason::Cancelled => "its task was cancelled",
            WorkerEndReason::Protocol { message } => {
                return write!(f, "it broke the protocol: {}", message.escape_debug());
            }
            WorkerEndReason::Unresponsive => "it did not answer",
        })
    }
}
