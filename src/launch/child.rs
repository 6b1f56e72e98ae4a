//! Starts a worker process: this very program, with a socket as its standard input in which its instructions
//! already wait. The only file that names async-process.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_process::Child;

use crate::error::{ExitCause, HandshakeError, LimitHit, StartError};
use crate::faults::{Point, Script};
use crate::sys::leaf::{Ground, Leaf};
use crate::sys::limits::Bounds;
use crate::sys::oom::OomCounts;
use crate::sys::{fd, process, socket, threads};
use crate::transport::Board;
use crate::wire::codec;
use crate::wire::frame::{Header, Kind};

#[cfg(feature = "sandbox")]
use crate::wire::hello::Confinement;
use crate::wire::hello::{HELLO_MAX, Hello, MARKER, Refused, mark};

/// How to make the workers of a pool.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    /// Changes to the environment, in order.
    pub(crate) env: Vec<EnvChange>,
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) limit: u64,
    /// What each worker puts itself under.
    pub(crate) bounds: Bounds,
    /// Where its control groups are made, if it has its own.
    pub(crate) ground: Option<Ground>,
    pub(crate) faults: Script,
    pub(crate) initializer: bool,
    /// Above so many bytes of resident memory a worker asks to be replaced; 0 is no bound.
    pub(crate) max_rss: u64,
    pub(crate) depth: u32,
    #[cfg(feature = "sandbox")]
    pub(crate) sandbox: Option<Confinement>,
}

#[derive(Clone, Debug)]
pub(crate) enum EnvChange {
    Set(OsString, OsString),
    Remove(OsString),
    Clear,
}

/// A worker on its way to becoming ready: the process, and the two ways to talk to it.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) process: Process,
    pub(crate) socket: OwnedFd,
    pub(crate) board: Board,
}

/// A process that has not been reaped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pub(crate) pid: u32,
    /// Readable when the process has ended.
    pub(crate) pidfd: OwnedFd,
    oom_before: OomCounts,
    /// Its own control groups. Removed with this, when it has been reaped.
    leaf: Option<Leaf>,
}

/// Descriptors that a start needs, with some to spare: those of the libraries' own singletons as well, which
/// take a lack of them badly.
const DESCRIPTORS: usize = 14;

/// Starts a worker. If that fails, a process that came into being all the same is killed and reaped: it is the
/// child that this thread did not have before. Others may be the program's own, started by a callback.
pub(crate) fn launch(worker: &Worker, index: usize) -> Result<Launched, StartError> {
    fd::headroom(DESCRIPTORS).map_err(|error| StartError::spawn("open descriptors for a worker", error))?;
    let own = process::own_pidfd()
        .map_err(|error| StartError::spawn("open a descriptor of this process", error))?;
    let (socket, theirs) = socket::pair().map_err(|error| StartError::spawn("make a socket pair", error))?;
    let (board, page) = Board::create().map_err(|error| StartError::spawn("make shared memory", error))?;
    let nonce = nonce().map_err(|error| StartError::spawn("read random bytes", error))?;
    let leaf = leaf(worker, index)?;
    let mut bounds = worker.bounds.clone();
    bounds.groups = leaf.as_ref().map_or_else(Vec::new, Leaf::folders);
    let hello = Hello {
        bounds,
        faults: worker.faults.next_launch(),
        nonce,
        index,
        depth: worker.depth + 1,
        limit: worker.limit,
        initializer: worker.initializer,
        max_rss: worker.max_rss,
        inherited: fd::inheritable().map_err(|error| StartError::spawn("list open descriptors", error))?,
        #[cfg(feature = "sandbox")]
        sandbox: worker.sandbox.clone(),
    };
    socket::send_with(socket.as_fd(), &encode(&hello)?, [own.as_fd(), page.as_fd()])
        .map_err(|error| StartError::spawn("prepare a worker's socket", error))?;
    drop((own, page));

    let oom_before = OomCounts::of(std::process::id());
    let children_before = process::own_children();
    let spawned =
        worker.faults.hit(Point::SpawnBefore).and_then(|()| spawn(worker, &nonce, theirs)).and_then(
            |child| {
                worker.faults.hit(Point::SpawnAfter)?;
                let pidfd = process::pidfd(child.id())?;
                Ok((child, pidfd))
            },
        );
    match spawned {
        Ok((child, pidfd)) => {
            let pid = child.id();
            Ok(Launched { process: Process { child, pid, pidfd, oom_before, leaf }, socket, board })
        }
        Err(error) => {
            drop((socket, board));
            if let Some(before) = children_before {
                process::reap_strays(&before);
            }
            Err(StartError::spawn("start a worker process", error))
        }
    }
}

