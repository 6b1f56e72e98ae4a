//! How workers come into being.

use std::sync::{Arc, Mutex};

use crate::error::StartError;
use crate::launch::{ForkServer, Preload};
use crate::task::{Registry, Task};
use crate::transport::Message;

use super::{Builder, InitializerOutput};

/// How the workers of a pool come into being: Python's start methods.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, StartMethod, task};
///
/// #[task]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// for method in [StartMethod::Spawn, StartMethod::ForkServer] {
///     let pool = ProcessPoolExecutor::builder().start_method(method).build()?;
///     assert_eq!(pool.submit(double, 21).result()?, 42);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// Each worker is this program, started afresh. It shares nothing with others.
    #[default]
    Spawn,
    /// Each worker is a copy of a template: this program, started afresh once, which has run what
    /// [`Builder::preload`] names and nothing else. Memory that was filled there is shared by all workers until one of
    /// them writes to it.
    ///
    /// A template has one thread, or its copies would find locks that nobody opens. A worker whose template has more is
    /// not started, and its error says so. For the rest a worker is like any other: a child of this process, with a
    /// process group of its own, which ends with this process. A template that dies takes no worker along, and is
    /// replaced when the next worker is needed.
    ///
    /// What the template has open, its workers have open as well: files with their positions, connections.
    ForkServer,
}

impl Builder {
    /// How workers come into being. The default is [`StartMethod::Spawn`].
    ///
    /// With [`StartMethod::ForkServer`], [`build`](Builder::build) blocks until the template is ready. It cannot be had
    /// together with [`inline`](Builder::inline) or a sandbox.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, StartMethod};
    ///
    /// let pool = ProcessPoolExecutor::builder().start_method(StartMethod::ForkServer).build()?;
    /// pool.warm_up().wait()?;
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Builder {
        self.start_method = method;
        self
    }

    /// A task that the template of [`StartMethod::ForkServer`] runs once, before it is copied: to load what all workers
    /// need, into a `static`. Python's `set_forkserver_preload`. The arguments are encoded here, once.
    ///
    /// It must not leave threads behind: what needs some belongs into the [`initializer`](Builder::initializer), which
    /// runs in each worker. [`start_timeout`](Builder::start_timeout) bounds it. If it returns an `Err` or panics, that is
    /// the error of [`build`](Builder::build).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use procpool::{ProcessPoolExecutor, StartMethod, task};
    ///
    /// static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
    ///
    /// #[task]
    /// fn load(count: u64) {
    ///     TABLE.set((0..count).map(|n| n * n).collect()).unwrap()
    /// }
    ///
    /// #[task]
    /// fn look_up(n: usize) -> u64 {
    ///     TABLE.get().unwrap()[n]
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder()
    ///     .start_method(StartMethod::ForkServer)
    ///     .preload(load, 1_000)
    ///     .build()?;
    /// assert_eq!(pool.submit(look_up, 30).result()?, 900);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn preload<T: Task>(mut self, _task: T, args: T::Args<'_>) -> Builder
    where
        T::Output: InitializerOutput,
    {
        let body = super::encoded(&args).unwrap_or_else(|| {
            let message = format!("the arguments of the preload `{}` cannot be encoded", T::NAME);
            self.mistake.get_or_insert(StartError::invalid(message));
            Message::default()
        });
        let task = Registry::get().number(T::ENTRY);
        self.preload = Some(Preload { task, body: Arc::new(body), judge: super::judge::<T::Output> });
        self
    }

    /// How copies of a template are made, if workers are to be such.
    pub(super) fn forks(&mut self, inline: bool) -> Result<Option<ForkServer>, StartError> {
        let preload = self.preload.take();
        if self.start_method == StartMethod::Spawn {
            return match preload {
                None => Ok(None),
                Some(_) => Err(StartError::invalid(
                    "`preload` is for a template, and `StartMethod::Spawn` has none: choose `StartMethod::ForkServer`, \
                     or call it `initializer`",
                )),
            };
        }
        if inline {
            return Err(StartError::invalid(
                "an inline pool has no template: leave out `inline` (or `PROCPOOL_INLINE`), or `start_method`",
            ));
        }
        #[cfg(feature = "sandbox")]
        if self.sandbox.is_some() {
            return Err(StartError::invalid(
                "a copy of a template cannot be confined: leave out `sandbox`, or `start_method`",
            ));
        }
        Ok(Some(ForkServer { preload, start_timeout: self.start_timeout, template: Mutex::new(None) }))
    }
}
