//! How a pool is configured, and started.

mod checks;
#[cfg(feature = "faults")]
mod faults;
mod flock;
mod inline;
mod kernel;
mod limits;
mod spin;
mod start_method;
mod stdio;

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::StartError;
use crate::faults::Script;
use crate::launch::{EnvChange, Preload, Worker};
use crate::limits::Limits;
use crate::options::TaskOptions;
use crate::scheduler::engine::{Engine, Observer};
use crate::scheduler::gate::Gate;
use crate::scheduler::job::Initializer;
use crate::scheduler::machine::Event;
use crate::scheduler::supervisor;
use crate::submit::Submitter;
use crate::sys::cpus;
use crate::task::{Registry, Task, guarded};
use crate::transport::Message;
use crate::wire::attach::{self, Handles};
use crate::wire::codec;
use crate::worker;

use super::ProcessPoolExecutor;

#[cfg(feature = "sandbox")]
mod sandbox;

pub(super) use checks::check_max_workers;
pub(crate) use checks::{check_nesting_and_tasks, check_process, check_surroundings};
#[cfg(feature = "sandbox")]
pub use sandbox::{Sandbox, SandboxReport};
pub use start_method::StartMethod;
pub use stdio::WorkerStdio;

/// The environment variable that overrides the default number of workers.
const OVERRIDE: &str = "PROCPOOL_MAX_WORKERS";

/// Configures a [`ProcessPoolExecutor`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procpool::{ProcessPoolExecutor, task};
///
/// #[task]
/// fn prepare(level: &str) -> Result<(), String> {
///     if level.is_empty() { Err("no level".to_owned()) } else { Ok(()) }
/// }
///
/// let pool = ProcessPoolExecutor::builder()
///     .max_workers(2)
///     .initializer(prepare, "info")
///     .max_tasks_per_child(1_000)
///     .env("RAYON_NUM_THREADS", "1")
///     .build()?;
/// # let _ = pool;
/// # Ok::<(), procpool::StartError>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    max_workers: Option<usize>,
    min_workers: usize,
    idle_timeout: Option<Duration>,
    max_worker_age: Option<Duration>,
    max_worker_rss: Option<u64>,
    spin: Option<Duration>,
    observer: Option<Observer>,
    limits: Limits,
    inline: Option<bool>,
    start_method: Option<StartMethod>,
    preload: Option<Preload>,
    faults: Script,
    initializer: Option<Initializer>,
    /// The first mistake that was made, told by `build`.
    mistake: Option<StartError>,
    max_tasks_per_child: Option<usize>,
    max_pending: Option<usize>,
    max_message_size: usize,
    env: Vec<EnvChange>,
    current_dir: Option<std::path::PathBuf>,
    /// Standard output and error.
    stdio: [WorkerStdio; 2],
    start_timeout: Duration,
    stop_timeout: Duration,
    task_options: TaskOptions,
    #[cfg(feature = "sandbox")]
    sandbox: Option<Sandbox>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            max_workers: None,
            min_workers: 0,
            idle_timeout: None,
            max_worker_age: None,
            max_worker_rss: None,
            spin: None,
            observer: None,
            limits: Limits::new(),
            inline: None,
            start_method: None,
            preload: None,
            faults: Script::default(),
            initializer: None,
            mistake: None,
            max_tasks_per_child: None,
            max_pending: None,
            max_message_size: 1 << 30,
            env: Vec::new(),
            current_dir: None,
            stdio: [WorkerStdio::Inherit; 2],
            start_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(5),
            task_options: TaskOptions::new(),
            #[cfg(feature = "sandbox")]
            sandbox: None,
        }
    }
}

/// What an initializer returns: `()`, or a `Result<(), E>` whose error is the error of the pool.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, StartError, task};
///
/// #[task]
/// fn connect(address: &str) -> Result<(), String> {
///     Err(format!("nobody is at {address}"))
/// }
///
/// let pool = ProcessPoolExecutor::builder().initializer(connect, "localhost:1").build()?;
/// match pool.warm_up().wait() {
///     Err(StartError::Initializer { message, .. }) => assert_eq!(message, "nobody is at localhost:1"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), StartError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "an initializer returns `()` or `Result<(), E>` with `E: Display`, not `{Self}`"
)]
pub trait InitializerOutput: DeserializeOwned {
    #[doc(hidden)]
    fn judge(self) -> Result<(), String>;
}

