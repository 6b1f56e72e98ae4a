//! There is no pool, or no longer one.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Why a pool could not start, or why it broke.
///
/// A pool breaks when its workers cannot be started three times in a row while none is alive; every pending
/// and later task then gets [`TaskErrorKind::PoolBroken`](crate::TaskErrorKind::PoolBroken) with the last cause.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, StartError};
///
/// let refused = ProcessPoolExecutor::builder().max_workers(0).build().unwrap_err();
/// assert!(matches!(refused, StartError::Invalid { .. }));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A setting makes no sense.
    #[non_exhaustive]
    Invalid {
        /// Which one, why, and what is expected.
        message: String,
    },
    /// The operating system refused something that a worker or the pool needs.
    #[non_exhaustive]
    Spawn {
        /// What was being done.
        doing: &'static str,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// A worker process started but never became ready.
    Handshake(HandshakeError),
    /// The initializer returned an error or panicked.
    #[non_exhaustive]
    Initializer {
        /// What it said.
        message: String,
    },
    /// The program was built without the start hook and `procpool::init()` has not been called, or was called
    /// too late: what ran before it in a worker has used up the worker's standard input.
    NotInitialised,
    /// A bound of [`Limits`](crate::Limits) cannot be kept.
    #[non_exhaustive]
    Limits {
        /// Which one, and what the system says.
        message: String,
    },
    /// Pools nested in the tasks of pools, deeper than 10.
    #[non_exhaustive]
    TooDeep {
        /// The deepest nesting that is allowed.
        limit: u32,
    },
    /// Two tasks claim one name.
    #[non_exhaustive]
    DuplicateTask {
        /// The name.
        name: String,
        /// `file:line` of one of them.
        first: String,
        /// `file:line` of the other.
        second: String,
    },
    /// This system lacks something that procpool is built on.
    #[non_exhaustive]
    Unsupported {
        /// What is missing.
        what: &'static str,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// A worker cannot be confined as its sandbox asks (the feature `sandbox`): it was not started.
    #[non_exhaustive]
    Sandbox {
        /// What would not be protected, or which path of the sandbox is wrong, and why.
        message: String,
    },
}

/// How the start of a worker went wrong after the process was made.
///
/// # Examples
///
/// ```
/// use procpool::{ExitCause, HandshakeError, ProcessPoolExecutor, StartError, task};
///
/// #[task]
/// fn check_licence() {
///     std::process::exit(5)
/// }
///
/// let pool = ProcessPoolExecutor::builder().initializer(check_licence, ()).build()?;
/// match pool.warm_up().wait() {
///     Err(StartError::Handshake(HandshakeError::Died { cause, .. })) => assert_eq!(cause, ExitCause::Code(5)),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), StartError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HandshakeError {
    /// It did not report ready in time.
    #[non_exhaustive]
    TimedOut {
        /// The builder's `start_timeout`.
        limit: Duration,
    },
    /// It ended first.
    #[non_exhaustive]
    Died {
        /// How.
        cause: crate::ExitCause,
    },
    /// It runs another build of the program.
    Version,
    /// It sent something else than the hand-shake.
    #[non_exhaustive]
    Protocol {
        /// What was wrong.
        message: String,
    },
}

impl StartError {
    pub(crate) fn invalid(message: impl Into<String>) -> StartError {
        StartError::Invalid { message: message.into() }
    }

    pub(crate) fn spawn(doing: &'static str, source: impl Into<io::Error>) -> StartError {
        StartError::Spawn { doing, source: Arc::new(source.into()) }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Invalid { message } => f.write_str(message),
            StartError::Spawn { doing, source } => write!(f, "failed to {doing}: {source}"),
            StartError::Handshake(error) => write!(f, "a worker process did not become ready: {error}"),
            StartError::Initializer { message } => write!(f, "the initializer failed: {message}"),
            StartError::NotInitialised => f.write_str(
                "procpool is not initialised: call `procpool::init()` as the first line of `main`, \
                 or enable the feature `auto-init`",
            ),
            StartError::Limits { message } => {
                write!(f, "the workers cannot be kept within their limits: {message}")
            }
            StartError::TooDeep { limit } => {
                write!(
                    f,
                    "pools are nested more than {limit} deep: does a task start the program that started it?"
                )
            }
            StartError::DuplicateTask { name, first, second } => {
                write!(
                    f,
                    "two tasks are named `{name}`, at {first} and at {second}: give one of them another name"
                )
            }
            StartError::Unsupported { what, source } => {
                write!(f, "this system lacks {what}, which worker processes need: {source}")
            }
            StartError::Sandbox { message } => write!(f, "a worker cannot be sandboxed: {message}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Spawn { source, .. } | StartError::Unsupported { source, .. } => Some(&**source),
            StartError::Handshake(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::TimedOut { limit } => write!(
                f,
                "no sign of life within {limit:?} (if the program's own `main` ran instead of the worker, \
                 call `procpool::init()` first; if the initializer is slow, raise `start_timeout`)"
            ),
            HandshakeError::Died { cause } => write!(f, "it {cause} during its start"),
            HandshakeError::Version => f.write_str("it runs another build of this program"),
            HandshakeError::Protocol { message } => write!(f, "it broke the protocol: {message}"),
        }
    }
}

impl std::error::Error for HandshakeError {}
