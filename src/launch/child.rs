//! A worker that is a process: this very program, with a socket as its standard input in which its instructions
//! already wait. The only file that names async-process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use rustix::process::WaitIdStatus;

use crate::error::{ExitCause, LimitHit, StartError};
use crate::faults::{Point, Rules};
use crate::sys::leaf::Leaf;
use crate::sys::limits::Bounds;
use crate::sys::oom::{OomCounts, Seen};
use crate::sys::threads::{self, Reserved};
use crate::sys::{fd, process, socket};
use crate::transport::Board;
use crate::wire::codec;
use crate::wire::frame::{Header, Kind};
use crate::wire::hello::{HELLO_MAX, Hello, MARKER, mark};

use super::{EnvChange, Exit, Launched, Worker};

/// A process that has not been reaped.
#[derive(Debug)]
pub(crate) struct Process {
    pub(super) pid: u32,
    /// Readable when the process has ended.
    pub(super) pidfd: OwnedFd,
    /// What was known before it was started.
    seen_before: Seen,
    /// What was counted soon after it had started.
    oom_before: Option<OomCounts>,
    /// Its own control groups. Removed with this, when it has been reaped.
    leaf: Option<Leaf>,
}

/// Descriptors that a start needs, with some to spare: those of the libraries' own singletons as well, which
/// take a lack of them badly.
pub(super) const DESCRIPTORS: usize = 14;

/// Those of them that are not there yet when the process library is asked.
const MORE: u64 = DESCRIPTORS as u64 - 4;

/// Starts a worker. If that fails, a process that came into being all the same is killed and reaped: it is the
/// child that this thread did not have before. Others may be the program's own, started by a callback.
pub(super) fn start(worker: &Worker, index: usize, role: Role) -> Result<Launched, StartError> {
    // The process library panics where it cannot make its two helper threads or its reactor, in one case on a thread of
    // its own, where that ends the program: so the second of them is made here before the first.
    let room = if AWAKE.load(Ordering::Relaxed) { Ok(None) } else { threads::reserve(2).map(Some) };
    let room = room.map_err(|error| StartError::spawn("start a worker process", error))?;
    let own = process::own_pidfd()
        .map_err(|error| StartError::spawn("open a descriptor of this process", error))?;
    let (socket, theirs) = socket::pair().map_err(|error| StartError::spawn("make a socket pair", error))?;
    let no_memory = |error| StartError::spawn("make shared memory", error);
    let draft = Board::draft().map_err(no_memory)?;
    let nonce = nonce().map_err(|error| StartError::spawn("read random bytes", error))?;
    let leaf = if role == Role::Template { None } else { leaf(worker, index)? };
    // As late as can be: what others open from here on without close-on-exec is inherited.
    let inherited = fd::inheritable(MORE).map_err(|error| match error.raw_os_error() {
        Some(libc::EMFILE) => StartError::spawn("open descriptors for a worker", error),
        _ => StartError::spawn("list open descriptors", error),
    })?;
    let letter = letter(&Hello { inherited, ..hello(worker, index, leaf.as_ref(), nonce, role) })?;
    socket::send_with(socket.as_fd(), &letter, [own.as_fd(), draft.fd()])
        .map_err(|error| StartError::spawn("prepare a worker's socket", error))?;
    drop(own);

    let children_before = process::own_children();
    let seen_before = Seen::so_far();
    let not_started = |error| StartError::spawn("start a worker process", error);
    // A script is about workers.
    let hit = |point| if role == Role::Worker { worker.faults.hit(point) } else { Ok(()) };
    let started = || {
        hit(Point::SpawnBefore).map_err(not_started)?;
        let pid = spawn(worker, &nonce, theirs, room).map_err(not_started)?;
        let watched = hit(Point::SpawnAfter).and_then(|()| process::pidfd(pid)).map_err(not_started);
        let whole = watched.and_then(|pidfd| match draft.finish() {
            Ok((board, _)) => Ok((pid, pidfd, board)),
            Err(error) => {
                // What the program starts before `main` is in its group.
                process::kill_group(pidfd.as_fd(), pid);
                Err(no_memory(error))
            }
        });
        whole.inspect_err(|_| process::put_down(pid))
    };
    match started() {
        Ok((pid, pidfd, board)) => {
            let process = Process::new(pid, pidfd, seen_before, leaf);
            Ok(Launched { process: super::Process::Child(process), socket, board })
        }
        Err(error) => {
            drop(socket);
            if let Some(before) = children_before {
                process::reap_strays(&before);
            }
            Err(error)
        }
    }
}

