//! Python's `multiprocessing.Pool`, over the executor.

mod builder;
mod calls;
mod join;
mod pending;
mod result;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use futures::stream;

use crate::error::{Refusal, StartError, TaskError, TaskErrorKind};
use crate::executor::{ProcessPoolExecutor, ShutdownOptions};
use crate::future::TaskFuture;
use crate::map::Map;
use crate::options::TaskOptions;
use crate::task::Task;

use calls::Calls;
use pending::{Many, One, Pending};

pub use builder::PoolBuilder;
pub use join::Join;
pub use result::AsyncResult;

/// A pool of worker processes by the names of Python's `multiprocessing.Pool`: `apply`, `map`, `imap`, and their kin.
///
/// It is a [`ProcessPoolExecutor`] and has its promises: a worker that dies costs the one task that it was running, which
/// in Python hangs for ever. What differs between the two is what is handed out: an [`AsyncResult`] that is dropped lets
/// its task go on, a [`TaskFuture`](crate::TaskFuture) cancels it.
///
/// A clone is another handle of the same pool. **Dropping the last handle closes the pool**: what was accepted is
/// finished, results can still be had, and the workers then end by themselves. It never blocks. Nobody holds what was
/// applied for the sake of a callback, so ending it with the handle would lose it silently; that is what the end of
/// Python's `with Pool()` does, which terminates, although most of its users believe that it waits. To wait, say
/// `pool.close()` and `pool.join().wait()`; to end what runs, [`terminate`](Pool::terminate). Tasks that never end keep
/// their workers until the program ends.
///
/// # Examples
///
/// ```
/// use procpool::{Pool, task};
///
/// #[task]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// #[task]
/// fn power(base: u64, exponent: u32) -> u64 {
///     base.pow(exponent)
/// }
///
/// let pool = Pool::builder().processes(4).build()?;
/// assert_eq!(pool.map(square, 1..=5)?, [1, 4, 9, 16, 25]);
/// assert_eq!(pool.apply(square, 12)?, 144);
/// assert_eq!(pool.starmap(power, [(2, 10), (3, 3)])?, [1024, 27]);
///
/// let later = pool.apply_async(power, (10, 3));
/// for value in pool.imap(square, 1..) {
///     if value? > 100 {
///         break;
///     }
/// }
/// assert_eq!(later.get()?, 1000);
///
/// pool.close();
/// pool.join().wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Pool {
    handle: Arc<Handle>,
    /// With the options of what is submitted through this.
    executor: ProcessPoolExecutor,
    chunksize: Option<usize>,
}

/// Counts the handles of a pool by its `Arc`.
struct Handle {
    executor: ProcessPoolExecutor,
    calls: Arc<Calls>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.executor.shutdown(false);
    }
}

/// A larger chunk costs no less per item.
const CHUNK_MAX: usize = 256;

