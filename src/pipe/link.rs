//! One end of the socket, for blocking and for async waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::Async;

use crate::luck::Luck;
use crate::sys::ready::{self, Interest};
use crate::wire::attach::Handle;

/// One end. Nothing blocks in it but [`Link::wait`], whatever mode the descriptor is in: other processes that share it
/// may have set that.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) handle: Handle,
    /// A duplicate, which is registered with the reactor once somebody awaits: the reactor takes a number once only, and
    /// the handle may be known to it already.
    watched: OnceLock<Async<OwnedFd>>,
    luck: Luck,
}

impl Link {
    pub(crate) fn new(handle: Handle) -> Link {
        Link { handle, watched: OnceLock::new(), luck: Luck::default() }
    }

    /// Waits until the socket is ready, or at its end, at most until then; `false` if it is not.
    pub(crate) fn wait(&self, interest: Interest, until: Option<Instant>) -> io::Result<bool> {
        // An answer may come at once.
        let answers = interest == Interest::Read && until.is_none_or(|until| until > Instant::now());
        if answers && self.luck.linger(|| ready::is_readable(self.as_fd())) {
            return Ok(true);
        }
        Ok(ready::wait(&[(self.as_fd(), interest)], until)?[0])
    }

    /// Ready when the socket may be; look again then.
    pub(crate) fn poll(&self, interest: Interest, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let watched = match self.watched.get() {
            Some(watched) => watched,
            None => match Async::new_nonblocking(self.as_fd().try_clone_to_owned()?) {
                Ok(new) => self.watched.get_or_init(|| new),
                Err(error) => return Poll::Ready(Err(error)),
            },
        };
        let readable = match interest {
            Interest::Write => Poll::Pending,
            Interest::Read | Interest::Both => watched.poll_readable(context)?,
        };
        let writable = match interest {
            Interest::Read => Poll::Pending,
            Interest::Write | Interest::Both => watched.poll_writable(context)?,
        };
        if readable.is_ready() || writable.is_ready() { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}
