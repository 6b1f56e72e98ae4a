//! Queues: items from many processes to many processes.

mod bell;
mod ends;
mod entry;
#[cfg(all(test, shuttle))]
mod model;
mod overflow;
mod parcels;
mod store;
#[cfg(test)]
mod test;
mod travel;
mod wait;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use ends::{Consumer, Items, Producer};

use crate::error::{GetError, JoinError, PutError};
use crate::sys::socket;
use crate::wire::attach::Handle;
use store::Store;

/// Items from any number of processes to any number of processes, in the order in which they were put. Python's
/// `multiprocessing.Queue`.
///
/// A clone is the same queue. It travels in arguments, results and messages; items may hold handles: pipes, descriptors,
/// locks, other queues.
///
/// **A queue ends**: [`split`](Queue::split) it, give the [`Producer`] to those who put and the [`Consumer`] to those
/// who get, and keep none that is not needed. When all producers are gone, also by a crash, [`get`](Consumer::get) says
/// [`Closed`](GetError::Closed) after the last item, where Python waits for ever. Whoever has the `Queue` itself is both,
/// so as long as anybody has it, it does not end.
///
/// There is no thread that feeds it: an item is in the queue when [`put`](Queue::put) returns, so its process may be
/// joined before the queue is drained, and may be killed. A process that is killed in the middle of `put` or `get` takes
/// its own item with it, at most, and nobody waits for it.
///
/// The memory of a queue grows with what is in it. 240 handles of one queue that came separately can be open at a time.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, Producer, Queue, task};
///
/// #[task]
/// fn squares(out: Producer<u64>, from: u64, to: u64) -> Result<(), String> {
///     for number in from..to {
///         out.put(&(number * number)).map_err(|error| error.to_string())?;
///     }
///     Ok(())
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let (producer, consumer) = Queue::<u64>::new()?.split();
/// let tasks = [(0, 5), (5, 10)].map(|(from, to)| pool.submit(squares, (producer.clone(), from, to)));
/// drop(producer);
/// let sum: u64 = consumer.iter().sum::<Result<_, _>>()?;
/// assert_eq!(sum, 285);
/// for task in tasks {
///     task.result()??;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue<T> {
    producer: Producer<T>,
    consumer: Consumer<T>,
}

/// A [`Queue`] that can be joined: [`join`](JoinableQueue::join) waits until every item was got and said to be done.
///
/// What a process got and has not done when it ends counts as done, because nobody else will do it: so `join` returns,
/// where Python waits for ever.
///
/// # Examples
///
/// ```
/// use procpool::{Consumer, JoinableQueue, Process, task};
///
/// #[task]
/// fn work(items: Consumer<u32>) {
///     for item in &items {
///         let _ = item;
///         items.task_done().expect("it was got");
///     }
/// }
///
/// let (producer, consumer) = JoinableQueue::<u32>::new()?.split();
/// let worker = Process::new(work, consumer).start()?;
/// for item in 0..10 {
///     producer.put(&item)?;
/// }
/// producer.join()?;
/// drop(producer);
/// worker.join();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JoinableQueue<T> {
    queue: Queue<T>,
}

/// A [`Queue`] with nothing but `put`, `get`, `empty` and `close`. Python's `multiprocessing.SimpleQueue`, whose `put`
/// waits when the pipe is full; this one never waits.
///
/// # Examples
///
/// ```
/// use procpool::SimpleQueue;
///
/// let queue = SimpleQueue::<u32>::new()?;
/// queue.put(&7)?;
/// assert!(!queue.empty());
/// assert_eq!(queue.get()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SimpleQueue<T> {
    queue: Queue<T>,
}

fn create<T>(room: u32, joinable: bool) -> io::Result<Queue<T>> {
    let store = Arc::new(Store::create(room, joinable)?);
    let [(put_bell, get_bell), (put_parcels, get_parcels)] = [socket::packet_pair()?, socket::packet_pair()?];
    Ok(Queue {
        producer: Producer::new(Arc::clone(&store), Handle::new(put_bell), Handle::new(put_parcels)),
        consumer: Consumer::new(store, Handle::new(get_bell), Handle::new(get_parcels)),
    })
}

impl<T> Queue<T> {
    /// A queue that holds as many items as there is memory for: [`put`](Queue::put) never waits.
    ///
    /// # Errors
    ///
    /// The system has no memory, no descriptors or, for the first such object of this process, no thread to give.
    pub fn new() -> io::Result<Queue<T>> {
        create(0, false)
    }

    /// A queue that holds so many items at most; then [`put`](Queue::put) waits. As in Python, 0 is no bound.
    ///
    /// # Errors
    ///
    /// As of [`new`](Queue::new).
    pub fn bounded(maxsize: u32) -> io::Result<Queue<T>> {
        create(maxsize, false)
    }
}

impl<T> JoinableQueue<T> {
    /// A queue that holds as many items as there is memory for.
    ///
    /// # Errors
    ///
    /// As of [`Queue::new`].
    pub fn new() -> io::Result<JoinableQueue<T>> {
        Ok(JoinableQueue { queue: create(0, true)? })
    }

