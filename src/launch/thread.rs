//! A worker that is a thread of this program, for debugging: the same loop, the same socket, the same page; only
//! nobody can kill it.
//!
//! It is given up instead: its socket is shut, its task is asked to stop, and for the pool it has ended. The task goes
//! on until it ends by itself, and nobody hears of it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::event::EventfdFlags;

use crate::error::{ExitCause, StartError};
use crate::primitive::{AtomicBool, thread};
use crate::sys::socket;
use crate::transport::Board;
use crate::worker::place::Place;
use crate::worker::{Desk, Serve, Work, serve_here};

use super::{Launched, Process, Worker};

/// As much as the main thread of a worker process usually has.
const STACK: usize = 8 << 20;

#[derive(Debug)]
pub(crate) struct Thread {
    /// Readable when it has ended, or was given up.
    pub(super) ended: OwnedFd,
    /// Another descriptor of our end of its socket.
    socket: OwnedFd,
    desk: Arc<Desk>,
    given_up: AtomicBool,
}

/// Tells that a worker has ended, however it did.
struct Ending {
    ended: OwnedFd,
    desk: Arc<Desk>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.desk.leave();
        signal(&self.ended);
    }
}

fn signal(ended: &OwnedFd) {
    // It cannot be full: it is signalled twice at most.
    let _ = rustix::io::write(ended, &1_u64.to_ne_bytes());
}

pub(super) fn start(worker: &Worker, index: usize) -> Result<Launched, StartError> {
    let failed = |error| StartError::spawn("start a worker thread", error);
    let ended = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|errno| failed(errno.into()))?;
    let (ours, theirs) = socket::pair().map_err(failed)?;
    let (board, page) = Board::create().map_err(failed)?;
    let desk = Desk::new(Board::open(page.as_fd()).map_err(failed)?);
    let ending = Ending { ended: ended.try_clone().map_err(failed)?, desk: Arc::clone(&desk) };
    let socket = ours.try_clone().map_err(failed)?;
    let work = Serve {
        socket: theirs,
        desk: Arc::clone(&desk),
        limit: worker.limit,
        work: Work::Pool,
        initializer: worker.initializer,
        max_rss: 0,
        keeps_memory: true,
        spin: worker.spin,
    };
    let place = Place { index, depth: worker.depth + 1 };
    let run = move || {
        let ending = ending;
        let channel = serve_here(place, work);
        drop(ending);
        drop(channel);
    };
    let named = thread::Builder::new().name(format!("procpool:{index}")).stack_size(STACK);
    named.spawn(run).map_err(failed)?;
    let thread = Thread { ended, socket, desk, given_up: AtomicBool::new(false) };
    Ok(Launched { process: Process::Thread(thread), socket: ours, board })
}

impl Thread {
    pub(super) fn give_up(&self) {
        // First, so that nothing that it says in answer to this is heard.
        socket::shut(&self.socket);
        if self.desk.leave() {
            self.given_up.store(true, Ordering::Relaxed);
        }
        signal(&self.ended);
    }

    pub(super) fn cause(&self) -> ExitCause {
        if self.given_up.load(Ordering::Relaxed) { ExitCause::Abandoned } else { ExitCause::Code(0) }
    }
}
