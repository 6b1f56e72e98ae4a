//! Many futures at once: one after the other as they complete, or until some condition holds.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_io::Timer;
use futures::stream::{FusedStream, FuturesUnordered, Stream, StreamExt};
use pin_project::pin_project;
use serde::de::DeserializeOwned;

use crate::error::{CompletedTimeout, TaskError};
use crate::future::TaskFuture;
use crate::park;

/// What [`as_completed`] takes: a [`TaskFuture`], or a pair of a key and one, for those who want to know which
/// task a result is of.
///
/// # Examples
///
/// ```
/// use procpool::{Completion, ProcessPoolExecutor, as_completed, task};
///
/// #[task]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// /// What is done first, with its key if it has one.
/// fn race<F: Completion>(futures: Vec<F>) -> Option<F::Output> {
///     as_completed(futures).into_iter().next()
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// assert_eq!(race(vec![pool.submit(double, 1)]).unwrap()?, 2);
/// let (name, two) = race(vec![("one", pool.submit(double, 1))]).unwrap();
/// assert_eq!((name, two?), ("one", 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Completion: sealed::Completion {
    /// The result, or the key and the result.
    type Output;

    #[doc(hidden)]
    fn finish(self) -> Self::Output;
}

mod sealed {
    use std::task::{Context, Poll};

    pub trait Completion: Unpin {
        fn poll_done(&self, context: &Context<'_>) -> Poll<()>;
    }
}

impl<T> sealed::Completion for TaskFuture<T> {
    fn poll_done(&self, context: &Context<'_>) -> Poll<()> {
        TaskFuture::poll_done(self, context)
    }
}

impl<T: DeserializeOwned> Completion for TaskFuture<T> {
    type Output = Result<T, TaskError>;

    fn finish(self) -> Self::Output {
        self.result()
    }
}

impl<K: Unpin, T> sealed::Completion for (K, TaskFuture<T>) {
    fn poll_done(&self, context: &Context<'_>) -> Poll<()> {
        TaskFuture::poll_done(&self.1, context)
    }
}

impl<K: Unpin, T: DeserializeOwned> Completion for (K, TaskFuture<T>) {
    type Output = (K, Result<T, TaskError>);

    fn finish(self) -> Self::Output {
        (self.0, self.1.result())
    }
}

/// A future that gives its task back, done.
struct Waiting<F>(Option<F>);

impl<F: sealed::Completion> Future for Waiting<F> {
    type Output = Option<F>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<F>> {
        if let Some(future) = &self.0 {
            ready!(future.poll_done(context));
        }
        Poll::Ready(self.0.take())
    }
}

/// Gives results in the order in which the tasks complete, from whatever pools.
///
/// A `Stream` for async code, an iterator for blocking code; each result costs the same however many futures
/// there are. Dropping it cancels what has not completed.
///
/// # Examples
///
/// ```
/// use std::collections::HashMap;
/// use procpool::{ProcessPoolExecutor, as_completed, task};
///
/// #[task]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let doubled = as_completed((0..10).map(|n| (n, pool.submit(double, n))));
/// let doubled: HashMap<u32, u32> = doubled.into_iter().map(|(n, twice)| Ok((n, twice?))).collect::<Result<_, procpool::TaskError>>()?;
/// assert_eq!(doubled[&7], 14);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The Python original is `concurrent.futures.as_completed`. It takes each future once even if it is given
/// twice; here a future can only be given once.
pub fn as_completed<F: Completion>(futures: impl IntoIterator<Item = F>) -> AsCompleted<F> {
    let waiting: FuturesUnordered<_> = futures.into_iter().map(|future| Waiting(Some(future))).collect();
    AsCompleted { total: waiting.len(), waiting }
}

/// The results of several tasks in the order in which they complete: see [`as_completed`].
///
/// # Examples
///
/// ```
/// use futures::StreamExt;
/// use procpool::{ProcessPoolExecutor, as_completed, task};
///
/// #[task]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # procpool::__private::block_on(async {
/// let pool = ProcessPoolExecutor::new()?;
/// let doubled = as_completed((1..=3).map(|n| pool.submit(double, n)));
/// let mut doubled: Vec<u32> = doubled.map(|n| n.unwrap()).collect().await; // it is a `Stream`
/// doubled.sort();
/// assert_eq!(doubled, [2, 4, 6]);
/// # Ok(())
/// # })
/// # }
/// ```
#[must_use = "streams and iterators do nothing unless they are used"]
pub struct AsCompleted<F> {
    waiting: FuturesUnordered<Waiting<F>>,
    /// All futures that were ever given.
    total: usize,
}

impl<F: Completion> AsCompleted<F> {
    /// Adds a future, also while others are being waited for.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, as_completed, task};
    ///
    /// #[task]
    /// fn halve(n: u32) -> u32 {
    ///     n / 2
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let mut halves = as_completed([pool.submit(halve, 8)]);
    /// let mut seen = Vec::new();
    /// # procpool::__private::block_on(async {
    /// while let Some(half) = halves.next().await {
    ///     let half = half?;
    ///     seen.push(half);
    ///     if half > 1 {
    ///         halves.push(pool.submit(halve, half));
    ///     }
    /// }
    /// # Ok::<(), procpool::TaskError>(())
    /// # })?;
    /// assert_eq!(seen, [4, 2, 1]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn push(&mut self, future: F) {
        self.total += 1;
        self.waiting.push(Waiting(Some(future)));
    }

