//! What an [`AsyncResult`](super::AsyncResult) waits for: one task, or many whose values make one.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use serde::de::DeserializeOwned;

use crate::error::TaskError;
use crate::future::TaskFuture;

/// Tasks that were submitted together, and go on when this is dropped.
pub(super) trait Pending<T>: Send + Sync {
    /// Ready when all of them are done; leaves what came of them.
    fn poll_done(&self, context: &Context<'_>) -> Poll<()>;

    /// What came of them, when all of them are done.
    fn poll_take(&self, context: &Context<'_>) -> Poll<Result<T, TaskError>>;

    fn is_done(&self) -> bool;

    /// One of those that are done has no value.
    fn has_failed(&self) -> bool;

    /// Waits, as long as that makes them come sooner.
    fn help(&self, until: Option<Instant>);

    /// Calls this when all of them are done.
    fn on_done(&self, callback: OnDone<T>);
}

pub(super) type OnDone<T> = Box<dyn FnOnce(Result<T, TaskError>) + Send>;

/// Tasks that nobody cancels by dropping them.
pub(super) struct Kept<T>(Vec<TaskFuture<T>>);

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        self.0.drain(..).for_each(TaskFuture::detach);
    }
}

impl<T> Kept<T> {
    fn poll_done(&self, context: &Context<'_>) -> Poll<()> {
        for future in &self.0 {
            ready!(future.poll_done(context));
        }
        Poll::Ready(())
    }

    fn is_done(&self) -> bool {
        self.0.iter().all(TaskFuture::done)
    }

    fn has_failed(&self) -> bool {
        self.0.iter().any(|future| future.has_failed() || future.cancelled())
    }

    fn help(&self, until: Option<Instant>) {
        self.0.iter().for_each(|future| future.help(until));
    }
}

/// One task.
pub(super) struct One<T>(Kept<T>);

impl<T> One<T> {
    pub(super) fn new(future: TaskFuture<T>) -> One<T> {
        One(Kept(vec![future]))
    }

    fn future(&self) -> &TaskFuture<T> {
        &self.0.0[0]
    }
}

impl<T: DeserializeOwned + 'static> Pending<T> for One<T> {
    fn poll_done(&self, context: &Context<'_>) -> Poll<()> {
        self.0.poll_done(context)
    }

    fn poll_take(&self, context: &Context<'_>) -> Poll<Result<T, TaskError>> {
        self.future().poll_timed(context).map(|(result, _)| result)
    }

    fn is_done(&self) -> bool {
        self.0.is_done()
    }

    fn has_failed(&self) -> bool {
        self.0.has_failed()
    }

    fn help(&self, until: Option<Instant>) {
        self.0.help(until);
    }

    fn on_done(&self, callback: OnDone<T>) {
        self.future().add_done_callback(move |done| callback(done.result()));
    }
}

/// Many tasks, whose values make a list in the order of the tasks.
pub(super) struct Many<T>(Kept<T>);

impl<T> Many<T> {
    pub(super) fn new(futures: Vec<TaskFuture<T>>) -> Many<T> {
        Many(Kept(futures))
    }
}

/// Results as they come. Whoever brings the last one makes the call.
struct Gathered<T> {
    results: Vec<Option<Result<T, TaskError>>>,
    missing: usize,
    callback: Option<OnDone<Vec<T>>>,
}

impl<T: DeserializeOwned + Send + 'static> Pending<Vec<T>> for Many<T> {
    fn poll_done(&self, context: &Context<'_>) -> Poll<()> {
        self.0.poll_done(context)
    }

    fn poll_take(&self, context: &Context<'_>) -> Poll<Result<Vec<T>, TaskError>> {
        ready!(self.0.poll_done(context));
        // All are done: each of them is ready, and the first error is that of the first item that has one.
        let taken = self.0.0.iter().map(|future| match future.poll_timed(context) {
            Poll::Ready((result, _)) => result,
            Poll::Pending => unreachable!("a task that was done is not"),
        });
        Poll::Ready(taken.collect())
    }

    fn is_done(&self) -> bool {
        self.0.is_done()
    }

    fn has_failed(&self) -> bool {
        self.0.has_failed()
    }

    fn help(&self, until: Option<Instant>) {
        self.0.help(until);
    }

    fn on_done(&self, callback: OnDone<Vec<T>>) {
        let futures = &self.0.0;
        if futures.is_empty() {
            return callback(Ok(Vec::new()));
        }
        let results = futures.iter().map(|_| None).collect();
        let gathered = Gathered { results, missing: futures.len(), callback: Some(callback) };
        let gathered = Arc::new(Mutex::new(gathered));
        for (index, future) in futures.iter().enumerate() {
            let gathered = Arc::clone(&gathered);
            future.add_done_callback(move |done| {
                // Decoded before the lock is taken: that is the user's code, and may panic.
                let result = done.result();
                let mut gathered = gathered.lock().unwrap_or_else(PoisonError::into_inner);
                gathered.results[index] = Some(result);
                gathered.missing -= 1;
                if gathered.missing > 0 {
                    return;
                }
                let results = std::mem::take(&mut gathered.results);
                let callback = gathered.callback.take();
                drop(gathered);
                if let Some(callback) = callback {
                    callback(results.into_iter().flatten().collect());
                }
            });
        }
    }
}
