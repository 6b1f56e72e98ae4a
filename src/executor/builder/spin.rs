//! Latency for those who own their processors.

use std::time::Duration;

use super::Builder;

impl Builder {
    /// How long whoever waits looks again and again before it sleeps: each worker for its next task, and for each worker
    /// the thread that is blocked for the task at which that worker is, in [`result`](crate::TaskFuture::result),
    /// [`result_timeout`](crate::TaskFuture::result_timeout) or a method of [`AsyncResult`](crate::AsyncResult). To be woken
    /// takes some 5 to 50 µs, and more from the deeper sleep of an idle processor; who is looking sees it in a fraction
    /// of a microsecond.
    ///
    /// The default is no fixed time: it is looked for about 40 µs, less and less often where that was in vain, and others
    /// have their turn every 2 µs. With a time that is set, all of it is looked, and others have their turn every 15 µs:
    /// so a processor is busy for so long after each task, for each worker, and for each thread that waits as above. It pays
    /// where there are at least as many processors as those who look, nobody else wants them, and tasks come in less than
    /// that time; elsewhere it takes time from the tasks. The time counts as CPU time of the program and of its workers,
    /// also for a quota and for [`Limits::cpu_time`](crate::Limits::cpu_time). It may last some 15 µs longer than was set;
    /// zero is to sleep at once, the most is a year.
    ///
    /// An idle pool sleeps when the time is over. A future that is awaited never looks for longer than 50 µs, and only at
    /// first, as it would hold up its runtime; nor do other waits, such as [`wait`](crate::wait),
    /// [`as_completed`](crate::as_completed) and the results of a map. Their workers do. A reply that does not go through
    /// shared memory (above 128 KiB, or with handles) ends the look of the thread that waits.
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
