//! The worker's sending half of a link: small frames into the ring, the others into the socket, blocking.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::socket;
use crate::wire::attach::Handle;
use crate::wire::frame::{HEADER, Header, Kind};

use super::bell::{Bell, Wish};
use super::outbound::send_with;
use super::ring::Writer;

#[derive(Debug)]
pub(crate) struct Speaker {
    socket: OwnedFd,
    ring: Writer,
    bell: Bell,
    /// Bytes of all frames that went through the socket.
    sent: u64,
    /// Which socket it was at first.
    identity: Option<u64>,
}

impl Speaker {
    pub(crate) fn new(socket: OwnedFd, ring: Writer, bell: Bell) -> Speaker {
        let identity = socket::identity(socket.as_fd());
        Speaker { socket, ring, bell, sent: 0, identity }
    }

    /// Whether the descriptor still is what it was at first: a task may have closed it, or put something else there.
    pub(crate) fn is_intact(&self) -> bool {
        self.identity.is_some() && socket::identity(self.socket()) == self.identity
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(crate) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Sends one frame, whole, and tells whoever waits for it.
    pub(crate) fn say(&mut self, header: Header, body: &[u8]) -> io::Result<()> {
        self.say_with(header, body, &[])
    }

    /// Sends one frame, whole, with the handles of the value that its body is.
    pub(crate) fn say_with(&mut self, header: Header, body: &[u8], handles: &[Handle]) -> io::Result<()> {
        if !handles.is_empty() {
            return self.say_aloud(header, body, handles);
        }
        self.ring.extend();
        if !self.ring.push(self.sent, header, body) {
            return self.say_aloud(header, body, &[]);
        }
        match self.bell.ring() {
            Wish::Message => self.say_aloud(Header::new(Kind::Look), &[], &[]),
            Wish::None | Wish::Wake => Ok(()),
        }
    }

    /// Leaves one frame for whoever looks, and does not call.
    pub(crate) fn say_quietly(&mut self, header: Header) -> io::Result<()> {
        match self.ring.push(self.sent, header, &[]) {
            true => Ok(()),
            false => self.say_aloud(header, &[], &[]),
        }
    }

    /// Sends one frame through the socket.
    pub(crate) fn say_aloud(&mut self, header: Header, body: &[u8], handles: &[Handle]) -> io::Result<()> {
        // No more than can be sent were collected.
        let header = Header { handles: u8::try_from(handles.len()).unwrap_or(u8::MAX), ..header };
        let sent = send_some(self.socket(), header, body, handles, 0, false)?;
        self.bell.announce();
        // Whoever sleeps at the bell has to know before this thread waits for the room that it makes.
        self.bell.ring_for_sleeper();
        if sent < HEADER + body.len() {
            send_some(self.socket(), header, body, handles, sent, true)?;
        }
        self.sent += (HEADER + body.len()) as u64;
        Ok(())
    }
}

/// Sends one frame, whole, through a socket that nobody shares memory beside.
pub(crate) fn send(socket: BorrowedFd<'_>, header: Header, body: &[u8]) -> io::Result<()> {
    send_some(socket, header, body, &[], 0, true).map(drop)
}

/// Sends a frame of which so many bytes have been sent: all that is left, or what can be sent without waiting. Says how
/// much has been sent then.
fn send_some(
    socket: BorrowedFd<'_>,
    header: Header,
    body: &[u8],
    handles: &[Handle],
    mut sent: usize,
    wait: bool,
) -> io::Result<usize> {
    let header = Header { len: body.len() as u64, ..header }.to_bytes();
    while sent < HEADER + body.len() {
        let pieces = [&header[sent.min(HEADER)..], &body[sent.saturating_sub(HEADER)..]];
        let handles = if sent == 0 { handles } else { &[] };
        match send_with(socket, &pieces.map(IoSlice::new), handles, wait) {
            Ok(more) => sent += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !wait => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
