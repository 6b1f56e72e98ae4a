//! Something was to be over that is not.

use std::fmt;

/// What was to be waited for or closed is still running, and nobody has told it to end.
///
/// # Examples
///
/// ```
/// use procpool::Pool;
///
/// let pool = Pool::new()?;
/// let refused = pool.join().wait().unwrap_err();
/// assert_eq!(refused.to_string(), "the pool is still running: call `close` or `terminate` first");
/// pool.close();
/// assert!(pool.join().wait().is_ok());
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StillRunning {}

impl fmt::Display for StillRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pool is still running: call `close` or `terminate` first")
    }
}

impl std::error::Error for StillRunning {}