    /// How many futures have not been given back yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, as_completed, task};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let doubled = as_completed([pool.submit(double, 1), pool.submit(double, 2)]);
    /// assert_eq!(doubled.len(), 2);
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// All futures have been given back.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{TaskFuture, as_completed};
    ///
    /// assert!(as_completed::<TaskFuture<u32>>([]).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The next result; `None` when there is none left. Cancellation safe.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, as_completed, task};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # procpool::__private::block_on(async {
    /// let pool = ProcessPoolExecutor::new()?;
    /// let mut doubled = as_completed([pool.submit(double, 1), pool.submit(double, 2)]);
    /// let mut sum = 0;
    /// while let Some(n) = doubled.next().await {
    ///     sum += n?;
    /// }
    /// assert_eq!(sum, 6);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<F::Output> {
        StreamExt::next(self).await
    }

    /// Ends the wait at `timeout` from now, with one [`CompletedTimeout`]. The tasks go on:
    /// [`into_unfinished`](AsCompletedTimeout::into_unfinished) gives their futures back.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, as_completed, task};
    ///
    /// #[task]
    /// fn wait(seconds: f64) {
    ///     std::thread::sleep(Duration::from_secs_f64(seconds))
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().max_workers(2).build()?;
    /// pool.warm_up().wait()?;
    /// let futures = [pool.submit(wait, 0.0), pool.submit(wait, 60.0)];
    /// let mut waits = as_completed(futures).timeout(Duration::from_millis(500));
    /// let ends: Vec<_> = (&mut waits).into_iter().map(|end| end.map_err(|late| late.unfinished)).collect();
    /// assert!(matches!(ends[..], [Ok(Ok(())), Err(1)]));
    /// assert_eq!(waits.into_unfinished().len(), 1);
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn timeout(self, timeout: Duration) -> AsCompletedTimeout<F> {
        AsCompletedTimeout { inner: self, timer: timer(timeout), over: false }
    }
}

/// A timer that is due at some time after now; never, if that is beyond the clock's range.
pub(crate) fn timer(after: Duration) -> Timer {
    Instant::now().checked_add(after).map_or_else(Timer::never, Timer::at)
}

