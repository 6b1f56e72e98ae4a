//! A task was accepted, or asked for, and has no value.

use std::fmt;
use std::time::Duration;

use super::{Panic, Phase, StartError, WorkerExit};

/// Whether the body of a failed task ran: what decides if doing it again is safe.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, Ran, task};
///
/// #[task]
/// fn pay(amount: u32) {
///     panic!("{amount} is too much")
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// assert_eq!(pool.submit(pay, 1).result().unwrap_err().ran(), Ran::Yes);
///
/// pool.shutdown(false);
/// assert_eq!(pool.submit(pay, 1).result().unwrap_err().ran(), Ran::No); // to be tried elsewhere
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ran {
    /// It did not start, and never will.
    No,
    /// It started; how far it came is not known.
    Maybe,
    /// It ran to its end; only the result is missing.
    Yes,
}

impl Ran {
    /// What is told of two attempts.
    pub(crate) fn or(self, other: Ran) -> Ran {
        match (self, other) {
            (Ran::Yes, _) | (_, Ran::Yes) => Ran::Yes,
            (Ran::Maybe, _) | (_, Ran::Maybe) => Ran::Maybe,
            (Ran::No, Ran::No) => Ran::No,
        }
    }
}

/// Which value an error is about.
///
/// # Examples
///
/// ```
/// use std::ffi::OsString;
/// use std::os::unix::ffi::OsStringExt;
/// use std::path::PathBuf;
/// use procpool::{ProcessPoolExecutor, TaskErrorKind, What, task};
///
/// #[task]
/// fn no_text() -> PathBuf {
///     OsString::from_vec(vec![0xff]).into()
/// }
///
/// // To serde, paths are text.
/// let pool = ProcessPoolExecutor::new()?;
/// let error = pool.submit(no_text, ()).result().unwrap_err();
/// assert!(matches!(error.kind(), TaskErrorKind::Codec { what: What::Result, .. }));
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// The arguments, on their way to the worker.
    Args,
    /// The result, on its way back.
    Result,
}

/// On which side of the boundary a value failed.
///
/// # Examples
///
/// ```
/// use procpool::{CodecSide, ProcessPoolExecutor, TaskErrorKind, task};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Percent {
///     #[serde(deserialize_with = "up_to_hundred")]
///     value: u8,
/// }
///
/// fn up_to_hundred<'de, D: serde::Deserializer<'de>>(decoder: D) -> Result<u8, D::Error> {
///     let value = u8::deserialize(decoder)?;
///     if value > 100 { Err(serde::de::Error::custom("more than all")) } else { Ok(value) }
/// }
///
/// #[task]
/// fn rest(part: Percent) -> u8 {
///     100 - part.value
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let error = pool.submit(rest, Percent { value: 101 }).result().unwrap_err();
/// assert!(matches!(error.kind(), TaskErrorKind::Codec { side: CodecSide::Decode, .. }));
/// assert_eq!(error.ran(), procpool::Ran::No);
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodecSide {
    /// Its `Serialize` refused.
    Encode,
    /// Its `Deserialize` refused.
    Decode,
}

/// Why a task has no value. Cheap to clone.
///
/// The user's own `Result<T, E>` is not an error in this sense: it is the task's value and comes back typed.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, Ran, TaskErrorKind, task};
///
/// #[task]
/// fn crash() {
///     std::process::abort()
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let error = pool.submit(crash, ()).result().unwrap_err();
/// assert!(matches!(error.kind(), TaskErrorKind::WorkerDied(exit) if exit.pid() != std::process::id()));
/// assert_eq!(error.ran(), Ran::Maybe);
/// assert!(error.task().ends_with("crash"));
/// assert!(error.is_worker_died() && !error.is_panic() && !error.is_timeout() && !error.is_cancelled());
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone)]
pub struct TaskError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    task: &'static str,
    ran: Ran,
    kind: TaskErrorKind,
    /// How the attempts before this one ended, oldest first.
    earlier: Vec<TaskError>,
}

