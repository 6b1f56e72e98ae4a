//! The two sides of a queue.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use futures::stream::{self, Stream, StreamExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bell::Bell;
use super::entry::{Entry, Item};
use super::store::{Store, Tried};
use crate::error::{GetError, JoinError, PutError};
use crate::luck::Luck;
use crate::sync::asynchronous;
use crate::sync::patience::Patience;
use crate::wire::attach::Handle;

/// The side of a queue that puts, from [`Queue::split`](crate::Queue::split) or [`Queue::producer`](crate::Queue::producer).
///
/// A clone is the same side; it travels in arguments, results and messages, and stays where it was too. The consumers see
/// the end of the queue when all producers are gone: dropped, or their processes ended, however that went. The program
/// that submits a task keeps what is in its arguments until the task has ended.
pub struct Producer<T> {
    pub(super) side: Arc<PutSide>,
    puts: PhantomData<fn(T)>,
}

/// The side of a queue that gets, from [`Queue::split`](crate::Queue::split) or [`Queue::consumer`](crate::Queue::consumer).
///
/// A clone is the same side; it travels in arguments, results and messages, and stays where it was too. Each item is got
/// once, by one of all consumers. When they are all gone, to put an item is an error.
pub struct Consumer<T> {
    pub(super) side: Arc<GetSide>,
    gets: PhantomData<fn() -> T>,
}

#[derive(Debug)]
pub(super) struct PutSide {
    pub(super) bell: Bell,
    /// Where handles are sent.
    pub(super) parcels: Handle,
    /// What was last seen of consumers that have left.
    left: AtomicU64,
    luck: Luck,
    pub(super) store: Arc<Store>,
}

#[derive(Debug)]
pub(super) struct GetSide {
    pub(super) bell: Bell,
    pub(super) parcels: Handle,
    luck: Luck,
    /// Dropped after the bell: who looks then sees that it is gone.
    pub(super) store: Leaving,
}

/// Tells that it leaves.
#[derive(Debug)]
pub(super) struct Leaving(pub(super) Arc<Store>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl<T> Clone for Producer<T> {
    fn clone(&self) -> Producer<T> {
        Producer { side: Arc::clone(&self.side), puts: PhantomData }
    }
}

impl<T> Clone for Consumer<T> {
    fn clone(&self) -> Consumer<T> {
        Consumer { side: Arc::clone(&self.side), gets: PhantomData }
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("qsize", &self.qsize()).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("qsize", &self.qsize()).finish_non_exhaustive()
    }
}

fn has_time(until: Option<Instant>) -> bool {
    until.is_none_or(|until| until > Instant::now())
}

fn size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl<T> Producer<T> {
    pub(super) fn new(store: Arc<Store>, bell: Handle, parcels: Handle) -> Producer<T> {
        // Not what the store says: the first item is put after a look.
        let left = AtomicU64::new(u64::MAX);
        let side = PutSide { bell: Bell::new(bell), parcels, left, luck: Luck::default(), store };
        Producer { side: Arc::new(side), puts: PhantomData }
    }

    /// How many items are in the queue, at this moment: others put and get.
    pub fn qsize(&self) -> usize {
        size(self.side.store.count())
    }

    /// Whether there is no item, at this moment.
    pub fn empty(&self) -> bool {
        self.side.store.count() == 0
    }

    /// Whether there is no room, at this moment.
    pub fn full(&self) -> bool {
        self.side.store.is_full()
    }

    /// Closes this side here, as dropping it does. Other processes that have it, and clones, may go on.
    pub fn close(self) {}

    fn join_with(&self, patience: &Patience<'_>) -> Result<(), JoinError> {
        let PutSide { bell, store, .. } = &*self.side;
        match store.join(patience, || bell.is_gone()) {
            Ok(true) => Ok(()),
            Ok(false) if bell.is_gone() => Err(JoinError::Closed),
            Ok(false) => Err(JoinError::TimedOut),
            Err(error) => Err(JoinError::Io(error)),
        }
    }

    /// Waits until all items of a [`JoinableQueue`](crate::JoinableQueue) were got and said to be done. What a process
    /// got that ended without saying so counts as done: nobody else will do it. With a plain queue, waits until it is
    /// empty.
    ///
    /// # Errors
    ///
    /// [`JoinError::Closed`] if there are items and no consumers.
    pub fn join(&self) -> Result<(), JoinError> {
        self.join_with(&Patience::ENDLESS)
    }

    /// [`join`](Producer::join), at most so long.
    ///
    /// # Errors
    ///
    /// As of [`join`](Producer::join), and [`JoinError::TimedOut`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinError> {
        self.join_with(&Patience::of(timeout))
    }

    /// [`join`](Producer::join), async, on any runtime or none. A thread is started that waits, and ends with the wait.
    ///
    /// # Errors
    ///
    /// As of [`join`](Producer::join).
    pub async fn join_async(&self) -> Result<(), JoinError> {
        let waiting = Producer::<()> { side: Arc::clone(&self.side), puts: PhantomData };
        let rouse = || self.side.store.page.members().rouse();
        asynchronous::wait(rouse, move |patience| waiting.join_with(patience)).await?
    }
}

