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
            let read = match self.decoder.body() {
                Ok(Some(body)) if body.missing() > 0 => {
                    let most = body.missing();
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
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
                Err(error) => return Err(error),
            }
            if let Some(frame) = self.decoder.whole() {
                return Ok(Received::Frame(frame));
            }
        }
    }
}
