//! A process that was started, and the result that it is for.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde::de::DeserializeOwned;

use crate::error::{ExitCause, TaskError};
use crate::future::TaskFuture;

use super::child::ChildProcess;

/// A process that was started for a task, and the result of that task. Made by
/// [`Process::start`](crate::Process::start).
///
/// It can do what [`ChildProcess`] can: `join`, `is_alive`, `terminate`, `kill`, `exitcode`, and so on. Beside that it
/// has the result: `.await` it, or block with [`result`](ProcessHandle::result). The result is there when the process has
/// ended.
///
/// **Dropping it does nothing to the process**, as in Python: that runs on to its end, and is collected then.
///
/// # Examples
///
/// ```
/// use procpool::{Process, task};
///
/// #[task]
/// fn sum(numbers: &[u64]) -> u64 {
///     numbers.iter().sum()
/// }
///
/// let process = Process::new(sum, &[1, 2, 3]).start()?;
/// process.join();
/// assert_eq!(process.exitcode(), Some(0));
/// assert_eq!(process.result()?, 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ProcessHandle<R> {
    child: ChildProcess,
    result: TaskFuture<R>,
}

impl<R> ProcessHandle<R> {
    pub(super) fn new(child: ChildProcess, result: TaskFuture<R>) -> ProcessHandle<R> {
        ProcessHandle { child, result }
    }

    /// Lets go of a process that has ended, and says how it did.
    ///
    /// # Errors
    ///
    /// The handle itself, if the process still runs. This is Python's `ValueError`; to let go of a process that runs,
    /// drop the handle.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ExitCause, Process, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let process = Process::new(park, ()).start()?;
    /// let process = process.close().unwrap_err(); // it runs
    /// process.kill();
    /// process.join();
    /// assert!(matches!(process.close(), Ok(ExitCause::Signal { number: 9, .. })));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn close(self) -> Result<ExitCause, ProcessHandle<R>> {
        self.child.exit().ok_or(self)
    }
}

impl<R: DeserializeOwned> ProcessHandle<R> {
    /// Blocks until the process has ended, and gives what its task returned. Do not call it in async code: await this
    /// instead.
    ///
    /// # Errors
    ///
    /// The panic of the task, the signal or exit code that the process died of, or what else [`TaskError`] lists. Python
    /// has no result, and tells no more than the exit code.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn divide(a: u32, b: u32) -> u32 {
    ///     a / b
    /// }
    ///
    /// assert_eq!(Process::new(divide, (6, 2)).start()?.result()?, 3);
    /// let error = Process::new(divide, (6, 0)).start()?.result().unwrap_err();
    /// assert_eq!(error.panic().unwrap().message(), "attempt to divide by zero");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn result(self) -> Result<R, TaskError> {
        self.result.result()
    }
}

impl<R> Deref for ProcessHandle<R> {
    type Target = ChildProcess;

    fn deref(&self) -> &ChildProcess {
        &self.child
    }
}

impl<R: DeserializeOwned> Future for ProcessHandle<R> {
    type Output = Result<R, TaskError>;

    /// Cancellation safe.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(context)
    }
}

impl<R> fmt::Debug for ProcessHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProcessHandle").field(&self.child).finish()
    }
}