/// What a process is started as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Worker,
    /// It makes copies of itself, which are workers.
    Template,
}

/// What a worker is told before it exists. Nothing of what is open here is inherited by a copy of a template.
pub(super) fn hello(
    worker: &Worker,
    index: usize,
    leaf: Option<&Leaf>,
    nonce: [u8; 16],
    role: Role,
) -> Hello {
    let is_template = role == Role::Template;
    let mut bounds = if is_template { Bounds::default() } else { worker.bounds.clone() };
    bounds.groups = leaf.map_or_else(Vec::new, Leaf::folders);
    let preloads = worker.forks.as_ref().is_some_and(|forks| forks.preload.is_some());
    Hello {
        bounds,
        // Whoever only tells what is possible is none of the workers that a script counts.
        faults: if worker.is_probe() || is_template { Rules::default() } else { worker.faults.next_launch() },
        nonce,
        index,
        depth: worker.depth + 1,
        limit: worker.limit,
        template: is_template,
        alone: worker.alone.clone(),
        initializer: if is_template { preloads } else { worker.initializer },
        max_rss: worker.max_rss,
        spin: worker.spin,
        inherited: Vec::new(),
        #[cfg(feature = "sandbox")]
        sandbox: worker.sandbox.clone(),
    }
}

pub(super) fn leaf(worker: &Worker, index: usize) -> Result<Option<Leaf>, StartError> {
    /// Tells the leaves of this process apart.
    static LEAVES: AtomicU64 = AtomicU64::new(0);
    let Some(ground) = &worker.ground else { return Ok(None) };
    let number = LEAVES.fetch_add(1, Ordering::Relaxed);
    let leaf = ground.grow(&format!("{index}-{number}")).map_err(|message| StartError::Limits { message })?;
    Ok(Some(leaf))
}

