//! Frames on their way out, in order, through a socket that may be full.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::sys::socket;
use crate::wire::frame::{HEADER, Header};

/// A frame whose body is shared with whoever may have to send it again.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) header: Header,
    pub(crate) body: Arc<Vec<u8>>,
}

/// What has been accepted for sending and has not been sent.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    queue: VecDeque<([u8; HEADER], Arc<Vec<u8>>)>,
    /// Bytes of the first frame that have left.
    gone: usize,
}

/// Frames that go out in one system call.
const BATCH: usize = 32;

impl Outbound {
    pub(crate) fn push(&mut self, piece: Piece) {
        let header = Header { len: piece.body.len() as u64, ..piece.header };
        self.queue.push_back((header.to_bytes(), piece.body));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends as much as the socket takes. `Ok(true)` when nothing is left; `Ok(false)` when it is full.
    pub(crate) fn flush(&mut self, fd: BorrowedFd<'_>) -> io::Result<bool> {
        while !self.queue.is_empty() {
            let mut slices = Vec::with_capacity(2 * BATCH);
            let mut skip = self.gone;
            for (header, body) in self.queue.iter().take(BATCH) {
                for bytes in [&header[..], &body[..]] {
                    let skipped = skip.min(bytes.len());
                    skip -= skipped;
                    if skipped < bytes.len() {
                        slices.push(IoSlice::new(&bytes[skipped..]));
                    }
                }
            }
            match socket::send(fd, &slices, false) {
                Ok(sent) => self.sent(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn sent(&mut self, bytes: usize) {
        self.gone += bytes;
        while let Some((header, body)) = self.queue.front() {
            let len = header.len() + body.len();
            if self.gone < len {
                break;
            }
            self.gone -= len;
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod test {
    use std::os::fd::AsFd;

    use super::*;
    use crate::transport::{Inbound, Received};
    use crate::wire::frame::Kind;

    #[test]
    fn frames_of_all_sizes_pass_a_socket_that_is_often_full() {
        let (ours, theirs) = socket::pair().unwrap();
        let sizes = [0, 1, 31, 32, 33, 4095, 100_000, 0, 3_000_000, 5];
        let mut outbound = Outbound::default();
        for (seq, &size) in (0..).zip(&sizes) {
            let body = Arc::new((0..size).map(|i| (i % 251) as u8).collect());
            outbound.push(Piece { header: Header { seq, ..Header::new(Kind::Run) }, body });
        }
        let mut inbound = Inbound::new(1 << 30);
        let mut seen = Vec::new();
        let mut full = 0;
        while seen.len() < sizes.len() {
            full += usize::from(!outbound.flush(ours.as_fd()).unwrap());
            while let Received::Frame(frame) = inbound.next(theirs.as_fd(), false).unwrap() {
                assert!(frame.body.iter().zip(0..).all(|(&byte, i)| byte == (i % 251) as u8));
                seen.push((frame.header.seq, frame.body.len()));
            }
        }
        assert!(full > 3, "the socket was to be full several times, was {full}");
        assert_eq!(seen, (0..).zip(sizes).collect::<Vec<_>>());
    }
}