impl<F: Completion> Stream for AsCompleted<F> {
    type Item = F::Output;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<F::Output>> {
        self.waiting.poll_next_unpin(context).map(|done| Some(done??.finish()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<F: Completion> FusedStream for AsCompleted<F> {
    fn is_terminated(&self) -> bool {
        self.is_empty()
    }
}

impl<F: Completion> IntoIterator for AsCompleted<F> {
    type Item = F::Output;
    type IntoIter = Completed<F>;

    fn into_iter(self) -> Completed<F> {
        Completed(self)
    }
}

/// The blocking iterator of [`as_completed`]. Dropping it cancels what has not completed.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, as_completed, task};
///
/// #[task]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let mut sum = 0;
/// for n in as_completed((1..=3).map(|n| pool.submit(double, n))) {
///     sum += n?;
/// }
/// assert_eq!(sum, 12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Completed<F>(AsCompleted<F>);

impl<F: Completion> Iterator for Completed<F> {
    type Item = F::Output;

    fn next(&mut self) -> Option<F::Output> {
        park::block_on(self.0.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<F> fmt::Debug for AsCompleted<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted")
            .field("waiting", &self.waiting.len())
            .field("total", &self.total)
            .finish()
    }
}

/// [`as_completed`] with an end in time: see [`AsCompleted::timeout`]. A `Stream`, and an iterator for blocking
/// code, also by `for … in &mut completed`, which leaves the unfinished futures where they are.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use futures::TryStreamExt;
/// use procpool::{ProcessPoolExecutor, as_completed, task};
///
/// #[task]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # procpool::__private::block_on(async {
/// let pool = ProcessPoolExecutor::new()?;
/// let doubled = as_completed((1..=3).map(|n| pool.submit(double, n))).timeout(Duration::from_secs(60));
/// let doubled: Vec<_> = doubled.try_collect().await?; // a `Stream` that fails when it is late
/// assert_eq!(doubled.len(), 3);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Debug)]
#[must_use = "streams and iterators do nothing unless they are used"]
#[pin_project]
pub struct AsCompletedTimeout<F> {
    inner: AsCompleted<F>,
    #[pin]
    timer: Timer,
    over: bool,
}

impl<F: Completion> AsCompletedTimeout<F> {
    /// The next result, or the one [`CompletedTimeout`]; `None` after that. Cancellation safe.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, as_completed, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// # procpool::__private::block_on(async {
    /// let pool = ProcessPoolExecutor::new()?;
    /// let mut ends = as_completed([pool.submit(park, ())]).timeout(Duration::from_millis(20));
    /// let late = ends.next().await.unwrap().unwrap_err();
    /// assert_eq!(late.to_string(), "1 (of 1) futures unfinished");
    /// assert!(ends.next().await.is_none());
    /// # Ok::<(), procpool::StartError>(())
    /// # })?;
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub async fn next(&mut self) -> Option<Result<F::Output, CompletedTimeout>> {
        StreamExt::next(self).await
    }

    /// The futures that have not completed. Their tasks go on.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, as_completed, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let names = ["north", "south"].map(|name| (name, pool.submit(park, ())));
    /// let mut ends = as_completed(names).timeout(Duration::ZERO);
    /// assert!((&mut ends).into_iter().next().unwrap().is_err());
    /// for (name, late) in ends.into_unfinished() {
    ///     assert!(late.kill(), "{name}");
    /// }
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn into_unfinished(self) -> Vec<F> {
        self.inner.waiting.into_iter().filter_map(|waiting| waiting.0).collect()
    }
}

impl<F: Completion> Stream for AsCompletedTimeout<F> {
    type Item = Result<F::Output, CompletedTimeout>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        if *this.over {
            return Poll::Ready(None);
        }
        // What has completed goes before what is late.
        if let Poll::Ready(next) = this.inner.poll_next_unpin(context) {
            return Poll::Ready(next.map(Ok));
        }
        ready!(this.timer.poll(context));
        *this.over = true;
        Poll::Ready(Some(Err(CompletedTimeout { unfinished: this.inner.len(), total: this.inner.total })))
    }
}

impl<F: Completion> IntoIterator for AsCompletedTimeout<F> {
    type Item = Result<F::Output, CompletedTimeout>;
    type IntoIter = CompletedInTime<Self>;

    fn into_iter(self) -> CompletedInTime<Self> {
        CompletedInTime(self)
    }
}

impl<'a, F: Completion> IntoIterator for &'a mut AsCompletedTimeout<F> {
    type Item = Result<F::Output, CompletedTimeout>;
    type IntoIter = CompletedInTime<Self>;

    fn into_iter(self) -> CompletedInTime<&'a mut AsCompletedTimeout<F>> {
        CompletedInTime(self)
    }
}

/// The blocking iterator of an [`AsCompletedTimeout`], or of a borrowed one.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procpool::{ProcessPoolExecutor, as_completed, task};
///
/// #[task]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let mut sum = 0;
/// for in_time in as_completed([pool.submit(double, 1), pool.submit(double, 2)]).timeout(Duration::from_secs(60)) {
///     sum += in_time??; // late, or failed
/// }
/// assert_eq!(sum, 6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct CompletedInTime<S>(S);

impl<S: Stream + Unpin> Iterator for CompletedInTime<S> {
    type Item = S::Item;

    fn next(&mut self) -> Option<S::Item> {
        park::block_on(StreamExt::next(&mut self.0))
    }
}

/// When [`wait`] comes back.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, ReturnWhen, task, wait};
///
/// #[task]
/// fn find(prefix: &str) {
///     while prefix != "right" {
///         std::thread::park()
///     }
/// }
///
/// let pool = ProcessPoolExecutor::builder().max_workers(2).build()?;
/// let searches = ["left", "right"].map(|prefix| pool.submit(find, prefix));
/// let waited = wait(searches, ReturnWhen::FirstCompleted).wait();
/// assert_eq!((waited.done.len(), waited.not_done.len()), (1, 1));
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReturnWhen {
    /// One task is done.
    FirstCompleted,
    /// One task has failed with a [`TaskError`], or all are done. A task that returned its own `Err` has a
    /// value in this sense, and one that was cancelled has not failed, as in Python.
    FirstException,
    /// All tasks are done.
    #[default]
    AllCompleted,
}

/// Waits for some of the futures, or all, and gives all of them back.
///
/// `.await` it, or block with [`wait`](Wait::wait). A [`timeout`](Wait::timeout) is no error: what is not done
/// then is in `not_done`. Nothing is cancelled, unless this is dropped unfinished.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, ReturnWhen, task, wait};
///
/// #[task]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let futures = (0..10).map(|n| pool.submit(double, n));
/// let waited = wait(futures, ReturnWhen::AllCompleted).wait();
/// assert!(waited.not_done.is_empty());
/// for (n, future) in (0..).zip(waited.done) {
///     assert_eq!(future.result()?, 2 * n);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The Python original is `concurrent.futures.wait`; it gives sets, this keeps the order of the futures.
pub fn wait<T>(futures: impl IntoIterator<Item = TaskFuture<T>>, return_when: ReturnWhen) -> Wait<T> {
    let waiting = (0..).zip(futures).map(|(index, future)| Waiting(Some((index, future)))).collect();
    Wait { waiting, done: Vec::new(), return_when, timer: None }
}

/// A future of [`Waited`]: see [`wait`].
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, ReturnWhen, task, wait};
///
/// #[task]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # procpool::__private::block_on(async {
/// let pool = ProcessPoolExecutor::new()?;
/// let futures = [pool.submit(double, 1), pool.submit(double, 2)];
/// let waited = wait(futures, ReturnWhen::AllCompleted).await;
/// assert_eq!(waited.done.len(), 2);
/// # Ok(())
/// # })
/// # }
/// ```
#[must_use = "futures do nothing unless they are awaited or waited for"]
#[pin_project]
pub struct Wait<T> {
    waiting: FuturesUnordered<Waiting<(usize, TaskFuture<T>)>>,
    done: Vec<(usize, TaskFuture<T>)>,
    return_when: ReturnWhen,
    #[pin]
    timer: Option<Timer>,
}

/// What [`wait`] gives back: every future that it was given, in that order, in one of two places.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, ReturnWhen, Waited, task, wait};
///
/// #[task]
/// fn check(n: u32) {
///     while n > 0 {
///         std::thread::park()
///     }
///     panic!("nothing to check");
/// }
///
/// let pool = ProcessPoolExecutor::builder().max_workers(2).build()?;
/// let checks = [1, 0].map(|n| pool.submit(check, n));
/// let Waited { mut done, not_done } = wait(checks, ReturnWhen::FirstException).wait();
/// assert!(done.remove(0).result().unwrap_err().is_panic());
/// assert!(not_done[0].kill());
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Debug)]
pub struct Waited<T> {
    /// Those that are done: their results are there at once.
    pub done: Vec<TaskFuture<T>>,
    /// Those that are not, and go on.
    pub not_done: Vec<TaskFuture<T>>,
}

