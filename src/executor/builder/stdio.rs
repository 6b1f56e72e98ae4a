//! Where workers write.

use std::io;
use std::os::fd::OwnedFd;

use crate::error::StartError;
use crate::scheduler::output::{Output, Outputs};
use crate::sys::fd;

use super::Builder;

/// Where the workers of a pool write their standard output or error: [`Builder::stdout`], [`Builder::stderr`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerStdio {
    /// Where that of this program goes. No pipe of the pool is in between that could be full.
    #[default]
    Inherit,
    /// Nowhere.
    Null,
    /// To the pool, which keeps the last so many bytes of all its workers together, in the order in which they come:
    /// [`ProcessPoolExecutor::stdout`](crate::ProcessPoolExecutor::stdout) and
    /// [`stderr`](crate::ProcessPoolExecutor::stderr). It reads all the time, so nobody who writes has to wait for long.
    Captured {
        /// How many, at least 1.
        bytes: usize,
    },
}

impl Builder {
    /// Where workers write their standard output. The default is [`WorkerStdio::Inherit`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, WorkerStdio, task};
    ///
    /// #[task]
    /// fn greet(name: &str) {
    ///     println!("hello, {name}");
    /// }
    ///
    /// let captured = WorkerStdio::Captured { bytes: 64 << 10 };
    /// let pool = ProcessPoolExecutor::builder().stdout(captured).build()?;
    /// pool.submit(greet, "world").result()?;
    /// assert_eq!(pool.stdout().unwrap(), b"hello, world\n");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stdout(mut self, stdout: WorkerStdio) -> Builder {
        self.stdio[0] = stdout;
        self
    }

    /// Where workers write their standard error, which is where panics and crashes say what happened. The default is
    /// [`WorkerStdio::Inherit`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, WorkerStdio, task};
    ///
    /// #[task]
    /// fn crash() {
    ///     eprintln!("out of luck");
    ///     std::process::abort();
    /// }
    ///
    /// let captured = WorkerStdio::Captured { bytes: 1_000 };
    /// let pool = ProcessPoolExecutor::builder().stdout(WorkerStdio::Null).stderr(captured).build()?;
    /// assert!(pool.submit(crash, ()).result().unwrap_err().exit().is_some());
    /// assert_eq!(pool.stderr().unwrap(), b"out of luck\n");
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn stderr(mut self, stderr: WorkerStdio) -> Builder {
        self.stdio[1] = stderr;
        self
    }

    /// What is kept here, and the ends of workers.
    pub(super) fn outputs(&self) -> Result<(Outputs, [Option<OwnedFd>; 2]), StartError> {
        let (stdout, their_stdout) = self.stdio[0].open("stdout")?;
        let (stderr, their_stderr) = self.stdio[1].open("stderr")?;
        Ok((Outputs { stdout, stderr }, [their_stdout, their_stderr]))
    }
}

impl WorkerStdio {
    fn open(self, name: &str) -> Result<(Option<Output>, Option<OwnedFd>), StartError> {
        let failed = |error: io::Error| StartError::spawn("open what workers write to", error);
        match self {
            WorkerStdio::Inherit => Ok((None, None)),
            WorkerStdio::Null => Ok((None, Some(fd::null().map_err(failed)?))),
            WorkerStdio::Captured { bytes: 0 } => {
                Err(StartError::invalid(format!("`{name}` keeps 0 bytes: keep at least 1, or say `Null`")))
            }
            WorkerStdio::Captured { bytes } => {
                let (output, theirs) = Output::new(bytes).map_err(failed)?;
                Ok((Some(output), Some(theirs)))
            }
        }
    }
}
