//! Frames as they come in, through whatever pieces the socket hands out.

use std::io;
use std::os::fd::BorrowedFd;

use crate::luck::Luck;
use crate::sys::{ready, socket, spare};
use crate::wire::frame::{Decoder, Frame, HEADER, Malformed};

use super::arrivals::Arrivals;
use super::bell::{Bell, Wish};
use super::ring::{Popped, Reader};

/// What a read gave.
#[derive(Debug)]
pub(crate) enum Received {
    Frame(Frame),
    /// Nothing more for now.
    Nothing,
    /// Nothing more for ever.
    End,
    /// No frame. What follows cannot be read, there or anywhere if it was in the ring.
    Malformed {
        malformed: Malformed,
        in_ring: bool,
    },
}

/// The receiving half of a link.
#[derive(Debug)]
pub(crate) struct Inbound {
    decoder: Decoder,
    limit: u64,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that have been decoded.
    used: usize,
    /// Bytes of all frames that have come through the socket.
    taken: u64,
    /// Descriptors that came through the socket, and whose frame is not whole.
    arrivals: Arrivals,
    express: Option<Express>,
}

/// What comes beside the socket.
#[derive(Debug)]
struct Express {
    ring: Reader,
    bell: Bell,
    luck: Luck,
    /// What was announced when the socket was last found empty.
    emptied: Option<u64>,
}

const BUFFER: usize = 64 << 10;

/// Looks at the ring, each of them some 30 ns, before one at the socket.
const LOOK_AT_SOCKET: u32 = 1 << 12;

impl Inbound {
    /// Of a link that is a socket and nothing else.
    pub(crate) fn new(limit: u64) -> Inbound {
        Inbound {
            decoder: Decoder::new(limit),
            limit,
            buffer: Vec::new(),
            used: 0,
            taken: 0,
            arrivals: Arrivals::default(),
            express: None,
        }
    }

    /// Of a link with a ring, at whose bell the next frame is waited for.
    pub(crate) fn with_ring(limit: u64, ring: Reader, bell: Bell, luck: Luck) -> Inbound {
        Inbound { express: Some(Express { ring, bell, luck, emptied: None }), ..Inbound::new(limit) }
    }

    /// The next frame; `wait` says whether to block for it.
    pub(crate) fn next(&mut self, fd: BorrowedFd<'_>, wait: bool) -> io::Result<Received> {
        let mut all = usize::MAX;
        self.next_within(fd, wait, &mut all)
    }

