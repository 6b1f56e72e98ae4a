//! One task over many items: lazy intake, bounded window, results in order or as they come.

mod calls;
mod intake;
mod ready;
mod window;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures::stream::{Stream, StreamExt};

use self::intake::{Chunks, Source};
use self::window::{Step, Window};
use crate::error::{TaskError, TaskErrorKind, WaitTimeout};
use crate::park;
use crate::submit::Submitter;
use crate::task::Task;

/// Runs a task over many items: see [`ProcessPoolExecutor::map`](crate::ProcessPoolExecutor::map).
///
/// A `Stream` of `Result<T, TaskError>` for async code, an iterator for blocking code. It takes items from its
/// input as results are taken from it, and holds at most [`buffersize`](Map::buffersize) of them, so the input
/// may be endless. One item that fails is one `Err`; the others go on. Dropping it cancels what has not
/// started.
///
/// If the input panics, so does this, after the results of the items before.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, task};
///
/// #[task]
/// fn invert(n: u32) -> u32 {
///     100 / n
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let inverted: Vec<Option<u32>> = pool.map(invert, [5, 0, 2]).into_iter().map(Result::ok).collect();
/// assert_eq!(inverted, [Some(20), None, Some(50)]);
/// # Ok::<(), procpool::StartError>(())
/// ```
#[must_use = "a map does nothing unless its results are taken"]
pub struct Map<'a, T: Task, S> {
    pool: Submitter,
    task: T,
    source: Source<S>,
    window: Window<T::Output>,
    chunks: Chunks,
    /// Chunks are one task each for the pool.
    together: bool,
    /// Results that may be held; `None` follows the chunks.
    buffersize: Option<usize>,
    called: Instant,
    timeout: Option<(Duration, Timer)>,
    /// While more results than this are to come, no item is taken.
    enough: usize,
    /// Why this map gives one error and ends.
    refused: Option<TaskErrorKind>,
    over: bool,
    items: PhantomData<fn() -> &'a ()>,
}

// The input is pinned on the heap, and nothing else cares where it is.
impl<T: Task, S> Unpin for Map<'_, T, S> {}

