//! The wait for the end of a [`Pool`](crate::Pool).

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::error::StillRunning;
use crate::executor::{Shutdown, ShutdownReport};
use crate::park;

use super::calls::Calls;

/// A future that is ready when the pool has ended: see [`Pool::join`](crate::Pool::join). The pool ends whether this is
/// used or not.
///
/// # Examples
///
/// ```
/// # procpool::__private::block_on(async {
/// let pool = procpool::Pool::new()?;
/// pool.close();
/// let report = pool.join().await?;
/// assert_eq!(report.cancelled, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct Join {
    /// `None` for a pool that goes on.
    ending: Option<Ending>,
}

struct Ending {
    shutdown: Shutdown,
    report: Option<ShutdownReport>,
    calls: Arc<Calls>,
}

impl Join {
    pub(super) fn refused() -> Join {
        Join { ending: None }
    }

    pub(super) fn new(shutdown: Shutdown, calls: Arc<Calls>) -> Join {
        Join { ending: Some(Ending { shutdown, report: None, calls }) }
    }

    /// Blocks until the pool has ended. Do not call it in async code: await this instead. In a callback on the pool's
    /// own thread, which is the one that ends the pool, it does not wait.
    ///
    /// # Errors
    ///
    /// See [`Pool::join`](crate::Pool::join).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procpool::Pool::new()?;
    /// pool.terminate();
    /// pool.join().wait()?;
    /// assert!(pool.executor().worker_pids().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(self) -> Result<ShutdownReport, StillRunning> {
        match self.ending {
            Some(Ending { shutdown, .. }) if park::may_not_block() => Ok(shutdown.wait()),
            _ => park::block_on(self),
        }
    }
}

impl Future for Join {
    type Output = Result<ShutdownReport, StillRunning>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(Ending { shutdown, report, calls }) = &mut self.ending else {
            return Poll::Ready(Err(StillRunning {}));
        };
        let report = match report {
            Some(report) => report,
            None => report.insert(ready!(Pin::new(shutdown).poll(context))),
        };
        ready!(calls.poll_over(context));
        Poll::Ready(Ok(report.clone()))
    }
}

impl fmt::Debug for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join").field("ending", &self.ending.is_some()).finish_non_exhaustive()
    }
}
