//! A process that was started, whatever it was started for.

use std::fmt;
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::error::ExitCause;
use crate::launch::Exit;
use crate::park;
use crate::sys::process;
use crate::task::guarded;

use super::keeper;

/// A process that was started by [`Process::start`](crate::Process::start), without the type of its result: what
/// [`active_children`](crate::active_children) lists, and what a [`ProcessHandle`](crate::ProcessHandle) can do beside
/// giving the result.
///
/// A clone is another handle of the same process. Dropping handles does nothing to it: it runs on, and when it has ended
/// it is collected without anybody asking, so there never is a zombie.
///
/// A handle belongs to the process that made it. In a copy of that, made by `fork`, it signals nobody.
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
/// Process::new(park, ()).name("sleeper").daemon(true).start()?;
/// for child in active_children() {
///     assert_eq!(child.name(), "sleeper");
///     child.terminate();
///     child.join();
///     assert_eq!(child.exitcode(), Some(-15));
/// }
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone)]
pub struct ChildProcess(Arc<Shared>);

/// What is known of a process before it exists.
pub(super) struct Description {
    pub(super) name: String,
    pub(super) daemon: bool,
    /// What it writes, if that is captured.
    pub(super) stdout: Option<File>,
    pub(super) stderr: Option<File>,
}

struct Shared {
    description: Description,
    pid: u32,
    /// Readable when it has ended.
    pidfd: OwnedFd,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Its number may be another process's.
    collected: bool,
    /// Set after it was collected.
    exit: Option<ExitCause>,
    waiting: Vec<Waker>,
}

impl ChildProcess {
    pub(super) fn new(description: Description, pid: u32, pidfd: OwnedFd) -> ChildProcess {
        ChildProcess(Arc::new(Shared { description, pid, pidfd, state: Mutex::default() }))
    }

    pub(super) fn is(&self, other: &ChildProcess) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Nothing of the user's runs under this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Collects its exit status, between two signals and not beside one: nobody is hit who has its number later.
    pub(super) fn collect(&self, reap: impl FnOnce() -> Exit) -> Exit {
        let mut state = self.state();
        state.collected = true;
        reap()
    }

    /// Tells those who wait for its end.
    pub(super) fn settle(&self, exit: ExitCause) {
        let mut state = self.state();
        state.exit = Some(exit);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for waker in waiting {
            let _ = guarded(|| waker.wake());
        }
    }

    fn signal(&self, send: fn(BorrowedFd<'_>, u32)) {
        if keeper::is_copy() {
            return;
        }
        let state = self.state();
        if !state.collected {
            send(self.0.pidfd.as_fd(), self.0.pid);
        }
    }

    /// Blocks until the process has ended, and says how. May be called again, and from many threads; it says the same
    /// each time. Do not call it in async code: await [`joined`](ChildProcess::joined) instead.
    ///
    /// Nothing has to be taken from the process before: its result and its captured output wait here, not there.
    ///
    /// # Panics
    ///
    /// In a callback on a pool's own thread, if the process has not ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ExitCause, Process, task};
    ///
    /// #[task]
    /// fn hello(name: &str) {
    ///     println!("hello, {name}");
    /// }
    ///
    /// let process = Process::new(hello, "world").start()?;
    /// assert_eq!(process.join(), ExitCause::Code(0));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn join(&self) -> ExitCause {
        park::block_on(self.joined())
    }

