//! What workers have written, if that is captured.

use super::ProcessPoolExecutor;

impl ProcessPoolExecutor {
    /// The last bytes that workers have written to their standard output, if it is
    /// [`Captured`](crate::WorkerStdio::Captured); what they write one at a time is in that order. What a task has printed is
    /// there when its result is; what a program wrote that a task has started, when it has written it. It stays until as
    /// many other bytes have come, also after a shutdown; what is written after that is not kept.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, WorkerStdio, task};
    ///
    /// #[task]
    /// fn say(word: &str) {
    ///     print!("{word} ");
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().stdout(WorkerStdio::Captured { bytes: 8 }).build()?;
    /// for word in ["early", "late", "last"] {
    ///     pool.submit(say, word).result()?;
    /// }
    /// assert_eq!(pool.stdout().unwrap(), b"te last ");
    /// assert_eq!(pool.stderr(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stdout(&self) -> Option<Vec<u8>> {
        let engine = self.engine();
        Some(engine.outputs.stdout.as_ref()?.last(engine.is_copy()))
    }

    /// The same of their standard error. What a worker says about its own death is there when that is told.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, WorkerStdio, task};
    ///
    /// #[task]
    /// fn fail() {
    ///     panic!("no luck");
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().stderr(WorkerStdio::Captured { bytes: 4_000 }).build()?;
    /// assert!(pool.submit(fail, ()).result().is_err());
    /// assert!(String::from_utf8_lossy(&pool.stderr().unwrap()).contains("no luck"));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn stderr(&self) -> Option<Vec<u8>> {
        let engine = self.engine();
        Some(engine.outputs.stderr.as_ref()?.last(engine.is_copy()))
    }
}
