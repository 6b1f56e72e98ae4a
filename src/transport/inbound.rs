//! Frames as they come in, through whatever pieces the socket hands out.

use std::io;
use std::os::fd::BorrowedFd;

use crate::sys::socket;
use crate::wire::frame::{Decoder, Frame, Malformed};

/// What a read gave.
#[derive(Debug)]
pub(crate) enum Received {
    Frame(Frame),
    /// Nothing more for now.
    Nothing,
    /// Nothing more for ever.
    End,
    /// No frame. What follows cannot be read.
    Malformed(Malformed),
}

/// The receiving half of a link.
#[derive(Debug)]
pub(crate) struct Inbound {
    decoder: Decoder,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that have been decoded.
    used: usize,
}

const BUFFER: usize = 64 << 10;

impl Inbound {
    pub(crate) fn new(limit: u64) -> Inbound {
        Inbound { decoder: Decoder::new(limit), buffer: Vec::new(), used: 0 }
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
        loop {
            while self.used < self.buffer.len() {
                let mut rest = &self.buffer[self.used..];
                let fed = self.decoder.feed(&mut rest);
                self.used = self.buffer.len() - rest.len();
                match fed {
                    Ok(Some(frame)) => return Ok(Received::Frame(frame)),
                    Ok(None) => {}
                    Err(malformed) => return Ok(Received::Malformed(malformed)),
                }
            }
            self.buffer.clear();
            self.used = 0;
            if *bytes == 0 {
                return Ok(Received::Nothing);
            }
            let read = match self.decoder.body() {
                Ok(Some(body)) if body.missing() > 0 => {
                    let most = body.missing().min(*bytes);
                    socket::receive(fd, body.bytes, most, wait)
                }
                Ok(_) => {
                    self.buffer.reserve(BUFFER);
                    socket::receive(fd, &mut self.buffer, BUFFER, wait)
                }
                Err(malformed) => return Ok(Received::Malformed(malformed)),
            };
            match read {
                Ok(0) => return Ok(Received::End),
                Ok(read) => *bytes = bytes.saturating_sub(read),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
                Err(error) => return Err(error),
            }
            if let Some(frame) = self.decoder.whole() {
                return Ok(Received::Frame(frame));
            }
        }
    }
}

#[cfg(test)]
mod test {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::wire::frame::{Header, Kind};

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