fn leaf(worker: &Worker, index: usize) -> Result<Option<Leaf>, StartError> {
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

fn encode(hello: &Hello) -> Result<Vec<u8>, StartError> {
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

fn spawn(worker: &Worker, nonce: &[u8; 16], stdin: OwnedFd) -> io::Result<Child> {
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
    command.stdin(Stdio::from(stdin)).reap_on_drop(true);
    // The library panics where it cannot make its two helper threads or its reactor, in one case on a thread of its
    // own, where that ends the program: so the second of them is made here before the first.
    if !AWAKE.load(Ordering::Relaxed) {
        threads::headroom(2)?;
    }
    let spawned = catch_unwind(AssertUnwindSafe(|| {
        async_io::block_on(async {});
        command.spawn()
    }))
    .unwrap_or_else(|_| Err(io::Error::other("the process library has no threads or descriptors left")));
    AWAKE.fetch_or(spawned.is_ok(), Ordering::Relaxed);
    spawned
}

/// What a worker says that cannot be as it was asked to be.
pub(crate) fn start_refused(body: &[u8]) -> StartError {
    match codec::decode::<Refused>(body) {
        Ok(Refused::Limits(message)) => StartError::Limits { message },
        Ok(Refused::Sandbox(message)) => StartError::Sandbox { message },
        Err(garbled) => StartError::Handshake(HandshakeError::Protocol { message: garbled }),
    }
}

/// How a dead worker ended.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) cause: ExitCause,
    pub(crate) oom: Option<bool>,
    pub(crate) limit: Option<LimitHit>,
}

impl Process {
    /// Kills the worker and everything in its process group.
    pub(crate) fn kill(&self) {
        process::kill(self.pidfd.as_fd());
        process::kill_group(self.pid);
    }

    /// Asks the worker and everything in its process group to end.
    pub(crate) fn terminate(&self) {
        process::terminate_group(self.pid);
    }

    /// Collects the exit status of a worker whose `pidfd` is readable, and kills what it left in its group.
    pub(crate) fn reap(mut self) -> Exit {
        process::kill_group(self.pid);
        let struck = match &self.leaf {
            Some(leaf) => leaf.ran_out_of_memory(),
            None => self.oom_before.struck_since(self.pid),
        };
        let memory_bound = struck == Some(true) && self.leaf.is_some();
        let cause = match self.child.try_status() {
            Ok(Some(status)) => cause(status),
            // Somebody else has waited for it.
            Ok(None) | Err(_) => ExitCause::Unknown,
        };
        let oom = match cause {
            ExitCause::Signal { number: libc::SIGKILL, .. } => struck,
            _ => Some(false),
        };
        let limit = match cause {
            ExitCause::Signal { number: libc::SIGXCPU, .. } => Some(LimitHit::CpuTime),
            ExitCause::Signal { number: libc::SIGXFSZ, .. } => Some(LimitHit::FileSize),
            ExitCause::Signal { number: libc::SIGKILL, .. } if memory_bound => Some(LimitHit::Memory),
            _ => None,
        };
        Exit { cause, oom, limit }
    }
}

fn cause(status: ExitStatus) -> ExitCause {
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitCause::Code(code),
        (None, Some(number)) => ExitCause::Signal { number, core_dumped: status.core_dumped() },
        (None, None) => ExitCause::Unknown,
    }
}
