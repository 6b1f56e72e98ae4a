//! Frames on their way out, in order, through a socket that may be full.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use crate::sys::socket;
use crate::wire::attach::{Handle, Handles};
use crate::wire::frame::{HEADER, Header};

use super::bell::Bell;
use super::ring::Writer;

/// A frame whose body is shared with whoever may have to send it again.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) header: Header,
    pub(crate) body: Arc<dyn Bytes>,
}

/// The body of a frame.
pub(crate) trait Bytes: fmt::Debug + Send + Sync {
    fn bytes(&self) -> &[u8];

    /// The handles of the value that the bytes are.
    fn handles(&self) -> &[Handle] {
        &[]
    }
}

/// An encoded value.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
    pub(crate) handles: Handles,
}

impl Bytes for Message {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn handles(&self) -> &[Handle] {
        self.handles.as_slice()
    }
}

impl Bytes for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// What has been accepted for sending and has not been sent. Small frames do not stay: they are in the ring at once.
#[derive(Debug)]
pub(crate) struct Outbound {
    ring: Option<Writer>,
    bell: Bell,
    queue: VecDeque<([u8; HEADER], Arc<dyn Bytes>)>,
    /// Bytes of all frames that go through the socket.
    accepted: u64,
    /// Bytes of the first frame that have left.
    gone: usize,
    /// For the owner: the poller is to tell when the socket takes more.
    pub(crate) waits_for_room: bool,
}

/// Frames that go out in one system call.
const BATCH: usize = 32;

impl Outbound {
    /// Without a ring everything goes through the socket. The bell wakes the reader either way.
    pub(crate) fn new(ring: Option<Writer>, bell: Bell) -> Outbound {
        Outbound { ring, bell, queue: VecDeque::new(), accepted: 0, gone: 0, waits_for_room: false }
    }

    pub(crate) fn push(&mut self, Piece { header, body }: Piece) {
        // No more than can be sent were collected.
        let handles = u8::try_from(body.handles().len()).unwrap_or(u8::MAX);
        let header = Header { handles, ..header };
        if let Some(ring) = &mut self.ring
            && ring.push(self.accepted, header, body.bytes())
        {
            return;
        }
        let len = body.bytes().len();
        let header = Header { len: len as u64, ..header };
        self.accepted += (HEADER + len) as u64;
        self.queue.push_back((header.to_bytes(), body));
    }

    /// Nobody will read it, or the kernel does not take the rest. A reader that is there finds the end behind what has left,
    /// and waits for no more.
    pub(crate) fn give_up(&mut self, fd: BorrowedFd<'_>) {
        self.queue.clear();
        self.gone = 0;
        socket::stop_sending(fd);
        self.bell.announce();
        self.bell.ring();
    }

    /// Sends as much as the socket takes, and wakes the reader. `Ok(true)` when nothing is left; `Ok(false)` when it is
    /// full.
    pub(crate) fn flush(&mut self, fd: BorrowedFd<'_>) -> io::Result<bool> {
        let aloud = !self.queue.is_empty();
        let sent = self.send(fd);
        if aloud {
            self.bell.announce();
        }
        self.bell.ring();
        if let Some(ring) = &mut self.ring {
            ring.extend();
        }
        sent
    }

    fn send(&mut self, fd: BorrowedFd<'_>) -> io::Result<bool> {
        while !self.queue.is_empty() {
            let mut slices = Vec::with_capacity(2 * BATCH);
            let mut skip = self.gone;
            let mut handles: &[Handle] = &[];
            for (place, (header, body)) in self.queue.iter().take(BATCH).enumerate() {
                // Descriptors come with the first byte of their frame, which is the first that is sent, and with no
                // bytes of another: that is how the reader knows whose they are.
                if !body.handles().is_empty() && skip == 0 {
                    if place == 0 {
                        handles = body.handles();
                    } else {
                        break;
                    }
                }
                for bytes in [&header[..], body.bytes()] {
                    let skipped = skip.min(bytes.len());
                    skip -= skipped;
                    if skipped < bytes.len() {
                        slices.push(IoSlice::new(&bytes[skipped..]));
                    }
                }
                if !handles.is_empty() {
                    break;
                }
            }
            match send_with(fd, &slices, handles, false) {
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
            let len = header.len() + body.bytes().len();
            if self.gone < len {
                break;
            }
            self.gone -= len;
            self.queue.pop_front();
        }
    }
}

/// Sends some of the pieces, and all of the handles.
///
/// If the kernel does not take the handles, because too many are on their way, it is not the end of the link: the bytes
/// go without them, and whoever decodes them says what is missing.
pub(super) fn send_with(
    fd: BorrowedFd<'_>,
    pieces: &[IoSlice<'_>],
    handles: &[Handle],
    wait: bool,
) -> io::Result<usize> {
    if !handles.is_empty() {
        let descriptors: Vec<_> = handles.iter().map(Handle::as_fd).collect();
        match socket::send_attached(fd, pieces, &descriptors, wait) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {}
            sent => return sent,
        }
    }
    socket::send(fd, pieces, wait)
}

#[cfg(test)]
mod test {
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::luck::Luck;
    use crate::transport::{Board, Inbound, Received};
    use crate::wire::frame::Kind;