impl<T> Wait<T> {
    /// Comes back at `timeout` from now, at the latest. That is no error.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{ProcessPoolExecutor, ReturnWhen, task, wait};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let endless = [pool.submit(park, ())];
    /// let waited = wait(endless, ReturnWhen::AllCompleted).timeout(Duration::from_millis(20)).wait();
    /// assert_eq!((waited.done.len(), waited.not_done.len()), (0, 1));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Wait<T> {
        self.timer = Some(timer(timeout));
        self
    }

    /// Blocks. Do not call it in async code: await this instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, ReturnWhen, task, wait};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let waited = wait([pool.submit(double, 1)], ReturnWhen::AllCompleted).wait();
    /// assert!(waited.done[0].done());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn wait(self) -> Waited<T> {
        park::block_on(self)
    }
}

impl<T> Future for Wait<T> {
    type Output = Waited<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Waited<T>> {
        let mut this = self.project();
        let mut enough = false;
        // All that are done now belong to the answer, also beyond the first.
        while let Poll::Ready(Some(done)) = this.waiting.poll_next_unpin(context) {
            let Some((index, future)) = done else { continue };
            enough |= match this.return_when {
                ReturnWhen::FirstCompleted => true,
                ReturnWhen::FirstException => future.has_failed(),
                ReturnWhen::AllCompleted => false,
            };
            this.done.push((index, future));
        }
        if !enough && !this.waiting.is_empty() {
            match this.timer.as_mut().as_pin_mut() {
                Some(timer) => ready!(timer.poll(context)),
                None => return Poll::Pending,
            };
        }
        let waiting = std::mem::take(this.waiting);
        let not_done = waiting.into_iter().filter_map(|waiting| waiting.0).collect();
        Poll::Ready(Waited { done: in_order(std::mem::take(this.done)), not_done: in_order(not_done) })
    }
}

fn in_order<T>(mut futures: Vec<(usize, T)>) -> Vec<T> {
    futures.sort_by_key(|&(index, _)| index);
    futures.into_iter().map(|(_, future)| future).collect()
}

impl<T> fmt::Debug for Wait<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("done", &self.done.len())
            .field("waiting", &self.waiting.len())
            .field("return_when", &self.return_when)
            .finish_non_exhaustive()
    }
}
