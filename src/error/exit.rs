//! How a worker ended, and what a panicking task said.

use std::fmt;

/// How a worker process ended, as the operating system tells it.
///
/// # Examples
///
/// ```
/// use procpool::{ExitCause, ProcessPoolExecutor, task};
///
/// #[task]
/// fn give_up() {
///     std::process::exit(3)
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let error = pool.submit(give_up, ()).result().unwrap_err();
/// let cause = error.exit().unwrap().cause();
/// assert_eq!(cause, ExitCause::Code(3));
/// assert_eq!(cause.to_string(), "exited with code 3");
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExitCause {
    /// It called `exit` (or returned) with this code, which may be 0.
    Code(i32),
    /// A signal ended it.
    #[non_exhaustive]
    Signal {
        /// The signal's number, 9 for SIGKILL.
        number: i32,
        /// The kernel wrote a core file.
        core_dumped: bool,
    },
    /// It was a thread of this program, see [`Builder::inline`](crate::Builder::inline), and was given up: what it ran
    /// goes on until it ends by itself.
    Abandoned,
    /// It is gone, but somebody else collected its exit status first (a `waitpid(-1)` in the program, or an
    /// ignored SIGCHLD).
    Unknown,
}

impl fmt::Display for ExitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ExitCause::Code(code) => write!(f, "exited with code {code}"),
            ExitCause::Signal { number, core_dumped } => {
                write!(f, "killed by signal {number}")?;
                if let Some(name) = signal_name(number) {
                    write!(f, " ({name})")?;
                }
                if core_dumped { f.write_str(", core dumped") } else { Ok(()) }
            }
            ExitCause::Abandoned => f.write_str("given up: a thread cannot be killed"),
            ExitCause::Unknown => {
                f.write_str("ended in an unknown way (its exit status was taken by others)")
            }
        }
    }
}

fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}

/// What a worker was doing with a task when it ended.
///
/// # Examples
///
/// ```
/// use procpool::{Phase, ProcessPoolExecutor, task};
///
/// #[task]
/// fn give_up() {
///     std::process::exit(0)
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let error = pool.submit(give_up, ()).result().unwrap_err();
/// assert_eq!(error.exit().unwrap().phase(), Phase::Running);
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The task had been sent, its body had not started.
    Sent,
    /// The body was running.
    Running,
    /// The body had ended; the result was lost on its way.
    Replying,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Sent => "before the task started",
            Phase::Running => "while running the task",
            Phase::Replying => "after the task had run, while sending its result",
        })
    }
}

/// The end of the worker that had the task.
///
/// # Examples
///
/// ```
/// use procpool::{ExitCause, ProcessPoolExecutor, task};
///
/// #[task]
/// fn crash() {
///     std::process::abort()
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let error = pool.submit(crash, ()).result().unwrap_err();
/// let exit = error.exit().unwrap();
/// assert!(matches!(exit.cause(), ExitCause::Signal { number: 6, .. }));
/// assert_ne!(exit.oom(), Some(true));
/// assert!(exit.to_string().starts_with(&format!("the worker (pid {}) was killed by signal 6", exit.pid())));
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Debug)]
pub struct WorkerExit {
    pub(crate) pid: u32,
    pub(crate) cause: ExitCause,
    pub(crate) phase: Phase,
    pub(crate) oom: Option<bool>,
    pub(crate) limit: Option<LimitHit>,
    pub(crate) last_words: Option<Panic>,
}

impl WorkerExit {
    /// The process id the worker had.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Exit code or signal.
    pub fn cause(&self) -> ExitCause {
        self.cause
    }

    /// What the worker was doing with the task.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the kernel's out-of-memory killer chose this worker: `Some(true)` when the worker's memory
    /// cgroup counted an OOM kill since the worker started and it died of SIGKILL, `None` where no such
    /// counter can be read, or the worker died before it was, within some milliseconds of its start, and the machine
    /// has seen such a kill since this program looked last, or ever if it has not looked yet.
    pub fn oom(&self) -> Option<bool> {
        self.oom
    }

    /// Which of the worker's [`Limits`](crate::Limits) killed it, where the kernel tells. Running out of address space or
    /// descriptors is told to the program, which ends in its own way, or not at all.
    pub fn limit(&self) -> Option<LimitHit> {
        self.limit
    }