impl<T: Serialize> Producer<T> {
    fn attempt(&self, entry: &mut Entry) -> Result<Tried<()>, PutError> {
        let PutSide { bell, parcels, left, store, .. } = &*self.side;
        store.put(entry, bell, parcels, left)
    }

    fn put_until(&self, item: &T, until: Option<Instant>) -> Result<(), PutError> {
        let mut entry = Entry::of(item)?;
        loop {
            if self.side.store.is_full() && has_time(until) {
                self.side.luck.linger(|| !self.side.store.is_full());
            }
            match self.attempt(&mut entry)? {
                Tried::Done(()) => return Ok(()),
                Tried::Wait if self.side.bell.wait(until)? => {}
                Tried::Wait => return Err(PutError::TimedOut),
            }
        }
    }

    /// Puts an item; if the queue is bounded and full, waits for room. The item is in the queue when this returns: it is
    /// got even if this process is killed in the next moment.
    ///
    /// # Errors
    ///
    /// If the item cannot be encoded, if there is no memory for it, or if nobody can get it. Consumers that died are
    /// noticed within a few items.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::Queue;
    ///
    /// let (producer, consumer) = Queue::<(String, u32)>::new()?.split();
    /// producer.put(&("seven".to_owned(), 7))?;
    /// assert_eq!(consumer.get()?, ("seven".to_owned(), 7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put(&self, item: &T) -> Result<(), PutError> {
        self.put_until(item, None)
    }

    /// [`put`](Producer::put), at most so long.
    ///
    /// # Errors
    ///
    /// As of [`put`](Producer::put), and [`PutError::TimedOut`].
    pub fn put_timeout(&self, item: &T, timeout: Duration) -> Result<(), PutError> {
        self.put_until(item, Instant::now().checked_add(timeout))
    }

    /// [`put`](Producer::put), if there is room. Python's `put_nowait`.
    ///
    /// # Errors
    ///
    /// As of [`put`](Producer::put), and [`PutError::Full`].
    pub fn try_put(&self, item: &T) -> Result<(), PutError> {
        match self.attempt(&mut Entry::of(item)?)? {
            Tried::Done(()) => Ok(()),
            Tried::Wait => Err(PutError::Full),
        }
    }

    /// [`put`](Producer::put), async, on any runtime or none. If the future is dropped before it is done, the item is not
    /// put.
    ///
    /// # Errors
    ///
    /// As of [`put`](Producer::put).
    pub async fn put_async(&self, item: &T) -> Result<(), PutError> {
        let mut entry = Entry::of(item)?;
        while let Tried::Wait = self.attempt(&mut entry)? {
            self.side.bell.wait_async().await?;
        }
        Ok(())
    }
}

impl<T> Consumer<T> {
    pub(super) fn new(store: Arc<Store>, bell: Handle, parcels: Handle) -> Consumer<T> {
        let side = GetSide { bell: Bell::new(bell), parcels, luck: Luck::default(), store: Leaving(store) };
        Consumer { side: Arc::new(side), gets: PhantomData }
    }

    pub(super) fn store(&self) -> &Store {
        &self.side.store.0
    }

    /// How many items are in the queue, at this moment: others put and get.
    pub fn qsize(&self) -> usize {
        size(self.store().count())
    }

    /// Whether there is no item, at this moment. That the queue has ended is said by [`get`](Consumer::get).
    pub fn empty(&self) -> bool {
        self.store().count() == 0
    }

    /// Whether there is no room, at this moment.
    pub fn full(&self) -> bool {
        self.store().is_full()
    }

    /// Closes this side here, as dropping it does. Other processes that have it, and clones, may go on.
    pub fn close(self) {}

    /// Says that an item of a [`JoinableQueue`](crate::JoinableQueue) is done that this side, or a clone of it, has got.
    ///
    /// # Errors
    ///
    /// [`JoinError::TooMany`] if it has got no more.
    pub fn task_done(&self) -> Result<(), JoinError> {
        if self.store().done()? { Ok(()) } else { Err(JoinError::TooMany) }
    }

    fn attempt(&self) -> Result<Tried<Item>, GetError> {
        self.store().take(&self.side.bell, &self.side.parcels)
    }
}

