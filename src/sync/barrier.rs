//! `Barrier`: nobody goes on before all have come.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::asynchronous;
use super::error::SyncError;
use super::members::{Member, Members};
use super::monitor::{Look, wait_until};
use super::page::{Kind, Page};
use super::patience::Patience;

/// How often all have come, or the barrier was reset, in the upper half; in the lower half a bit for each of the last
/// times, the last one lowest: set if that was a reset.
const ROUND: usize = 0;
/// Not 0: whoever waits, or comes, is told.
const BROKEN: usize = 1;
/// Not 0: all have come, and the last of them is at its action. Who comes now belongs to the next round.
const ACTING: usize = 2;

/// A place where processes wait for one another: all of them go on when the last has come.
///
/// It can be used again and again. A thread counts as one; so several of a process may take part.
///
/// **It never hangs for a dead participant.** When a process dies that has the barrier open, however it ends, the barrier
/// is [broken](SyncError::Broken): for those who wait and for those who come, until somebody calls
/// [`reset`](Barrier::reset). So it is after a wait that took too long, and after [`abort`](Barrier::abort). A process
/// that drops its handle has left; nobody is told. Nor did one take part that died before the handle had reached it: so
/// wait with a limit, or for the tasks that are to come, if they may die before they begin.
///
/// It travels in the arguments and results of tasks; a clone is the same barrier. 240 processes can have it open at a
/// time.
///
/// # Examples
///
/// ```
/// use procpool::{Barrier, ProcessPoolExecutor, task};
///
/// #[task]
/// fn meet(barrier: Barrier) -> Result<u32, String> {
///     barrier.wait().map_err(|error| error.to_string())
/// }
///
/// let pool = ProcessPoolExecutor::builder().max_workers(2).build()?;
/// let barrier = Barrier::new(3)?;
/// let tasks = [pool.submit(meet, barrier.clone()), pool.submit(meet, barrier.clone())];
/// let mut places = vec![barrier.wait()?];
/// for task in tasks {
///     places.push(task.result()??);
/// }
/// places.sort();
/// assert_eq!(places, [0, 1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Barrier {
    page: Arc<Page>,
    parties: u32,
}

impl Barrier {
    /// A new barrier for so many.
    ///
    /// # Errors
    ///
    /// There are no parties; or the system has no memory, no descriptor or, for the first object of this process, no
    /// thread to give.
    pub fn new(parties: u32) -> io::Result<Barrier> {
        if parties == 0 {
            let text = "a barrier for nobody would never open; say how many have to come";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Page::create(Kind::Barrier, parties.into(), None).and_then(Barrier::of_page)
    }

    pub(super) fn of_page(page: Page) -> io::Result<Barrier> {
        match u32::try_from(page.detail()) {
            Ok(parties @ 1..) => Ok(Barrier { page: Arc::new(page), parties }),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the memory of the barrier is damaged")),
        }
    }

    pub(super) fn page(&self) -> &Page {
        &self.page
    }

    /// Waits for the others. Gives the place in which one came: 0 for the first, one less than there are
    /// [`parties`](Barrier::parties) for the last; so each has another.
    ///
    /// # Errors
    ///
    /// [`SyncError::Broken`].
    pub fn wait(&self) -> Result<u32, SyncError> {
        self.wait_for(&Patience::ENDLESS, || {})
    }

    /// Waits for the others, at most that long.
    ///
    /// # Errors
    ///
    /// [`SyncError::TimedOut`] if that was too short; then the barrier is broken. Otherwise as [`wait`](Barrier::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<u32, SyncError> {
        self.wait_for(&Patience::of(timeout), || {})
    }

