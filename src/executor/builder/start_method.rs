//! How workers come into being.

use std::ffi::OsStr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use crate::error::StartError;
use crate::launch::{ForkServer, Origin, Preload};
use crate::task::{Registry, Task};
use crate::transport::Message;

use super::{Builder, InitializerOutput};

/// The environment variable that says how workers come into being if the program does not.
const DEFAULT: &str = "PROCPOOL_START_METHOD";

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
    /// Each worker is a copy of this process as it is when the pool is built: Python's `fork`. What the program has
    /// loaded by then is shared by all workers until one of them writes to it, and each `static` has the value that it
    /// had. A template in between is copied from this process by [`build`](Builder::build), and workers from it, then and
    /// later: what the program does after `build` is not seen in workers.
    ///
    /// A process can be copied only while it has one thread: what others are in the middle of would stay so in the copy
    /// for ever. So `build` refuses it in a process with more, with [`StartError::Invalid`](crate::StartError::Invalid),
    /// which names them. Build the pool as the first thing of `main`, before any async runtime; the pool itself has a
    /// thread, and so have most other objects of this crate, so one process has one such pool at a time, and builds it
    /// first. Where that cannot be, take [`ForkServer`](StartMethod::ForkServer) and [`preload`](Builder::preload). In a
    /// `#[test]` it is always refused, since tests run on threads.
    ///
    /// A worker has the memory of the program, and nothing else of it:
    ///
    /// * No files and connections but the standard output and error: an operation on a descriptor that the program had
    ///   open fails with `EBADF`. [`Shared`](crate::Shared) and [`SharedMemory`](crate::SharedMemory) work. Descriptors
    ///   that a worker needs travel as arguments: [`Descriptor`](crate::Descriptor).
    /// * No signal handlers: they are reset as by `exec`. A library that lives by one has to be set up in the
    ///   [`initializer`](Builder::initializer).
    /// * No exit handlers, nor destructors of what is on the stack of `main`: a worker ends without them, unless a task
    ///   calls [`exit`](std::process::exit).
    ///
    /// What is random in the program is the same in all its copies: generators that are seeded before `build` give the same
    /// numbers in each worker. What was printed before is written before. What was read from the standard input in
    /// advance is there in the copies too.
    ///
    /// A template that dies, killed by somebody, cannot be made again: then the workers that there are go on, and no
    /// others come.
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
    /// fn look_up(n: usize) -> u64 {
    ///     TABLE.get().unwrap()[n]
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     TABLE.set((0..1_000).map(|n| n * n).collect()).unwrap();
    ///     let pool = ProcessPoolExecutor::builder().start_method(StartMethod::Fork).build()?;
    ///     assert_eq!(pool.submit(look_up, 30).result()?, 900);
    ///     Ok(())
    /// }
    /// ```
    Fork,
}

impl Builder {
    /// How workers come into being. The default is what the environment variable `PROCPOOL_START_METHOD` says, by Python's
    /// names: `spawn`, `forkserver` or `fork`; and if it is not set, [`StartMethod::Spawn`]. What the program says here goes
    /// before the variable, and the variable does not count for a pool that cannot have what it says, an inline or
    /// sandboxed one. Another value of it is an error of [`build`](Builder::build).
    ///
    /// With [`StartMethod::ForkServer`] and [`StartMethod::Fork`], [`build`](Builder::build) blocks until the template is
    /// ready. They cannot be had together with [`inline`](Builder::inline) or a sandbox.
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
        self.start_method = Some(method);
        self
    }

    /// A task that the template of [`StartMethod::ForkServer`] or [`StartMethod::Fork`] runs once, before it is copied: to
    /// load what all workers need, into a `static`. Python's `set_forkserver_preload`. The arguments are encoded here, once.
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

    /// What the program says, or else the environment.
    fn method(&self, inline: bool) -> Result<StartMethod, StartError> {
        if let Some(said) = self.start_method {
            return Ok(said);
        }
        #[cfg(feature = "sandbox")]
        let inline = inline || self.sandbox.is_some();
        if inline {
            return Ok(StartMethod::Spawn);
        }
        named(std::env::var_os(DEFAULT).as_deref())
    }

    /// How copies of a template are made, if workers are to be such.
    pub(super) fn forks(&mut self, inline: bool) -> Result<Option<ForkServer>, StartError> {
        let preload = self.preload.take();
        let origin = match self.method(inline)? {
            StartMethod::ForkServer => Origin::Start,
            StartMethod::Fork => Origin::Copy,
            StartMethod::Spawn if preload.is_none() => return Ok(None),
            StartMethod::Spawn => {
                return Err(StartError::invalid(
                    "`preload` is for a template, and `StartMethod::Spawn` has none: choose `StartMethod::ForkServer`, \
                     or call it `initializer`",
                ));
            }
        };
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
        Ok(Some(ForkServer {
            origin,
            preload,
            start_timeout: self.start_timeout,
            template: Mutex::new(None),
            retired: AtomicBool::new(false),
        }))
    }
}

fn named(value: Option<&OsStr>) -> Result<StartMethod, StartError> {
    match value.map(OsStr::as_encoded_bytes) {
        None | Some(b"" | b"spawn") => Ok(StartMethod::Spawn),
        Some(b"forkserver") => Ok(StartMethod::ForkServer),
        Some(b"fork") => Ok(StartMethod::Fork),
        Some(other) => Err(StartError::invalid(format!(
            "{DEFAULT} is {:?}: it must be `spawn`, `forkserver` or `fork`",
            String::from_utf8_lossy(other)
        ))),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_variable_says_one_of_three_names_or_is_a_mistake() {
        let told = |value: Option<&str>| named(value.map(OsStr::new)).map_err(|error| error.to_string());
        let (spawn, server) = (StartMethod::Spawn, StartMethod::ForkServer);
        assert_eq!([None, Some(""), Some("spawn")].map(told), [spawn, spawn, spawn].map(Ok));
        assert_eq!([Some("forkserver"), Some("fork")].map(told), [server, StartMethod::Fork].map(Ok));
        let mistake = "PROCPOOL_START_METHOD is \"Spawn\": it must be `spawn`, `forkserver` or `fork`";
        assert_eq!(told(Some("Spawn")), Err(mistake.to_owned()));
    }
}
