//! How a [`Pool`] is configured.

use crate::error::StartError;
use crate::executor::{Builder, InitializerOutput};
use crate::task::Task;

use super::Pool;

/// Configures a [`Pool`]: by Python's names here, and by everything that [`Builder`] has besides, from which this can be
/// made.
///
/// # Examples
///
/// ```
/// use procpool::{Pool, PoolBuilder, ProcessPoolExecutor, task};
///
/// #[task]
/// fn variable(name: &str) -> Option<String> {
///     std::env::var(name).ok()
/// }
///
/// let executor = ProcessPoolExecutor::builder().env("OMP_NUM_THREADS", "1").max_pending(100);
/// let pool = PoolBuilder::from(executor).processes(2).build()?;
/// assert_eq!(pool.apply(variable, "OMP_NUM_THREADS")?.as_deref(), Some("1"));
/// # let _ = Pool::builder();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct PoolBuilder(Builder);

impl PoolBuilder {
    /// The most worker processes at a time, from 1 to 4096. The default is
    /// [`default_max_workers`](crate::default_max_workers). They start when there is work for them; in Python at once.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procpool::Pool::builder().processes(3).build()?;
    /// assert_eq!(pool.executor().max_workers(), 3);
    /// assert!(procpool::Pool::builder().processes(0).build().is_err());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn processes(self, count: usize) -> PoolBuilder {
        PoolBuilder(self.0.max_workers(count))
    }

    /// A task that every worker runs before all others: see [`Builder::initializer`]. One that fails breaks the pool
    /// after three tries, with what it said; in Python the pool starts workers for ever and nobody is told.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use procpool::{Pool, task};
    ///
    /// static FACTOR: OnceLock<u32> = OnceLock::new();
    ///
    /// #[task]
    /// fn load(factor: u32) {
    ///     FACTOR.set(factor).unwrap()
    /// }
    ///
    /// #[task]
    /// fn scale(n: u32) -> u32 {
    ///     n * FACTOR.get().unwrap()
    /// }
    ///
    /// let pool = Pool::builder().initializer(load, 7).build()?;
    /// assert_eq!(pool.map(scale, 1..4)?, [7, 14, 21]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn initializer<T: Task>(self, task: T, args: T::Args<'_>) -> PoolBuilder
    where
        T::Output: InitializerOutput,
    {
        PoolBuilder(self.0.initializer(task, args))
    }

    /// Replaces a worker that was sent so many tasks; each item of a `map` counts as one, where Python counts chunks.
    /// The default is never. At least 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn process() -> u32 {
    ///     std::process::id()
    /// }
    ///
    /// let pool = Pool::builder().processes(1).maxtasksperchild(1).build()?;
    /// assert_ne!(pool.apply(process, ())?, pool.apply(process, ())?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn maxtasksperchild(self, count: usize) -> PoolBuilder {
        PoolBuilder(self.0.max_tasks_per_child(count))
    }

    /// Makes the pool.
    ///
    /// # Errors
    ///
    /// See [`Builder::build`].
    ///
    /// # Examples
    ///
    /// ```
    /// let error = procpool::Pool::builder().maxtasksperchild(0).build().unwrap_err();
    /// assert_eq!(error.to_string(), "`max_tasks_per_child` is 0: it must be at least 1");
    /// ```
    pub fn build(self) -> Result<Pool, StartError> {
        self.0.build().map(Pool::over)
    }
}

impl From<Builder> for PoolBuilder {
    fn from(executor: Builder) -> PoolBuilder {
        PoolBuilder(executor)
    }
}
