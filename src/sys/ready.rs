//! Waiting until descriptors can be read or written.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
    Both,
}

/// Waits until one of these is ready, or is at its end, at most until then; tells of each whether it is.
pub(crate) fn wait(fds: &[(BorrowedFd<'_>, Interest)], until: Option<Instant>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<_> = fds
        .iter()
        .map(|&(fd, interest)| {
            let flags = match interest {
                Interest::Read => PollFlags::IN,
                Interest::Write => PollFlags::OUT,
                Interest::Both => PollFlags::IN | PollFlags::OUT,
            };
            PollFd::from_borrowed_fd(fd, flags)
        })
        .collect();
    loop {
        let rest = until.map(|until| until.saturating_duration_since(Instant::now()));
        let rest = rest.and_then(|rest| Timespec::try_from(rest).ok());
        match poll(&mut polled, rest.as_ref()) {
            Ok(_) => return Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Whether the other end of a connected socket is gone in all processes. What it sent may still be here.
pub(crate) fn is_hung_up(fd: BorrowedFd<'_>) -> bool {
    look(fd, PollFlags::empty()).intersects(PollFlags::HUP | PollFlags::ERR)
}

/// Whether there is something to read, be it the end.
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    !look(fd, PollFlags::IN).is_empty()
}

/// What is true of a descriptor now.
fn look(fd: BorrowedFd<'_>, flags: PollFlags) -> PollFlags {
    let mut polled = [PollFd::from_borrowed_fd(fd, flags)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut polled, Some(&now)) {
        Ok(_) => polled[0].revents(),
        Err(_) => PollFlags::empty(),
    }
}