    /// Blocks until the process has ended or the time is over; then `None`, and the process goes on.
    ///
    /// # Panics
    ///
    /// As [`join`](ChildProcess::join).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let process = Process::new(park, ()).start()?;
    /// assert!(process.join_timeout(Duration::from_millis(10)).is_none());
    /// process.kill();
    /// assert!(process.join_timeout(Duration::from_secs(10)).is_some());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn join_timeout(&self, timeout: Duration) -> Option<ExitCause> {
        // A deadline beyond the clock's range is none.
        park::block_until(self.joined(), Instant::now().checked_add(timeout))
    }

    /// [`join`](ChildProcess::join) for async code. Cancellation safe.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ExitCause, Process, task};
    ///
    /// #[task]
    /// fn leave() {
    ///     std::process::exit(3)
    /// }
    ///
    /// # procpool::__private::block_on(async {
    /// let process = Process::new(leave, ()).start()?;
    /// assert_eq!(process.joined().await, ExitCause::Code(3));
    /// # Ok::<(), procpool::StartError>(())
    /// # }).unwrap();
    /// ```
    pub fn joined(&self) -> impl Future<Output = ExitCause> + Send + '_ {
        poll_fn(|context| self.poll_joined(context))
    }

    fn poll_joined(&self, context: &Context<'_>) -> Poll<ExitCause> {
        let mut state = self.state();
        if let Some(exit) = state.exit {
            return Poll::Ready(exit);
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// The process has not ended. When this is `false`, [`exitcode`](ChildProcess::exitcode) is known.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let process = Process::new(park, ()).start()?;
    /// assert!(process.is_alive());
    /// process.kill();
    /// process.join();
    /// assert!(!process.is_alive());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn is_alive(&self) -> bool {
        self.exit().is_none()
    }

    /// How the process ended; `None` while it runs.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ExitCause, Process, task};
    ///
    /// #[task]
    /// fn crash() {
    ///     std::process::abort()
    /// }
    ///
    /// let process = Process::new(crash, ()).start()?;
    /// process.join();
    /// assert!(matches!(process.exit(), Some(ExitCause::Signal { number: 6, .. })));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn exit(&self) -> Option<ExitCause> {
        self.state().exit
    }

    /// How the process ended, as a number; `None` while it runs.
    ///
    /// As if the task were the `main` of a program: 0 when it returned, 1 when it returned an `Err`, or when its
    /// arguments or its result could not cross, 101 when it panicked (1 in Python), and what it gave to
    /// [`exit`](std::process::exit). As in Python, `-N` when signal N ended it. 255 if it is gone and somebody else has
    /// taken its status, see [`ExitCause::Unknown`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn check(n: i32) -> Result<i32, String> {
    ///     match n {
    ///         0 => panic!("zero"),
    ///         1.. => Ok(n),
    ///         _ => Err("negative".to_owned()),
    ///     }
    /// }
    ///
    /// for (n, code) in [(1, 0), (-1, 1), (0, 101)] {
    ///     let process = Process::new(check, n).start()?;
    ///     process.join();
    ///     assert_eq!(process.exitcode(), Some(code));
    /// }
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn exitcode(&self) -> Option<i32> {
        self.exit().map(|cause| match cause {
            ExitCause::Code(code) => code,
            ExitCause::Signal { number, .. } => -number,
            ExitCause::Unknown | ExitCause::Abandoned => 255,
        })
    }

    /// Asks the process, and everything in its process group, to end: SIGTERM. Does not wait. One that has ended is left
    /// alone. A Rust program that says nothing about this signal ends at once, without running its destructors.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let process = Process::new(park, ()).start()?;
    /// process.terminate();
    /// process.join();
    /// assert_eq!(process.exitcode(), Some(-15));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn terminate(&self) {
        self.signal(process::terminate_group);
    }

    /// Ends the process, and everything in its process group, whatever they do: SIGKILL. Does not wait. One that has
    /// ended is left alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn spin() {
    ///     loop {
    ///         std::hint::spin_loop()
    ///     }
    /// }
    ///
    /// let process = Process::new(spin, ()).start()?;
    /// process.kill();
    /// process.join();
    /// process.kill(); // does nothing
    /// assert_eq!(process.exitcode(), Some(-9));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn kill(&self) {
        self.signal(|pidfd, pid| {
            // The group first: were this program to end in between, nobody would kill the rest. It may have left it.
            process::kill_group(pidfd, pid);
            process::kill(pidfd);
        });
    }

    /// Interrupts the process, and everything in its process group, as Ctrl-C does: SIGINT. Does not wait. One that has
    /// ended is left alone. A program that ignores interrupts, as in the background of a shell, has processes that do.
    /// Python's `interrupt` of 3.14.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let process = Process::new(park, ()).start()?;
    /// process.interrupt();
    /// # if process.join_timeout(std::time::Duration::from_secs(2)).is_none() {
    /// #     process.kill(); // interrupts are ignored here
    /// #     return Ok(());
    /// # }
    /// process.join();
    /// assert_eq!(process.exitcode(), Some(-2));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn interrupt(&self) {
        self.signal(process::interrupt_group);
    }

    /// The process id. When the process has ended it may be another process's.
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// What [`Process::name`](crate::Process::name) has said, or a name that was made up: `Process-1`, `Process-2`, and
    /// `Process-2:1` for the first one that the second has started.
    pub fn name(&self) -> &str {
        &self.0.description.name
    }

    /// Whether the process ends with this one: see [`Process::daemon`](crate::Process::daemon).
    pub fn daemon(&self) -> bool {
        self.0.description.daemon
    }

    /// A descriptor that is readable when the process has ended: a pidfd, for `poll` and its kin. It stays readable.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::AsFd;
    /// use procpool::{Process, task};
    /// use rustix::event::{PollFd, PollFlags, poll};
    ///
    /// #[task]
    /// fn nothing() {}
    ///
    /// let process = Process::new(nothing, ()).start()?;
    /// poll(&mut [PollFd::new(&process.sentinel(), PollFlags::IN)], None)?;
    /// process.join(); // at once, or nearly so
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.0.pidfd.as_fd()
    }

    /// What the process has written to its standard output so far, if that is
    /// [`Captured`](crate::ProcessStdio::Captured). Whatever it started writes there too.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Process, ProcessStdio, task};
    ///
    /// #[task]
    /// fn hello(name: &str) {
    ///     println!("hello, {name}");
    /// }
    ///
    /// let process = Process::new(hello, "world").stdout(ProcessStdio::Captured).start()?;
    /// process.join();
    /// assert_eq!(process.stdout().unwrap(), b"hello, world\n");
    /// assert_eq!(process.stderr(), None);
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn stdout(&self) -> Option<Vec<u8>> {
        self.0.description.stdout.as_ref().map(contents)
    }

    /// What the process has written to its standard error so far, if that is
    /// [`Captured`](crate::ProcessStdio::Captured).
    pub fn stderr(&self) -> Option<Vec<u8>> {
        self.0.description.stderr.as_ref().map(contents)
    }
}

/// All that is in a file of memory by now.
fn contents(file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read_at(&mut buffer, bytes.len() as u64) {
            Ok(0) => return bytes,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Memory has no other errors.
            Err(_) => return bytes,
        }
    }
}

impl AsFd for ChildProcess {
    /// As [`sentinel`](ChildProcess::sentinel).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sentinel()
    }
}

impl fmt::Debug for ChildProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildProcess")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .field("daemon", &self.daemon())
            .field("exit", &self.exit())
            .finish()
    }
}
