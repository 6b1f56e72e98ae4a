//! The bound on pending tasks: who may submit, and who has to wait for that.

use std::sync::Arc;

use async_lock::Semaphore;

#[derive(Debug)]
pub(crate) struct Gate {
    room: Arc<Semaphore>,
    pub(crate) max_pending: usize,
}

/// A place among those that `max_pending` allows, given back when it is dropped. It is one pointer, because each task that
/// waits has room for one.
#[derive(Debug)]
pub(crate) struct Admission(Arc<Semaphore>);

impl Gate {
    pub(crate) fn new(max_pending: usize) -> Gate {
        Gate { room: Arc::new(Semaphore::new(max_pending)), max_pending }
    }

    pub(crate) async fn enter(&self) -> Admission {
        let guard = self.room.acquire().await;
        guard.forget();
        Admission(Arc::clone(&self.room))
    }

    /// If there is room now.
    pub(crate) fn try_enter(&self) -> Option<Admission> {
        self.room.try_acquire()?.forget();
        Some(Admission(Arc::clone(&self.room)))
    }

    /// Whoever waits for room finds the pool closed.
    pub(super) fn open_for_all(&self) {
        self.room.add_permits(usize::MAX >> 8);
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}