    /// Waits for the others. The last to come calls its `action` before all go on; those of the others are not called. If
    /// it panics, the barrier is broken.
    ///
    /// # Errors
    ///
    /// As [`wait`](Barrier::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::Barrier;
    ///
    /// let barrier = Barrier::new(1)?;
    /// let mut rounds = 0;
    /// barrier.wait_with(|| rounds += 1)?;
    /// assert_eq!(rounds, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_with(&self, action: impl FnOnce()) -> Result<u32, SyncError> {
        self.wait_for(&Patience::ENDLESS, action)
    }

    /// Waits for the others without blocking the thread, on any runtime or none: a thread is started that waits in its
    /// place, and ends with the wait. Whoever drops the future does not come: the barrier is broken.
    ///
    /// # Errors
    ///
    /// As [`wait`](Barrier::wait).
    pub async fn wait_async(&self) -> Result<u32, SyncError> {
        let waiting = self.clone();
        let rouse = || self.page.members().rouse();
        asynchronous::wait(rouse, move |patience| waiting.wait_for(patience, || {})).await?
    }

    pub(super) fn wait_for(&self, patience: &Patience<'_>, action: impl FnOnce()) -> Result<u32, SyncError> {
        let (round, place) = self.come(patience)?;
        if place + 1 == self.parties {
            return self.open(round, place, action);
        }
        wait_until(
            &self.page,
            patience,
            || self.set_broken(),
            |members, member| match self.outcome(round) {
                Some(Outcome::Open) => Look::Done(Ok(place)),
                Some(Outcome::Reset) => Look::Done(Err(SyncError::Broken)),
                None if self.is_set_broken() => Look::Done(self.leave(members, member, SyncError::Broken)),
                None => Look::Wait,
            },
            |members, member| self.leave(members, member, SyncError::TimedOut),
        )
    }

    /// Takes part in a round.
    fn come(&self, patience: &Patience<'_>) -> Result<(u32, u32), SyncError> {
        wait_until(
            &self.page,
            patience,
            || self.set_broken(),
            |members, member| {
                if self.is_set_broken() {
                    return Look::Done(Err(SyncError::Broken));
                }
                if self.page.own(ACTING).load(SeqCst) != 0 {
                    return Look::Wait;
                }
                let place = members.sum();
                if place >= u64::from(self.parties) {
                    return Look::Done(Err(SyncError::Damaged));
                }
                if place + 1 == u64::from(self.parties) {
                    self.page.own(ACTING).store(1, SeqCst);
                }
                member.add(1);
                Look::Done(Ok((self.round(), place as u32)))
            },
            |_, _| Err(SyncError::TimedOut),
        )
    }

    /// All have come.
    fn open(&self, round: u32, place: u32, action: impl FnOnce()) -> Result<u32, SyncError> {
        struct BreaksIt<'a>(&'a Barrier, bool);
        impl Drop for BreaksIt<'_> {
            fn drop(&mut self) {
                if self.1 {
                    // There is nobody to tell of an error: this thread is unwinding.
                    let _ = self.0.abort();
                }
            }
        }
        let mut breaks_it = BreaksIt(self, true);
        action();
        breaks_it.1 = false;
        let inside = self.page.enter(&Patience::ENDLESS, || self.set_broken())?;
        if self.outcome(round).is_some() {
            // Somebody has reset it meanwhile, and nobody counts this one any more.
            return Err(SyncError::Broken);
        }
        let (members, member) = (self.page.members(), self.page.member()?);
        if self.is_set_broken() {
            return self.leave(members, member, SyncError::Broken);
        }
        self.next_round(Outcome::Open);
        drop(inside);
        Ok(place)
    }

    /// Goes away from a round that is not to be.
    fn leave(&self, members: &Members, member: &Member, error: SyncError) -> Result<u32, SyncError> {
        self.set_broken();
        member.subtract(1);
        members.announce(u32::MAX);
        Err(error)
    }

    /// Breaks the barrier, for those who wait and those who come. Then [`reset`](Barrier::reset) it.
    ///
    /// # Errors
    ///
    /// [`SyncError::System`], in a copy of the process that `fork` has made and that cannot have it open.
    pub fn abort(&self) -> Result<(), SyncError> {
        let _inside = self.page.enter(&Patience::ENDLESS, || self.set_broken())?;
        self.set_broken();
        self.page.members().announce(u32::MAX);
        Ok(())
    }

    /// Begins anew. For those who wait, the barrier is broken.
    ///
    /// # Errors
    ///
    /// As [`abort`](Barrier::abort).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::Barrier;
    ///
    /// let barrier = Barrier::new(2)?;
    /// assert!(barrier.wait_timeout(Duration::ZERO).is_err());
    /// assert!(barrier.is_broken()?);
    /// barrier.reset()?;
    /// assert!(!barrier.is_broken()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset(&self) -> Result<(), SyncError> {
        let _inside = self.page.enter(&Patience::ENDLESS, || self.set_broken())?;
        self.next_round(Outcome::Reset);
        self.page.own(BROKEN).store(0, SeqCst);
        Ok(())
    }

    /// Whether it is broken.
    ///
    /// # Errors
    ///
    /// As [`abort`](Barrier::abort).
    pub fn is_broken(&self) -> Result<bool, SyncError> {
        let _inside = self.page.enter(&Patience::ENDLESS, || self.set_broken())?;
        Ok(self.is_set_broken())
    }

    /// How many it takes.
    pub fn parties(&self) -> u32 {
        self.parties
    }

    /// How many wait at this moment.
    ///
    /// # Errors
    ///
    /// As [`abort`](Barrier::abort).
    pub fn n_waiting(&self) -> Result<u32, SyncError> {
        let _inside = self.page.enter(&Patience::ENDLESS, || self.set_broken())?;
        Ok(self.page.members().sum().try_into().unwrap_or(u32::MAX))
    }

    fn set_broken(&self) {
        self.page.own(BROKEN).store(1, SeqCst);
    }

    fn is_set_broken(&self) -> bool {
        self.page.own(BROKEN).load(SeqCst) != 0
    }

    fn round(&self) -> u32 {
        (self.page.own(ROUND).load(SeqCst) >> 32) as u32
    }

    /// What has become of a round, once something has.
    fn outcome(&self, round: u32) -> Option<Outcome> {
        let word = self.page.own(ROUND).load(SeqCst);
        let since = ((word >> 32) as u32).wrapping_sub(round);
        match since.checked_sub(1)? {
            age @ 0..32 if word as u32 >> age & 1 == 1 => Some(Outcome::Reset),
            _ => Some(Outcome::Open),
        }
    }

    /// Ends a round. First comes what tells of it: if this process is killed after that, those who waited go on, and for
    /// those who come the barrier is broken by the death.
    fn next_round(&self, outcome: Outcome) {
        let word = self.page.own(ROUND).load(SeqCst);
        let round = ((word >> 32) as u32).wrapping_add(1);
        let outcomes = (word as u32) << 1 | u32::from(outcome == Outcome::Reset);
        self.page.own(ROUND).store(u64::from(round) << 32 | u64::from(outcomes), SeqCst);
        self.page.members().clear();
        self.page.own(ACTING).store(0, SeqCst);
        self.page.members().announce(u32::MAX);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Open,
    Reset,
}

super::travels!(Barrier, Kind::Barrier);

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("parties", &self.parties).finish_non_exhaustive()
    }
}
