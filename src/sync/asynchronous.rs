//! Waiting without blocking the thread that asks: one that is started for it blocks in its place.
//!
//! A pool of threads would be faster and would have an end, and those at its end might be the very ones that the others
//! wait for. What is free is taken without a thread.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use futures::channel::oneshot;

use super::patience::Patience;

/// Ends a wait when it is dropped: nobody wants any more what is waited for.
struct Cancel<W: Fn()> {
    over: Arc<AtomicBool>,
    /// Makes the one who waits look.
    rouse: W,
    done: bool,
}

impl<W: Fn()> Drop for Cancel<W> {
    fn drop(&mut self) {
        if !self.done {
            self.over.store(true, Ordering::SeqCst);
            (self.rouse)();
        }
    }
}

/// Runs `wait` on a thread that may block. If this future is dropped, its patience ends after `rouse` was called, and
/// what it has got all the same is dropped.
pub(crate) async fn wait<T: Send + 'static>(
    rouse: impl Fn(),
    wait: impl FnOnce(&Patience<'_>) -> T + Send + 'static,
) -> io::Result<T> {
    let over = Arc::new(AtomicBool::new(false));
    let mut cancel = Cancel { over: Arc::clone(&over), rouse, done: false };
    let (tell, told) = oneshot::channel();
    let blocked = move || drop(tell.send(wait(&Patience::unless(&over))));
    thread::Builder::new().name("procpool-wait".to_owned()).stack_size(128 << 10).spawn(blocked)?;
    let value = told.await;
    cancel.done = true;
    value.map_err(|_| io::Error::other("the thread that waited has panicked"))
}