impl<'a, T, S> Map<'a, T, S>
where
    T: Task,
    S: Stream<Item = T::Args<'a>>,
{
    pub(crate) fn new(pool: Submitter, task: T, source: S) -> Map<'a, T, S> {
        Map {
            task,
            source: Source::new(source),
            window: Window::ordered(),
            chunks: Chunks::new(),
            together: pool.lets_calls_go_together(task),
            pool,
            buffersize: None,
            called: Instant::now(),
            timeout: None,
            enough: usize::MAX,
            refused: None,
            over: false,
            items: PhantomData,
        }
    }

    /// Sends so many items to a worker together, which costs less for short items. Each item still has its own
    /// result, and a crash loses one item, not its chunk: what its worker had done is told, and what it had not begun
    /// goes to another, as it does when an item takes longer than 3 ms. Without this, the chunks adapt to the measured
    /// length of the items, up to about a millisecond of work, 8192 items and 127 KiB. With 1, an item goes as it would if
    /// it were submitted for itself: a message may bring several as long as they take less than 200 µs together.
    ///
    /// Items that have a timeout, a deadline or retries of their own, or cooperate in being cancelled, and all items
    /// of a pool that counts the tasks of its workers, are tasks of their own that are sent at the same time.
    ///
    /// Zero makes the map give one error, of kind [`Invalid`](TaskErrorKind::Invalid).
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let squares: Vec<u64> = pool.map(square, 0..1000).chunksize(100).into_iter().collect::<Result<_, _>>()?;
    /// assert_eq!(squares[999], 999 * 999);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn chunksize(mut self, chunksize: usize) -> Self {
        self.chunks.fixed = Some(chunksize);
        if chunksize == 0 {
            self.refuse("a `chunksize` of 0 sends nothing: it must be at least 1");
        }
        self
    }

    /// Holds at most so many items that were taken from the input and whose results were not taken. The default
    /// is four chunks per worker, or as many items as four chunks would have if they adapted. Python 3.14 counts chunks by the same word, and without it takes all of the input.
    ///
    /// Zero makes the map give one error, of kind [`Invalid`](TaskErrorKind::Invalid).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// let taken = Cell::new(0);
    /// let numbers = (1..).inspect(|_| taken.set(taken.get() + 1));
    /// let pool = ProcessPoolExecutor::new()?;
    /// let mut squares = pool.map(square, numbers).buffersize(3).into_iter();
    /// assert_eq!(squares.next().unwrap()?, 1);
    /// assert!(taken.get() <= 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn buffersize(mut self, buffersize: usize) -> Self {
        self.buffersize = Some(buffersize);
        if buffersize == 0 {
            self.refuse("a `buffersize` of 0 lets nothing through: it must be at least 1");
        }
        self
    }

    /// Gives results as they come, not in the order of the items.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let mut squares: Vec<u64> = pool.map(square, 0..10).unordered().into_iter().collect::<Result<_, _>>()?;
    /// squares.sort();
    /// assert_eq!(squares[9], 81);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn unordered(mut self) -> Self {
        self.window = Window::unordered();
        self
    }

    /// Ends the map so long after the call of `map`, as in Python: what is done by then is given, then one
    /// error of kind [`MapTimedOut`](TaskErrorKind::MapTimedOut), then the end. What has not started is
    /// cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn park_unless(n: u32) -> u32 {
    ///     while n > 0 {
    ///         std::thread::park()
    ///     }
    ///     n
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().max_workers(2).build()?;
    /// let items = pool.map(park_unless, 0..).timeout(Duration::from_millis(200));
    /// assert!(items.into_iter().last().unwrap().unwrap_err().is_timeout());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let timer = self.called.checked_add(timeout).map_or_else(Timer::never, Timer::at);
        self.timeout = Some((timeout, timer));
        self
    }

    fn refuse(&mut self, message: &str) {
        // What has come is not given before that.
        self.enough = usize::MAX;
        self.refused.get_or_insert_with(|| TaskErrorKind::Invalid { message: message.to_owned() });
    }

    /// The next result; `None` when there is none left. Cancellation safe.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let mut squares = pool.map(square, 1..);
    /// # procpool::__private::block_on(async {
    /// assert_eq!(squares.next().await.unwrap()?, 1);
    /// assert_eq!(squares.next().await.unwrap()?, 4);
    /// # Ok::<(), procpool::TaskError>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub async fn next(&mut self) -> Option<Result<T::Output, TaskError>> {
        StreamExt::next(self).await
    }

    /// Collects all values, or stops at the first error and cancels the rest. Blocking code collects the
    /// iterator: `map.into_iter().collect::<Result<_, _>>()`. Dropping the future that this returns cancels the rest
    /// as well, and the values so far are lost.
    ///
    /// # Errors
    ///
    /// The first error of an item.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::collections::BTreeSet;
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn digits(n: u32) -> u32 {
    ///     n.to_string().chars().filter_map(|c| c.to_digit(10)).sum()
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # procpool::__private::block_on(async {
    /// let pool = ProcessPoolExecutor::new()?;
    /// let sums: BTreeSet<u32> = pool.map(digits, [10, 20, 101, 11]).try_collect().await?;
    /// assert_eq!(sums, [1, 2].into());
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub async fn try_collect<C: Default + Extend<T::Output>>(mut self) -> Result<C, TaskError> {
        let mut all = C::default();
        while let Some(item) = self.next().await {
            all.extend([item?]);
        }
        Ok(all)
    }
}

impl<'a, T, S> Stream for Map<'a, T, S>
where
    T: Task,
    S: Stream<Item = T::Args<'a>>,
{
    type Item = Result<T::Output, TaskError>;

    /// # Panics
    ///
    /// As the input does, after the results of the items before.
    #[inline]
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        match this.next_at_hand() {
            Some(result) => Poll::Ready(Some(result)),
            None => this.poll_further(context),
        }
    }
}

