//! An item that was not put, or did not come.

use std::{fmt, io};

/// Why an item was not put into a queue. It is not in it then, nor any part of it.
///
/// # Examples
///
/// ```
/// use procpool::{PutError, Queue};
///
/// let queue = Queue::<u32>::bounded(1)?;
/// queue.put(&7)?;
/// assert!(matches!(queue.try_put(&8), Err(PutError::Full)));
/// let (producer, consumer) = queue.split();
/// drop(consumer);
/// assert!(matches!(producer.put(&9), Err(PutError::Closed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum PutError {
    /// Nobody can get it: all processes that could have closed the queue, or died. Python goes on to collect items.
    Closed,
    /// There is no room for it, and the call does not wait. Python's `queue.Full`.
    Full,
    /// There was no room for it in time. Python's `queue.Full`.
    TimedOut,
    /// The item refused to be encoded.
    #[non_exhaustive]
    Encode {
        /// What its `Serialize` said.
        message: String,
    },
    /// The encoded item is larger than 1 GiB.
    #[non_exhaustive]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The system refuses what is needed: memory, or, for an item with handles, to have so many on their way.
    Io(io::Error),
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PutError::Closed => f.write_str("nobody is left who could get the item"),
            PutError::Full => f.write_str("the queue is full; wait for room, or try again later"),
            PutError::TimedOut => f.write_str("there was no room in the queue in time; wait longer"),
            PutError::Encode { message } => write!(f, "the item could not be encoded: {message}"),
            PutError::TooLarge { size, limit } => {
                write!(f, "the item of {size} bytes exceeds the limit of {limit} bytes; share it another way")
            }
            PutError::Io(error) => write!(f, "the item could not be put: {error}"),
        }
    }
}

impl std::error::Error for PutError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            PutError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for PutError {
    fn from(error: io::Error) -> PutError {
        PutError::Io(error)
    }
}

/// Why no item was got from a queue.
///
/// # Examples
///
/// ```
/// use procpool::{GetError, Queue};
///
/// let (producer, consumer) = Queue::<u32>::new()?.split();
/// assert!(matches!(consumer.try_get(), Err(GetError::Empty)));
/// producer.put(&7)?;
/// drop(producer);
/// assert_eq!(consumer.get()?, 7);
/// assert!(matches!(consumer.get(), Err(GetError::Closed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum GetError {
    /// There is no item, and there never will be: all that could put one have closed the queue, or died. In Python `get`
    /// waits for ever then.
    Closed,
    /// There is no item now, and the call does not wait. Python's `queue.Empty`.
    Empty,
    /// There was no item in time. Python's `queue.Empty`.
    TimedOut,
    /// The item is not of the expected type, or one of its handles did not arrive. It is lost; the next one can be got.
    #[non_exhaustive]
    Decode {
        /// What is wrong.
        message: String,
    },
    /// What the processes share makes no sense: one of them has written to memory that is not its own. What was in the
    /// queue is lost.
    Damaged,
    /// The system refuses what is needed.
    Io(io::Error),
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GetError::Closed => f.write_str("the queue is empty, and nobody is left who could put an item"),
            GetError::Empty => f.write_str("the queue is empty; wait for an item, or try again later"),
            GetError::TimedOut => f.write_str("no item came in time; wait longer"),
            GetError::Decode { message } => write!(f, "the item could not be decoded: {message}"),
            GetError::Damaged => f.write_str(
                "the memory of the queue is damaged: a process has written to it by mistake; make a new queue",
            ),
            GetError::Io(error) => write!(f, "no item could be got: {error}"),
        }
    }
}

impl std::error::Error for GetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            GetError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for GetError {
    fn from(error: io::Error) -> GetError {
        GetError::Io(error)
    }
}

/// Why a [`JoinableQueue`](crate::JoinableQueue) was not joined, or an item of it not said to be done.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use procpool::{JoinError, JoinableQueue};
///
/// let queue = JoinableQueue::<u32>::new()?;
/// assert!(matches!(queue.task_done(), Err(JoinError::TooMany)));
/// queue.put(&7)?;
/// assert!(matches!(queue.join_timeout(Duration::from_millis(1)), Err(JoinError::TimedOut)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// There are items in the queue, and nobody is left who could get them.
    Closed,
    /// Not everything was done in time.
    TimedOut,
    /// More items were said to be done than were got by this handle and its clones.
    TooMany,
    /// The system refuses what is needed.
    Io(io::Error),
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Closed => f.write_str("items are left, and nobody who could get them"),
            JoinError::TimedOut => f.write_str("not all items were done in time; wait longer"),
            JoinError::TooMany => {
                f.write_str("more items are said to be done than were got; call `task_done` once for each")
            }
            JoinError::Io(error) => write!(f, "the queue could not be joined: {error}"),
        }
    }
}

impl std::error::Error for JoinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            JoinError::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for JoinError {
    fn from(error: io::Error) -> JoinError {
        JoinError::Io(error)
    }
}
