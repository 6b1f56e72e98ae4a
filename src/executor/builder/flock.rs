//! How many workers there are, how long they live, and who is told.

use std::time::Duration;

use crate::scheduler::engine::Observer;
use crate::worker_event::WorkerEvent;

use super::Builder;

impl Builder {
    /// So many workers are kept from the start on, work or no work. The default is 0: none is started before there
    /// is work for it. At most [`max_workers`](Builder::max_workers).
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::ProcessPoolExecutor;
    ///
    /// let pool = ProcessPoolExecutor::builder().max_workers(2).min_workers(2).build()?;
    /// while pool.worker_pids().len() < 2 {
    ///     std::thread::yield_now();
    /// }
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn min_workers(mut self, count: usize) -> Builder {
        self.min_workers = count;
        self
    }

    /// A worker that has had nothing to do for so long ends, as long as there are more than
    /// [`min_workers`](Builder::min_workers). The next task that finds none is worth a new start. The default is
    /// that idle workers stay; the most is a year.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().idle_timeout(Duration::from_millis(20)).build()?;
    /// assert_eq!(pool.submit(double, 2).result()?, 4);
    /// while !pool.worker_pids().is_empty() {
    ///     std::thread::yield_now();
    /// }
    /// assert_eq!(pool.submit(double, 4).result()?, 8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn idle_timeout(mut self, timeout: Duration) -> Builder {
        self.idle_timeout = Some(timeout);
        self
    }

    /// Replaces a worker that is so old, when its task is done: up to a tenth earlier, so that workers that started
    /// together are not replaced together. The default is never; more than zero, at most a year.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let day = Duration::from_secs(86_400);
    /// let pool = procpool::ProcessPoolExecutor::builder().max_worker_age(day).build()?;
    /// # let _ = pool;
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn max_worker_age(mut self, age: Duration) -> Builder {
        self.max_worker_age = Some(age);
        self
    }

    /// Replaces a worker that after a task holds more resident memory than this, in bytes; up to a tenth less is
    /// enough, so that not all are replaced at once. Tasks that it was sent already it still does. The default is
    /// never; at least 1. It bounds what tasks leave behind, not what one task takes.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn leak(bytes: usize) -> u32 {
    ///     std::mem::forget(vec![1u8; bytes]);
    ///     std::process::id()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).max_worker_rss(64 << 20).build()?;
    /// let first = pool.submit(leak, 80 << 20).result()?;
    /// assert_ne!(pool.submit(leak, 0).result()?, first);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_worker_rss(mut self, bytes: u64) -> Builder {
        self.max_worker_rss = Some(bytes);
        self
    }

    /// Calls `observer` when a worker has started, has ended, or could not be started: every replacement has a
    /// reason that can be logged. It runs on the pool's own thread, one event after the other: it should be quick,
    /// and must not wait for tasks of the pool, which panics. A panic in it is caught.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().on_worker_event(|event| eprintln!("{event}")).build()?;
    /// assert_eq!(pool.submit(double, 2).result()?, 4); // worker 0 (process 4711) started in 2.1ms
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_worker_event(mut self, observer: impl Fn(&WorkerEvent) + Send + Sync + 'static) -> Builder {
        self.observer = Some(Observer(Box::new(observer)));
        self
    }
}
