//! The ends of a pipe that goes one way.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::stream::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::half::{In, Out};
use super::link::Link;
use super::packet::{Kind, Message};
use crate::error::{RecvError, SendError};
use crate::wire::attach;
use crate::wire::codec;

/// The end of a pipe that sends, from [`Pipe::simplex`](super::Pipe::simplex) or
/// [`Connection::split`](super::Connection::split).
///
/// The receiver sees the end of the messages when the last process that has this end has dropped it, or died.
pub struct Sender<T> {
    pub(super) out: Out,
    sends: PhantomData<fn(T)>,
}

/// The end of a pipe that receives, from [`Pipe::simplex`](super::Pipe::simplex) or
/// [`Connection::split`](super::Connection::split).
///
/// It is a [`Stream`] of messages, and can be iterated over, which blocks; both end when the other end is closed.
pub struct Receiver<T> {
    pub(super) input: In,
    receives: PhantomData<fn() -> T>,
}

impl<T> Sender<T> {
    pub(super) fn new(link: Arc<Link>, shared: bool) -> Sender<T> {
        Sender { out: Out::new(link, shared), sends: PhantomData }
    }

    pub(super) fn of(out: Out) -> Sender<T> {
        Sender { out, sends: PhantomData }
    }

    /// Messages of more bytes are refused. The default is 1 GiB, at both ends.
    pub fn set_limit(&mut self, bytes: usize) {
        self.out.limit = bytes;
    }

    /// Sends bytes as they are, for [`Receiver::recv_bytes`]. Blocks as [`send`](Sender::send) does.
    ///
    /// # Errors
    ///
    /// As of [`send`](Sender::send).
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.out.take_back();
        self.out.finish(None, None)?;
        self.out.put_bytes(bytes)?;
        self.out.finish(None, None)
    }

    /// Closes this end, as dropping it does.
    pub fn close(self) {}
}

impl<T: Serialize> Sender<T> {
    /// Sends a message. Blocks while the socket has no room for it, which is while the receiver has some 200 KiB to
    /// receive.
    ///
    /// # Errors
    ///
    /// If the message cannot be encoded or is too large, or if nobody can receive it any more. What was sent before may
    /// not have been received either: an end that nobody has takes its messages with it.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::Pipe;
    ///
    /// let (mut sender, mut receiver) = Pipe::simplex::<(String, u32)>()?;
    /// sender.send(&("seven".to_owned(), 7))?;
    /// assert_eq!(receiver.recv()?, ("seven".to_owned(), 7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send(&mut self, value: &T) -> Result<(), SendError> {
        self.send_until(value, None)
    }

    /// [`send`](Sender::send), at most so long.
    ///
    /// # Errors
    ///
    /// As of [`send`](Sender::send), and [`SendError::TimedOut`].
    pub fn send_timeout(&mut self, value: &T, timeout: Duration) -> Result<(), SendError> {
        self.send_until(value, Instant::now().checked_add(timeout))
    }

    fn send_until(&mut self, value: &T, until: Option<Instant>) -> Result<(), SendError> {
        self.out.take_back();
        self.out.finish(None, until)?;
        self.out.put_value(value)?;
        self.out.finish(None, until)
    }

    /// [`send`](Sender::send), async, on any runtime or none. If the future is dropped, the message is not sent, unless
    /// it has begun to leave: then the rest of it leaves before the next one.
    ///
    /// # Errors
    ///
    /// As of [`send`](Sender::send).
    pub async fn send_async(&mut self, value: &T) -> Result<(), SendError> {
        self.out.take_back();
        self.out.finish_async(None).await?;
        self.out.put_value(value)?;
        self.out.finish_async(None).await
    }
}

pub(super) fn decode<T: DeserializeOwned>(message: Message) -> Result<T, RecvError> {
    let Message { bytes, handles, .. } = message;
    attach::offer(handles, || codec::decode_owned(bytes)).map_err(|message| RecvError::Decode { message })
}

/// What a wait without an end has brought.
pub(super) fn some<T>(message: Option<T>) -> Result<T, RecvError> {
    message.ok_or(RecvError::TimedOut)
}

impl<T> Receiver<T> {
    pub(super) fn new(link: Arc<Link>, shared: bool) -> Receiver<T> {
        Receiver { input: In::new(link, shared), receives: PhantomData }
    }

    pub(super) fn of(input: In) -> Receiver<T> {
        Receiver { input, receives: PhantomData }
    }

