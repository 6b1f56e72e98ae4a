//! `Condition`: sleep until somebody says that it is worth to look again.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::asynchronous;
use super::error::{Guard, LockError, SyncError};
use super::page::{Kind, Page};
use super::patience::Patience;

/// How many have ever begun to wait. The number of each is his ticket.
const TICKETS: usize = 0;
/// Notifications are for those whose ticket is lower than this: for those who waited when there was one.
const LIMIT: usize = 1;
/// How many notifications nobody has taken yet.
pub(super) const NOTIFICATIONS: usize = 2;

/// Processes wait until another one notifies them that something under a lock has changed.
///
/// As in the standard library, it has no lock of its own: [`wait`](Condition::wait) takes the guard of a
/// [`Lock`](crate::Lock), a [`Value`](crate::Value), an [`Array`](crate::Array) or an [`RLock`](crate::RLock), frees it
/// while it waits, and gives a new one. Python's `Condition(lock)` is a `Condition` beside that lock. To notify needs no
/// lock; whoever changes under it what the others look at, and notifies before or after he frees it, is not missed.
///
/// **A notification is not lost with a dead waiter.** It is for one of those who waited when it was sent, and is taken
/// with the lock: if the one who was woken dies before, another one takes it.
///
/// It travels in the arguments and results of tasks; a clone is the same condition. 240 processes can have it open at a
/// time.
///
/// # Examples
///
/// ```
/// use procpool::{Condition, ProcessPoolExecutor, Value, task};
///
/// #[task]
/// fn await_a_thousand(changed: Condition, count: Value<u64>) -> Result<u64, String> {
///     let count = count.lock().map_err(|error| error.to_string())?;
///     let count = changed.wait_for(count, |count| **count >= 1000).map_err(|error| error.to_string())?;
///     Ok(*count)
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let (changed, count) = (Condition::new()?, Value::new(0_u64)?);
/// let waiting = pool.submit(await_a_thousand, (changed.clone(), count.clone()));
/// *count.lock()? = 1234;
/// changed.notify_all()?;
/// assert_eq!(waiting.result()??, 1234);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Condition {
    page: Arc<Page>,
}

/// What a dead member waited for is not counted any more.
fn bereaved() {}

/// One who waits.
struct Waiting {
    page: Arc<Page>,
    ticket: u64,
}

impl Waiting {
    fn begin(page: &Arc<Page>) -> Result<Waiting, SyncError> {
        let _inside = page.enter(&Patience::ENDLESS, bereaved)?;
        page.member()?.add(1);
        let ticket = page.own(TICKETS).fetch_add(1, SeqCst);
        Ok(Waiting { page: Arc::clone(page), ticket })
    }

    fn is_notified(&self) -> bool {
        let word = |index| self.page.own(index).load(SeqCst);
        word(NOTIFICATIONS) > 0 && self.ticket < word(LIMIT)
    }

    /// Ends the wait, with the lock held: if there is a notification for this one, or if it is enough. Tells which.
    fn end(&self, is_enough: bool) -> Result<Option<bool>, SyncError> {
        let _inside = self.page.enter(&Patience::ENDLESS, bereaved)?;
        let is_notified = self.is_notified();
        if !is_notified && !is_enough {
            return Ok(None);
        }
        self.page.member()?.subtract(1);
        let pending = self.page.own(NOTIFICATIONS);
        let left = pending.load(SeqCst).saturating_sub(u64::from(is_notified));
        // None is kept for anybody who does not wait any more.
        pending.store(left.min(self.page.members().sum()), SeqCst);
        Ok(Some(is_notified))
    }

    /// Waits, and takes the lock again. Whether there was a notification.
    fn wait<G: Guard>(self, lock: &G::Lock, patience: &Patience<'_>) -> Result<(G, bool), LockError<G>> {
        let members = self.page.members();
        loop {
            let seen = members.event();
            let is_enough = patience.until().is_none();
            if is_enough || self.is_notified() {
                let taken = match G::take(lock) {
                    Err(LockError::NotTaken(error)) => {
                        self.end(true)?;
                        return Err(error.into());
                    }
                    taken => taken,
                };
                if let Some(is_notified) = self.end(is_enough)? {
                    return taken.map(|guard| (guard, is_notified));
                }
                // Another one took it. If the lock is suspect, it stays so.
                drop(taken);
            }
            if members.any_dead() {
                // Whoever goes inside tells all the others to look as well.
                drop(self.page.enter(&Patience::ENDLESS, bereaved)?);
            }
            let _ = members.sleep(self.page.member()?, seen, patience);
        }
    }
}