impl InitializerOutput for () {
    fn judge(self) -> Result<(), String> {
        Ok(())
    }
}

impl<E: fmt::Display + DeserializeOwned> InitializerOutput for Result<(), E> {
    fn judge(self) -> Result<(), String> {
        self.map_err(|error| error.to_string())
    }
}

impl Builder {
    /// The most workers at a time, from 1 to 4096. The default is [`default_max_workers`].
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procpool::ProcessPoolExecutor::builder().max_workers(3).build()?;
    /// assert_eq!(pool.max_workers(), 3);
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn max_workers(mut self, count: usize) -> Builder {
        self.max_workers = Some(count);
        self
    }

    /// A task that every worker runs before all others, on the same thread: to load what tasks need, or to
    /// start a runtime. Python's `initializer` and `initargs`. The arguments are encoded here, once.
    ///
    /// It counts as part of the start, so [`start_timeout`](Builder::start_timeout) bounds it. If it returns an
    /// `Err` or panics, the worker cannot start; after three such failures in a row the pool is broken with that
    /// error, see [`StartError::Initializer`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// static SQUARES: OnceLock<Vec<u64>> = OnceLock::new();
    ///
    /// #[task]
    /// fn fill(count: u64) {
    ///     SQUARES.set((0..count).map(|n| n * n).collect()).unwrap()
    /// }
    ///
    /// #[task]
    /// fn square(n: usize) -> Option<u64> {
    ///     SQUARES.get()?.get(n).copied()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().initializer(fill, 100).build()?;
    /// assert_eq!(pool.submit(square, 12).result()?, Some(144));
    /// assert_eq!(square(12), None); // it ran in the workers only
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn initializer<T: Task>(mut self, _task: T, args: T::Args<'_>) -> Builder
    where
        T::Output: InitializerOutput,
    {
        let body = encoded(&args).unwrap_or_else(|| {
            let message = format!("the arguments of the initializer `{}` cannot be encoded", T::NAME);
            self.mistake.get_or_insert(StartError::invalid(message));
            Message::default()
        });
        let task = Registry::get().number(T::ENTRY);
        self.initializer = Some(Initializer { task, body: Arc::new(body), judge: judge::<T::Output> });
        self
    }

    /// Replaces a worker that was sent so many tasks: against leaks, and for tasks that leave things behind. The
    /// default is never. At least 1. Python's `max_tasks_per_child`.
    ///
    /// Nothing that a task leaves behind in its worker is undone for the next one: directory, environment, umask,
    /// limits, blocked and ignored signals, threads. With 1, each task has a process of its own. Whatever is left
    /// behind, it keeps no worker from being replaced or ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn process() -> u32 {
    ///     std::process::id()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(1).build()?;
    /// let first = pool.submit(process, ()).result()?;
    /// assert_ne!(pool.submit(process, ()).result()?, first);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_tasks_per_child(mut self, count: usize) -> Builder {
        self.max_tasks_per_child = Some(count);
        self
    }

