//! `RLock`: a lock that the thread which has it can take again.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use crate::sys::thread_number::own_thread;

use super::error::{Guard, LockError, OwnerDied, SyncError, sealed};
use super::page::{Held, Kind, Page};
use super::patience::Patience;
use super::word::GaveUp;

/// The thread that has the lock, and how many guards it has. Only who has the lock writes these.
const THREAD: usize = 0;
const DEPTH: usize = 1;
/// Not 0: what the lock protects is suspect, and is so still when it is freed.
const SUSPECT: usize = 2;

/// A [`Lock`](crate::Lock) that the thread which has it can take again: it is free when the last of its guards is dropped.
///
/// For functions that take the lock and call one another. The guard belongs to its thread and cannot be sent to another,
/// and so there is no way to await it: tasks of a runtime change their threads. Otherwise it is as a `Lock`, also when
/// its holder dies.
///
/// # Examples
///
/// ```
/// use procpool::RLock;
///
/// let lock = RLock::new()?;
/// let outer = lock.lock()?;
/// let inner = lock.lock()?;
/// drop(outer);
/// // Another thread has to wait for the other guard as well.
/// std::thread::scope(|scope| scope.spawn(|| assert!(lock.try_lock().is_err())));
/// drop(inner);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RLock {
    page: Arc<Page>,
}

/// An [`RLock`] is held until this, and all others that its thread has of it, are dropped.
#[must_use = "the lock is freed at once if the guard is not kept"]
pub struct RLockGuard {
    page: Arc<Page>,
    /// As the first guard of the thread got it.
    held: Held,
    panicking: bool,
    /// Nothing is left to be done when this is dropped.
    freed: bool,
    /// The guard of a thread stays in it.
    thread: PhantomData<*const ()>,
}

/// An [`RLock`] that was freed as a whole, to be taken as deep as it was.
#[derive(Debug)]
pub struct Freed {
    page: Arc<Page>,
    depth: u64,
}

impl RLock {
    /// A new lock, which is free.
    ///
    /// # Errors
    ///
    /// The system has no memory, no descriptor or, for the first object of this process, no thread to give.
    pub fn new() -> io::Result<RLock> {
        Page::create(Kind::RLock, 0, Some(0)).and_then(RLock::of_page)
    }

    fn of_page(page: Page) -> io::Result<RLock> {
        Ok(RLock { page: Arc::new(page) })
    }

    fn page(&self) -> &Page {
        &self.page
    }

    /// Waits until the lock is free or this thread's, and takes it.
    ///
    /// # Errors
    ///
    /// [`LockError::OwnerDied`] has the guard in it.
    pub fn lock(&self) -> Result<RLockGuard, LockError<RLockGuard>> {
        take(&self.page, 1, &Patience::ENDLESS)
    }

    /// Takes the lock if it is free or this thread's.
    ///
    /// # Errors
    ///
    /// [`SyncError::WouldBlock`] if it is not; otherwise as [`lock`](RLock::lock).
    pub fn try_lock(&self) -> Result<RLockGuard, LockError<RLockGuard>> {
        if let Some(guard) = again(&self.page) {
            return Ok(guard);
        }
        match self.page.try_lock()? {
            Some(held) => first(&self.page, 1, held),
            None => Err(SyncError::WouldBlock.into()),
        }
    }

    /// Waits until the lock is free or this thread's, at most that long, and takes it.
    ///
    /// # Errors
    ///
    /// [`SyncError::TimedOut`] if that was too short; otherwise as [`lock`](RLock::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<RLockGuard, LockError<RLockGuard>> {
        take(&self.page, 1, &Patience::of(timeout))
    }
}

fn guard(page: &Arc<Page>, held: Held) -> RLockGuard {
    let panicking = thread::panicking();
    RLockGuard { page: Arc::clone(page), held, panicking, freed: false, thread: PhantomData }
}

/// Another guard, if this thread has one.
fn again(page: &Arc<Page>) -> Option<RLockGuard> {
    // It is this thread's own number, or that of another, whatever else happens to the word meanwhile; or that of one
    // which died, whose number this thread has got since: but then the lock is not this process's.
    if page.own(THREAD).load(Relaxed) != own_thread() {
        return None;
    }
    let held = page.held_here()?;
    page.own(DEPTH).fetch_add(1, Relaxed);
    Some(guard(page, held))
}

/// The first guard of this thread, which has just taken the lock.
fn first(page: &Arc<Page>, depth: u64, held: Held) -> Result<RLockGuard, LockError<RLockGuard>> {
    page.own(DEPTH).store(depth, Relaxed);
    page.own(SUSPECT).store(held.suspect.into(), Relaxed);
    page.own(THREAD).store(own_thread(), Relaxed);
    let guard = guard(page, held);
    if held.suspect { Err(LockError::OwnerDied(OwnerDied(guard))) } else { Ok(guard) }
}

fn take(page: &Arc<Page>, depth: u64, patience: &Patience<'_>) -> Result<RLockGuard, LockError<RLockGuard>> {
    if let Some(guard) = again(page) {
        return Ok(guard);
    }
    match page.lock(patience)? {
        Ok(held) => first(page, depth, held),
        Err(GaveUp) => Err(SyncError::TimedOut.into()),
    }
}

/// This thread has no guard any more, or acts as if.
fn free(page: &Page, held: Held) {
    page.own(THREAD).store(0, Relaxed);
    page.unlock(held, page.own(SUSPECT).load(Relaxed) != 0);
}

impl Drop for RLockGuard {
    fn drop(&mut self) {
        if self.freed || !self.held.is_ours() {
            return;
        }
        if !self.panicking && thread::panicking() {
            self.page.own(SUSPECT).store(1, Relaxed);
        }
        if self.page.own(DEPTH).fetch_sub(1, Relaxed) <= 1 {
            free(&self.page, self.held);
        }
    }
}

impl Guard for RLockGuard {}

impl sealed::Guard for RLockGuard {
    type Lock = Freed;

    fn trust(&mut self) {
        self.page.own(SUSPECT).store(0, Relaxed);
    }

    fn free(mut self) -> Freed {
        let freed = Freed { page: Arc::clone(&self.page), depth: self.page.own(DEPTH).load(Relaxed) };
        if self.held.is_ours() {
            free(&freed.page, self.held);
        }
        self.freed = true;
        freed
    }

    fn take(freed: &Freed) -> Result<RLockGuard, LockError<RLockGuard>> {
        take(&freed.page, freed.depth, &Patience::ENDLESS)
    }
}

super::travels!(RLock, Kind::RLock);

impl fmt::Debug for RLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLock").finish_non_exhaustive()
    }
}

impl fmt::Debug for RLockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLockGuard").finish_non_exhaustive()
    }
}
