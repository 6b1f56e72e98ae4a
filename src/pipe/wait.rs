//! Waiting for one of many.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use async_io::Async;

use super::connection::Connection;
use super::ends::Receiver;
use crate::descriptor::Descriptor;
use crate::sys::ready::{self, Interest};

/// What [`wait`](crate::connection::wait) waits for: receivers, connections, queues and their consumers, and anything with
/// a descriptor, such as the sentinel of a process.
pub trait Waitable {
    /// What becomes readable.
    fn waited_for(&self) -> BorrowedFd<'_>;

    /// Whether something is there already, beside what the descriptor has.
    fn is_ready(&self) -> bool {
        false
    }

    /// Called before the descriptor is waited for: whether something is there, or else it becomes readable when there is.
    ///
    /// # Errors
    ///
    /// If the system refuses something.
    fn prepare(&self) -> io::Result<bool> {
        Ok(self.is_ready())
    }

    /// Whether something is there when the descriptor is readable, or is not.
    fn has_something(&self, readable: bool) -> bool {
        readable || self.is_ready()
    }
}

impl<T> Waitable for Receiver<T> {
    fn waited_for(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn is_ready(&self) -> bool {
        self.input.has_something()
    }
}

impl<S, R> Waitable for Connection<S, R> {
    fn waited_for(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }

    fn is_ready(&self) -> bool {
        self.input.has_something()
    }
}

macro_rules! descriptors {
    ($($type:ty)*) => {$(
        impl Waitable for $type {
            fn waited_for(&self) -> BorrowedFd<'_> {
                self.as_fd()
            }
        }
    )*};
}

descriptors! { Descriptor OwnedFd BorrowedFd<'_> }

/// Which of these have something to receive, or are at their end: their places in the list, in order. Blocks until there
/// is one, at most so long; [`Duration::MAX`] is for ever. Python's `multiprocessing.connection.wait`, which knows no
/// queues. Where others get items from the same queue, one of them may be faster: then what is told here is gone.
///
/// # Errors
///
/// If the system refuses to wait.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procpool::{Pipe, connection};
///
/// let (_numbers, first) = Pipe::simplex::<u32>()?;
/// let (mut texts, second) = Pipe::simplex::<String>()?;
/// assert!(connection::wait(&[&first, &second], Duration::ZERO)?.is_empty());
/// texts.send(&"here".to_owned())?;
/// assert_eq!(connection::wait(&[&first, &second], Duration::MAX)?, [1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait(objects: &[&dyn Waitable], timeout: Duration) -> io::Result<Vec<usize>> {
    let end = Instant::now().checked_add(timeout);
    let fds: Vec<_> = objects.iter().map(|object| (object.waited_for(), Interest::Read)).collect();
    loop {
        let is_late = end.is_some_and(|end| end <= Instant::now());
        let mut here = false;
        for object in objects {
            here |= object.prepare()?;
        }
        let readable = ready::wait(&fds, if here { Some(Instant::now()) } else { end })?;
        let ready: Vec<_> =
            (0..objects.len()).filter(|&place| objects[place].has_something(readable[place])).collect();
        // Another may have been faster; and what comes in the last moment is looked for once more.
        if !ready.is_empty() || is_late {
            return Ok(ready);
        }
    }
}

/// [`wait`], async, on any runtime or none, and without a limit of its own.
///
/// # Errors
///
/// If the system refuses to wait. It takes a descriptor for each object.
///
/// # Examples
///
/// ```
/// use procpool::{Pipe, connection};
///
/// # procpool::__private::block_on(async {
/// let (mut numbers, mut first) = Pipe::simplex::<u32>()?;
/// let (_texts, second) = Pipe::simplex::<String>()?;
/// numbers.send_async(&7).await?;
/// assert_eq!(connection::wait_async(&[&first, &second]).await?, [0]);
/// assert_eq!(first.recv_async().await?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub async fn wait_async(objects: &[&dyn Waitable]) -> io::Result<Vec<usize>> {
    loop {
        let ready = wait(objects, Duration::ZERO)?;
        if !ready.is_empty() {
            return Ok(ready);
        }
        // Duplicates, because the reactor may know the descriptors already, and takes a number once only.
        let watched: Vec<Async<OwnedFd>> = objects
            .iter()
            .map(|object| Async::new_nonblocking(object.waited_for().try_clone_to_owned()?))
            .collect::<io::Result<_>>()?;
        let mut readable = pin!(std::future::poll_fn(|context| {
            let mut polled = watched.iter().map(|watched| watched.poll_readable(context));
            // Each of them must know whom to wake.
            let polled: Vec<_> = polled.by_ref().collect();
            polled.into_iter().find(Poll::is_ready).unwrap_or(Poll::Pending)
        }));
        std::future::poll_fn(|context| readable.as_mut().poll(context)).await?;
    }
}