impl<'a, T, S> Map<'a, T, S>
where
    T: Task,
    S: Stream<Item = T::Args<'a>>,
{
    /// The next result, if it has come with others and there is no room for more items yet.
    #[inline]
    fn next_at_hand(&mut self) -> Option<Result<T::Output, TaskError>> {
        (self.window.len() > self.enough).then(|| self.window.next_ready()).flatten()
    }

    #[inline(never)]
    fn poll_further(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<T::Output, TaskError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Some(kind) = self.refused.take() {
            return Poll::Ready(Some(self.end(kind)));
        }
        self.fill(context);
        if let Some(result) = self.window.next_ready() {
            return Poll::Ready(Some(result));
        }
        let next = loop {
            match self.window.poll_next(context) {
                Poll::Ready(Some(Step::Took(took))) => self.chunks.note(took),
                next => break next,
            }
        };
        match next {
            Poll::Ready(Some(Step::Result(result))) => return Poll::Ready(Some(result)),
            Poll::Ready(None) if self.source.ended => {
                self.over = true;
                if let Some(panic) = self.source.panic.take() {
                    resume_unwind(panic);
                }
                return Poll::Ready(None);
            }
            // Nothing is on its way, and the input has nothing yet.
            Poll::Ready(_) | Poll::Pending => {}
        }
        if let Some((limit, timer)) = &mut self.timeout
            && Pin::new(timer).poll(context).is_ready()
        {
            let limit = *limit;
            return Poll::Ready(Some(self.end(TaskErrorKind::MapTimedOut { limit })));
        }
        Poll::Pending
    }
}

impl<T: Task, S> Map<'_, T, S> {
    /// The last item: an error that is about the map and not about one of its items.
    fn end(&mut self, kind: TaskErrorKind) -> Result<T::Output, TaskError> {
        self.over = true;
        self.window = Window::ordered();
        Err(TaskError::not_run(T::NAME, kind))
    }
}

impl<'a, T, S> IntoIterator for Map<'a, T, S>
where
    T: Task,
    S: Stream<Item = T::Args<'a>>,
{
    type Item = Result<T::Output, TaskError>;
    type IntoIter = MapIter<'a, T, S>;

    fn into_iter(self) -> MapIter<'a, T, S> {
        MapIter(self)
    }
}

/// The blocking iterator of a [`Map`]. Dropping it cancels what has not started.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, task};
///
/// #[task]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let mut squares = pool.map(square, 5..).into_iter();
/// assert_eq!(squares.next().unwrap()?, 25);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct MapIter<'a, T: Task, S>(Map<'a, T, S>);

impl<'a, T, S> MapIter<'a, T, S>
where
    T: Task,
    S: Stream<Item = T::Args<'a>>,
{
    /// The next result, if it is there in time. When the time is over the map goes on, and can be asked again: Python's
    /// `next(timeout)` of an `imap`. To bound the whole map there is [`Map::timeout`].
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] when the time is over. The inner error is the item's own.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn nap(milliseconds: u64) -> u64 {
    ///     std::thread::sleep(Duration::from_millis(milliseconds));
    ///     milliseconds
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let mut naps = pool.map(nap, [100]).into_iter();
    /// assert!(naps.next_timeout(Duration::ZERO).is_err());
    /// assert_eq!(naps.next().unwrap()?, 100);
    /// assert!(naps.next_timeout(Duration::ZERO)?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Option<Result<T::Output, TaskError>>, WaitTimeout> {
        // A deadline beyond the clock's range is none.
        park::block_until(self.0.next(), Instant::now().checked_add(timeout)).ok_or(WaitTimeout {})
    }
}

impl<'a, T, S> Iterator for MapIter<'a, T, S>
where
    T: Task,
    S: Stream<Item = T::Args<'a>>,
{
    type Item = Result<T::Output, TaskError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // Most results have come when they are asked for, with others: then nobody is to be woken.
        match Pin::new(&mut self.0).poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(item) => item,
            Poll::Pending => park::block_on(self.0.next()),
        }
    }
}

impl<T: Task, S> fmt::Debug for Map<'_, T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("task", &T::NAME).finish_non_exhaustive()
    }
}