impl Condition {
    /// A new condition, for which nobody waits.
    ///
    /// # Errors
    ///
    /// The system has no memory, no descriptor or, for the first object of this process, no thread to give.
    pub fn new() -> io::Result<Condition> {
        Page::create(Kind::Condition, 0, None).and_then(Condition::of_page)
    }

    pub(super) fn of_page(page: Page) -> io::Result<Condition> {
        Ok(Condition { page: Arc::new(page) })
    }

    pub(super) fn page(&self) -> &Page {
        &self.page
    }

    /// Frees the lock, waits for a notification, and takes the lock again. It does not return without a notification.
    ///
    /// # Errors
    ///
    /// As the lock's own. [`LockError::OwnerDied`] has the guard in it.
    pub fn wait<G: Guard>(&self, guard: G) -> Result<G, LockError<G>> {
        let waiting = Waiting::begin(&self.page)?;
        waiting.wait(&guard.free(), &Patience::ENDLESS).map(|(guard, _)| guard)
    }

    /// As [`wait`](Condition::wait), at most that long, not counting how long it takes to get the lock again. Tells whether
    /// there was a notification.
    ///
    /// # Errors
    ///
    /// As [`wait`](Condition::wait).
    pub fn wait_timeout<G: Guard>(&self, guard: G, timeout: Duration) -> Result<(G, bool), LockError<G>> {
        let waiting = Waiting::begin(&self.page)?;
        waiting.wait(&guard.free(), &Patience::of(timeout))
    }

    /// Waits until it is so, which is looked at under the lock: now, and after each notification.
    ///
    /// # Errors
    ///
    /// As [`wait`](Condition::wait).
    pub fn wait_for<G: Guard>(
        &self,
        mut guard: G,
        mut is_so: impl FnMut(&mut G) -> bool,
    ) -> Result<G, LockError<G>> {
        while !is_so(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait_for`](Condition::wait_for), at most that long. Tells whether it was so in the end.
    ///
    /// # Errors
    ///
    /// As [`wait`](Condition::wait).
    pub fn wait_for_timeout<G: Guard>(
        &self,
        mut guard: G,
        timeout: Duration,
        mut is_so: impl FnMut(&mut G) -> bool,
    ) -> Result<(G, bool), LockError<G>> {
        let Some(deadline) = Instant::now().checked_add(timeout) else {
            return self.wait_for(guard, is_so).map(|guard| (guard, true));
        };
        loop {
            if is_so(&mut guard) {
                return Ok((guard, true));
            }
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok((guard, false));
            }
            guard = self.wait_timeout(guard, rest)?.0;
        }
    }

    /// As [`wait`](Condition::wait), without blocking the thread, on any runtime or none: a thread is started that waits
    /// in its place, and ends with the wait. Whoever drops the future does not wait any more, and does not have the lock.
    ///
    /// # Errors
    ///
    /// As [`wait`](Condition::wait).
    pub async fn wait_async<G: Guard + Send + 'static>(&self, guard: G) -> Result<G, LockError<G>> {
        let waiting = Waiting::begin(&self.page)?;
        let lock = guard.free();
        let rouse = || self.page.members().rouse();
        let wait = move |patience: &Patience<'_>| waiting.wait(&lock, patience);
        asynchronous::wait(rouse, wait).await?.map(|(guard, _)| guard)
    }

    /// Wakes one of those who wait, if anybody does.
    ///
    /// # Errors
    ///
    /// [`SyncError::System`], in a copy of the process that `fork` has made and that cannot have it open.
    pub fn notify_one(&self) -> Result<(), SyncError> {
        self.notify(1)
    }

    /// Wakes all who wait.
    ///
    /// # Errors
    ///
    /// As [`notify_one`](Condition::notify_one).
    pub fn notify_all(&self) -> Result<(), SyncError> {
        self.notify(u32::MAX)
    }

    /// Wakes so many of those who wait, or all if there are fewer.
    ///
    /// # Errors
    ///
    /// As [`notify_one`](Condition::notify_one).
    pub fn notify(&self, count: u32) -> Result<(), SyncError> {
        let _inside = self.page.enter(&Patience::ENDLESS, bereaved)?;
        let word = |index| self.page.own(index);
        word(LIMIT).store(word(TICKETS).load(SeqCst), SeqCst);
        let pending = word(NOTIFICATIONS).load(SeqCst).saturating_add(count.into());
        word(NOTIFICATIONS).store(pending.min(self.page.members().sum()), SeqCst);
        self.page.members().announce(count);
        Ok(())
    }
}

super::travels!(Condition, Kind::Condition);

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").finish_non_exhaustive()
    }
}