    /// The next frame, if it comes with so many bytes, of which those that were read are taken off. When none are
    /// left, there is nothing more for now.
    pub(crate) fn next_within(
        &mut self,
        fd: BorrowedFd<'_>,
        wait: bool,
        bytes: &mut usize,
    ) -> io::Result<Received> {
        // A ring that has a frame for later promises bytes in the socket.
        let mut promised = false;
        loop {
            if *bytes == 0 {
                return Ok(Received::Nothing);
            }
            // Before each frame of the socket: what is here may come before it, and was written before it.
            if let Some(Express { ring, .. }) = &mut self.express {
                match ring.pop(self.taken, self.limit) {
                    Ok(Popped::Frame(frame)) => {
                        *bytes = bytes.saturating_sub(HEADER + frame.body.len());
                        return Ok(Received::Frame(frame));
                    }
                    Ok(Popped::Later) => promised = true,
                    Ok(Popped::Nothing) => {}
                    Err(malformed) => return Ok(Received::Malformed { malformed, in_ring: true }),
                }
            }
            while self.used < self.buffer.len() {
                let mut rest = &self.buffer[self.used..];
                let fed = self.decoder.feed(&mut rest);
                self.used = self.buffer.len() - rest.len();
                match fed {
                    Ok(Some(frame)) => return Ok(self.take(frame)),
                    Ok(None) => {}
                    Err(malformed) => return Ok(Received::Malformed { malformed, in_ring: false }),
                }
            }
            self.buffer.clear();
            self.used = 0;
            self.arrivals.keep_for(self.taken);
            let announced = self.express.as_ref().map(|express| express.bell.announced());
            // In the middle of a frame the rest of it comes through the socket, whatever else there is.
            let at_socket = promised || self.express.is_none() || self.decoder.is_at_work();
            if wait
                && !at_socket
                && let Some(express) = &mut self.express
                && express.emptied == announced
            {
                express.wait(fd, announced.unwrap_or_default());
                continue;
            }
            let read = match self.decoder.body() {
                Ok(Some(body)) if body.missing() > 0 => {
                    let most = body.missing().min(*bytes);
                    socket::receive(fd, body.bytes, most, wait)
                }
                Ok(_) => {
                    self.buffer.reserve(BUFFER);
                    socket::receive(fd, &mut self.buffer, BUFFER, wait && at_socket)
                }
                Err(malformed) => return Ok(Received::Malformed { malformed, in_ring: false }),
            };
            match read {
                Ok((0, _)) => return Ok(self.last()),
                Ok((read, descriptors)) => {
                    *bytes = bytes.saturating_sub(read);
                    self.arrivals.add(read, descriptors);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match &mut self.express {
                    Some(express) if wait => {
                        express.emptied = announced;
                        express.wait(fd, announced.unwrap_or_default());
                    }
                    // Who does not wait reads from a worker, which writes to the socket first, and all of it.
                    _ if promised => {
                        return Ok(Received::Malformed { malformed: Malformed::Ring, in_ring: true });
                    }
                    _ => return Ok(Received::Nothing),
                },
                Err(error) => return Err(error),
            }
            promised = false;
            if let Some(frame) = self.decoder.whole() {
                return Ok(self.take(frame));
            }
        }
    }

    /// The next frame, if it is in the ring.
    pub(crate) fn next_express(&mut self) -> Received {
        match self.express.as_mut().map(|express| express.ring.pop(self.taken, self.limit)) {
            Some(Ok(Popped::Frame(frame))) => Received::Frame(frame),
            Some(Err(malformed)) => Received::Malformed { malformed, in_ring: true },
            Some(Ok(Popped::Later | Popped::Nothing)) | None => Received::Nothing,
        }
    }

    /// Nothing more is taken from the socket: what is in the ring waits for nothing there.
    pub(crate) fn give_up_socket(&mut self) {
        self.taken = u64::MAX;
    }

    /// Whether nothing waits in the ring.
    pub(crate) fn is_ring_empty(&self) -> bool {
        self.express.as_ref().is_none_or(|express| express.ring.is_empty())
    }

    fn take(&mut self, mut frame: Frame) -> Received {
        if frame.header.handles > 0 {
            frame.handles = self.arrivals.take(self.taken, frame.header.handles);
        }
        self.taken += HEADER as u64 + frame.body.len() as u64;
        Received::Frame(frame)
    }

    /// The socket has ended: what the ring holds was written before that.
    fn last(&mut self) -> Received {
        match self.next_express() {
            Received::Nothing => Received::End,
            other => other,
        }
    }
}

impl Express {
    /// Waits until there may be something, in the ring or in the socket, which was empty when that was announced.
    fn wait(&mut self, fd: BorrowedFd<'_>, announced: u64) {
        // Who looks for long sees the end of the socket as well.
        let (mut looks, mut is_over) = (0_u32, false);
        let came = self.luck.linger_until(spare::until(), || {
            looks = looks.wrapping_add(1);
            is_over = looks.is_multiple_of(LOOK_AT_SOCKET) && ready::is_hung_up(fd);
            is_over || !self.is_quiet(announced)
        });
        if is_over {
            self.emptied = None;
        }
        if came {
            return;
        }
        // Nobody announces the end of the socket, which is that of the other side.
        if ready::is_hung_up(fd) {
            self.emptied = None;
            return;
        }
        self.bell.wish(Wish::Wake);
        if self.is_quiet(announced) {
            self.bell.sleep(spare::until());
        }
        self.bell.wish(Wish::None);
        spare::release();
    }

