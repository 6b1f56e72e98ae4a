//! The two directions of an end, whatever the type of their messages.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use serde::Serialize;

use super::link::Link;
use super::packet::{BodyMax, Incoming, Kind, Message, Outgoing, Pumped};
use crate::error::{RecvError, SendError};
use crate::sys::own_pid::own_pid;
use crate::sys::ready::Interest;
use crate::sys::socket;
use crate::wire::attach::Handles;
use crate::wire::codec::{self, EncodeError};

/// The bytes that a message may have, unless an end is told otherwise.
const LIMIT: usize = 1 << 30;

/// Memory that an end keeps for its next message.
const MEMORY: usize = 1 << 20;

/// One direction of an end whose other direction somebody else may have: then it is closed by itself when it is dropped,
/// in the process that it was made in, unless it has gone to another.
#[derive(Debug)]
pub(super) struct Half {
    shared: AtomicBool,
    owner: u32,
}

impl Half {
    fn new(shared: bool) -> Half {
        Half { shared: AtomicBool::new(shared), owner: own_pid() }
    }

    pub(super) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    fn closes(&self) -> bool {
        self.is_shared() && self.owner == own_pid()
    }
}

/// The direction that sends.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) link: Arc<Link>,
    pub(super) half: Half,
    outgoing: Option<Outgoing>,
    /// For the next message.
    memory: Vec<u8>,
    body_max: BodyMax,
    pub(super) limit: usize,
}

/// The direction that receives.
#[derive(Debug)]
pub(super) struct In {
    pub(super) link: Arc<Link>,
    pub(super) half: Half,
    incoming: Incoming,
    pub(super) limit: usize,
}

impl Out {
    pub(super) fn new(link: Arc<Link>, shared: bool) -> Out {
        let half = Half::new(shared);
        Out { link, half, outgoing: None, memory: Vec::new(), body_max: BodyMax::default(), limit: LIMIT }
    }

    /// Another direction is somebody else's from now on.
    pub(super) fn share(&self) {
        self.half.shared.store(true, Ordering::Relaxed);
    }

    /// It goes to another process: what becomes of it there is not decided here.
    pub(super) fn leave(&self) {
        self.half.shared.store(false, Ordering::Relaxed);
    }

    /// Whether a part of a message has left, and the rest has not.
    pub(super) fn is_at_work(&self) -> bool {
        self.outgoing.as_ref().is_some_and(|outgoing| outgoing.begun)
    }

    /// Makes a value the next message. What was put here before has left.
    pub(super) fn put_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SendError> {
        let mut bytes = self.memory();
        match codec::encode_attached(value, &mut bytes, self.limit) {
            Ok(handles) => {
                self.put(Kind::Value, bytes, handles);
                Ok(())
            }
            Err(EncodeError::Refused(message)) => Err(SendError::Encode { message }),
            Err(EncodeError::TooLarge) => {
                Err(SendError::TooLarge { size: codec::size(value), limit: self.limit as u64 })
            }
        }
    }

    /// Makes bytes the next message.
    pub(super) fn put_bytes(&mut self, value: &[u8]) -> Result<(), SendError> {
        if value.len() > self.limit {
            return Err(SendError::TooLarge { size: value.len() as u64, limit: self.limit as u64 });
        }
        let mut bytes = self.memory();
        bytes.extend_from_slice(value);
        self.put(Kind::Bytes, bytes, Handles::default());
        Ok(())
    }

    fn memory(&mut self) -> Vec<u8> {
        let mut memory = std::mem::take(&mut self.memory);
        memory.clear();
        memory
    }

    fn put(&mut self, kind: Kind, bytes: Vec<u8>, handles: Handles) {
        self.outgoing = Some(Outgoing::new(Message { kind, bytes, handles }));
    }

    /// A message of which nothing has left is not sent after all: its caller was told so, or is gone.
    pub(super) fn take_back(&mut self) {
        self.outgoing.take_if(|outgoing| !outgoing.begun);
    }

    /// Sends what is to be sent, as far as the socket takes it; `true` when nothing is left.
    fn flush(&mut self) -> Result<bool, SendError> {
        let Some(outgoing) = &mut self.outgoing else { return Ok(true) };
        match outgoing.flush(self.link.as_fd(), &mut self.body_max) {
            Ok(false) => Ok(false),
            Ok(true) => {
                let memory = self.outgoing.take().map(Outgoing::into_memory);
                self.memory = memory.filter(|memory| memory.capacity() <= MEMORY).unwrap_or_default();
                Ok(true)
            }
            Err(error) => {
                self.outgoing = None;
                Err(match error.kind() {
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => SendError::Closed,
                    _ => SendError::Io(error),
                })
            }
        }
    }

