//! What wakes those who wait, and says when there is nobody to wait for: one end of a socket.
//!
//! All producers have the one end of it, all consumers the other, and so do messages on their way to another process. So
//! the kernel knows when the last of one side is gone, however it went.
//!
//! Who finds nothing takes out what has come, says that it waits (`store.rs`), and sleeps until something is there to be
//! read; both under the lock of the queue. Who then changes that reads nothing and sends one byte, before the change.
//! The byte stays until somebody finds nothing again: so whoever sleeps is woken by it, and it is not lost with anybody
//! who is killed.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Instant;

use async_io::Async;

use crate::sync::kernel::{ready, socket};
use crate::sys::ready::Interest;
use crate::wire::attach::Handle;

#[derive(Debug)]
pub(super) struct Bell {
    pub(super) handle: Handle,
    /// A duplicate, which is registered with the reactor once somebody awaits.
    watched: OnceLock<Async<OwnedFd>>,
}

/// Nobody has the other end any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// Whether an error of a socket says that the other end is gone.
pub(super) fn says_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

impl Bell {
    pub(super) fn new(handle: Handle) -> Bell {
        Bell { handle, watched: OnceLock::new() }
    }

    /// Wakes the other side.
    pub(super) fn ring(&self) -> io::Result<Result<(), Gone>> {
        match socket::send(self.handle.as_fd(), &[IoSlice::new(&[1])], false) {
            Ok(_) => Ok(Ok(())),
            // What is there already wakes them as well.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Ok(())),
            Err(error) if says_gone(&error) => Ok(Err(Gone)),
            Err(error) => Err(error),
        }
    }

    /// Takes out what has come.
    pub(super) fn silence(&self) -> io::Result<Result<(), Gone>> {
        let (mut head, mut body) = ([0], Vec::new());
        loop {
            match socket::receive_packet(self.handle.as_fd(), &mut head, &mut body) {
                Ok(packet) if packet.head == 0 => return Ok(Err(Gone)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Ok(())),
                Err(error) if says_gone(&error) => return Ok(Err(Gone)),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn is_gone(&self) -> bool {
        ready::is_hung_up(self.handle.as_fd())
    }

    /// Waits until the other side has something to say, or is gone, at most until then; `false` if that was too short.
    pub(super) fn wait(&self, until: Option<Instant>) -> io::Result<bool> {
        Ok(ready::wait(&[(self.handle.as_fd(), Interest::Read)], until)?[0])
    }

    /// The same, async. Many can wait at a time.
    pub(super) async fn wait_async(&self) -> io::Result<()> {
        let watched = match self.watched.get() {
            Some(watched) => watched,
            None => {
                let new = Async::new_nonblocking(self.handle.as_fd().try_clone_to_owned()?)?;
                self.watched.get_or_init(|| new)
            }
        };
        watched.readable().await
    }
}
