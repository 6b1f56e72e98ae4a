//! The thread that hears the bell on the shared page: it tells those who cannot look, but have to be woken, that
//! the task is asked to stop.
//!
//! It starts when the first of them comes. A worker whose tasks only ever look has no such thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use crate::sys::process;
use crate::transport::Board;

use super::current::Running;

struct Bell {
    /// Whom to tell: a worker runs one task at a time, so it is the last one that anybody waited for.
    running: Weak<Running>,
    /// The thread is there.
    listening: bool,
}

static BELL: Mutex<Bell> = Mutex::new(Bell { running: Weak::new(), listening: false });

fn bell() -> MutexGuard<'static, Bell> {
    BELL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on listens for this task. Called while it runs.
pub(super) fn listen(running: &Arc<Running>) {
    let mut bell = bell();
    if bell.running.as_ptr() != Arc::as_ptr(running) {
        bell.running = Arc::downgrade(running);
    }
    if !bell.listening {
        let board = running.board();
        let started = thread::Builder::new().name("procpool-bell".to_owned()).spawn(move || hear(board));
        bell.listening = started.is_ok();
    }
}

/// Whether there is a thread that listens: there may have been no room for another. Then whoever waits looks
/// again and again, and each look tries to start it.
pub(crate) fn is_listening() -> bool {
    bell().listening
}

fn hear(board: &Board) {
    process::block_signals();
    loop {
        // Read before the look: a ring after it ends the wait at once.
        let rung = board.rung();
        let running = bell().running.upgrade();
        if let Some(running) = running {
            running.look();
        }
        board.await_bell(rung);
    }
}
