//! What waits in its socket for a worker before it exists, and for a template before it makes a copy.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::sys::socket;
use crate::wire::codec;
use crate::wire::frame::{HEADER, Header, Kind};
use crate::wire::hello::{HELLO_MAX, Hello};

/// A hello that was looked at.
pub(super) struct Letter<const N: usize> {
    pub(super) hello: Hello,
    /// The descriptors that came with it.
    pub(super) attached: [OwnedFd; N],
    bytes: Vec<u8>,
}

impl<const N: usize> Letter<N> {
    /// Looks for one without waiting, and leaves what is there where it is: it may be somebody else's.
    ///
    /// First at how long it is: memory for the longest would stay with every worker.
    pub(super) fn peek(socket: BorrowedFd<'_>) -> io::Result<Letter<N>> {
        let garbled = || io::Error::from(io::ErrorKind::InvalidData);
        let mut header = [0; HEADER];
        if socket::peek(socket, &mut header)? < HEADER {
            return Err(garbled());
        }
        let header = Header::from_bytes(&header, HELLO_MAX as u64).map_err(|_| garbled())?;
        if header.kind != Kind::Hello {
            return Err(garbled());
        }
        let mut bytes = vec![0; HEADER + header.len as usize];
        let (seen, attached) = socket::peek_with(socket, &mut bytes)?;
        let body = bytes[..seen].get(HEADER..).filter(|_| seen == bytes.len()).ok_or_else(garbled)?;
        let hello = codec::decode(body).map_err(|_| garbled())?;
        Ok(Letter { hello, attached, bytes })
    }

    /// Takes it out of the socket that it was seen in.
    pub(super) fn take(mut self, socket: BorrowedFd<'_>) -> io::Result<(Hello, [OwnedFd; N])> {
        socket::take(socket, &mut self.bytes)?;
        Ok((self.hello, self.attached))
    }
}
