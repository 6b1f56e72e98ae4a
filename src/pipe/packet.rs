//! Messages as packets: a socket that keeps the boundaries of what is written to it, so a packet comes whole or not at
//! all, and descriptors come with the packet that they were sent with.
//!
//! A small message is one packet. A large one is several, each with the number of bytes that are left, so that whoever
//! reads knows when one is missing, or when packets of two messages are mixed.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};

use crate::error::RecvError;
use crate::sys::socket::{self, Packet};
use crate::wire::attach::{HANDLES_MAX, Handle, Handles};

/// Bytes before the body of each packet.
const HEAD: usize = 16;

/// Bytes of a body, at most.
const BODY_MAX: usize = (64 << 10) - HEAD;

/// Where a system allows less than this, there is no pipe.
const BODY_MIN: usize = 512;

/// A message of more bytes takes memory as they arrive.
const FIRST: usize = 1 << 20;

/// What is kept of messages that came while this side was sending: beyond this, they wait in the socket.
const KEPT: usize = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A value.
    Value = 1,
    /// Bytes as they are.
    Bytes = 2,
    /// More of what came before.
    Rest = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    kind: Kind,
    /// Descriptors that come with the packet.
    handles: u8,
    /// Bytes of the message from here on.
    left: u64,
}

impl Head {
    fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        (bytes[0], bytes[1]) = (self.kind as u8, self.handles);
        bytes[8..].copy_from_slice(&self.left.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; HEAD]) -> Option<Head> {
        let [kind, handles, 0, 0, 0, 0, 0, 0, left @ ..] = bytes else { return None };
        let kind = [Kind::Value, Kind::Bytes, Kind::Rest].into_iter().find(|known| *known as u8 == kind)?;
        let may = kind == Kind::Value && usize::from(handles) <= HANDLES_MAX;
        (handles == 0 || may).then_some(Head { kind, handles, left: u64::from_le_bytes(left) })
    }
}

/// A whole message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
    pub(super) handles: Handles,
}

/// A message on its way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    message: Message,
    /// Bytes that have left.
    sent: usize,
    /// A packet has left.
    pub(super) begun: bool,
}

/// How large packets may be. Less where a system has little room for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyMax(usize);

impl Default for BodyMax {
    fn default() -> BodyMax {
        BodyMax(BODY_MAX)
    }
}

impl Outgoing {
    pub(super) fn new(message: Message) -> Outgoing {
        Outgoing { message, sent: 0, begun: false }
    }