/// What happened to a task that has no value.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, TaskErrorKind, task};
///
/// #[task]
/// fn parse(text: &str) -> u32 {
///     text.parse().unwrap()
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let error = pool.submit(parse, "seven").result().unwrap_err();
/// let said = match error.kind() {
///     TaskErrorKind::Panicked(panic) => format!("a bug in the task: {}", panic.message()),
///     TaskErrorKind::WorkerDied(exit) => format!("a crash: {exit}"),
///     TaskErrorKind::TimedOut { limit, .. } => format!("it took longer than {limit:?}"),
///     other => other.to_string(),
/// };
/// assert!(said.starts_with("a bug in the task"));
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskErrorKind {
    /// The body panicked; the worker lives on.
    Panicked(Panic),
    /// The worker process ended under the task.
    WorkerDied(WorkerExit),
    /// The body ran longer than the task's `timeout`, or beyond its `deadline`, and was stopped.
    #[non_exhaustive]
    TimedOut {
        /// The `timeout`; or how long it was from the start of the body to the `deadline`.
        limit: Duration,
        /// How long it had run when the pool decided.
        ran_for: Duration,
    },
    /// Its body did not begin within the task's `queue_timeout`, or before its `deadline`. It never ran, unless in an
    /// earlier attempt.
    #[non_exhaustive]
    QueueTimedOut {
        /// How long it might have waited.
        limit: Duration,
    },
    /// It returned an `Err`. Stands only among [`TaskError::earlier_attempts`]: the `Err` of the last attempt is the
    /// task's own result.
    Failed,
    /// It was cancelled: by its future, or by the end of the pool.
    #[non_exhaustive]
    Cancelled {
        /// Its body had started.
        was_running: bool,
    },
    /// A value could not be encoded or decoded.
    #[non_exhaustive]
    Codec {
        /// Arguments or result.
        what: What,
        /// Encoding or decoding.
        side: CodecSide,
        /// What the value's `Serialize` or `Deserialize` said.
        message: String,
    },
    /// An encoded value is larger than the builder's `max_message_size`.
    #[non_exhaustive]
    TooLarge {
        /// Arguments or result.
        what: What,
        /// The size in bytes.
        size: u64,
        /// The bound in bytes.
        limit: u64,
    },
    /// The worker said something that no worker says, and was killed.
    #[non_exhaustive]
    Protocol {
        /// What was wrong.
        message: String,
    },
    /// The pool was shut down or dropped before the task was accepted.
    PoolClosed,
    /// The pool cannot start workers.
    PoolBroken(StartError),
    /// As many tasks are pending as the builder's `max_pending` allows.
    #[non_exhaustive]
    Full {
        /// The bound.
        max_pending: usize,
    },
    /// A `map` did not end within its `timeout`.
    #[non_exhaustive]
    MapTimedOut {
        /// The `timeout`, counted from the call of `map`.
        limit: Duration,
    },
    /// An argument of the call itself makes no sense.
    #[non_exhaustive]
    Invalid {
        /// Which one, and what is expected.
        message: String,
    },
    /// A callback that runs on the pool's own thread waited for a task that only this thread can complete.
    WouldDeadlock,
    /// The [`Process`](crate::Process) that was to run the task did not become ready.
    NotStarted(StartError),
    /// The process that kept the object, whose method was called, has ended, or had no room for one more thread or
    /// descriptor. [`Process`](crate::Manager::process) tells which.
    ManagerGone,
    /// A method that changes the object panicked before, and may have left it half changed:
    /// [`clear_poison`](crate::Proxy::clear_poison) says that it is sound.
    Poisoned,
    /// A method could not be called, because the system refused.
    #[non_exhaustive]
    Unreachable {
        /// What the system said.
        message: String,
    },
}

