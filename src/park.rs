//! Blocks the calling thread until a future is ready, or a deadline passes; but never a thread that completes tasks:
//! what it waits for would never come.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use crate::primitive::{AtomicBool, thread, thread_local};

thread_local! {
    static COMPLETES: Cell<bool> = const { Cell::new(false) };
}

/// The calling thread is a pool's own from now on.
pub(crate) fn this_thread_completes_tasks() {
    COMPLETES.with(|completes| completes.set(true));
}

/// The calling thread completes tasks for a while, until what this returns is dropped.
pub(crate) fn completing_tasks() -> impl Drop {
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            COMPLETES.with(|completes| completes.set(self.0));
        }
    }
    Before(COMPLETES.with(|completes| completes.replace(true)))
}

/// Whether this is a thread that completes tasks: waiting for one here would never end.
pub(crate) fn may_not_block() -> bool {
    COMPLETES.with(Cell::get)
}

/// Wakes a parked thread; remembers a wake-up that came before the thread parked.
struct Parker {
    thread: thread::Thread,
    woken: AtomicBool,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

/// Blocks until `future` is ready. Works inside of any runtime, and inside of itself.
///
/// # Panics
///
/// As [`block_until`].
#[doc(hidden)]
pub fn block_on<F: Future>(future: F) -> F::Output {
    match block_until(future, None) {
        Some(output) => output,
        None => unreachable!("a wait without a deadline ended at its deadline"),
    }
}

/// Blocks until `future` is ready, or until `deadline`: then `None`.
///
/// # Panics
///
/// In a callback on a pool's own thread, if the future is not ready.
pub(crate) fn block_until<F: Future>(future: F, deadline: Option<Instant>) -> Option<F::Output> {
    let mut future = pin!(future);
    let parker = Arc::new(Parker { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&parker));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        assert!(
            !may_not_block(),
            "waiting here would never end: this callback runs on the thread that completes the pool's tasks; wait on \
             another thread, or await"
        );
        while !parker.woken.swap(false, Ordering::Acquire) {
            match deadline {
                None => thread::park(),
                Some(deadline) => {
                    let now = Instant::now();
                    if now >= deadline {
                        return None;
                    }
                    thread::park_timeout(deadline - now);
                }
            }
        }
    }
}
