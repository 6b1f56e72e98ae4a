//! A wait ended before what it waited for; the tasks go on.

use std::fmt;

/// A blocking wait for one task ran out of time; the task goes on.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procpool::{ProcessPoolExecutor, task};
///
/// #[task]
/// fn park() {
///     loop {
///         std::thread::park()
///     }
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let mut endless = pool.submit(park, ());
/// let late = endless.result_timeout(Duration::from_millis(10)).unwrap_err();
/// assert_eq!(late.to_string(), "the task is not done yet; it goes on");
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitTimeout {}

impl fmt::Display for WaitTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task is not done yet; it goes on")
    }
}

impl std::error::Error for WaitTimeout {}

/// An [`as_completed`](crate::as_completed) with a timeout ran out of time; the tasks go on.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procpool::{ProcessPoolExecutor, as_completed, task};
///
/// #[task]
/// fn park() {
///     loop {
///         std::thread::park()
///     }
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let futures = [pool.submit(park, ()), pool.submit(park, ())];
/// let mut ends = as_completed(futures).timeout(Duration::ZERO).into_iter();
/// let late = ends.next().unwrap().unwrap_err();
/// assert_eq!((late.unfinished, late.total), (2, 2));
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompletedTimeout {
    /// How many futures were not done.
    pub unfinished: usize,
    /// Of how many in total.
    pub total: usize,
}

impl fmt::Display for CompletedTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (of {}) futures unfinished", self.unfinished, self.total)
    }
}

impl std::error::Error for CompletedTimeout {}