    /// A queue that holds so many items at most; then [`put`](JoinableQueue::put) waits. 0 is no bound.
    ///
    /// # Errors
    ///
    /// As of [`Queue::new`].
    pub fn bounded(maxsize: u32) -> io::Result<JoinableQueue<T>> {
        Ok(JoinableQueue { queue: create(maxsize, true)? })
    }
}

impl<T> SimpleQueue<T> {
    /// A queue that holds as many items as there is memory for.
    ///
    /// # Errors
    ///
    /// As of [`Queue::new`].
    pub fn new() -> io::Result<SimpleQueue<T>> {
        Ok(SimpleQueue { queue: create(0, false)? })
    }
}

/// What a queue that is both sides does by one of them.
macro_rules! both_sides {
    ($queue:ident, |$this:ident| $both:expr) => {
        impl<T> $queue<T> {
            /// The two sides, each for itself, and no longer both.
            pub fn split(self) -> (Producer<T>, Consumer<T>) {
                let $this = self;
                let Queue { producer, consumer } = $both;
                (producer, consumer)
            }

            /// The side that puts.
            pub fn producer(&self) -> Producer<T> {
                let $this = self;
                $both.producer.clone()
            }

            /// The side that gets.
            pub fn consumer(&self) -> Consumer<T> {
                let $this = self;
                $both.consumer.clone()
            }

            /// As [`Producer::qsize`].
            pub fn qsize(&self) -> usize {
                let $this = self;
                $both.producer.qsize()
            }

            /// As [`Consumer::empty`].
            pub fn empty(&self) -> bool {
                let $this = self;
                $both.consumer.empty()
            }

            /// As [`Producer::full`].
            pub fn full(&self) -> bool {
                let $this = self;
                $both.producer.full()
            }

            /// Closes both sides here, as dropping it does.
            pub fn close(self) {}
        }

        impl<T: Serialize> $queue<T> {
            /// As [`Producer::put`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn put(&self, item: &T) -> Result<(), PutError> {
                let $this = self;
                $both.producer.put(item)
            }

            /// As [`Producer::put_timeout`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn put_timeout(&self, item: &T, timeout: Duration) -> Result<(), PutError> {
                let $this = self;
                $both.producer.put_timeout(item, timeout)
            }

            /// As [`Producer::try_put`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn try_put(&self, item: &T) -> Result<(), PutError> {
                let $this = self;
                $both.producer.try_put(item)
            }

            /// As [`Producer::put_async`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn put_async(&self, item: &T) -> Result<(), PutError> {
                let $this = self;
                $both.producer.put_async(item).await
            }
        }

        impl<T: DeserializeOwned> $queue<T> {
            /// As [`Consumer::get`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn get(&self) -> Result<T, GetError> {
                let $this = self;
                $both.consumer.get()
            }

            /// As [`Consumer::get_timeout`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
                let $this = self;
                $both.consumer.get_timeout(timeout)
            }

            /// As [`Consumer::try_get`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn try_get(&self) -> Result<T, GetError> {
                let $this = self;
                $both.consumer.try_get()
            }

            /// As [`Consumer::get_async`].
            ///
            /// # Errors
            ///
            /// As there.
            pub async fn get_async(&self) -> Result<T, GetError> {
                let $this = self;
                $both.consumer.get_async().await
            }
        }
    };
}

both_sides!(Queue, |queue| queue);
both_sides!(JoinableQueue, |queue| queue.queue);

impl<T> JoinableQueue<T> {
    /// As [`Consumer::task_done`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn task_done(&self) -> Result<(), JoinError> {
        self.queue.consumer.task_done()
    }

    /// As [`Producer::join`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn join(&self) -> Result<(), JoinError> {
        self.queue.producer.join()
    }

    /// As [`Producer::join_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinError> {
        self.queue.producer.join_timeout(timeout)
    }

    /// As [`Producer::join_async`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn join_async(&self) -> Result<(), JoinError> {
        self.queue.producer.join_async().await
    }
}

impl<T> SimpleQueue<T> {
    /// The two sides, each for itself, and no longer both.
    pub fn split(self) -> (Producer<T>, Consumer<T>) {
        self.queue.split()
    }

    /// As [`Consumer::empty`].
    pub fn empty(&self) -> bool {
        self.queue.empty()
    }

    /// Closes both sides here, as dropping it does.
    pub fn close(self) {}
}

impl<T: Serialize> SimpleQueue<T> {
    /// As [`Producer::put`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn put(&self, item: &T) -> Result<(), PutError> {
        self.queue.put(item)
    }
}

impl<T: DeserializeOwned> SimpleQueue<T> {
    /// As [`Consumer::get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get(&self) -> Result<T, GetError> {
        self.queue.get()
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Queue<T> {
        Queue { producer: self.producer.clone(), consumer: self.consumer.clone() }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("qsize", &self.qsize()).finish_non_exhaustive()
    }
}

macro_rules! clone_and_debug {
    ($($queue:ident)*) => {$(
        impl<T> Clone for $queue<T> {
            fn clone(&self) -> $queue<T> {
                $queue { queue: self.queue.clone() }
            }
        }

        impl<T> fmt::Debug for $queue<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($queue)).field("qsize", &self.queue.qsize()).finish_non_exhaustive()
            }
        }
    )*};
}

clone_and_debug!(JoinableQueue SimpleQueue);