impl Pool {
    /// A pool with as many processes as this one may use CPUs: see [`default_max_workers`](crate::default_max_workers).
    ///
    /// # Errors
    ///
    /// See [`Builder::build`](crate::Builder::build).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procpool::Pool::new()?;
    /// assert_eq!(pool.executor().max_workers(), procpool::default_max_workers());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn new() -> Result<Pool, StartError> {
        Pool::builder().build()
    }

    /// Configures a pool.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procpool::Pool::builder().processes(2).maxtasksperchild(100).build()?;
    /// # let _ = pool;
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }

    fn over(executor: ProcessPoolExecutor) -> Pool {
        let handle = Handle { executor: executor.clone(), calls: Arc::default() };
        Pool { handle: Arc::new(handle), executor, chunksize: None }
    }

    /// The executor that this pool is: for `submit`, cancelling, timeouts, the process ids of the workers, and all else
    /// that Python's `Pool` has no name for.
    ///
    /// A clone of it does not keep the pool open: the pool closes with the last handle of the `Pool`.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let pool = Pool::new()?;
    /// let endless = pool.executor().submit(park, ());
    /// assert!(endless.kill());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn executor(&self) -> &ProcessPoolExecutor {
        &self.executor
    }

    /// The same pool, with other options for the tasks that are submitted through this handle.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{Pool, TaskOptions, task};
    ///
    /// #[task]
    /// fn spin() {
    ///     loop {
    ///         std::hint::spin_loop()
    ///     }
    /// }
    ///
    /// let pool = Pool::new()?;
    /// let impatient = pool.with(TaskOptions::new().timeout(Duration::from_millis(50)));
    /// assert!(impatient.apply(spin, ()).unwrap_err().is_timeout());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn with(&self, options: TaskOptions) -> Pool {
        Pool { executor: self.executor.with(options), ..self.clone() }
    }

    /// The same pool, that sends so many items of a `map` to a worker together: Python's argument `chunksize`, for
    /// `map`, `imap`, `starmap` and their kin.
    ///
    /// A chunk is only a way to send: each item has a result of its own, and a crash loses one item, not its chunk. A
    /// chunk whose items turn out to be slow is shared out again. Without this, `map` cuts its input into four chunks
    /// per worker, as Python's does, and `imap` adapts to the measured length of the items, where Python's has 1.
    ///
    /// Zero makes every such call an error of kind [`Invalid`](crate::TaskErrorKind::Invalid).
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// let pool = Pool::new()?;
    /// assert_eq!(pool.chunksize(100).map(square, 0..1000)?[999], 999 * 999);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn chunksize(&self, chunksize: usize) -> Pool {
        Pool { chunksize: Some(chunksize), ..self.clone() }
    }

    /// Runs a task and blocks until it is done. Do not call it in async code: await
    /// [`apply_async`](Pool::apply_async) instead.
    ///
    /// A task of one argument takes it as it is, one of several takes a tuple, one of none takes `()`.
    ///
    /// # Errors
    ///
    /// What [`TaskError`] lists.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn area(width: f64, height: f64) -> f64 {
    ///     width * height
    /// }
    ///
    /// assert_eq!(Pool::new()?.apply(area, (3.0, 4.0))?, 12.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply<T: Task>(&self, task: T, args: T::Args<'_>) -> Result<T::Output, TaskError> {
        self.executor.submit(task, args).result()
    }

    /// Submits a task and returns at once. The arguments are encoded here and now.
    ///
    /// [`callback`](AsyncResult::callback) and [`error_callback`](AsyncResult::error_callback) are given to what this
    /// returns.
    ///
    /// # Errors
    ///
    /// A task that is refused, because the pool is closed or the arguments cannot be encoded, is a result that is ready
    /// and has the reason. In Python a closed pool is a `ValueError` of this call.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn cube(n: i64) -> i64 {
    ///     n.pow(3)
    /// }
    ///
    /// # procpool::__private::block_on(async {
    /// let pool = Pool::new()?;
    /// assert_eq!(pool.apply_async(cube, -2).await?, -8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn apply_async<T: Task>(&self, task: T, args: T::Args<'_>) -> AsyncResult<T::Output> {
        self.result_of::<T, _>(One::new(self.executor.submit(task, args)))
    }

    /// Runs a task over all items and blocks until all are done. Do not call it in async code: await
    /// [`map_async`](Pool::map_async) instead.
    ///
    /// All items are taken first, as in Python; for a long or endless input there is [`imap`](Pool::imap). If the
    /// input panics, nothing is submitted.
    ///
    /// # Errors
    ///
    /// The first error in the order of the items, when all are done. For a result per item there is
    /// [`imap`](Pool::imap).
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn length(word: &str) -> usize {
    ///     word.len()
    /// }
    ///
    /// assert_eq!(Pool::new()?.map(length, ["one", "three"])?, [3, 5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map<'a, T, I>(&self, task: T, items: I) -> Result<Vec<T::Output>, TaskError>
    where
        T: Task,
        I: IntoIterator<Item = T::Args<'a>>,
    {
        let mut first = None;
        let mut values = Vec::new();
        let items: Vec<_> = items.into_iter().collect();
        let chunksize = self.chunksize_of(items.len());
        // All of them are accepted before the first result is waited for: a pool that is closed meanwhile does them.
        for result in self.executor.map(task, items).chunksize(chunksize).buffersize(usize::MAX) {
            match result {
                Ok(value) => values.push(value),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        first.map_or(Ok(values), Err)
    }

    /// [`map`](Pool::map) that returns at once.
    ///
    /// # Errors
    ///
    /// As [`map`](Pool::map), told by the result.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// let pool = Pool::new()?;
    /// let (sender, sums) = mpsc::channel();
    /// let doubled = pool.map_async(double, 0..10)
    ///     .callback(move |doubled: Vec<u32>| sender.send(doubled.iter().sum::<u32>()).unwrap());
    /// assert_eq!(doubled.get()?.len(), 10);
    /// assert_eq!(sums.recv()?, 90);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_async<'a, T, I>(&self, task: T, items: I) -> AsyncResult<Vec<T::Output>>
    where
        T: Task,
        T::Output: Send,
        I: IntoIterator<Item = T::Args<'a>>,
    {
        self.result_of::<T, _>(Many::new(self.submit_all(task, items)))
    }

    /// [`map`](Pool::map) for a task of several arguments, which come as tuples. It is the same function: the name is
    /// here for those who look for it.
    ///
    /// # Errors
    ///
    /// As [`map`](Pool::map).
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn add(a: i32, b: i32) -> i32 {
    ///     a + b
    /// }
    ///
    /// assert_eq!(Pool::new()?.starmap(add, [(1, 2), (3, 4)])?, [3, 7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn starmap<'a, T, I>(&self, task: T, items: I) -> Result<Vec<T::Output>, TaskError>
    where
        T: Task,
        I: IntoIterator<Item = T::Args<'a>>,
    {
        self.map(task, items)
    }

    /// [`map_async`](Pool::map_async) for a task of several arguments, which come as tuples.
    ///
    /// # Errors
    ///
    /// As [`map`](Pool::map), told by the result.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn repeat(word: &str, times: usize) -> String {
    ///     word.repeat(times)
    /// }
    ///
    /// # procpool::__private::block_on(async {
    /// let words = Pool::new()?.starmap_async(repeat, [("ho", 3), ("ha", 2)]).await?;
    /// assert_eq!(words, ["hohoho", "haha"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn starmap_async<'a, T, I>(&self, task: T, items: I) -> AsyncResult<Vec<T::Output>>
    where
        T: Task,
        T::Output: Send,
        I: IntoIterator<Item = T::Args<'a>>,
    {
        self.map_async(task, items)
    }

    /// Runs a task over the items as they come, and gives a result for each, in order: an iterator, and a `Stream`.
    ///
    /// Items are taken as results are taken, a few ahead, so the input may be endless; Python's `imap` takes all of it,
    /// as fast as it can. Python's `next(timeout)` is [`next_timeout`](crate::MapIter::next_timeout). More can be said
    /// by the methods of [`Map`]. Dropping it cancels what has not started.
    ///
    /// # Errors
    ///
    /// Each item has its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// let pool = Pool::new()?;
    /// let first = pool.imap(square, 1..).into_iter().find(|value| matches!(value, Ok(n) if *n > 1000));
    /// assert_eq!(first.unwrap()?, 1024);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn imap<'a, T, I>(&self, task: T, items: I) -> Map<'a, T, stream::Iter<I::IntoIter>>
    where
        T: Task,
        I: IntoIterator<Item = T::Args<'a>>,
    {
        let map = self.executor.map(task, items);
        match self.chunksize {
            Some(chunksize) => map.chunksize(chunksize),
            None => map,
        }
    }

    /// [`imap`](Pool::imap) that gives results as they come, not in the order of the items.
    ///
    /// # Errors
    ///
    /// Each item has its own.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn square(n: u64) -> u64 {
    ///     n * n
    /// }
    ///
    /// let pool = Pool::new()?;
    /// let mut squares: Vec<u64> = pool.imap_unordered(square, 0..5).into_iter().collect::<Result<_, _>>()?;
    /// squares.sort();
    /// assert_eq!(squares, [0, 1, 4, 9, 16]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn imap_unordered<'a, T, I>(&self, task: T, items: I) -> Map<'a, T, stream::Iter<I::IntoIter>>
    where
        T: Task,
        I: IntoIterator<Item = T::Args<'a>>,
    {
        self.imap(task, items).unordered()
    }

    /// Takes no more tasks. Those that were accepted are finished, then the workers end. Takes effect at the call and
    /// does not wait: [`join`](Pool::join) does. May be called again.
    ///
    /// An [`imap`](Pool::imap) that is not at its end gets no more of its items done: they are refused.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, TaskErrorKind, task};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// let pool = Pool::new()?;
    /// let accepted = pool.apply_async(double, 21);
    /// pool.close();
    /// assert!(matches!(pool.apply(double, 1).unwrap_err().kind(), TaskErrorKind::PoolClosed));
    /// assert_eq!(accepted.get()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) {
        self.executor.shutdown(false);
    }

    /// Ends the pool: what waits is cancelled, what runs is killed. Their results are errors of kind
    /// [`Cancelled`](crate::TaskErrorKind::Cancelled); in Python they never come. Takes effect at the call and does not
    /// wait: [`join`](Pool::join) does, and not for long. May be called after [`close`](Pool::close), and again.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Pool, task};
    ///
    /// #[task]
    /// fn park() {
    ///     loop {
    ///         std::thread::park()
    ///     }
    /// }
    ///
    /// let pool = Pool::new()?;
    /// let endless = pool.apply_async(park, ());
    /// pool.terminate();
    /// assert!(endless.get().unwrap_err().is_cancelled());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn terminate(&self) {
        self.executor.shutdown_with(ShutdownOptions::new().kill(true).wait(false));
    }

    /// The end of a pool that was closed or terminated: await it, or block with [`wait`](Join::wait). It comes when
    /// every task has its outcome, every worker is gone, and every callback has returned.
    ///
    /// # Errors
    ///
    /// [`StillRunning`](crate::StillRunning) if nobody has called [`close`](Pool::close) or
    /// [`terminate`](Pool::terminate): Python's `ValueError`.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procpool::Pool::new()?;
    /// assert!(pool.join().wait().is_err());
    /// pool.close();
    /// assert!(pool.join().wait()?.leaked.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn join(&self) -> Join {
        match self.executor.submitter().engine().refusal() {
            Some(Refusal::PoolClosed) => {
                Join::new(self.executor.shutdown(true), Arc::clone(&self.handle.calls))
            }
            _ => Join::refused(),
        }
    }

    fn result_of<T: Task, R: 'static>(&self, tasks: impl Pending<R> + 'static) -> AsyncResult<R> {
        AsyncResult::new(T::NAME, tasks, Arc::clone(&self.handle.calls))
    }

    /// How many of so many items go together, unless that was said: a quarter of a worker's share, as in Python.
    fn chunksize_of(&self, items: usize) -> usize {
        let quarter = items.div_ceil(4 * self.executor.max_workers());
        self.chunksize.unwrap_or(quarter.clamp(1, CHUNK_MAX))
    }

    /// Submits all items, in chunks, when all have been encoded.
    fn submit_all<'a, T, I>(&self, task: T, items: I) -> Vec<TaskFuture<T::Output>>
    where
        T: Task,
        I: IntoIterator<Item = T::Args<'a>>,
    {
        let submitter = self.executor.submitter();
        if self.chunksize == Some(0) {
            let message = "a `chunksize` of 0 sends nothing: it must be at least 1".to_owned();
            return vec![TaskFuture::refused(TaskError::not_run(
                T::NAME,
                TaskErrorKind::Invalid { message },
            ))];
        }
        let mut prepared =
            items.into_iter().map(|args| submitter.prepare(task, &args)).collect::<VecDeque<_>>();
        let chunksize = self.chunksize_of(prepared.len());
        let mut futures = Vec::with_capacity(prepared.len());
        while !prepared.is_empty() {
            let chunk = prepared.drain(..chunksize.min(prepared.len())).collect();
            futures.extend(submitter.accept_each(T::NAME, chunk));
        }
        futures
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("executor", &self.executor).finish_non_exhaustive()
    }
}
