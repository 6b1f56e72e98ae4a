//! The parent's end of the link to one worker.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{PoisonError, TryLockError};

use rustix::event::epoll;

use crate::error::Phase;
use crate::primitive::Mutex;
use crate::transport::{Board, Outbound, Piece, Progress};

use super::poller::{Poller, Token};

/// Written by whoever has something for the worker, read by the supervisor alone.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) pid: u32,
    pub(crate) board: Board,
    socket: OwnedFd,
    token: Token,
    /// Frames in their order, put here under the engine's lock.
    queue: Mutex<Vec<Piece>>,
    /// Held while writing to the socket, by one thread at a time.
    outbound: Mutex<Outbound>,
}

impl Link {
    pub(crate) fn new(pid: u32, socket: OwnedFd, board: Board, token: Token) -> Link {
        Link { pid, board, socket, token, queue: Mutex::default(), outbound: Mutex::default() }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Puts a frame in line. Follow it by [`Link::flush`] when no lock is held.
    pub(crate) fn push(&self, piece: Piece) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(piece);
    }

    /// Writes what is in line, as far as the socket takes it; the poller tells when it takes more. If another
    /// thread is at it, that thread writes ours as well.
    pub(crate) fn flush(&self, poller: &Poller) {
        loop {
            let mut outbound = match self.outbound.try_lock() {
                Ok(outbound) => outbound,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            let was_blocked = !outbound.is_empty();
            for piece in self.queue.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                outbound.push(piece);
            }
            let blocked = match outbound.flush(self.socket()) {
                Ok(done) => !done,
                // The worker is dead or deaf. Its end tells what becomes of its tasks.
                Err(_) => {
                    *outbound = Outbound::default();
                    false
                }
            };
            if blocked != was_blocked {
                let mut interest = epoll::EventFlags::IN;
                interest.set(epoll::EventFlags::OUT, blocked);
                poller.change(self.socket(), self.token, interest);
            }
            drop(outbound);
            if blocked || self.queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
                return;
            }
        }
    }

    /// Asks the task that the worker is at to stop: its context says so from now on. Never blocks.
    pub(crate) fn ask_to_stop(&self, seq: u64) {
        self.board.ask_to_stop(seq);
    }

    /// How far a task has come, for the machine.
    pub(crate) fn phase(&self, seq: u64) -> (Phase, u64) {
        let (progress, since) = self.board.progress(seq);
        let phase = match progress {
            Progress::Sent | Progress::Claimed | Progress::Revoked => Phase::Sent,
            Progress::Started => Phase::Running,
            Progress::Finished => Phase::Replying,
        };
        (phase, since)
    }

    /// The worker has taken the task up.
    pub(crate) fn is_running(&self, seq: u64) -> bool {
        !matches!(self.board.progress(seq).0, Progress::Sent | Progress::Revoked)
    }
}