fn nonce() -> io::Result<[u8; 16]> {
    let mut nonce = [0; 16];
    match rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty())? {
        16 => Ok(nonce),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// The same as it travels.
pub(super) fn letter(hello: &Hello) -> Result<Vec<u8>, StartError> {
    let mut body = Vec::new();
    codec::encode(hello, &mut body, HELLO_MAX).map_err(|_| {
        let count = hello.inherited.len();
        StartError::invalid(format!(
            "{count} descriptors without close-on-exec are open: too many to keep from workers"
        ))
    })?;
    let header = Header { len: body.len() as u64, ..Header::new(Kind::Hello) };
    Ok([&header.to_bytes()[..], &body].concat())
}

/// The process library has all that it makes once.
static AWAKE: AtomicBool = AtomicBool::new(false);

fn spawn(worker: &Worker, nonce: &[u8; 16], stdin: OwnedFd, room: Option<Reserved>) -> io::Result<u32> {
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = std::env::args_os().next() {
        command.arg0(name);
    }
    for change in &worker.env {
        match change {
            EnvChange::Set(key, value) => command.env(key, value),
            EnvChange::Remove(key) => command.env_remove(key),
            EnvChange::Clear => command.env_clear(),
        };
    }
    command.env(MARKER, mark(nonce, std::process::id()));
    if let Some(dir) = &worker.current_dir {
        command.current_dir(dir);
    }
    // A group of its own: the terminal's signals do not reach it, and it can be killed with what it started.
    command.process_group(0);
    let mut command = async_process::Command::from(command);
    // The library would wait for the child's number, which somebody else's child may have by then: see `Process::reap`.
    command.stdin(Stdio::from(stdin)).reap_on_drop(false);
    if let Some(stdout) = &worker.stdout {
        command.stdout(Stdio::from(stdout.try_clone()?));
    }
    if let Some(stderr) = &worker.stderr {
        command.stderr(Stdio::from(stderr.try_clone()?));
    }
    drop(room);
    let spawned = catch_unwind(AssertUnwindSafe(|| {
        async_io::block_on(async {});
        command.spawn()
    }))
    .unwrap_or_else(|_| Err(io::Error::other("the process library has no threads or descriptors left")));
    AWAKE.fetch_or(spawned.is_ok(), Ordering::Relaxed);
    spawned.map(|child| child.id())
}

impl Process {
    pub(super) fn new(pid: u32, pidfd: OwnedFd, seen_before: Seen, leaf: Option<Leaf>) -> Process {
        Process { pid, pidfd, seen_before, oom_before: None, leaf }
    }

    /// Remembers what its end is to be compared with. That takes longer than anybody should have to wait who has asked for
    /// its start. If it is about to end already, it may be counted among those before it, and that is not known.
    pub(super) fn look_around(&mut self) {
        if self.leaf.is_some() || self.oom_before.is_some() {
            return;
        }
        let counts = OomCounts::own();
        let ends = process::is_exiting(self.pid)
            || matches!(process::ends_by(self.pidfd.as_fd(), Instant::now()), Ok(true));
        self.oom_before = (!ends).then_some(counts);
    }

    /// Kills the worker and everything in its process group.
    pub(super) fn kill(&self) {
        // The group first, which is the worker as well: were this program to end in between, nobody would kill the rest.
        process::kill_group(self.pidfd.as_fd(), self.pid);
        process::kill(self.pidfd.as_fd());
    }

    /// Asks the worker and everything in its process group to end.
    pub(super) fn terminate(&self) {
        process::terminate_group(self.pidfd.as_fd(), self.pid);
    }

    /// Collects the exit status of a worker whose `pidfd` is readable, and kills what it left in its group.
    pub(super) fn reap(self) -> Exit {
        process::kill_group(self.pidfd.as_fd(), self.pid);
        // As long as the kernel tells the groups of the process. Any other end has nothing to do with them.
        let struck = match process::was_killed(self.pidfd.as_fd(), self.pid) {
            true => self.was_struck(),
            false => Some(false),
        };
        let memory_bound = struck == Some(true) && self.leaf.is_some();
        // If there is none, somebody else has waited for it, or a debugger holds it.
        let cause = process::collect(self.pidfd, self.pid).map_or(ExitCause::Unknown, cause);
        let limit = match cause {
            ExitCause::Signal { number: libc::SIGXCPU, .. } => Some(LimitHit::CpuTime),
            ExitCause::Signal { number: libc::SIGXFSZ, .. } => Some(LimitHit::FileSize),
            ExitCause::Signal { number: libc::SIGKILL, .. } if memory_bound => Some(LimitHit::Memory),
            _ => None,
        };
        let oom = match cause {
            ExitCause::Signal { number: libc::SIGKILL, .. } => struck,
            _ => Some(false),
        };
        Exit { cause, oom, limit }
    }

    /// Whether the kernel killed it for want of memory.
    fn was_struck(&self) -> Option<bool> {
        match (&self.leaf, &self.oom_before) {
            (Some(leaf), _) => leaf.ran_out_of_memory(),
            (None, Some(before)) => before.struck_since(self.pid),
            (None, None) => self.seen_before.struck_since(),
        }
    }
}

fn cause(status: WaitIdStatus) -> ExitCause {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => ExitCause::Code(code),
        (None, Some(number)) => ExitCause::Signal { number, core_dumped: status.dumped() },
        (None, None) => ExitCause::Unknown,
    }
}
