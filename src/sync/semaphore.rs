//! `Semaphore` and `BoundedSemaphore`: so many at a time, across processes.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::sys::own_pid::own_pid;

use super::asynchronous;
use super::error::SyncError;
use super::monitor::{Look, wait_until};
use super::page::{Kind, Page};
use super::patience::Patience;

/// How many permits there are, those that somebody holds included. What is free is this less what the members count, so
/// to take a permit or to give it back is one change of one word, and the permits of a dead process are free by its death.
const TOTAL: usize = 0;

/// A number of permits that processes share: whoever finds one takes it, and whoever finds none waits.
///
/// [`acquire`](Semaphore::acquire) gives a permit that comes back when it is dropped, **or when its process dies, however
/// it ends**. To take one away for good, or to hand it to another process, [`forget`](SemaphorePermit::forget) it; then
/// somebody [`release`](Semaphore::release)s one later, as in Python, and if he dies before, it does not come back.
///
/// It travels in the arguments and results of tasks; a clone is the same semaphore. 240 processes can have it open at a
/// time. Who has waited longest need not be next.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, Semaphore, task};
///
/// /// However many workers there are, two at most are at it.
/// #[task]
/// fn download(at_once: Semaphore, page: u32) -> Result<u32, String> {
///     let _permit = at_once.acquire().map_err(|error| error.to_string())?;
///     Ok(page)
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let at_once = Semaphore::new(2)?;
/// for page in pool.map(download, (1..5).map(|page| (at_once.clone(), page))) {
///     page??;
/// }
/// assert_eq!(at_once.value()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Semaphore {
    page: Arc<Page>,
}

/// A [`Semaphore`] that never has more permits than it was made with: to release one too many is an error.
///
/// # Examples
///
/// ```
/// use procpool::BoundedSemaphore;
/// use procpool::sync::SyncError;
///
/// let seats = BoundedSemaphore::new(1)?;
/// assert!(matches!(seats.release(1), Err(SyncError::TooManyReleases)));
/// seats.acquire()?.forget();
/// seats.release(1)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct BoundedSemaphore {
    page: Arc<Page>,
}

/// One permit of a [`Semaphore`] or a [`BoundedSemaphore`], which comes back when this is dropped.
#[must_use = "the permit comes back at once if it is not kept"]
pub struct SemaphorePermit {
    page: Arc<Page>,
    /// Who holds it. A copy that `fork` has made of this process does not.
    pid: u32,
}

fn free(page: &Page) -> u64 {
    // A permit that is being forgotten is counted twice for a moment.
    page.own(TOTAL).load(Ordering::SeqCst).saturating_sub(page.members().sum())
}

/// No need to do anything: what a dead member counted is not counted any more.
fn bereaved() {}

pub(super) fn acquire(page: &Arc<Page>, patience: &Patience<'_>) -> Result<SemaphorePermit, SyncError> {
    wait_until(
        page,
        patience,
        bereaved,
        |_, member| {
            if free(page) == 0 {
                return Look::Wait;
            }
            member.add(1);
            Look::Done(Ok(SemaphorePermit { page: Arc::clone(page), pid: own_pid() }))
        },
        |_, _| Err(SyncError::TimedOut),
    )
}

fn try_acquire(page: &Arc<Page>) -> Result<SemaphorePermit, SyncError> {
    let _inside = page.enter_now(bereaved)?;
    if free(page) == 0 {
        return Err(SyncError::WouldBlock);
    }
    page.member()?.add(1);
    Ok(SemaphorePermit { page: Arc::clone(page), pid: own_pid() })
}

async fn acquire_async(page: &Arc<Page>) -> Result<SemaphorePermit, SyncError> {
    match try_acquire(page) {
        Err(SyncError::WouldBlock) => {}
        taken => return taken,
    }
    let waiting = Arc::clone(page);
    asynchronous::wait(|| page.members().rouse(), move |patience| acquire(&waiting, patience)).await?
}

fn release(page: &Page, count: u32, bound: u64) -> Result<(), SyncError> {
    let inside = page.enter(&Patience::ENDLESS, bereaved)?;
    let total = page.own(TOTAL).load(Ordering::SeqCst).saturating_add(count.into());
    if total > bound {
        return Err(SyncError::TooManyReleases);
    }
    page.own(TOTAL).store(total, Ordering::SeqCst);
    drop(inside);
    page.members().announce(count);
    Ok(())
}

