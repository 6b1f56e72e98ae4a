//! An end that sends and receives.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::stream::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ends::{Receiver, Sender, decode, some};
use super::half::{In, Out};
use super::link::Link;
use super::packet::Kind;
use crate::error::{RecvError, SendError};
use crate::sys::ready::Interest;
use crate::wire::attach::Handle;

/// An end of a pipe that goes both ways, from [`Pipe::duplex`](super::Pipe::duplex): it sends `S` and receives `R`, and the
/// other end the other way round.
///
/// While a message waits for room, what the other end sends meanwhile is taken in and kept: two ends that send large
/// messages to each other at the same time, and then receive, do not wait for each other for ever, neither blocking nor
/// async, where Python's do. More than 16 MiB beyond one message are not kept; who sends more than that without
/// receiving needs [`split`](Connection::split) and a thread or a future for each direction.
///
/// It is a [`Stream`] of what comes in.
pub struct Connection<S, R> {
    pub(super) out: Out,
    pub(super) input: In,
    types: std::marker::PhantomData<fn(S) -> R>,
}

impl<S, R> Connection<S, R> {
    pub(super) fn new(link: Arc<Link>) -> Connection<S, R> {
        let (out, input) = (Out::new(Arc::clone(&link), false), In::new(link, false));
        Connection { out, input, types: std::marker::PhantomData }
    }

    /// The end behind which this socket is, of packets.
    pub(crate) fn of(handle: Handle) -> Connection<S, R> {
        Connection::new(Arc::new(Link::new(handle)))
    }

    /// What to wait for it with.
    pub(crate) fn link(&self) -> Arc<Link> {
        Arc::clone(&self.out.link)
    }

    /// The two directions, each by itself, for two threads, futures or processes. Each is closed when it is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::Pipe;
    ///
    /// let (one, mut other) = Pipe::duplex::<u32, String>()?;
    /// let (mut numbers, texts) = one.split();
    /// numbers.send(&7)?;
    /// drop(numbers);
    /// assert_eq!(other.recv()?, 7);
    /// assert!(other.recv().is_err(), "there will be no more of them");
    /// other.send(&"seven".to_owned())?;
    /// drop(other);
    /// assert_eq!(texts.into_iter().collect::<Result<Vec<_>, _>>()?, ["seven"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn split(self) -> (Sender<S>, Receiver<R>) {
        let Connection { out, input, .. } = self;
        out.share();
        input.share();
        (Sender::of(out), Receiver::of(input))
    }

    /// Messages of more bytes are neither sent nor received. The default is 1 GiB, at both ends.
    pub fn set_limit(&mut self, bytes: usize) {
        (self.out.limit, self.input.limit) = (bytes, bytes);
    }

    /// As [`Receiver::poll`].
    ///
    /// # Errors
    ///
    /// If the system refuses to receive.
    pub fn poll(&mut self, timeout: Duration) -> io::Result<bool> {
        self.input.poll(Instant::now().checked_add(timeout))
    }

    /// Sends bytes as they are, for `recv_bytes` at the other end.
    ///
    /// # Errors
    ///
    /// As of [`Sender::send`].
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.out.take_back();
        self.out.finish(Some(&mut self.input), None)?;
        self.out.put_bytes(bytes)?;
        self.out.finish(Some(&mut self.input), None)
    }

    /// As [`Receiver::recv_bytes`].
    ///
    /// # Errors
    ///
    /// As of [`Receiver::recv_bytes`].
    pub fn recv_bytes(&mut self) -> Result<Vec<u8>, RecvError> {
        some(self.input.next(Kind::Bytes, None)?).map(|message| message.bytes)
    }

    /// Closes this end, as dropping it does.
    pub fn close(self) {}
}

impl<S: Serialize, R> Connection<S, R> {
    /// Makes a value the next message: what was put before has left. It leaves by [`push`](Connection::push).
    pub(crate) fn put(&mut self, value: &S) -> Result<(), SendError> {
        self.out.put_value(value)
    }

    /// Sends as much as is possible now, and says what to wait for, if for anything.
    pub(crate) fn push(&mut self) -> Result<Option<Interest>, SendError> {
        self.out.attempt(Some(&mut self.input))
    }

    /// Sends a message. Blocks while the socket has no room for it.
    ///
    /// # Errors
    ///
    /// As of [`Sender::send`].
    pub fn send(&mut self, value: &S) -> Result<(), SendError> {
        self.send_until(value, None)
    }

    /// [`send`](Connection::send), at most so long.
    ///
    /// # Errors
    ///
    /// As of [`Sender::send`], and [`SendError::TimedOut`].
    pub fn send_timeout(&mut self, value: &S, timeout: Duration) -> Result<(), SendError> {
        self.send_until(value, Instant::now().checked_add(timeout))
    }

    fn send_until(&mut self, value: &S, until: Option<Instant>) -> Result<(), SendError> {
        self.out.take_back();
        self.out.finish(Some(&mut self.input), until)?;
        self.out.put_value(value)?;
        self.out.finish(Some(&mut self.input), until)
    }

    /// [`send`](Connection::send), async, on any runtime or none. Of a future that is dropped see
    /// [`Sender::send_async`].
    ///
    /// # Errors
    ///
    /// As of [`Sender::send`].
    pub async fn send_async(&mut self, value: &S) -> Result<(), SendError> {
        self.out.take_back();
        self.out.finish_async(Some(&mut self.input)).await?;
        self.out.put_value(value)?;
        self.out.finish_async(Some(&mut self.input)).await
    }
}

impl<S, R: DeserializeOwned> Connection<S, R> {
    /// Receives the next message. Blocks until it comes.
    ///
    /// # Errors
    ///
    /// As of [`Receiver::recv`].
    pub fn recv(&mut self) -> Result<R, RecvError> {
        some(self.input.next(Kind::Value, None)?).and_then(decode)
    }

    /// [`recv`](Connection::recv), at most so long.
    ///
    /// # Errors
    ///
    /// As of [`Receiver::recv`], and [`RecvError::TimedOut`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<R, RecvError> {
        some(self.input.next(Kind::Value, Instant::now().checked_add(timeout))?).and_then(decode)
    }

    /// The next message if it is there, without waiting; `None` if it is not.
    ///
    /// # Errors
    ///
    /// As of [`Receiver::recv`].
    pub fn try_recv(&mut self) -> Result<Option<R>, RecvError> {
        self.input.next(Kind::Value, Some(Instant::now()))?.map(decode).transpose()
    }

    /// [`recv`](Connection::recv), async, on any runtime or none. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    ///
    /// As of [`Receiver::recv`].
    pub async fn recv_async(&mut self) -> Result<R, RecvError> {
        poll_fn(|context| self.input.poll_next(Kind::Value, context)).await.and_then(decode)
    }
}

/// Ends when the other end is closed.
impl<S, R: DeserializeOwned> Stream for Connection<S, R> {
    type Item = Result<R, RecvError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.input.poll_next(Kind::Value, context).map(|message| match message.and_then(decode) {
            Err(RecvError::Closed) => None,
            received => Some(received),
        })
    }
}

/// As of [`Sender`] and [`Receiver`]. What came while this end was sending is not in the descriptor any more:
/// [`try_recv`](Connection::try_recv) has it.
impl<S, R> AsFd for Connection<S, R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.input.link.as_fd()
    }
}

impl<S, R> fmt::Debug for Connection<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("fd", &self.out.link.handle).finish_non_exhaustive()
    }
}
