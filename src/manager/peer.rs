//! The lines from this process to those that keep objects: each is in use by one call at a time, and kept for the next.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use super::talk::Line;
use crate::pipe::Connection;
use crate::sys::own_pid::own_pid;
use crate::sys::socket;
use crate::wire::attach::Handle;

/// Who keeps an object: the process that made its door, which nobody can forge, and the name of the table there.
pub(super) type PeerName = (u32, u64);

/// Lines that are kept for the next calls: each is a thread at its other end.
const IDLE_MAX: usize = 8;

static PEERS: LazyLock<Mutex<HashMap<PeerName, Weak<Peer>>>> = LazyLock::new(Mutex::default);

/// A process that keeps objects, as long as this one has a proxy of any of them.
#[derive(Debug)]
pub(super) struct Peer {
    name: PeerName,
    owner: u32,
    idle: Mutex<Vec<Line>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peer {
    pub(super) fn get(name: PeerName) -> Arc<Peer> {
        let mut peers = lock(&PEERS);
        if let Some(known) = peers.get(&name).and_then(Weak::upgrade) {
            return known;
        }
        let peer = Arc::new(Peer { name, owner: own_pid(), idle: Mutex::default() });
        peers.insert(name, Arc::downgrade(&peer));
        peer
    }

    /// A line, and its other end if that has still to be brought to the door.
    pub(super) fn line(&self) -> io::Result<(Line, Option<OwnedFd>)> {
        // In a copy of the program, made by `fork`, the lines are those of the original.
        if self.owner == own_pid()
            && let Some(line) = lock(&self.idle).pop()
        {
            return Ok((line, None));
        }
        let (ours, theirs) = socket::packet_pair()?;
        Ok((Connection::of(Handle::new(ours)), Some(theirs)))
    }

    /// The line is free for the next call. After many calls at a time most are closed.
    pub(super) fn keep(&self, line: Line) {
        let mut idle = lock(&self.idle);
        if self.owner == own_pid() && idle.len() < IDLE_MAX {
            idle.push(line);
        }
    }

    /// Whether this process has made it, or is a copy of the one that has.
    pub(super) fn is_own(&self) -> bool {
        self.owner == own_pid()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // In a copy of the program the lock may be held for ever.
        if self.owner != own_pid() {
            return;
        }
        let mut peers = lock(&PEERS);
        if peers.get(&self.name).is_some_and(|peer| peer.strong_count() == 0) {
            peers.remove(&self.name);
        }
    }
}