fn value(page: &Page) -> Result<u32, SyncError> {
    let _inside = page.enter(&Patience::ENDLESS, bereaved)?;
    Ok(free(page).try_into().unwrap_or(u32::MAX))
}

macro_rules! semaphore {
    ($semaphore:ident, $kind:expr, $bound:expr) => {
        impl $semaphore {
            /// A new semaphore with so many permits, which may be none.
            ///
            /// # Errors
            ///
            /// The system has no memory, no descriptor or, for the first object of this process, no thread to give.
            pub fn new(permits: u32) -> io::Result<$semaphore> {
                let page = Page::create($kind, permits.into(), None)?;
                page.own(TOTAL).store(permits.into(), Ordering::SeqCst);
                Self::of_page(page)
            }

            pub(super) fn of_page(page: Page) -> io::Result<$semaphore> {
                Ok($semaphore { page: Arc::new(page) })
            }

            pub(super) fn page(&self) -> &Arc<Page> {
                &self.page
            }

            /// Waits until there is a permit, and takes it.
            ///
            /// # Errors
            ///
            /// [`SyncError::System`], in a copy of the process that `fork` has made and that cannot have it open.
            pub fn acquire(&self) -> Result<SemaphorePermit, SyncError> {
                acquire(&self.page, &Patience::ENDLESS)
            }

            /// Takes a permit if there is one.
            ///
            /// # Errors
            ///
            /// [`SyncError::WouldBlock`] if there is none; otherwise as `acquire`.
            pub fn try_acquire(&self) -> Result<SemaphorePermit, SyncError> {
                try_acquire(&self.page)
            }

            /// Waits until there is a permit, at most that long, and takes it.
            ///
            /// # Errors
            ///
            /// [`SyncError::TimedOut`] if that was too short; otherwise as `acquire`.
            pub fn acquire_timeout(&self, timeout: Duration) -> Result<SemaphorePermit, SyncError> {
                acquire(&self.page, &Patience::of(timeout))
            }

            /// Takes a permit when there is one, without blocking the thread, on any runtime or none. Whoever drops the
            /// future does not want it any more. If there is none now, a thread is started that waits in its place, and
            /// ends with the wait.
            ///
            /// # Errors
            ///
            /// As `acquire`.
            pub async fn acquire_async(&self) -> Result<SemaphorePermit, SyncError> {
                acquire_async(&self.page).await
            }

            /// Adds so many permits, which nobody has to have acquired. Those that were acquired come back by themselves,
            /// unless they were [forgotten](SemaphorePermit::forget).
            ///
            /// # Errors
            ///
            /// [`SyncError::TooManyReleases`] if there would be more than there can be; then none are added.
            pub fn release(&self, permits: u32) -> Result<(), SyncError> {
                release(&self.page, permits, $bound(&self.page))
            }

            /// How many permits are free at this moment.
            ///
            /// # Errors
            ///
            /// As `acquire`.
            pub fn value(&self) -> Result<u32, SyncError> {
                value(&self.page)
            }
        }

        super::travels!($semaphore, $kind);

        impl fmt::Debug for $semaphore {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($semaphore)).finish_non_exhaustive()
            }
        }
    };
}

semaphore!(Semaphore, Kind::Semaphore, |_: &Page| u64::from(u32::MAX));
semaphore!(BoundedSemaphore, Kind::BoundedSemaphore, |page: &Page| page.detail());

impl SemaphorePermit {
    /// The permit does not come back when this process has done with it, nor when it dies: somebody will
    /// [`release`](Semaphore::release) one.
    pub fn forget(mut self) {
        if self.pid == own_pid()
            && let Ok(inside) = self.page.enter(&Patience::ENDLESS, bereaved)
            && let Ok(member) = self.page.member()
        {
            // In this order: if this process is killed in between, the permit is gone all the same.
            let less = |total: u64| total.checked_sub(1);
            let _ = self.page.own(TOTAL).fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
            member.subtract(1);
            drop(inside);
        }
        self.pid = 0;
    }
}

impl Drop for SemaphorePermit {
    fn drop(&mut self) {
        if self.pid == own_pid()
            && let Ok(member) = self.page.member()
        {
            member.subtract(1);
            self.page.members().announce(1);
        }
    }
}

impl fmt::Debug for SemaphorePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphorePermit").finish_non_exhaustive()
    }
}
