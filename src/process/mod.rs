//! Python's `multiprocessing.Process`: one process for one task.

mod child;
mod handle;
mod keeper;
mod kept;
mod who;

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::fs::MemfdFlags;

use crate::error::StartError;
use crate::executor::{check_nesting_and_tasks, check_process, check_surroundings};
use crate::future::TaskFuture;
use crate::launch::{EnvChange, Worker};
use crate::scheduler::slot::Slot;
use crate::sys::fd::{self, above_standard};
use crate::task::{Registry, Task, TaskNumber, guarded};
use crate::transport::Message;
use crate::wire::codec::{self, EncodeError};
use crate::wire::hello::Alone;
use crate::worker::place;

use child::Description;
use keeper::Order;
use kept::Errand;

pub use child::ChildProcess;
pub use handle::ProcessHandle;
pub use who::{CurrentProcess, ParentProcess, active_children, cpu_count, current_process, parent_process};

/// The largest arguments and the largest result, in bytes: the default of a pool.
const MESSAGE_MAX: usize = 1 << 30;

/// Bytes of a name.
const NAME_MAX: usize = 255;

/// A process to be started, for one task: Python's `Process`.
///
/// [`start`](Process::start) makes it a [`ProcessHandle`], which has everything that is done to a process that exists. So
/// it can neither be started twice nor joined before it was started.
///
/// It is this very program, started again, as the workers of a pool are; `main` does not run in it. It runs its task and
/// ends. Programs that the task starts are in its process group and end with it, unless they leave the group.
///
/// # Examples
///
/// ```
/// use std::thread::sleep;
/// use std::time::Duration;
/// use procpool::{Process, task};
///
/// #[task]
/// fn worker(name: &str, milliseconds: u64) -> String {
///     sleep(Duration::from_millis(milliseconds));
///     format!("{name} has slept")
/// }
///
/// let first = Process::new(worker, ("A", 20)).name("first").start()?;
/// let second = Process::new(worker, ("B", 10)).start()?;
/// first.join();
/// second.join();
/// assert_eq!((first.exitcode(), second.exitcode()), (Some(0), Some(0)));
/// assert_eq!(first.result()?, "A has slept");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a process does nothing until `start`"]
pub struct Process<R> {
    task: TaskNumber,
    task_name: &'static str,
    /// Encoded.
    args: Message,
    name: Option<String>,
    daemon: Option<bool>,
    env: Vec<EnvChange>,
    current_dir: Option<PathBuf>,
    stdout: ProcessStdio,
    stderr: ProcessStdio,
    start_timeout: Duration,
    /// Told by `start`.
    mistake: Option<StartError>,
    result: PhantomData<fn() -> R>,
}

/// Where the output of a [`Process`] goes.
///
/// # Examples
///
/// ```
/// use procpool::{Process, ProcessStdio, task};
///
/// #[task]
/// fn chatter() {
///     println!("to the standard output");
///     eprintln!("to the standard error");
/// }
///
/// let process = Process::new(chatter, ())
///     .stdout(ProcessStdio::Null)
///     .stderr(ProcessStdio::Captured)
///     .start()?;
/// process.join();
/// assert_eq!(process.stderr().unwrap(), b"to the standard error\n");
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProcessStdio {
    /// Where that of this process goes.
    #[default]
    Inherit,
    /// Nowhere.
    Null,
    /// Into memory, where [`stdout`](ChildProcess::stdout) and [`stderr`](ChildProcess::stderr) find it at any time. It is
    /// no pipe: nobody has to read it for the process to go on. All of it is kept, as long as there is a handle.
    Captured,
}

impl<R> Process<R> {
    /// A process that is to run this task. The arguments are encoded here and now, and may be borrowed: `()` for none, the
    /// value itself for one, a tuple for several.
    ///
    /// Options in `#[task(…)]`, such as `timeout`, are for pools: to stop a process there are
    /// [`join_timeout`](ChildProcess::join_timeout) and [`kill`](ChildProcess::kill).
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn repeat(word: &str, times: usize) -> String {
    ///     word.repeat(times)
    /// }
    ///
    /// let process = Process::new(repeat, ("ho", 3));
    /// assert_eq!(process.start()?.result()?, "hohoho");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new<T: Task<Output = R>>(_task: T, args: T::Args<'_>) -> Process<R> {
        let mut encoded = Message::default();
        let refused = match guarded(|| codec::encode_attached(&args, &mut encoded.bytes, MESSAGE_MAX)) {
            Ok(Ok(handles)) => {
                encoded.handles = handles;
                None
            }
            Ok(Err(EncodeError::Refused(message))) => Some(message),
            Ok(Err(EncodeError::TooLarge)) => Some(format!("they are larger than {MESSAGE_MAX} bytes")),
            Err(payload) => Some(payload.while_doing("encoding them")),
        };
        let mistake = refused.map(|message| {
            StartError::invalid(format!("the arguments of `{}` cannot be encoded: {message}", T::NAME))
        });
        Process {
            task: Registry::get().number(T::ENTRY),
            task_name: T::NAME,
            args: encoded,
            name: None,
            daemon: None,
            env: Vec::new(),
            current_dir: None,
            stdout: ProcessStdio::Inherit,
            stderr: ProcessStdio::Inherit,
            start_timeout: Duration::from_secs(10),
            mistake,
            result: PhantomData,
        }
    }