    fn is_quiet(&self, announced: u64) -> bool {
        self.ring.is_empty() && self.bell.announced() == announced
    }
}

#[cfg(test)]
mod test {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::transport::{Board, Speaker};
    use crate::wire::frame::{Header, Kind};

    #[test]
    fn a_frame_that_promises_bytes_which_were_not_written_is_no_frame() {
        let (board, _fd) = Board::create().unwrap();
        let (own, _other) = UnixStream::pair().unwrap();
        let mut inbound =
            Inbound::with_ring(1 << 20, board.replies_reader(), board.replies_bell(), Luck::default());
        assert!(board.replies_writer().push(1, Header::new(Kind::Done), b""));
        let received = inbound.next(own.as_fd(), false).unwrap();
        assert!(
            matches!(received, Received::Malformed { malformed: Malformed::Ring, in_ring: true }),
            "{received:?}"
        );
    }

    #[test]
    fn the_end_of_a_socket_is_seen_although_nobody_announces_it() {
        for luck in [Luck::default(), Luck::at_calls(Some(Duration::from_secs(3600)))] {
            let (board, _fd) = Board::create().unwrap();
            let (own, other) = UnixStream::pair().unwrap();
            let mut inbound =
                Inbound::with_ring(1 << 20, board.requests_reader(), board.requests_bell(), luck);
            if let Some(express) = &mut inbound.express {
                express.emptied = Some(express.bell.announced());
            }
            drop(other);
            let (told, hear) = std::sync::mpsc::channel();
            std::thread::spawn(move || told.send(inbound.next(own.as_fd(), true).unwrap()));
            let received = hear.recv_timeout(Duration::from_secs(10)).expect("it does not sleep");
            assert!(matches!(received, Received::End), "{received:?}");
        }
    }

    #[test]
    fn frames_keep_their_order_wherever_a_turn_ends() {
        let said = [(1, false), (2, true), (3, false), (4, true), (5, true), (6, false)];
        for turn in 1..6 * HEADER {
            let (board, _fd) = Board::create().unwrap();
            let (own, other) = UnixStream::pair().unwrap();
            let mut speaker = Speaker::new(other.into(), board.replies_writer(), board.replies_bell());
            for (seq, in_ring) in said {
                let header = Header { seq, ..Header::new(Kind::Done) };
                if in_ring { speaker.say(header, b"") } else { speaker.say_aloud(header, b"", &[]) }.unwrap();
            }
            let mut inbound =
                Inbound::with_ring(1 << 20, board.replies_reader(), board.replies_bell(), Luck::default());
            let mut bytes = turn;
            for (seq, _) in said {
                let frame = loop {
                    match inbound.next_within(own.as_fd(), false, &mut bytes).unwrap() {
                        Received::Nothing => bytes = turn,
                        Received::Frame(frame) => break frame,
                        other => panic!("{other:?}"),
                    }
                };
                assert_eq!(frame.header.seq, seq, "in turns of {turn} bytes");
            }
        }
    }

    #[test]
    fn a_large_frame_is_read_a_turn_at_a_time() {
        let (own, mut other) = UnixStream::pair().unwrap();
        let body = vec![7; 100_000];
        other.write_all(&Header { len: body.len() as u64, ..Header::new(Kind::Done) }.to_bytes()).unwrap();
        other.write_all(&body).unwrap();
        let mut inbound = Inbound::new(1 << 20);
        let mut turns = 1;
        let frame = loop {
            let mut bytes = 10_000;
            match inbound.next_within(own.as_fd(), false, &mut bytes).unwrap() {
                Received::Nothing => assert_eq!(bytes, 0, "it has all arrived"),
                Received::Frame(frame) => break frame,
                other => panic!("{other:?}"),
            }
            turns += 1;
        };
        assert_eq!(frame.body, body);
        assert!((2..=11).contains(&turns), "{turns} turns");
        assert!(matches!(inbound.next(own.as_fd(), false), Ok(Received::Nothing)));
    }
}
