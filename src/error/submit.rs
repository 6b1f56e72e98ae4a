//! A task was refused before it was accepted: it has not run and never will.

use std::fmt;

use super::{CodecSide, StartError, TaskError, TaskErrorKind, What};

/// Why a task was refused.
///
/// # Examples
///
/// ```
/// use std::ffi::OsStr;
/// use std::os::unix::ffi::OsStrExt;
/// use std::path::Path;
/// use procpool::{ProcessPoolExecutor, Refusal, task};
///
/// #[task]
/// fn is_there(path: &Path) -> bool {
///     path.exists()
/// }
///
/// // To serde, paths are text.
/// let pool = ProcessPoolExecutor::new()?;
/// let refused = pool.try_submit(is_there, Path::new(OsStr::from_bytes(b"\xff"))).unwrap_err();
/// assert!(matches!(refused.reason(), Refusal::Encode { .. }));
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The pool was shut down, or dropped.
    PoolClosed,
    /// The pool is broken for good.
    PoolBroken(StartError),
    /// As many tasks are pending as the builder's `max_pending` allows.
    #[non_exhaustive]
    Full {
        /// The bound.
        max_pending: usize,
    },
    /// The arguments refused to be encoded.
    #[non_exhaustive]
    Encode {
        /// What their `Serialize` said.
        message: String,
    },
    /// The encoded arguments are larger than the builder's `max_message_size`.
    #[non_exhaustive]
    TooLarge {
        /// Their size in bytes.
        size: u64,
        /// The bound in bytes.
        limit: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TaskErrorKind::from(self.clone()).fmt(f)
    }
}

/// A refused task, with its arguments.
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
/// let pool = ProcessPoolExecutor::new()?;
/// pool.shutdown(true).wait();
/// let refused = pool.try_submit(double, 21).unwrap_err();
/// assert!(matches!(refused.reason(), Refusal::PoolClosed));
/// assert_eq!(refused.into_args(), 21);
/// # Ok::<(), procpool::StartError>(())
/// ```
pub struct SubmitError<A> {
    pub(crate) args: A,
    pub(crate) reason: Refusal,
}

impl<A> SubmitError<A> {
    /// Why.
    pub fn reason(&self) -> &Refusal {
        &self.reason
    }

    /// The arguments, unchanged.
    pub fn into_args(self) -> A {
        self.args
    }
}

impl<A> fmt::Debug for SubmitError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitError").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<A> fmt::Display for SubmitError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task was refused: {}", self.reason)
    }
}

impl<A> std::error::Error for SubmitError<A> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Refusal::PoolBroken(cause) => Some(cause),
            _ => None,
        }
    }
}

impl From<Refusal> for TaskErrorKind {
    fn from(refusal: Refusal) -> TaskErrorKind {
        match refusal {
            Refusal::PoolClosed => TaskErrorKind::PoolClosed,
            Refusal::PoolBroken(cause) => TaskErrorKind::PoolBroken(cause),
            Refusal::Full { max_pending } => TaskErrorKind::Full { max_pending },
            Refusal::Encode { message } => {
                TaskErrorKind::Codec { what: What::Args, side: CodecSide::Encode, message }
            }
            Refusal::TooLarge { size, limit } => TaskErrorKind::TooLarge { what: What::Args, size, limit },
        }
    }
}

impl<A> From<SubmitError<A>> for TaskError {
    fn from(error: SubmitError<A>) -> TaskError {
        TaskError::not_run("", error.reason.into())
    }
}