    /// The most tasks that may be accepted and not done; more are refused with
    /// [`Refusal::Full`](crate::Refusal::Full), or wait in
    /// [`reserve`](ProcessPoolExecutor::reserve). The default is no bound. At least 1. A
    /// [`map`](ProcessPoolExecutor::map) bounds itself and does not count.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, TaskErrorKind, task};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().max_pending(1).build()?;
    /// let place = pool.try_reserve()?; // takes the only place
    /// let full = pool.submit(double, 1).result().unwrap_err();
    /// assert!(matches!(full.kind(), TaskErrorKind::Full { max_pending: 1, .. }));
    /// drop(place);
    /// assert_eq!(pool.submit(double, 1).result()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn max_pending(mut self, count: usize) -> Builder {
        self.max_pending = Some(count);
        self
    }

    /// The largest encoded arguments of a task, and the largest encoded result, in bytes. The default is 1 GiB.
    /// At least 1. What is larger fails its own task, with [`TooLarge`](crate::TaskErrorKind::TooLarge).
    ///
    /// While messages of 128 KiB or more come one after the other, the memory of one is used for the next: the pool keeps up to
    /// 258 MiB for that, and so does each worker, but no more than 32 MiB while a task runs. It is given back when none have
    /// come for a second and no task runs. With [`max_worker_rss`](Builder::max_worker_rss), or [`limits`](Builder::limits) of
    /// memory, workers keep none.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, TaskErrorKind, task};
    ///
    /// #[task]
    /// fn length(text: &str) -> usize {
    ///     text.len()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().max_message_size(1_000).build()?;
    /// let error = pool.submit(length, &"long ".repeat(1_000)).result().unwrap_err();
    /// assert!(matches!(error.kind(), TaskErrorKind::TooLarge { limit: 1_000, .. }));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn max_message_size(mut self, bytes: usize) -> Builder {
        self.max_message_size = bytes;
        self
    }

    /// Sets an environment variable in the workers, which otherwise have the environment of this process at
    /// the time they start. A name that is empty or has a `=` in it is an error of [`build`](Builder::build).
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn variable(name: &str) -> Option<String> {
    ///     std::env::var(name).ok()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().env("OMP_NUM_THREADS", "1").build()?;
    /// assert_eq!(pool.submit(variable, "OMP_NUM_THREADS").result()?.as_deref(), Some("1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Builder {
        self.env.push(EnvChange::Set(key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Removes an environment variable from the workers.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn knows(name: &str) -> bool {
    ///     std::env::var_os(name).is_some()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().env_remove("PATH").build()?;
    /// assert!(knows("PATH"));
    /// assert!(!pool.submit(knows, "PATH").result()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Builder {
        self.env.push(EnvChange::Remove(key.as_ref().to_owned()));
        self
    }

    /// Starts the workers with no environment but what is set after this call.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn environment() -> Vec<(String, String)> {
    ///     std::env::vars().collect()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().env_clear().env("LANG", "C").build()?;
    /// assert_eq!(pool.submit(environment, ()).result()?, [("LANG".to_owned(), "C".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn env_clear(mut self) -> Builder {
        self.env.push(EnvChange::Clear);
        self
    }

    /// The directory in which workers start. The default is that of this process at the time. One that is not
    /// there is an error of [`build`](Builder::build).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::path::PathBuf;
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn directory() -> PathBuf {
    ///     std::env::current_dir().unwrap()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().current_dir("/").build()?;
    /// assert_eq!(pool.submit(directory, ()).result()?, PathBuf::from("/"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Builder {
        self.current_dir = Some(dir.as_ref().to_owned());
        self
    }

    /// How long a worker may take to become ready, its initializer included. The default is 10 s, the most is a
    /// year. One that takes longer is killed and counts as a failed start.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, StartError, task};
    ///
    /// #[task]
    /// fn never_ready() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder()
    ///     .initializer(never_ready, ())
    ///     .start_timeout(Duration::from_millis(50))
    ///     .build()?;
    /// assert!(matches!(pool.warm_up().wait(), Err(StartError::Handshake(_))));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn start_timeout(mut self, limit: Duration) -> Builder {
        self.start_timeout = limit;
        self
    }

    /// How long a worker that is asked to end may take, before it is killed; and how long a killed one may take,
    /// before it is given up as [`leaked`](crate::ShutdownReport::leaked). The default is 5 s, the most is a year; zero is an
    /// error of [`build`](Builder::build).
    ///
    /// It does not bound the tasks: see [`ShutdownOptions::within`](crate::ShutdownOptions::within).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let pool = procpool::ProcessPoolExecutor::builder().stop_timeout(Duration::from_secs(1)).build()?;
    /// assert!(pool.shutdown(true).wait().leaked.is_empty());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn stop_timeout(mut self, limit: Duration) -> Builder {
        self.stop_timeout = limit;
        self
    }

    /// Options for all tasks that say nothing else, neither by `#[task(…)]` nor by
    /// [`with`](ProcessPoolExecutor::with).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, TaskOptions, task};
    ///
    /// #[task]
    /// fn spin() {
    ///     loop {
    ///         std::hint::spin_loop()
    ///     }
    /// }
    ///
    /// let options = TaskOptions::new().timeout(Duration::from_millis(50));
    /// let pool = ProcessPoolExecutor::builder().task_options(options).build()?;
    /// assert!(pool.submit(spin, ()).result().unwrap_err().is_timeout());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn task_options(mut self, options: TaskOptions) -> Builder {
        self.task_options = options;
        self
    }

    /// Makes the pool. No worker is started before there is work, or [`warm_up`](ProcessPoolExecutor::warm_up), or a
    /// minimum that is kept: so that a worker cannot start is told by the tasks, not here. Only a sandbox is tried here,
    /// in a worker that runs nothing of the program.
    ///
    /// # Errors
    ///
    /// [`StartError`]: a setting makes no sense, two tasks of the program have one name, procpool was not
    /// initialised, pools are nested too deep, the program runs with more rights than its user, or the system
    /// lacks what is needed.
    ///
    /// # Examples
    ///
    /// ```
    /// let error = procpool::ProcessPoolExecutor::builder().current_dir("/no/such/place").build().unwrap_err();
    /// assert_eq!(error.to_string(), "`current_dir` is /no/such/place, which is no directory: name one that is there");
    /// ```
    pub fn build(mut self) -> Result<ProcessPoolExecutor, StartError> {
        let settings = self.settings()?;
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let inline = self.is_inline()?;
        let forks = self.forks(inline)?;
        if !inline {
            check_process()?;
        }
        check_nesting_and_tasks()?;
        let (bounds, ground) = self.limits.prepare()?;
        let (outputs, [stdout, stderr]) = self.outputs()?;
        let worker = Worker {
            inline,
            bounds,
            ground,
            faults: self.faults,
            env: self.env,
            current_dir: self.current_dir,
            limit: self.max_message_size as u64,
            initializer: self.initializer.is_some(),
            max_rss: self.max_worker_rss.unwrap_or(0),
            spin: self.spin,
            depth: worker::place::here().depth,
            forks,
            alone: None,
            stdout,
            stderr,
            #[cfg(feature = "sandbox")]
            sandbox: None,
        };
        #[cfg(feature = "sandbox")]
        let worker = match &self.sandbox {
            Some(sandbox) => sandbox.confine(worker, self.start_timeout)?,
            None => worker,
        };
        // Before anything here has a thread.
        worker.forks.as_ref().map_or(Ok(()), |forks| forks.copy_this_process(&worker))?;
        let gate = self.max_pending.map(Gate::new);
        let engine = Engine::new(settings, worker, self.initializer, gate, self.observer, outputs)
            .map_err(|error| StartError::spawn("make an epoll instance", error))?;
        let engine = Arc::new(engine);
        supervisor::start(Arc::clone(&engine))?;
        if self.min_workers > 0 {
            engine.tell([Event::Tick]);
        }
        let submitter = Submitter::new(engine, self.max_message_size, self.task_options.defaults());
        Ok(ProcessPoolExecutor(submitter))
    }
}