    /// Sends as much as is possible now. If this is one side of a connection, what comes meanwhile is taken in, so that
    /// the other side, which may be sending as well, gets on and makes room. Says what to wait for, if for anything.
    pub(super) fn attempt(&mut self, mut beside: Option<&mut In>) -> Result<Option<Interest>, SendError> {
        loop {
            if self.flush()? {
                return Ok(None);
            }
            match beside.as_mut() {
                Some(input) if input.incoming.has_room() => match input.pump().map_err(SendError::Io)? {
                    Pumped::Packet => {}
                    Pumped::Nothing => return Ok(Some(Interest::Both)),
                    Pumped::End => return Ok(Some(Interest::Write)),
                },
                _ => return Ok(Some(Interest::Write)),
            }
        }
    }

    /// Sends what is to be sent, at most until then.
    pub(super) fn finish(
        &mut self,
        mut beside: Option<&mut In>,
        until: Option<Instant>,
    ) -> Result<(), SendError> {
        while let Some(interest) = self.attempt(beside.as_deref_mut())? {
            if !self.link.wait(interest, until).map_err(SendError::Io)? {
                let begun = self.is_at_work();
                self.take_back();
                return Err(SendError::TimedOut { begun });
            }
        }
        Ok(())
    }

    /// Sends what is to be sent.
    pub(super) async fn finish_async(&mut self, mut beside: Option<&mut In>) -> Result<(), SendError> {
        poll_fn(|context| {
            while let Some(interest) = self.attempt(beside.as_deref_mut())? {
                std::task::ready!(self.link.poll(interest, context)).map_err(SendError::Io)?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if self.half.closes() {
            socket::stop_sending(self.link.as_fd());
        }
    }
}

impl In {
    pub(super) fn new(link: Arc<Link>, shared: bool) -> In {
        In { link, half: Half::new(shared), incoming: Incoming::new(), limit: LIMIT }
    }

    pub(super) fn share(&self) {
        self.half.shared.store(true, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.half.shared.store(false, Ordering::Relaxed);
    }

    /// Whether something was received that nobody has taken.
    pub(super) fn is_at_work(&self) -> bool {
        !self.incoming.is_empty()
    }

    /// Whether a message, or what comes instead of one, is here without a look at the socket.
    pub(super) fn has_something(&self) -> bool {
        !self.incoming.ready.is_empty()
    }

    fn pump(&mut self) -> io::Result<Pumped> {
        self.incoming.pump(self.link.as_fd(), self.limit)
    }

    /// Reads until a message is here; `false` if that takes longer.
    fn fetch(&mut self) -> Result<bool, RecvError> {
        while self.incoming.ready.is_empty() {
            match self.pump().map_err(RecvError::Io)? {
                Pumped::Packet => {}
                Pumped::Nothing => return Ok(false),
                Pumped::End if self.incoming.ready.is_empty() => return Err(RecvError::Closed),
                Pumped::End => {}
            }
        }
        Ok(true)
    }

    /// The next message, if it is here.
    fn attempt(&mut self, kind: Kind) -> Result<Option<Message>, RecvError> {
        if !self.fetch()? {
            return Ok(None);
        }
        if self.incoming.ready.front().is_some_and(|next| next.as_ref().is_ok_and(|next| next.kind != kind)) {
            return Err(RecvError::OtherKind);
        }
        self.incoming.take().transpose()
    }

    /// The next message, if it comes until then.
    pub(super) fn next(&mut self, kind: Kind, until: Option<Instant>) -> Result<Option<Message>, RecvError> {
        loop {
            if let Some(message) = self.attempt(kind)? {
                return Ok(Some(message));
            }
            if !self.link.wait(Interest::Read, until).map_err(RecvError::Io)? {
                return Ok(None);
            }
        }
    }

    pub(super) fn poll_next(
        &mut self,
        kind: Kind,
        context: &mut Context<'_>,
    ) -> Poll<Result<Message, RecvError>> {
        loop {
            if let Some(message) = self.attempt(kind)? {
                return Poll::Ready(Ok(message));
            }
            std::task::ready!(self.link.poll(Interest::Read, context)).map_err(RecvError::Io)?;
        }
    }

    /// Whether there is something to take, until then at the latest.
    pub(super) fn poll(&mut self, until: Option<Instant>) -> io::Result<bool> {
        loop {
            match self.fetch() {
                Ok(false) if !self.link.wait(Interest::Read, until)? => return Ok(false),
                Ok(false) => {}
                Err(RecvError::Io(error)) => return Err(error),
                Ok(true) | Err(_) => return Ok(true),
            }
        }
    }
}

impl Drop for In {
    fn drop(&mut self) {
        if self.half.closes() {
            socket::stop_receiving(self.link.as_fd());
        }
    }
}
