//! What can come of waiting.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};

/// Something other than what was asked for came of a call on one of the objects of [`sync`](crate::sync).
///
/// # Examples
///
/// ```
/// use procpool::Semaphore;
/// use procpool::sync::SyncError;
///
/// let semaphore = Semaphore::new(0)?;
/// assert!(matches!(semaphore.try_acquire(), Err(SyncError::WouldBlock)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SyncError {
    /// It is not to be had without waiting, and the call does not wait.
    WouldBlock,
    /// It did not come within the time that the call was to wait.
    TimedOut,
    /// The barrier is broken: a process that has it open died, somebody waited in vain for as long as he wanted to, his
    /// action panicked, or somebody called [`abort`](crate::Barrier::abort). It stays so until
    /// [`reset`](crate::Barrier::reset).
    Broken,
    /// A bounded semaphore would have more permits than it was made with: more were released than acquired.
    TooManyReleases,
    /// What the processes share makes no sense: one of them has written to memory that is not its own.
    Damaged,
    /// The system refuses what is needed, for example a thread.
    System(io::Error),
}

impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SyncError::WouldBlock => "it is not free now; wait for it, or try again later",
            SyncError::TimedOut => "it did not come in time; wait longer, or find out who holds it",
            SyncError::Broken => {
                "the barrier is broken: a process died or did not come in time; reset it to use it again"
            }
            SyncError::TooManyReleases => {
                "more permits would be released than were acquired; release each of them once, or use a semaphore \
                 without a bound"
            }
            SyncError::Damaged => {
                "the shared memory of the object is damaged: a process has written to it by mistake; make a new object"
            }
            SyncError::System(_) => "the system refuses what is needed to wait; look at the source",
        })
    }
}

impl Error for SyncError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            SyncError::System(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for SyncError {
    fn from(error: io::Error) -> SyncError {
        SyncError::System(error)
    }
}

/// A lock was not taken, or it was taken from a process that died with it.
///
/// # Examples
///
/// What is under the lock is repaired, or taken as it is, and the next one gets it as usual:
///
/// ```
/// use procpool::Value;
/// use procpool::sync::{LockError, ValueGuard};
///
/// fn counter(value: &Value<u64>) -> Result<ValueGuard<u64>, LockError<ValueGuard<u64>>> {
///     match value.lock() {
///         Err(LockError::OwnerDied(died)) => Ok(died.repaired()),
///         other => other,
///     }
/// }
///
/// let value = Value::new(1_u64)?;
/// *counter(&value)? += 1;
/// assert_eq!(value.load(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum LockError<G> {
    /// The lock is yours, but who held it last died, or panicked, in the middle of it. What it protects may be half
    /// changed. It stays suspect, for everybody, until somebody has called [`repaired`](OwnerDied::repaired).
    OwnerDied(OwnerDied<G>),
    /// The lock was not taken.
    NotTaken(SyncError),
}

impl<G: fmt::Debug> fmt::Display for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::OwnerDied(_) => f.write_str(
                "who held the lock died or panicked with it; repair what it protects, and say so by `repaired`",
            ),
            LockError::NotTaken(error) => error.fmt(f),
        }
    }
}

impl<G: fmt::Debug> Error for LockError<G> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            LockError::NotTaken(error) => error.source(),
            LockError::OwnerDied(_) => None,
        }
    }
}

impl<G> From<SyncError> for LockError<G> {
    fn from(error: SyncError) -> LockError<G> {
        LockError::NotTaken(error)
    }
}

impl<G> From<io::Error> for LockError<G> {
    fn from(error: io::Error) -> LockError<G> {
        LockError::NotTaken(error.into())
    }
}

impl<G> LockError<G> {
    pub(super) fn map<H>(self, change: impl FnOnce(G) -> H) -> LockError<H> {
        match self {
            LockError::OwnerDied(OwnerDied(guard)) => LockError::OwnerDied(OwnerDied(change(guard))),
            LockError::NotTaken(error) => LockError::NotTaken(error),
        }
    }
}

/// The guard of a lock whose last holder died. See [`LockError::OwnerDied`].
///
/// It leads to what the lock protects. Dropped as it is, it leaves that suspect.
#[derive(Debug)]
#[must_use = "the lock stays suspect unless it is said to be repaired"]
pub struct OwnerDied<G>(pub(super) G);

impl<G> Deref for OwnerDied<G> {
    type Target = G;

    fn deref(&self) -> &G {
        &self.0
    }
}

impl<G> DerefMut for OwnerDied<G> {
    fn deref_mut(&mut self) -> &mut G {
        &mut self.0
    }
}

impl<G: Guard> OwnerDied<G> {
    /// What the lock protects is in order again, and the next one to take it is not told.
    pub fn repaired(mut self) -> G {
        self.0.trust();
        self.0
    }
}

/// The guard of a lock between processes: [`LockGuard`](crate::sync::LockGuard),
/// [`RLockGuard`](crate::sync::RLockGuard), [`ValueGuard`](crate::sync::ValueGuard),
/// [`ArrayGuard`](crate::sync::ArrayGuard). No other type can be one.
pub trait Guard: fmt::Debug + Sized + sealed::Guard {}

pub(super) mod sealed {
    use super::LockError;

    /// What `OwnerDied` and `Condition` do with a guard.
    pub trait Guard: Sized {
        /// What the guard is of.
        type Lock: Send + 'static;

        /// Dropping the guard does not leave the lock suspect any more.
        fn trust(&mut self);

        /// Frees the lock.
        fn free(self) -> Self::Lock;

        /// Takes it again.
        fn take(lock: &Self::Lock) -> Result<Self, LockError<Self>>;
    }
}