impl TaskError {
    pub(crate) fn new(task: &'static str, ran: Ran, kind: TaskErrorKind) -> TaskError {
        TaskError(Box::new(Inner { task, ran, kind, earlier: Vec::new() }))
    }

    /// An error of a task that did not start.
    pub(crate) fn not_run(task: &'static str, kind: TaskErrorKind) -> TaskError {
        TaskError::new(task, Ran::No, kind)
    }

    /// The same of another task.
    pub(crate) fn of(mut self, task: &'static str) -> TaskError {
        self.0.task = task;
        self
    }

    /// The same of a call that had come so far.
    pub(crate) fn at(mut self, phase: Phase) -> TaskError {
        self.0.ran = match phase {
            Phase::Sent => Ran::No,
            Phase::Running => Ran::Maybe,
            Phase::Replying => Ran::Yes,
        };
        if let TaskErrorKind::WorkerDied(exit) = &mut self.0.kind {
            exit.phase = phase;
        }
        self
    }

    /// The error of the last attempt, after those before.
    pub(crate) fn after(mut self, earlier: Vec<TaskError>) -> TaskError {
        self.0.ran = earlier.iter().fold(self.0.ran, |ran, error| ran.or(error.0.ran));
        self.0.earlier = earlier;
        self
    }

    /// How often the task was tried: 1, unless it was [retried](crate::Retry). A task that was cancelled or ran out of
    /// time while it waited for its next attempt counts that one as well.
    pub fn attempts(&self) -> usize {
        self.0.earlier.len() + 1
    }

    /// How the attempts before the last one ended, oldest first.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, Retry, TaskOptions, task};
    ///
    /// #[task]
    /// fn exit() {
    ///     std::process::exit(procpool::context().attempt() as i32)
    /// }
    ///
    /// let options = TaskOptions::new().retry(Retry::new(2).backoff(Duration::ZERO));
    /// let error = ProcessPoolExecutor::new()?.with(options).submit(exit, ()).result().unwrap_err();
    /// let history: Vec<_> = error.earlier_attempts().iter().map(|error| error.exit().unwrap().cause().to_string()).collect();
    /// assert_eq!(history, ["exited with code 1", "exited with code 2"]);
    /// assert_eq!(error.exit().unwrap().cause().to_string(), "exited with code 3");
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn earlier_attempts(&self) -> &[TaskError] {
        &self.0.earlier
    }

    /// What happened.
    pub fn kind(&self) -> &TaskErrorKind {
        &self.0.kind
    }

    /// Whether the body ran: if `No`, doing it again is safe.
    pub fn ran(&self) -> Ran {
        self.0.ran
    }

    /// The task's registered name; empty when the error is not about one task.
    pub fn task(&self) -> &'static str {
        self.0.task
    }

    /// What the task's panic said, if one is behind this error.
    pub fn panic(&self) -> Option<&Panic> {
        match self.kind() {
            TaskErrorKind::Panicked(panic) => Some(panic),
            TaskErrorKind::WorkerDied(exit) => exit.panic(),
            _ => None,
        }
    }

    /// How the worker ended, if its death is behind this error.
    pub fn exit(&self) -> Option<&WorkerExit> {
        match self.kind() {
            TaskErrorKind::WorkerDied(exit) => Some(exit),
            _ => None,
        }
    }

    /// The task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.kind(), TaskErrorKind::Cancelled { .. })
    }

    /// The task ran into its `timeout`, its `queue_timeout` or its `deadline`, or the `map` into its `timeout`.
    pub fn is_timeout(&self) -> bool {
        use TaskErrorKind::{MapTimedOut, QueueTimedOut, TimedOut};
        matches!(self.kind(), TimedOut { .. } | QueueTimedOut { .. } | MapTimedOut { .. })
    }

    /// The process that kept the object has ended, or had no room for the call:
    /// [`ManagerGone`](TaskErrorKind::ManagerGone).
    pub fn is_manager_gone(&self) -> bool {
        matches!(self.kind(), TaskErrorKind::ManagerGone)
    }

    /// The task panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self.kind(), TaskErrorKind::Panicked(_))
    }

    /// The worker died under the task.
    pub fn is_worker_died(&self) -> bool {
        matches!(self.kind(), TaskErrorKind::WorkerDied(_))
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskError")
            .field("task", &self.0.task)
            .field("ran", &self.0.ran)
            .field("kind", &self.0.kind)
            .field("earlier", &self.0.earlier)
            .finish()
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.task().is_empty() {
            write!(f, "task `{}`: ", self.task())?;
        }
        self.kind().fmt(f)?;
        match self.0.earlier.len() {
            0 => Ok(()),
            earlier => write!(f, " (attempt {} of a task that failed before)", earlier + 1),
        }
    }
}

