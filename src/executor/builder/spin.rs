//! Latency for those who own their processors.

use std::time::Duration;

use super::Builder;

impl Builder {
    /// How long whoever waits looks again and again before it sleeps: a worker for its next task, and a thread that is
    /// blocked in [`result`](crate::TaskFuture::result) for a reply. To be woken takes some 5 to 50 µs, and more from the
    /// deeper sleep of an idle processor; who is looking already sees it in a fraction of a microsecond.
    ///
    /// The default is no fixed time: it is looked for about 40 µs, less and less often where that was in vain, and others
    /// have their turn at once. With a time that is set, a processor is busy for so long after each task, for each worker
    /// and for each thread that waits, and others have their turn only now and then. So it pays where there are at least as
    /// many processors as those who wait, nobody else wants them, and tasks come so often; elsewhere it takes time from
    /// the tasks. The time counts as CPU time of the program and of its workers, also for a quota and
    /// [`Limits::cpu_time`](crate::Limits::cpu_time). Zero is to sleep at once.
    ///
    /// An idle pool sleeps when the time is over. Futures that are awaited never look for longer than with the default: it
    /// would hold up their runtime. Their workers do.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn double(n: u64) -> u64 {
    ///     2 * n
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).spin(Duration::from_millis(1)).build()?;
    /// assert_eq!((0..1000).map(|n| pool.submit(double, n).result()).sum::<Result<u64, _>>()?, 999_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spin(mut self, time: Duration) -> Builder {
        self.spin = Some(time);
        self
    }
}
