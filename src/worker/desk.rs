//! What one worker shares with those who work for its tasks: its page, and the bell on it.
//!
//! A thread hears the bell: it tells those who cannot look, but have to be woken, that the task is asked to stop. It
//! starts when the first of them comes; a worker whose tasks only ever look has no such thread.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};

use crate::primitive::{AtomicBool, Mutex, MutexGuard, thread};
use crate::sys::process;
use crate::transport::Board;

use super::current::Running;

pub(crate) struct Desk {
    pub(super) board: Board,
    /// Nobody waits any more for what is done here.
    left: AtomicBool,
    bell: Mutex<Bell>,
}

struct Bell {
    /// Whom to tell: a worker runs one task at a time, so it is the last one that anybody waited for.
    running: Weak<Running>,
    /// The thread is there.
    listening: bool,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("left", &self.left).finish_non_exhaustive()
    }
}

impl Desk {
    pub(crate) fn new(board: Board) -> Arc<Desk> {
        let bell = Bell { running: Weak::new(), listening: false };
        Arc::new(Desk { board, left: AtomicBool::new(false), bell: Mutex::new(bell) })
    }

    /// Whether this task is asked to stop.
    pub(super) fn is_asked(&self, seq: u64) -> bool {
        self.board.is_asked(seq) || self.is_left()
    }

    /// The worker is given up: what runs in it is asked to stop, and nothing that it does counts any more.
    ///
    /// Tells whether it still was there.
    pub(crate) fn leave(&self) -> bool {
        let left = self.left.swap(true, Ordering::AcqRel);
        self.board.ring();
        // If it waits for a task, it finds its socket shut.
        let requests = self.board.requests_bell();
        requests.announce();
        requests.ring();
        !left
    }

    /// Whether nothing counts any more that is done here.
    pub(super) fn is_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// The flag of that, for whoever looks at it again and again.
    pub(super) fn left(&self) -> &AtomicBool {
        &self.left
    }

    fn bell(&self) -> MutexGuard<'_, Bell> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on listens for this task. Called while it runs.
    pub(super) fn listen(self: &Arc<Desk>, running: &Arc<Running>) {
        let mut bell = self.bell();
        if bell.running.as_ptr() != Arc::as_ptr(running) {
            bell.running = Arc::downgrade(running);
        }
        if !bell.listening {
            let desk = Arc::clone(self);
            let started = thread::Builder::new().name("procpool-bell".to_owned()).spawn(move || desk.hear());
            bell.listening = started.is_ok();
        }
    }

    /// Whether there is a thread that listens: there may have been no room for another. Then whoever waits looks
    /// again and again, and each look tries to start it.
    pub(super) fn is_listening(&self) -> bool {
        self.bell().listening
    }

    fn hear(&self) {
        process::block_signals();
        loop {
            // Both read before the look: a ring after it ends the wait at once.
            let rung = self.board.rung();
            let left = self.is_left();
            let running = self.bell().running.upgrade();
            if let Some(running) = running {
                running.look();
            }
            if left {
                return;
            }
            self.board.await_bell(rung);
        }
    }
}
