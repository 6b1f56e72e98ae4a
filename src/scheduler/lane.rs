//! The parent's end of the link to one worker.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{PoisonError, TryLockError};

use rustix::event::epoll;

use crate::error::Phase;
use crate::launch::Worker;
use crate::luck::Luck;
use crate::primitive::{AtomicBool, Mutex, MutexGuard};
use crate::transport::{Bell, Board, Inbound, Outbound, Piece, Progress};

use super::listener::Listener;
use super::poller::{Poller, Token};

/// Written by whoever has something for the worker, read by whoever waits for it.
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
    /// Rung when there is something to read.
    pub(super) bell: Bell,
    listener: Mutex<Listener>,
    /// A thread that waits for a result listens.
    claimed: AtomicBool,
    /// With waiting for a task that has only just been submitted.
    pub(super) luck: Luck,
    /// With waiting that does without sleep.
    pub(super) awake: Luck,
}

/// The right to sleep at the bell, of one thread at a time.
pub(super) struct Claim<'a>(&'a AtomicBool);

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Link {
    /// Frames go through a ring, unless faults have to strike them in the socket.
    pub(crate) fn new(launched: (u32, OwnedFd, Board), token: Token, worker: &Worker) -> Link {
        let (pid, socket, board) = launched;
        let ring = (!worker.faults.cuts_requests()).then(|| board.requests_writer());
        let outbound = Outbound::new(ring, board.requests_bell());
        let bell = board.replies_bell();
        let inbound = Inbound::with_ring(worker.limit, board.replies_reader(), bell.clone(), Luck::default());
        Link {
            pid,
            board,
            socket,
            token,
            queue: Mutex::default(),
            outbound: Mutex::new(outbound),
            bell,
            listener: Mutex::new(Listener::new(inbound)),
            claimed: AtomicBool::new(false),
            luck: Luck::default(),
            awake: Luck::at_calls(worker.spin),
        }
    }

    /// For the one thread that reads what the worker says.
    pub(super) fn listener(&self) -> MutexGuard<'_, Listener> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, if nobody is at it.
    pub(super) fn try_listener(&self) -> Option<MutexGuard<'_, Listener>> {
        match self.listener.try_lock() {
            Ok(listener) => Some(listener),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) fn claim(&self) -> Option<Claim<'_>> {
        // Made only if it is had: its end gives the right back.
        (!self.claimed.swap(true, Ordering::Acquire)).then(|| Claim(&self.claimed))
    }

    /// Puts a frame in line. Follow it by [`Link::flush`] when no lock is held. Called by one thread at a time.
    pub(crate) fn push(&self, piece: Piece) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match self.outbound.try_lock() {
            Ok(mut outbound) if queue.is_empty() => outbound.push(piece),
            // Whoever is writing takes it along.
            _ => queue.push(piece),
        }
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
            for piece in self.queue.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                outbound.push(piece);
            }
            let blocked = match outbound.flush(self.socket()) {
                Ok(done) => !done,
                // The worker is dead or deaf, or the kernel has no memory for this. Its end tells what becomes of its
                // tasks.
                Err(_) => {
                    outbound.give_up(self.socket());
                    false
                }
            };
            if blocked != std::mem::replace(&mut outbound.waits_for_room, blocked) {
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

#[cfg(test)]
mod test {
    use super::super::machine::LaneNo;
    use super::super::poller::What;
    use super::*;
    use crate::sys::socket;

    #[test]
    fn one_thread_at_a_time_has_the_right_to_sleep_however_many_ask() {
        let (board, _fd) = Board::create().unwrap();
        let (ours, _theirs) = socket::pair().unwrap();
        let token = Token { what: What::Socket, lane: LaneNo(0), life: 1 };
        let link = Link::new((1, ours, board), token, &Worker::default());
        let claim = link.claim();
        assert!(claim.is_some());
        for _ in 0..3 {
            assert!(link.claim().is_none(), "who is refused takes nothing from who has it");
        }
        drop(claim);
        assert!(link.claim().is_some());
    }
}