impl<T: DeserializeOwned> Consumer<T> {
    fn get_until(&self, until: Option<Instant>) -> Result<T, GetError> {
        loop {
            if self.store().count() == 0 && has_time(until) {
                self.side.luck.linger(|| self.store().count() > 0);
            }
            match self.attempt()? {
                Tried::Done(item) => return item.decode(),
                Tried::Wait if self.side.bell.wait(until)? => {}
                Tried::Wait => return Err(GetError::TimedOut),
            }
        }
    }

    /// Gets the next item; if there is none, waits for one.
    ///
    /// # Errors
    ///
    /// [`GetError::Closed`] if there is none and all producers are gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Consumer, GetError, Process, Producer, Queue, task};
    ///
    /// #[task]
    /// fn count(numbers: Producer<u32>) {
    ///     for number in 0..3 {
    ///         numbers.put(&number).expect("somebody gets it");
    ///     }
    ///     std::process::abort();
    /// }
    ///
    /// let (producer, consumer) = Queue::<u32>::new()?.split();
    /// let process = Process::new(count, producer).start()?;
    /// assert_eq!(consumer.iter().collect::<Result<Vec<_>, _>>()?, [0, 1, 2]);
    /// # drop(process);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self) -> Result<T, GetError> {
        self.get_until(None)
    }

    /// [`get`](Consumer::get), at most so long.
    ///
    /// # Errors
    ///
    /// As of [`get`](Consumer::get), and [`GetError::TimedOut`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_until(Instant::now().checked_add(timeout))
    }

    /// [`get`](Consumer::get), if there is an item. Python's `get_nowait`.
    ///
    /// # Errors
    ///
    /// As of [`get`](Consumer::get), and [`GetError::Empty`].
    pub fn try_get(&self) -> Result<T, GetError> {
        match self.attempt()? {
            Tried::Done(item) => item.decode(),
            Tried::Wait => Err(GetError::Empty),
        }
    }

    /// [`get`](Consumer::get), async, on any runtime or none. If the future is dropped before it is done, no item is lost.
    ///
    /// # Errors
    ///
    /// As of [`get`](Consumer::get).
    pub async fn get_async(&self) -> Result<T, GetError> {
        loop {
            match self.attempt()? {
                Tried::Done(item) => return item.decode(),
                Tried::Wait => self.side.bell.wait_async().await?,
            }
        }
    }

    /// The items as a stream, on any runtime or none, up to the end of the queue. An error is an item as well, and ends
    /// nothing, unless the system has refused something. If the stream is dropped, no item is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::StreamExt;
    /// use procpool::Queue;
    ///
    /// let (producer, consumer) = Queue::new()?.split();
    /// (1..=3).try_for_each(|n| producer.put(&n))?;
    /// producer.close();
    /// # procpool::__private::block_on(async {
    /// let sum = consumer.stream().map(|n: Result<u32, _>| n.expect("a number")).fold(0, async |sum, n| sum + n).await;
    /// assert_eq!(sum, 6);
    /// # });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stream(&self) -> impl Stream<Item = Result<T, GetError>> + Unpin + '_ {
        let items = stream::unfold(false, async |ended| {
            let item = if ended { Err(GetError::Closed) } else { self.get_async().await };
            ended_by(&item).map(|ended| (item, ended))
        });
        Box::pin(items.fuse())
    }

    /// The items, one after the other, each waited for, up to the end of the queue. An error is an item as well, and ends
    /// nothing, unless the system has refused something.
    pub fn iter(&self) -> Items<'_, T> {
        Items { consumer: self, ended: false }
    }
}

/// The items of a queue, from [`Consumer::iter`].
#[derive(Debug)]
pub struct Items<'a, T> {
    consumer: &'a Consumer<T>,
    ended: bool,
}

/// Whether this item is the last one; `None` if it is the end.
fn ended_by<T>(item: &Result<T, GetError>) -> Option<bool> {
    match item {
        Err(GetError::Closed) => None,
        item => Some(matches!(item, Err(GetError::Io(_) | GetError::Damaged))),
    }
}

impl<T: DeserializeOwned> Iterator for Items<'_, T> {
    type Item = Result<T, GetError>;

    fn next(&mut self) -> Option<Result<T, GetError>> {
        if self.ended {
            return None;
        }
        let item = self.consumer.get();
        self.ended = ended_by(&item)?;
        Some(item)
    }
}

impl<'a, T: DeserializeOwned> IntoIterator for &'a Consumer<T> {
    type Item = Result<T, GetError>;
    type IntoIter = Items<'a, T>;

    fn into_iter(self) -> Items<'a, T> {
        self.iter()
    }
}