    /// Sends as many packets as the socket takes. `Ok(true)` when all have left.
    pub(super) fn flush(&mut self, fd: BorrowedFd<'_>, max: &mut BodyMax) -> io::Result<bool> {
        let attached: Vec<_> = match self.begun {
            false => self.message.handles.as_slice().iter().map(Handle::as_fd).collect(),
            true => Vec::new(),
        };
        let mut attached = &attached[..];
        loop {
            let rest = &self.message.bytes[self.sent..];
            let kind = if self.begun { Kind::Rest } else { self.message.kind };
            // No more than can be sent were collected.
            let handles = u8::try_from(attached.len()).unwrap_or(u8::MAX);
            let head = Head { kind, handles, left: rest.len() as u64 }.to_bytes();
            let body = &rest[..rest.len().min(max.0)];
            let pieces = [IoSlice::new(&head), IoSlice::new(body)];
            let sent = match attached {
                [] => socket::send(fd, &pieces, false),
                _ => socket::send_attached(fd, &pieces, attached, false),
            };
            match sent {
                Ok(_) => {
                    self.sent += body.len();
                    self.begun = true;
                    attached = &[];
                    if self.sent == self.message.bytes.len() {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if socket::is_too_long(&error) && max.0 / 2 >= BODY_MIN => max.0 /= 2,
                Err(error) => return Err(error),
            }
        }
    }

    /// The memory of a message that is not needed any more.
    pub(super) fn into_memory(self) -> Vec<u8> {
        self.message.bytes
    }
}

/// What came.
#[derive(Debug)]
pub(super) enum Pumped {
    Packet,
    /// Nothing for now.
    Nothing,
    /// Nothing for ever.
    End,
}

/// Messages on their way in.
#[derive(Debug)]
pub(super) struct Incoming {
    /// The first packet of a message is read to here.
    scratch: Vec<u8>,
    arriving: Option<Arriving>,
    /// Bytes of a message that is too large, and are thrown away.
    unwanted: u64,
    /// Whole messages, and what went wrong between them.
    pub(super) ready: VecDeque<Result<Message, RecvError>>,
    /// Bytes of those.
    kept: usize,
    pub(super) ended: bool,
}

#[derive(Debug)]
struct Arriving {
    message: Message,
    left: u64,
}

impl Incoming {
    pub(super) fn new() -> Incoming {
        Incoming {
            scratch: Vec::new(),
            arriving: None,
            unwanted: 0,
            ready: VecDeque::new(),
            kept: 0,
            ended: false,
        }
    }

    /// Nothing is here that has not been handed out.
    pub(super) fn is_empty(&self) -> bool {
        self.arriving.is_none() && self.ready.is_empty() && self.unwanted == 0
    }

    /// Whether more should be read before what is here is taken.
    pub(super) fn has_room(&self) -> bool {
        !self.ended && (self.ready.is_empty() || self.kept < KEPT)
    }

    /// Takes the next message, or what came instead of it, from what is here.
    pub(super) fn take(&mut self) -> Option<Result<Message, RecvError>> {
        let next = self.ready.pop_front()?;
        if let Ok(message) = &next {
            self.kept -= message.bytes.len();
        }
        Some(next)
    }

    /// Reads one packet, if there is one. What cannot be a message becomes an error in the place of one.
    pub(super) fn pump(&mut self, fd: BorrowedFd<'_>, limit: usize) -> io::Result<Pumped> {
        if self.ended {
            return Ok(Pumped::End);
        }
        let mut head = [0; HEAD];
        let body = match &mut self.arriving {
            Some(Arriving { message, left }) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(BODY_MAX);
                if message.bytes.capacity() - message.bytes.len() < most {
                    let more = message.bytes.len().max(most).min(usize::try_from(*left).unwrap_or(most));
                    message.bytes.try_reserve_exact(more).map_err(|_| io::ErrorKind::OutOfMemory)?;
                }
                &mut message.bytes
            }
            None => {
                self.scratch.clear();
                self.scratch.reserve(BODY_MAX);
                &mut self.scratch
            }
        };
        let before = body.len();
        let Packet { head: has_head, body: len, descriptors, cut } =
            match socket::receive_packet(fd, &mut head, body) {
                Ok(packet) => packet,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Pumped::Nothing),
                Err(error) => return Err(error),
            };
        if has_head == 0 {
            self.ended = true;
            if self.arriving.take().is_some() || std::mem::take(&mut self.unwanted) > 0 {
                self.ready.push_back(Err(RecvError::Cut));
            }
            return Ok(Pumped::End);
        }
        let head = (has_head == HEAD && !cut).then(|| Head::from_bytes(head)).flatten();
        match head {
            Some(Head { kind: Kind::Rest, left, .. }) if descriptors.is_empty() => self.go_on(left, len),
            Some(head) if head.kind != Kind::Rest && self.arriving.is_none() && self.unwanted == 0 => {
                debug_assert_eq!(before, 0, "it was read to the scratch");
                let handles = Handles::arrived(head.handles.into(), descriptors);
                self.begin(head, len, handles, limit);
            }
            _ => self.malformed("a packet with a head that cannot be, or that is out of turn"),
        }
        Ok(Pumped::Packet)
    }

    fn begin(&mut self, Head { kind, left, .. }: Head, len: usize, handles: Handles, limit: usize) {
        let Some(missing) = left.checked_sub(len as u64) else {
            return self.malformed("a packet with more bytes than its message has");
        };
        if left > limit as u64 {
            self.unwanted = missing;
            return self.ready.push_back(Err(RecvError::TooLarge { size: left, limit: limit as u64 }));
        }
        if missing > 0 && len == 0 {
            return self.malformed("a packet without bytes, of a message that has some");
        }
        let mut bytes = Vec::with_capacity(if missing > 0 { FIRST.min(left as usize) } else { len });
        bytes.extend_from_slice(&self.scratch);
        let message = Message { kind, bytes, handles };
        match missing {
            0 => self.done(message),
            left => self.arriving = Some(Arriving { message, left }),
        }
    }

    /// More of a message, of which so many bytes were left.
    fn go_on(&mut self, left: u64, len: usize) {
        if let Some(Arriving { left: expected, .. }) = &mut self.arriving {
            if *expected != left || len as u64 > left || len == 0 {
                return self.malformed("packets of two messages at once");
            }
            *expected -= len as u64;
            if let Some(Arriving { message, .. }) = self.arriving.take_if(|arriving| arriving.left == 0) {
                self.done(message);
            }
        } else if self.unwanted == left && left > 0 && len as u64 <= left && len > 0 {
            self.unwanted -= len as u64;
        } else {
            self.malformed("a packet that continues nothing");
        }
    }

    fn done(&mut self, message: Message) {
        self.kept += message.bytes.len();
        self.ready.push_back(Ok(message));
    }

    fn malformed(&mut self, message: &str) {
        self.arriving = None;
        self.unwanted = 0;
        self.ready.push_back(Err(RecvError::Malformed { message: message.to_owned() }));
    }
}