    /// Messages of more bytes are not received. The default is 1 GiB, at both ends. Memory is taken as the bytes of a
    /// message arrive, whatever length it claims to have.
    pub fn set_limit(&mut self, bytes: usize) {
        self.input.limit = bytes;
    }

    /// Waits until there is something to receive, at most so long; `true` also at the end of the messages, as in Python.
    /// After `true`, no `recv` waits. [`Duration::ZERO`] only looks, [`Duration::MAX`] waits for ever.
    ///
    /// # Errors
    ///
    /// If the system refuses to receive.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::Pipe;
    ///
    /// let (mut sender, mut receiver) = Pipe::simplex::<u32>()?;
    /// assert!(!receiver.poll(Duration::ZERO)?);
    /// sender.send(&7)?;
    /// assert!(receiver.poll(Duration::ZERO)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll(&mut self, timeout: Duration) -> io::Result<bool> {
        self.input.poll(Instant::now().checked_add(timeout))
    }

    /// Receives what [`Sender::send_bytes`] sent. Blocks until it comes.
    ///
    /// # Errors
    ///
    /// As of [`recv`](Receiver::recv), and [`RecvError::OtherKind`] if the next message is a value.
    pub fn recv_bytes(&mut self) -> Result<Vec<u8>, RecvError> {
        some(self.input.next(Kind::Bytes, None)?).map(|message| message.bytes)
    }

    /// Closes this end, as dropping it does.
    pub fn close(self) {}
}

impl<T: DeserializeOwned> Receiver<T> {
    /// Receives the next message. Blocks until it comes.
    ///
    /// # Errors
    ///
    /// [`RecvError::Closed`] at the end of the messages; [`RecvError::Cut`] if the end is in the middle of one. For the
    /// others see there; after those the next message can be received.
    pub fn recv(&mut self) -> Result<T, RecvError> {
        some(self.input.next(Kind::Value, None)?).and_then(decode)
    }

    /// [`recv`](Receiver::recv), at most so long.
    ///
    /// # Errors
    ///
    /// As of [`recv`](Receiver::recv), and [`RecvError::TimedOut`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, RecvError> {
        some(self.input.next(Kind::Value, Instant::now().checked_add(timeout))?).and_then(decode)
    }

    /// The next message if it is there, without waiting; `None` if it is not.
    ///
    /// # Errors
    ///
    /// As of [`recv`](Receiver::recv).
    pub fn try_recv(&mut self) -> Result<Option<T>, RecvError> {
        self.input.next(Kind::Value, Some(Instant::now()))?.map(decode).transpose()
    }

    /// [`recv`](Receiver::recv), async, on any runtime or none. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    ///
    /// As of [`recv`](Receiver::recv).
    pub async fn recv_async(&mut self) -> Result<T, RecvError> {
        poll_fn(|context| self.input.poll_next(Kind::Value, context)).await.and_then(decode)
    }
}

/// Ends when the other end is closed.
impl<T: DeserializeOwned> Stream for Receiver<T> {
    type Item = Result<T, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.input.poll_next(Kind::Value, context).map(|message| item(message.and_then(decode)))
    }
}

/// What comes, or the end.
fn item<T>(received: Result<T, RecvError>) -> Option<Result<T, RecvError>> {
    (!matches!(received, Err(RecvError::Closed))).then_some(received)
}

/// The messages of a [`Receiver`], received by blocking; made by iterating over it. Ends when the other end is closed.
#[derive(Debug)]
pub struct RecvIter<T>(Receiver<T>);

impl<T: DeserializeOwned> Iterator for RecvIter<T> {
    type Item = Result<T, RecvError>;

    fn next(&mut self) -> Option<Self::Item> {
        item(self.0.recv())
    }
}

impl<T: DeserializeOwned> IntoIterator for Receiver<T> {
    type Item = Result<T, RecvError>;
    type IntoIter = RecvIter<T>;

    fn into_iter(self) -> RecvIter<T> {
        RecvIter(self)
    }
}

/// Python's `fileno`, for other event loops: writable when there is room. Only this type writes messages to it.
impl<T> AsFd for Sender<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.out.link.as_fd()
    }
}

/// Python's `fileno`, for other event loops: readable when a part of a message has come, or the end. Ask
/// [`try_recv`](Receiver::try_recv) until it has no more.
impl<T> AsFd for Receiver<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.input.link.as_fd()
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("fd", &self.out.link.handle).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("fd", &self.input.link.handle).finish_non_exhaustive()
    }
}
