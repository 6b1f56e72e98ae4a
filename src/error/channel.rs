//! A message that was not sent, or did not come.

use std::{fmt, io};

/// Why a message was not sent.
///
/// # Examples
///
/// ```
/// use procpool::{Pipe, SendError};
///
/// let (mut sender, receiver) = Pipe::simplex::<u32>()?;
/// drop(receiver);
/// assert!(matches!(sender.send(&7), Err(SendError::Closed)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// There is no other end any more: all processes that had it closed it, or died. Python's `BrokenPipeError`.
    Closed,
    /// There was no room in time. If the message had begun to leave, the rest of it leaves before the next one; if not,
    /// it is not sent.
    #[non_exhaustive]
    TimedOut {
        /// A part of it has left.
        begun: bool,
    },
    /// The message refused to be encoded.
    #[non_exhaustive]
    Encode {
        /// What its `Serialize` said.
        message: String,
    },
    /// The encoded message is larger than the limit of this end.
    #[non_exhaustive]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The system refuses to send it: with handles in it, because too many are on their way (`RLIMIT_NOFILE`).
    Io(io::Error),
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Closed => f.write_str("the other end is closed"),
            SendError::TimedOut { begun: false } => {
                f.write_str("there was no room in time; nothing was sent")
            }
            SendError::TimedOut { begun: true } => {
                f.write_str("there was not enough room in time; the rest is sent before the next message")
            }
            SendError::Encode { message } => write!(f, "the message could not be encoded: {message}"),
            SendError::TooLarge { size, limit } => {
                write!(
                    f,
                    "the message of {size} bytes would exceed the limit of {limit} bytes; raise it at both ends"
                )
            }
            SendError::Io(error) => write!(f, "the message could not be sent: {error}"),
        }
    }
}

impl std::error::Error for SendError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SendError::Io(error) => Some(error),
            _ => None,
        }
    }
}

/// Why no message was received.
///
/// # Examples
///
/// ```
/// use procpool::{Pipe, RecvError};
///
/// let (mut sender, mut receiver) = Pipe::simplex::<u32>()?;
/// sender.send(&7)?;
/// drop(sender);
/// assert_eq!(receiver.recv()?, 7);
/// assert!(matches!(receiver.recv(), Err(RecvError::Closed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// There is no other end any more, and all that it sent was received. Python's `EOFError`.
    Closed,
    /// The last other end went away in the middle of a message: its process was killed. What it sent before that message
    /// was received.
    Cut,
    /// Nothing came in time, or not all of it: the next call goes on where this one stopped.
    TimedOut,
    /// The message is not of the expected type, or one of its handles did not arrive. It is lost; the next one can be
    /// received.
    #[non_exhaustive]
    Decode {
        /// What is wrong.
        message: String,
    },
    /// The next message is one of bytes and a value was asked for, or the other way round. It is still there.
    OtherKind,
    /// The message is larger than the limit of this end. It is lost; the next one can be received.
    #[non_exhaustive]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// What came is no message: two processes send through one end at a time, or something else has the socket.
    #[non_exhaustive]
    Malformed {
        /// What came.
        message: String,
    },
    /// The system refuses to receive.
    Io(io::Error),
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Closed => f.write_str("the other end is closed"),
            RecvError::Cut => f.write_str("the other end went away in the middle of a message"),
            RecvError::TimedOut => f.write_str("no message came in time"),
            RecvError::Decode { message } => write!(f, "the message could not be decoded: {message}"),
            RecvError::OtherKind => f.write_str(
                "the next message is of the other kind; take values by `recv`, bytes by `recv_bytes`",
            ),
            RecvError::TooLarge { size, limit } => {
                write!(
                    f,
                    "the message of {size} bytes exceeds the limit of {limit} bytes; raise it at both ends"
                )
            }
            RecvError::Malformed { message } => write!(f, "what came is no message: {message}"),
            RecvError::Io(error) => write!(f, "no message could be received: {error}"),
        }
    }
}

impl std::error::Error for RecvError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RecvError::Io(error) => Some(error),
            _ => None,
        }
    }
}
