//! Making workers exist: as processes, or as threads of this program.

mod child;
mod copy;
mod forkserver;
#[cfg(feature = "sandbox")]
mod probe;
mod thread;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{ExitCause, HandshakeError, LimitHit, StartError};
use crate::faults::Script;
use crate::sys::leaf::Ground;
use crate::sys::limits::Bounds;
use crate::transport::Board;
use crate::wire::codec;
use crate::wire::hello::Alone;
#[cfg(feature = "sandbox")]
use crate::wire::hello::Confinement;
use crate::wire::hello::Refused;

pub(crate) use forkserver::{ForkServer, Origin, Preload};
#[cfg(feature = "sandbox")]
pub(crate) use probe::probe;

/// How to make the workers of a pool.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    /// They are threads of this program.
    pub(crate) inline: bool,
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
    /// How long both sides look for what the other one says before they sleep, if that is set.
    pub(crate) spin: Option<Duration>,
    pub(crate) depth: u32,
    /// They are copies of a template.
    pub(crate) forks: Option<ForkServer>,
    /// It is a process of its own and no worker of a pool.
    pub(crate) alone: Option<Alone>,
    /// Where its output goes, if not where that of this process does.
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    #[cfg(feature = "sandbox")]
    pub(crate) sandbox: Option<Confinement>,
}

impl Worker {
    /// It is there to tell what a sandbox can enforce, and ends then.
    fn is_probe(&self) -> bool {
        #[cfg(feature = "sandbox")]
        return self.sandbox.as_ref().is_some_and(|sandbox| sandbox.probe);
        #[cfg(not(feature = "sandbox"))]
        false
    }
}

#[derive(Clone, Debug)]
pub(crate) enum EnvChange {
    Set(OsString, OsString),
    Remove(OsString),
    Clear,
}

/// When to [look around](Process::look_around) after a start: nobody waits for that start any more.
pub(crate) const AFTERWARDS: Duration = Duration::from_millis(2);

/// A worker on its way to becoming ready, and the two ways to talk to it.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) process: Process,
    pub(crate) socket: OwnedFd,
    pub(crate) board: Board,
}

/// A worker that has not been reaped.
#[derive(Debug)]
pub(crate) enum Process {
    Child(child::Process),
    Thread(thread::Thread),
}

/// How a worker that is no more ended.
#[derive(Debug)]
pub(crate) struct Exit {
    pub(crate) cause: ExitCause,
    pub(crate) oom: Option<bool>,
    pub(crate) limit: Option<LimitHit>,
}

pub(crate) fn launch(worker: &Worker, index: usize) -> Result<Launched, StartError> {
    match &worker.forks {
        _ if worker.inline => thread::start(worker, index),
        Some(forks) => forks.start(worker, index),
        None => child::start(worker, index, child::Role::Worker),
    }
}

impl Process {
    /// The process that it runs in.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Process::Child(child) => child.pid,
            Process::Thread(_) => std::process::id(),
        }
    }

    /// Readable when it has ended.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        match self {
            Process::Child(child) => child.pidfd.as_fd(),
            Process::Thread(thread) => thread.ended.as_fd(),
        }
    }

    /// To be called [afterwards](AFTERWARDS): what a death may come of is told by comparison with what is there now. Of one
    /// that dies before, it is not always known.
    pub(crate) fn look_around(&mut self) {
        if let Process::Child(child) = self {
            child.look_around();
        }
    }

    /// Ends it, with everything in its process group. A thread is given up: it ends for the pool.
    pub(crate) fn kill(&self) {
        match self {
            Process::Child(child) => child.kill(),
            Process::Thread(thread) => thread.give_up(),
        }
    }

    /// Asks it and everything in its process group to end. A thread's task has its context, and no more.
    pub(crate) fn terminate(&self) {
        if let Process::Child(child) = self {
            child.terminate();
        }
    }

    /// How a worker ended whose [`ended`](Process::ended) is readable.
    pub(crate) fn reap(self) -> Exit {
        match self {
            Process::Child(child) => child.reap(),
            Process::Thread(thread) => Exit { cause: thread.cause(), oom: Some(false), limit: None },
        }
    }
}

/// What a worker says that cannot be as it was asked to be.
pub(crate) fn start_refused(body: &[u8]) -> StartError {
    match codec::decode::<Refused>(body) {
        Ok(Refused::Limits(message)) => StartError::Limits { message },
        Ok(Refused::Fork(message)) => StartError::spawn("copy the template", io::Error::other(message)),
        Ok(Refused::Sandbox(message)) => StartError::Sandbox { message },
        Err(garbled) => StartError::Handshake(HandshakeError::Protocol { message: garbled }),
    }
}
