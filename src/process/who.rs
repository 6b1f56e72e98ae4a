//! Which process this is, which has started it, and which it has started.

use std::io;
use std::os::fd::OwnedFd;

use crate::sys::{cpus, process};
use crate::worker::place::{self, Identity};

use super::child::ChildProcess;
use super::keeper;

/// The processes that this one has started by [`Process`](crate::Process) and that have not ended, in the order of their
/// start. Workers of pools are not among them.
///
/// # Examples
///
/// ```
/// use procpool::{Process, active_children, task};
///
/// #[task]
/// fn park() {
///     loop {
///         std::thread::park()
///     }
/// }
///
/// let process = Process::new(park, ()).start()?;
/// assert_eq!(active_children()[0].pid(), process.pid());
/// process.kill();
/// process.join();
/// assert!(active_children().is_empty());
/// # Ok::<(), procpool::StartError>(())
/// ```
pub fn active_children() -> Vec<ChildProcess> {
    keeper::children()
}

/// This process: see [`current_process`].
///
/// # Examples
///
/// ```
/// assert_eq!(procpool::current_process().name(), "MainProcess");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CurrentProcess(Option<&'static Identity>);

/// This process.
///
/// # Examples
///
/// ```
/// use procpool::{Process, current_process, task};
///
/// #[task]
/// fn who() -> (String, u32, bool) {
///     let this = current_process();
///     (this.name(), this.pid(), this.daemon())
/// }
///
/// let process = Process::new(who, ()).name("probe").daemon(true).start()?;
/// let pid = process.pid();
/// assert_eq!(process.result()?, ("probe".to_owned(), pid, true));
/// assert_eq!(current_process().name(), "MainProcess");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn current_process() -> CurrentProcess {
    CurrentProcess(place::identity())
}

impl CurrentProcess {
    /// `MainProcess` for the program itself, the name of a [`Process`](crate::Process), or `PoolWorker-1` and so on for
    /// the workers of a pool.
    pub fn name(&self) -> String {
        match self.0 {
            None => "MainProcess".to_owned(),
            Some(Identity { alone: Some(alone), .. }) => alone.name.clone(),
            Some(identity) => format!("PoolWorker-{}", identity.path()),
        }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    /// Whether this process ends with the one that started it, as workers of pools and
    /// [daemons](crate::Process::daemon) do. Processes that it starts do as well.
    pub fn daemon(&self) -> bool {
        self.0.is_some_and(Identity::is_tied)
    }

    /// The numbers of its ancestors and its own, each among its siblings, for the names of its children.
    pub(super) fn path(&self) -> Option<String> {
        self.0.map(Identity::path)
    }
}

/// The process that has started this one: see [`parent_process`].
///
/// # Examples
///
/// ```
/// assert!(procpool::parent_process().is_none(), "this is the program itself");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ParentProcess(u32);

/// The process that has started this one as a [`Process`](crate::Process) or as the worker of a pool; `None` in the
/// program itself.
///
/// # Examples
///
/// ```
/// use procpool::{Process, parent_process, task};
///
/// #[task]
/// fn started_by() -> Option<u32> {
///     parent_process().filter(|parent| parent.is_alive()).map(|parent| parent.pid())
/// }
///
/// assert_eq!(Process::new(started_by, ()).start()?.result()?, Some(std::process::id()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn parent_process() -> Option<ParentProcess> {
    place::identity().map(|identity| ParentProcess(identity.parent))
}

impl ParentProcess {
    /// The process id that it has, or had.
    pub fn pid(&self) -> u32 {
        self.0
    }

    /// It has not ended. Only a process that is no [daemon](crate::Process::daemon) can see that it has.
    pub fn is_alive(&self) -> bool {
        // A process whose parent has ended has another one from then on.
        process::parent() == self.0
    }

    /// A descriptor that is readable when it has ended: a pidfd.
    ///
    /// # Errors
    ///
    /// It has ended, or there are no descriptors left.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, parent_process, task};
    ///
    /// #[task]
    /// fn has_a_parent() -> bool {
    ///     parent_process().is_some_and(|parent| parent.sentinel().is_ok())
    /// }
    ///
    /// assert!(Process::new(has_a_parent, ()).start()?.result()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sentinel(&self) -> io::Result<OwnedFd> {
        let ended = || io::Error::new(io::ErrorKind::NotFound, "the parent process has ended");
        let pidfd = process::pidfd(self.0)?;
        // If it still is the parent, the number was its own when it was looked up.
        if self.is_alive() { Ok(pidfd) } else { Err(ended()) }
    }
}

/// The number of CPUs of the machine that are online, at least 1: Python's `cpu_count`. How many of them this process may
/// use is [`default_max_workers`](crate::default_max_workers).
///
/// # Examples
///
/// ```
/// assert!(procpool::cpu_count() >= 1);
/// ```
pub fn cpu_count() -> usize {
    cpus::online()
}