    /// What the process is called: here, in [`current_process`], and, cut to 15 bytes, in the list of processes. From 1 to
    /// 255 bytes. The default is `Process-1`, and so on.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn nothing() {}
    ///
    /// assert_eq!(Process::new(nothing, ()).name("idler").start()?.name(), "idler");
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Process<R> {
        self.name = Some(name.into());
        self
    }

    /// Whether the process ends with this one.
    ///
    /// **A daemon** is killed, with its process group, as soon as this process has ended, of whatever: also by a kill,
    /// which Python's daemons survive.
    ///
    /// **One that is no daemon** runs its task to the end, whatever becomes of this process. Python waits for it at the
    /// end of the program, so that its work is not lost; nothing here runs, or blocks, after `main`, so it goes on by
    /// itself, and its work is not lost either. To wait for all: `active_children().iter().for_each(|p| _ = p.join())`.
    ///
    /// The default is whatever this process is, and the program itself is none. In a worker of a pool, and in a daemon, every
    /// process is one, so that nothing is left of what ends there; `daemon(false)` is refused there.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn watch() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let watcher = Process::new(watch, ()).daemon(true).start()?;
    /// assert!(watcher.daemon()); // and nobody has to end it
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn daemon(mut self, daemon: bool) -> Process<R> {
        self.daemon = Some(daemon);
        self
    }

    /// Sets an environment variable in the process, which otherwise has the environment of this one.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn variable(name: &str) -> Option<String> {
    ///     std::env::var(name).ok()
    /// }
    ///
    /// let process = Process::new(variable, "LEVEL").env("LEVEL", "7").start()?;
    /// assert_eq!(process.result()?.as_deref(), Some("7"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Process<R> {
        self.env.push(EnvChange::Set(key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Removes an environment variable from the process.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn knows(name: &str) -> bool {
    ///     std::env::var_os(name).is_some()
    /// }
    ///
    /// assert!(!Process::new(knows, "PATH").env_remove("PATH").start()?.result()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Process<R> {
        self.env.push(EnvChange::Remove(key.as_ref().to_owned()));
        self
    }

    /// Starts the process with no environment but what is set after this call.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn environment() -> Vec<(String, String)> {
    ///     std::env::vars().collect()
    /// }
    ///
    /// let process = Process::new(environment, ()).env_clear().env("LANG", "C").start()?;
    /// assert_eq!(process.result()?, [("LANG".to_owned(), "C".to_owned())]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn env_clear(mut self) -> Process<R> {
        self.env.push(EnvChange::Clear);
        self
    }

    /// The directory in which the process starts. The default is that of this process at the time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::path::PathBuf;
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn directory() -> PathBuf {
    ///     std::env::current_dir().unwrap()
    /// }
    ///
    /// assert_eq!(Process::new(directory, ()).current_dir("/").start()?.result()?, PathBuf::from("/"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Process<R> {
        self.current_dir = Some(dir.as_ref().to_owned());
        self
    }

    /// Where the standard output of the process goes. The standard input is empty, always.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, ProcessStdio, task};
    ///
    /// #[task]
    /// fn chatter() {
    ///     println!("blah");
    /// }
    ///
    /// let process = Process::new(chatter, ()).stdout(ProcessStdio::Null).start()?;
    /// process.join();
    /// assert_eq!(process.stdout(), None);
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn stdout(mut self, stdout: ProcessStdio) -> Process<R> {
        self.stdout = stdout;
        self
    }

    /// Where the standard error of the process goes.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, ProcessStdio, task};
    ///
    /// #[task]
    /// fn fail() {
    ///     panic!("no luck")
    /// }
    ///
    /// let process = Process::new(fail, ()).stderr(ProcessStdio::Captured).start()?;
    /// process.join();
    /// assert!(String::from_utf8(process.stderr().unwrap())?.contains("no luck"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stderr(mut self, stderr: ProcessStdio) -> Process<R> {
        self.stderr = stderr;
        self
    }