impl std::error::Error for TaskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self.kind() {
            TaskErrorKind::PoolBroken(cause) | TaskErrorKind::NotStarted(cause) => Some(cause),
            _ => None,
        }
    }
}

impl fmt::Display for TaskErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskErrorKind::Panicked(panic) => write!(f, "panicked: {panic}"),
            TaskErrorKind::WorkerDied(exit) => exit.fmt(f),
            TaskErrorKind::TimedOut { limit, ran_for } => {
                write!(f, "ran for {ran_for:?} and was stopped: its `timeout` or `deadline` allowed {limit:?}")
            }
            TaskErrorKind::QueueTimedOut { limit } => write!(
                f,
                "did not begin within {limit:?}: raise its `queue_timeout` or `deadline`, or add workers"
            ),
            TaskErrorKind::Failed => f.write_str("returned an error"),
            TaskErrorKind::Cancelled { was_running: false } => f.write_str("cancelled before it started"),
            TaskErrorKind::Cancelled { was_running: true } => f.write_str("cancelled while it was running"),
            TaskErrorKind::Codec { what, side, message } => {
                let what = what.noun();
                let side = match side {
                    CodecSide::Encode => "encoded",
                    CodecSide::Decode => "decoded",
                };
                write!(f, "the {what} could not be {side}: {}", message.escape_debug())
            }
            TaskErrorKind::TooLarge { what, size, limit } => write!(
                f,
                "the {} of {size} bytes would exceed the limit of {limit} bytes; raise the builder's `max_message_size`",
                what.noun()
            ),
            TaskErrorKind::Protocol { message } => {
                write!(f, "the worker broke the protocol and was killed: {}", message.escape_debug())
            }
            TaskErrorKind::PoolClosed => f.write_str("the pool was shut down"),
            TaskErrorKind::PoolBroken(cause) => write!(f, "the pool is broken: {cause}"),
            TaskErrorKind::Full { max_pending } => write!(
                f,
                "the pool has {max_pending} tasks pending, as many as `max_pending` allows; \
                 wait for room with `reserve`"
            ),
            TaskErrorKind::MapTimedOut { limit } => write!(f, "the map did not end within its timeout of {limit:?}"),
            TaskErrorKind::Invalid { message } => f.write_str(message),
            TaskErrorKind::NotStarted(cause) => write!(f, "the process did not start: {cause}"),
            TaskErrorKind::ManagerGone => {
                f.write_str("the process that kept the object has ended, or had no room for a thread or a descriptor")
            }
            TaskErrorKind::Poisoned => f.write_str(
                "a method panicked before while it changed the object; if the object is sound, say so by `clear_poison`",
            ),
            TaskErrorKind::Unreachable { message } => write!(f, "the object could not be reached: {message}"),
            TaskErrorKind::WouldDeadlock => f.write_str(
                "waiting here would never end: this callback runs on the thread that completes the pool's tasks; \
                 wait on another thread, or await",
            ),
        }
    }
}

impl What {
    fn noun(self) -> &'static str {
        match self {
            What::Args => "arguments",
            What::Result => "result",
        }
    }
}