    /// What the task's last panic said, when the worker aborted after it: a second panic while unwinding, or
    /// a program built with `panic = "abort"`. Also tells of a stack overflow.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// struct Sore;
    ///
    /// impl Drop for Sore {
    ///     fn drop(&mut self) {
    ///         panic!("this as well")
    ///     }
    /// }
    ///
    /// #[task]
    /// fn panic_twice() {
    ///     let _sore = Sore;
    ///     panic!("no luck")
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let error = pool.submit(panic_twice, ()).result().unwrap_err();
    /// assert_eq!(error.exit().unwrap().panic().unwrap().message(), "this as well");
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn panic(&self) -> Option<&Panic> {
        self.last_words.as_ref()
    }
}

impl fmt::Display for WorkerExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let was = if matches!(self.cause, ExitCause::Signal { .. }) { "was " } else { "" };
        write!(f, "the worker (pid {}) {was}{}, {}", self.pid, self.cause, self.phase)?;
        match self.limit {
            Some(limit) => write!(f, "; {limit}")?,
            None if self.oom == Some(true) => f.write_str("; the kernel was out of memory")?,
            None => {}
        }
        match &self.last_words {
            Some(panic) => write!(f, "; its last words: {panic}"),
            None => Ok(()),
        }
    }
}

/// A bound of [`Limits`](crate::Limits) that killed a worker.
///
/// # Examples
///
/// ```
/// use procpool::{LimitHit, Limits, ProcessPoolExecutor, task};
///
/// #[task]
/// fn write(bytes: usize) -> Result<(), String> {
///     let path = std::env::temp_dir().join(format!("limit-{}", std::process::id()));
///     let written = std::fs::write(&path, vec![0; bytes]);
///     std::fs::remove_file(&path).map_err(|error| error.to_string())?;
///     written.map_err(|error| error.to_string())
/// }
///
/// let pool = ProcessPoolExecutor::builder().limits(Limits::new().file_size(1_000)).build()?;
/// assert_eq!(pool.submit(write, 900).result()?, Ok(()));
/// let error = pool.submit(write, 2_000).result().unwrap_err();
/// # let _ = std::fs::remove_file(std::env::temp_dir().join(format!("limit-{}", error.exit().unwrap().pid())));
/// assert_eq!(error.exit().unwrap().limit(), Some(LimitHit::FileSize));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitHit {
    /// [`cpu_time`](crate::Limits::cpu_time): it died of SIGXCPU.
    CpuTime,
    /// [`file_size`](crate::Limits::file_size): it died of SIGXFSZ.
    FileSize,
    /// [`memory`](crate::Limits::memory): the kernel killed it, or something that it started, for want of memory in its
    /// control group.
    Memory,
}

impl fmt::Display for LimitHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LimitHit::CpuTime => "it had used up its CPU time: raise `Limits::cpu_time`",
            LimitHit::FileSize => "it wrote a file beyond its bound: raise `Limits::file_size`",
            LimitHit::Memory => "it had used up its memory: raise `Limits::memory`",
        })
    }
}

/// What a panicking task said.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, task};
///
/// #[task]
/// fn pick(list: &[u32], index: usize) -> u32 {
///     *list.get(index).unwrap_or_else(|| panic!("no item {index}"))
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let error = pool.submit(pick, (&[1, 2], 7)).result().unwrap_err();
/// let panic = error.panic().unwrap();
/// assert_eq!((panic.message(), panic.is_text()), ("no item 7", true));
/// assert!(panic.location().unwrap().contains(".rs:"));
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Panic {
    pub(crate) message: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) backtrace: Option<String>,
}

impl Panic {
    /// The text of the panic, or `non-string payload` when it was thrown with `panic_any`.
    pub fn message(&self) -> &str {
        self.message.as_deref().unwrap_or("non-string payload")
    }

    /// Whether the payload was text.
    pub fn is_text(&self) -> bool {
        self.message.is_some()
    }

    /// `file:line:column`, unless the task replaced the panic hook.
    pub fn location(&self) -> Option<&str> {
        self.location.as_deref()
    }

    /// The worker's backtrace, if `RUST_BACKTRACE` is set.
    pub fn backtrace(&self) -> Option<&str> {
        self.backtrace.as_deref()
    }
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text comes from another process and may end up on a terminal.
        for c in self.message().chars() {
            if c.is_control() && c != '\n' && c != '\t' {
                write!(f, "{}", c.escape_default())?
            } else {
                write!(f, "{c}")?
            }
        }
        match self.location() {
            Some(location) => write!(f, ", at {}", location.escape_debug()),
            None => Ok(()),
        }
    }
}
