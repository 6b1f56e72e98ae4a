//! Pipes: typed messages between two processes.

mod connection;
mod ends;
mod half;
mod link;
mod packet;
mod travel;
mod wait;

use std::io;
use std::sync::Arc;

pub use connection::Connection;
pub use ends::{Receiver, RecvIter, Sender};
pub use wait::{Waitable, wait, wait_async};

use crate::sys::socket;
use crate::wire::attach::Handle;
pub(crate) use link::Link;

/// Makes pipes, Python's `Pipe`: two ends, of which one usually goes to another process as an argument of a task.
///
/// What each end can do is in its type, so they cannot be taken for each other: in Python, `Pipe(duplex=False)` gives the
/// end that receives first, and the one that sends second.
///
/// An end belongs to one process at a time. It travels in arguments, results and other messages, and closes where it
/// was; the program that submits a task keeps the ends in its arguments open until the task has ended. Messages may
/// hold handles: ends of other pipes, [`Descriptor`](crate::Descriptor)s.
///
/// # Examples
///
/// ```
/// use procpool::{Connection, Pipe, ProcessPoolExecutor, task};
///
/// /// Answers until nobody asks any more.
/// #[task]
/// fn square(mut questions: Connection<u64, u32>) -> Result<u32, String> {
///     let mut answered = 0;
///     while let Ok(question) = questions.recv() {
///         questions.send(&u64::from(question).pow(2)).map_err(|error| error.to_string())?;
///         answered += 1;
///     }
///     Ok(answered)
/// }
///
/// let (mut asking, answering) = Pipe::duplex::<u32, u64>()?;
/// let pool = ProcessPoolExecutor::new()?;
/// let squares = pool.submit(square, answering);
/// for number in [3, 7, 100_000] {
///     asking.send(&number)?;
///     assert_eq!(asking.recv()?, u64::from(number).pow(2));
/// }
/// drop(asking);
/// assert_eq!(squares.result()??, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Pipe;

impl Pipe {
    /// A pipe that goes both ways: the first end sends `A` and receives `B`, the second one receives `A` and sends `B`.
    ///
    /// # Errors
    ///
    /// If there is no room for two more descriptors.
    pub fn duplex<A, B>() -> io::Result<(Connection<A, B>, Connection<B, A>)> {
        let (one, other) = links()?;
        Ok((Connection::new(one), Connection::new(other)))
    }

    /// A pipe that goes one way.
    ///
    /// # Errors
    ///
    /// If there is no room for two more descriptors.
    pub fn simplex<T>() -> io::Result<(Sender<T>, Receiver<T>)> {
        let (one, other) = links()?;
        Ok((Sender::new(one, false), Receiver::new(other, false)))
    }
}

fn links() -> io::Result<(Arc<Link>, Arc<Link>)> {
    let (one, other) = socket::packet_pair()?;
    Ok((Arc::new(Link::new(Handle::new(one))), Arc::new(Link::new(Handle::new(other)))))
}