    /// How long the process may take until it is about to run its task. The default is 10 s. One that takes longer is
    /// killed, and its result is [`NotStarted`](crate::TaskErrorKind::NotStarted).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn nothing() {}
    ///
    /// // On a machine that is very busy.
    /// Process::new(nothing, ()).start_timeout(Duration::from_secs(60)).start()?.result()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_timeout(mut self, limit: Duration) -> Process<R> {
        self.start_timeout = limit;
        self
    }

    /// Starts the process. Returns when it exists and has its arguments, about a millisecond later, or some more if they
    /// are large; what comes after that is told by its result.
    ///
    /// # Errors
    ///
    /// [`StartError`]: a setting makes no sense, the arguments cannot be encoded, processes are nested too deep, the
    /// system refuses it, and what else hinders a [pool](crate::Builder::build).
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn nothing() {}
    ///
    /// let process = Process::new(nothing, ()).start()?;
    /// assert_ne!(process.pid(), std::process::id());
    /// let error = Process::new(nothing, ()).current_dir("/no/such/place").start().unwrap_err();
    /// assert!(error.to_string().contains("/no/such/place"));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn start(self) -> Result<ProcessHandle<R>, StartError> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        check_surroundings(&self.env, self.current_dir.as_deref())?;
        check_process()?;
        check_nesting_and_tasks()?;
        let alone = identify(self.name, self.daemon)?;
        let (stdout, captured_stdout) = output(self.stdout)?;
        let (stderr, captured_stderr) = output(self.stderr)?;
        let description = Description {
            name: alone.name.clone(),
            daemon: alone.daemon,
            stdout: captured_stdout,
            stderr: captured_stderr,
        };
        let worker = Worker {
            env: self.env,
            current_dir: self.current_dir,
            limit: MESSAGE_MAX as u64,
            depth: place::here().depth,
            alone: Some(alone),
            stdout,
            stderr,
            ..Worker::default()
        };
        let slot = Arc::new(Slot::new(self.task_name));
        let errand = Errand { task: self.task, args: self.args, slot: Arc::clone(&slot) };
        let order = Order { worker, errand, description, start_timeout: self.start_timeout };
        let child = keeper::start(order)?;
        Ok(ProcessHandle::new(child, TaskFuture::apart(slot)))
    }
}

/// Who the process is going to be.
fn identify(name: Option<String>, daemon: Option<bool>) -> Result<Alone, StartError> {
    /// The children of this process.
    static CHILDREN: AtomicU64 = AtomicU64::new(0);
    let this = current_process();
    if this.daemon() && daemon == Some(false) {
        return Err(StartError::invalid(
            "a process that ends with its parent cannot start one that does not: leave `daemon` out here",
        ));
    }
    if let Some(name) = &name
        && (name.is_empty() || name.len() > NAME_MAX || name.contains('\0'))
    {
        return Err(StartError::invalid(format!(
            "{name:?} is no name for a process: give 1 to {NAME_MAX} bytes, none of them zero"
        )));
    }
    let number = CHILDREN.fetch_add(1, Ordering::Relaxed) + 1;
    let path = this.path().map_or_else(|| number.to_string(), |path| format!("{path}:{number}"));
    let name = name.unwrap_or_else(|| format!("Process-{path}"));
    let fingerprint = Registry::get().fingerprint();
    Ok(Alone { name, path, fingerprint, daemon: daemon.unwrap_or(this.daemon()) })
}

/// What the process is given for its output, and where that can be read here.
fn output(stdio: ProcessStdio) -> Result<(Option<OwnedFd>, Option<File>), StartError> {
    let failed = |error: io::Error| StartError::spawn("open what a process writes to", error);
    match stdio {
        ProcessStdio::Inherit => Ok((None, None)),
        ProcessStdio::Null => Ok((Some(fd::null().map_err(failed)?), None)),
        ProcessStdio::Captured => {
            let memory = rustix::fs::memfd_create("procpool-output", MemfdFlags::CLOEXEC);
            let memory = memory.map_err(io::Error::from).and_then(above_standard).map_err(failed)?;
            let read = memory.try_clone().map_err(failed)?;
            Ok((Some(memory), Some(File::from(read))))
        }
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("task", &self.task_name)
            .field("name", &self.name)
            .field("daemon", &self.daemon)
            .finish_non_exhaustive()
    }
}
