//! `Lock`: one at a time, across processes.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::asynchronous;
use super::error::{Guard, LockError, OwnerDied, SyncError, sealed};
use super::page::{Held, Kind, Page};
use super::patience::Patience;
use super::word::GaveUp;

/// A lock between processes: whoever holds its guard is the only one, here and in every process that it was given to.
///
/// It protects whatever you say it does: a file, a device, a terminal. For numbers in shared memory take
/// [`Value`](crate::Value) or [`Array`](crate::Array), which come with a lock. It travels in the arguments and results
/// of tasks; a clone is the same lock.
///
/// **A holder that dies frees it.** However a process ends that holds the lock, SIGKILL included, the next one takes it
/// at once and is told, by [`LockError::OwnerDied`], that the work of the other may be half done. A panic that unwinds
/// through a guard counts as a death. The guard belongs to the process and not to the thread: it can be sent to another
/// thread, and kept across an `.await`.
///
/// It is not re-entrant: to lock it twice waits for ever. [`RLock`](crate::RLock) is. Who has waited longest need not be
/// next. It has no name, and nothing is left behind when nobody has it any more; each lock takes a descriptor and a page
/// of memory. A copy of the process that `fork` has made does not hold what its parent holds.
///
/// # Examples
///
/// ```
/// use procpool::{Lock, ProcessPoolExecutor, task};
///
/// #[task]
/// fn report(terminal: Lock, line: &str) -> Result<(), String> {
///     let _alone = terminal.lock().map_err(|error| error.to_string())?;
///     println!("{line}");
///     Ok(())
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let terminal = Lock::new()?;
/// let one = pool.submit(report, (terminal.clone(), "one line"));
/// let other = pool.submit(report, (terminal.clone(), "and another"));
/// one.result()??;
/// other.result()??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Lock {
    page: Arc<Page>,
}

/// A [`Lock`] is held until this is dropped.
#[must_use = "the lock is freed at once if the guard is not kept"]
pub struct LockGuard {
    page: Arc<Page>,
    /// Its mark says whether what the lock protects is suspect still.
    held: Held,
    /// The lock was taken while the thread was unwinding already, so that says nothing of what is done under it.
    panicking: bool,
}

impl Lock {
    /// A new lock, which is free.
    ///
    /// # Errors
    ///
    /// The system has no memory, no descriptor or, for the first object of this process, no thread to give.
    pub fn new() -> io::Result<Lock> {
        Page::create(Kind::Lock, 0, Some(0)).and_then(Lock::of_page)
    }

    pub(super) fn of_page(page: Page) -> io::Result<Lock> {
        Ok(Lock { page: Arc::new(page) })
    }

    /// Waits until the lock is free, and takes it.
    ///
    /// # Errors
    ///
    /// [`LockError::OwnerDied`] has the guard in it.
    pub fn lock(&self) -> Result<LockGuard, LockError<LockGuard>> {
        take(&self.page, &Patience::ENDLESS)
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    ///
    /// [`SyncError::WouldBlock`] if it is not; otherwise as [`lock`](Lock::lock).
    pub fn try_lock(&self) -> Result<LockGuard, LockError<LockGuard>> {
        try_take(&self.page)
    }

    /// Waits until the lock is free, at most that long, and takes it.
    ///
    /// # Errors
    ///
    /// [`SyncError::TimedOut`] if that was too short; otherwise as [`lock`](Lock::lock).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::Lock;
    ///
    /// let lock = Lock::new()?;
    /// let held = lock.lock()?;
    /// assert!(lock.lock_timeout(Duration::from_millis(10)).is_err());
    /// drop(held);
    /// assert!(lock.lock_timeout(Duration::from_millis(10)).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lock_timeout(&self, timeout: Duration) -> Result<LockGuard, LockError<LockGuard>> {
        take(&self.page, &Patience::of(timeout))
    }

    /// Takes the lock when it is free, without blocking the thread, on any runtime or none. Whoever drops the future does
    /// not want the lock any more.
    ///
    /// If the lock is not free, a thread is started that waits in its place, and ends with the wait.
    ///
    /// # Errors
    ///
    /// As [`lock`](Lock::lock).
    pub async fn lock_async(&self) -> Result<LockGuard, LockError<LockGuard>> {
        take_async(&self.page).await
    }
}

fn guard(page: &Arc<Page>, held: Held) -> Result<LockGuard, LockError<LockGuard>> {
    let guard = LockGuard { page: Arc::clone(page), held, panicking: thread::panicking() };
    if held.suspect { Err(LockError::OwnerDied(OwnerDied(guard))) } else { Ok(guard) }
}

pub(super) fn try_take(page: &Arc<Page>) -> Result<LockGuard, LockError<LockGuard>> {
    match page.try_lock()? {
        Some(held) => guard(page, held),
        None => Err(SyncError::WouldBlock.into()),
    }
}

pub(super) fn take(page: &Arc<Page>, patience: &Patience<'_>) -> Result<LockGuard, LockError<LockGuard>> {
    match page.lock(patience)? {
        Ok(held) => guard(page, held),
        Err(GaveUp) => Err(SyncError::TimedOut.into()),
    }
}

pub(super) async fn take_async(page: &Arc<Page>) -> Result<LockGuard, LockError<LockGuard>> {
    match try_take(page) {
        Err(LockError::NotTaken(SyncError::WouldBlock)) => {}
        taken => return taken,
    }
    let waiting = Arc::clone(page);
    asynchronous::wait(|| page.rouse_lockers(), move |patience| take(&waiting, patience)).await?
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        let panicked = !self.panicking && thread::panicking();
        self.page.unlock(self.held, self.held.suspect || panicked);
    }
}

impl Guard for LockGuard {}

impl sealed::Guard for LockGuard {
    type Lock = Lock;

    fn trust(&mut self) {
        self.held.suspect = false;
    }

    fn free(self) -> Lock {
        Lock { page: Arc::clone(&self.page) }
    }

    fn take(lock: &Lock) -> Result<LockGuard, LockError<LockGuard>> {
        lock.lock()
    }
}

impl LockGuard {
    pub(super) fn page(&self) -> &Arc<Page> {
        &self.page
    }

    /// False in a copy of the process that holds it.
    pub(super) fn is_held(&self) -> bool {
        self.held.is_ours()
    }
}

impl Lock {
    pub(super) fn page(&self) -> &Page {
        &self.page
    }
}

super::travels!(Lock, Kind::Lock);

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").finish_non_exhaustive()
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard").finish_non_exhaustive()
    }
}