    #[test]
    fn frames_of_all_sizes_keep_their_order_through_a_socket_that_is_often_full_and_a_ring() {
        let sizes = [0, 1, 31, 32, 33, 4095, 100_000, 0, 3_000_000, 5, 7, 4097, 4096, 0, 40_000, 12];
        let bytes: Vec<u8> = (0..3_000_000).map(|place| (place % 251) as u8).collect();
        for express in [false, true] {
            let (board, _fd) = Board::create().unwrap();
            let (ours, theirs) = socket::pair().unwrap();
            let ring = express.then(|| board.requests_writer());
            let mut outbound = Outbound::new(ring, board.requests_bell());
            for (seq, &size) in (0..).zip(sizes.iter().cycle().take(sizes.len() * 40)) {
                let body = Arc::new(bytes[..size].to_vec());
                outbound.push(Piece { header: Header { seq, ..Header::new(Kind::Run) }, body });
            }
            let mut inbound =
                Inbound::with_ring(1 << 30, board.requests_reader(), board.requests_bell(), Luck::default());
            let mut seen = Vec::new();
            let mut full = 0;
            while seen.len() < sizes.len() * 40 {
                full += usize::from(!outbound.flush(ours.as_fd()).unwrap());
                while let Received::Frame(frame) = inbound.next(theirs.as_fd(), false).unwrap() {
                    assert!(bytes.starts_with(&frame.body));
                    seen.push((frame.header.seq, frame.body.len()));
                }
            }
            assert!(full > 3, "the socket was to be full several times, was {full}");
            let expected = (0..).zip(sizes.into_iter().cycle().take(sizes.len() * 40));
            assert_eq!(seen, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn who_waits_for_the_rest_of_what_is_given_up_finds_its_end() {
        for express in [false, true] {
            let (board, _fd) = Board::create().unwrap();
            let (ours, theirs) = socket::pair().unwrap();
            let ring = express.then(|| board.requests_writer());
            let mut outbound = Outbound::new(ring, board.requests_bell());
            let body = Arc::new(vec![1_u8; 32 << 20]);
            outbound.push(Piece { header: Header::new(Kind::Run), body });
            assert!(!outbound.flush(ours.as_fd()).unwrap(), "the socket takes all of it");
            let mut inbound = match express {
                true => Inbound::with_ring(
                    1 << 30,
                    board.requests_reader(),
                    board.requests_bell(),
                    Luck::default(),
                ),
                false => Inbound::new(1 << 30),
            };
            let (told, hear) = mpsc::channel();
            thread::spawn(move || told.send(inbound.next(theirs.as_fd(), true).unwrap()));
            outbound.give_up(ours.as_fd());
            let received = hear.recv_timeout(Duration::from_secs(10)).expect("it waits for nothing more");
            assert!(matches!(received, Received::End), "{received:?}");
        }
    }

    #[test]
    fn who_sleeps_at_the_bell_is_told_that_nothing_more_comes() {
        let (board, _fd) = Board::create().unwrap();
        let (ours, theirs) = socket::pair().unwrap();
        let mut outbound = Outbound::new(Some(board.requests_writer()), board.requests_bell());
        let mut inbound =
            Inbound::with_ring(1 << 30, board.requests_reader(), board.requests_bell(), Luck::default());
        let (told, hear) = mpsc::channel();
        let reader = thread::spawn(move || told.send(inbound.next(theirs.as_fd(), true).unwrap()));
        let begun = Instant::now();
        while !board.requests_bell().is_for_a_sleeper() {
            assert!(!reader.is_finished(), "it has something to read");
            assert!(begun.elapsed() < Duration::from_secs(10), "it waits elsewhere");
            thread::yield_now();
        }
        outbound.give_up(ours.as_fd());
        let received = hear.recv_timeout(Duration::from_secs(10)).expect("it sleeps no more");
        assert!(matches!(received, Received::End), "{received:?}");
    }
}