/// Whether the encoded result of an initializer is an error.
fn judge<R: InitializerOutput>(bytes: &[u8], handles: Handles) -> Result<(), String> {
    let decode = || codec::decode::<R>(bytes);
    let judged = guarded(|| attach::offer(handles, decode).and_then(R::judge));
    judged.unwrap_or_else(|payload| Err(payload.while_doing("reading its result")))
}

/// Arguments as they travel; `None` if they cannot.
fn encoded(args: &impl Serialize) -> Option<Message> {
    let mut bytes = Vec::new();
    let handles = guarded(|| codec::encode_attached(args, &mut bytes, usize::MAX)).ok()?.ok()?;
    Some(Message { bytes, handles })
}

fn default_workers() -> Result<usize, StartError> {
    match cpus::from_override(std::env::var_os(OVERRIDE).as_deref()) {
        Some(Ok(count)) => Ok(count),
        Some(Err(message)) => Err(StartError::invalid(message)),
        None => Ok(cpus::available()),
    }
}

/// How many workers a pool has if nothing else is said: the environment variable `PROCPOOL_MAX_WORKERS` if it
/// is a number, else the CPUs that this process may use, by its CPU affinity and by the quota of its control
/// groups (versions 1 and 2).
///
/// Python takes the CPUs of the machine, since 3.13 those of the affinity. A variable that is set to something
/// else than a positive number is passed over here, and is an error of [`Builder::build`].
///
/// # Examples
///
/// ```
/// assert!(procpool::default_max_workers() >= 1);
/// ```
pub fn default_max_workers() -> usize {
    default_workers().unwrap_or_else(|_| cpus::available())
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("max_workers", &self.max_workers)
            .field("max_tasks_per_child", &self.max_tasks_per_child)
            .field("max_pending", &self.max_pending)
            .finish_non_exhaustive()
    }
}
