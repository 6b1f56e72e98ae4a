//! `Event`: a flag that processes wait for.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::asynchronous;
use super::error::SyncError;
use super::kernel::{SharedWord, futex, keeper};
use super::page::{Kind, Page};
use super::patience::Patience;

/// Whether it is set, and above that how often it was cleared.
const FLAG: usize = 0;

/// A flag that processes share: some wait until another sets it.
///
/// It travels in the arguments and results of tasks; a clone is the same event. Nobody owns it, so it does not matter who
/// dies: it is set, and all who wait are woken, or it is not, even if the one who sets it is killed at that moment.
///
/// # Examples
///
/// ```
/// use procpool::{Event, ProcessPoolExecutor, task};
///
/// #[task]
/// fn start_together(go: Event) -> bool {
///     go.wait();
///     go.is_set()
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let go = Event::new()?;
/// let runner = pool.submit(start_together, go.clone());
/// go.set();
/// assert!(runner.result()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Event {
    page: Arc<Page>,
}

fn flag(page: &Page) -> &SharedWord {
    page.own(FLAG)
}

/// Whether it was set while this one waited, also if it has been cleared since.
pub(super) fn wait(page: &Page, patience: &Patience<'_>) -> bool {
    let before = flag(page).load(Ordering::Acquire) as u32;
    let mut seen = before;
    while seen & 1 == 0 && seen == before {
        let Some(until) = patience.until() else { return false };
        futex::wait_until(keeper::low_half(flag(page)), seen, Some(until));
        seen = flag(page).load(Ordering::Acquire) as u32;
    }
    true
}

impl Event {
    /// A new event, which is not set.
    ///
    /// # Errors
    ///
    /// The system has no memory, no descriptor or, for the first object of this process, no thread to give.
    pub fn new() -> io::Result<Event> {
        Page::create(Kind::Event, 0, Some(0)).and_then(Event::of_page)
    }

    pub(super) fn of_page(page: Page) -> io::Result<Event> {
        Ok(Event { page: Arc::new(page) })
    }

    pub(super) fn page(&self) -> &Page {
        &self.page
    }

    /// Sets it, and wakes all who wait. What was written before is seen by them.
    pub fn set(&self) {
        futex::set_and_wake_all(keeper::low_half(flag(&self.page)));
    }

    /// Clears it: who comes from now on waits. Those who have been woken are not held back by it.
    pub fn clear(&self) {
        let clear = |flag: u64| (flag & 1 == 1).then_some(u64::from((flag as u32).wrapping_add(1)));
        let _ = flag(&self.page).fetch_update(Ordering::AcqRel, Ordering::Acquire, clear);
    }

    /// Whether it is set now.
    pub fn is_set(&self) -> bool {
        flag(&self.page).load(Ordering::Acquire) & 1 == 1
    }

    /// Waits until it is set, if it is not.
    pub fn wait(&self) {
        wait(&self.page, &Patience::ENDLESS);
    }

    /// Waits until it is set, at most that long, and tells whether it was.
    #[must_use = "it may not have been set"]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        wait(&self.page, &Patience::of(timeout))
    }

    /// Waits until it is set without blocking the thread, on any runtime or none. If it is not set, a thread is started
    /// that waits in its place, and ends with the wait.
    ///
    /// # Errors
    ///
    /// [`SyncError::System`] if there is no such thread to be had.
    pub async fn wait_async(&self) -> Result<(), SyncError> {
        if self.is_set() {
            return Ok(());
        }
        let waiting = Arc::clone(&self.page);
        let rouse = || futex::wake_all(keeper::low_half(flag(&self.page)));
        asynchronous::wait(rouse, move |patience| wait(&waiting, patience)).await?;
        Ok(())
    }
}

super::travels!(Event, Kind::Event);

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("is_set", &self.is_set()).finish_non_exhaustive()
    }
}
