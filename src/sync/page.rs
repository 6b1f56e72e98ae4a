//! What all objects have in common: a sealed memory file with a head that says what it is, and a lock.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::luck::Luck;
use crate::sys::own_pid::own_pid;
use crate::sys::per_process::PerProcess;
use crate::sys::process;
use crate::wire::attach::Handle;

use super::kernel::keeper::{self, Kept, KeptMap, OWNER};
use super::kernel::{SharedWord, cover, futex};
use super::members::{Member, Members};
use super::patience::Patience;
use super::word::{self, GaveUp, Word};

/// What an object is, as its file says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Kind {
    Lock = 1,
    RLock = 2,
    Semaphore = 3,
    BoundedSemaphore = 4,
    Event = 5,
    Condition = 6,
    Barrier = 7,
    Value = 8,
    Array = 9,
    Queue = 10,
}

/// The kind is added to it. Another layout has another number.
const MAGIC: u64 = 0x7072_6f63_706f_0100;

const MAGIC_AT: usize = 0;
/// By which numbers processes know each other's threads.
const NUMBERS_AT: usize = 8;
/// What an object wants to know of itself, fixed when it is made.
const DETAIL_AT: usize = 16;
const LOCK_AT: usize = 64;
/// The process that holds the lock, or held it last.
const HOLDER_AT: usize = LOCK_AT + 8;
/// What belongs to one kind of object begins here. There are sixteen words of it.
pub(crate) const OWN_AT: usize = 128;
/// The members, or what a `Value` or an `Array` holds.
pub(crate) const REST_AT: usize = 256;

/// How long the end of a holder is waited for whose death the kernel has told already: the last of its threads may be
/// about to end.
const LAST_BREATH: Duration = Duration::from_millis(50);

pub(crate) struct Page {
    map: Arc<KeptMap>,
    handle: Handle,
    attached: PerProcess<Attached>,
    /// Where the members are, if the object has any.
    members: Option<Members>,
    luck: Luck,
}

/// The lock, held by this process.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    owner: u32,
    pid: u32,
    /// Who held it last died with it.
    pub(crate) suspect: bool,
}

impl Held {
    /// False in a copy of the process that holds it.
    #[inline]
    pub(crate) fn is_ours(&self) -> bool {
        self.pid == own_pid()
    }
}

/// What this process has in the lists of its keepers.
pub(crate) struct Attached {
    pid: u32,
    lock: Kept,
    member: Option<Member>,
}

impl Page {
    /// A new object of this kind, with room for so many bytes, or for members.
    pub(crate) fn create(kind: Kind, detail: u64, room: Option<usize>) -> io::Result<Page> {
        let room = room.unwrap_or(Members::BYTES);
        let len = REST_AT.checked_add(room).ok_or(io::ErrorKind::OutOfMemory)?;
        let (map, fd) = KeptMap::create(len)?;
        map.word(MAGIC_AT).store(MAGIC + kind as u64, Ordering::Relaxed);
        map.word(NUMBERS_AT).store(keeper::number_space(), Ordering::Relaxed);
        map.word(DETAIL_AT).store(detail, Ordering::Release);
        Page::new(map, Handle::new(fd), kind)
    }

    /// An object that came from another process. All that its file says may be wrong.
    pub(crate) fn open(handle: Handle, kind: Kind) -> io::Result<Page> {
        let wrong = |text: &str| Err(io::Error::new(io::ErrorKind::InvalidData, text));
        let map = KeptMap::open(handle.as_fd())?;
        if map.len() < REST_AT || map.word(MAGIC_AT).load(Ordering::Acquire) != MAGIC + kind as u64 {
            return wrong(&format!("the handle is not that of a {kind:?}, or its memory is damaged"));
        }
        let (theirs, ours) = (map.word(NUMBERS_AT).load(Ordering::Acquire), keeper::number_space());
        if theirs != 0 && ours != 0 && theirs != ours {
            return wrong(
                "the object is from a process in another PID namespace, where the kernel could not tell who of its \
                 holders has died; share it among the processes of one namespace",
            );
        }
        Page::new(map, handle, kind)
    }

    fn new(map: KeptMap, handle: Handle, kind: Kind) -> io::Result<Page> {
        let has_members = matches!(
            kind,
            Kind::Semaphore | Kind::BoundedSemaphore | Kind::Condition | Kind::Barrier | Kind::Queue
        );
        let map = Arc::new(map);
        let members = has_members.then(|| Members::new(Arc::clone(&map))).transpose()?;
        let page = Page { map, handle, attached: PerProcess::new(), members, luck: Luck::default() };
        page.attached()?;
        Ok(page)
    }

    /// As the process of the model has it that this is called in, once it has got the handle.
    #[cfg(all(test, shuttle))]
    pub(crate) fn in_another_process(&self) -> Page {
        let map = Arc::clone(&self.map);
        let members = self.members.as_ref().map(|_| Members::new(Arc::clone(&map)).unwrap());
        let page = Page {
            map,
            handle: self.handle.clone(),
            attached: PerProcess::new(),
            members,
            luck: Luck::default(),
        };
        page.attached().unwrap();
        page
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) fn map(&self) -> &KeptMap {
        &self.map
    }

    pub(crate) fn detail(&self) -> u64 {
        self.map.word(DETAIL_AT).load(Ordering::Acquire)
    }

    /// A word that belongs to the kind of the object.
    #[inline]
    pub(crate) fn own(&self, index: usize) -> &SharedWord {
        debug_assert!(index < (REST_AT - OWN_AT) / 8, "there are sixteen");
        self.map.word(OWN_AT + 8 * index)
    }

    pub(crate) fn members(&self) -> &Members {
        match &self.members {
            Some(members) => members,
            None => unreachable!("an object of this kind has members"),
        }
    }

    #[inline]
    fn attached(&self) -> io::Result<&Attached> {
        if let Some(attached) = self.attached.get() {
            return Ok(attached);
        }
        self.attach()
    }

    /// When the object is made, or has come, and again in a copy of this process that `fork` has made.
    #[cold]
    fn attach(&self) -> io::Result<&Attached> {
        self.attached.get_or_make(|| {
            let lock = self.map.keep(LOCK_AT)?;
            let member = self.members.as_ref().map(Members::join).transpose()?;
            Ok(Attached { pid: own_pid(), lock, member })
        })
    }

    pub(crate) fn member(&self) -> io::Result<&Member> {
        match &self.attached()?.member {
            Some(member) => Ok(member),
            None => unreachable!("an object of this kind has members"),
        }
    }

    fn lock_word(&self) -> KernelWord<'_> {
        KernelWord(self.map.word(LOCK_AT))
    }

    /// Takes the lock if it is free.
    #[inline]
    pub(crate) fn try_lock(&self) -> io::Result<Option<Held>> {
        let attached = self.attached()?;
        let owner = attached.lock.owner();
        if let Some(suspect) = word::try_lock(&self.lock_word(), owner) {
            return Ok(Some(self.locked(attached, suspect)));
        }
        // Nobody else might find out.
        word::bury_if_gone(&self.lock_word());
        Ok(word::try_lock(&self.lock_word(), owner).map(|suspect| self.locked(attached, suspect)))
    }

    /// Waits for the lock.
    #[inline]
    pub(crate) fn lock(&self, patience: &Patience<'_>) -> io::Result<Result<Held, GaveUp>> {
        let attached = self.attached()?;
        let owner = attached.lock.owner();
        let taken = match word::try_lock(&self.lock_word(), owner) {
            Some(suspect) => Ok(suspect),
            None => match self.linger_for_lock(owner, patience) {
                Some(suspect) => Ok(suspect),
                None => word::lock(&self.lock_word(), owner, &mut || patience.until()),
            },
        };
        Ok(taken.map(|suspect| self.locked(attached, suspect)))
    }

    /// Waits for the lock without sleeping, as most are held for less time than sleep takes: nobody has to wake who waits
    /// here, and where there are more processes than processors, the one that holds it has its turn.
    fn linger_for_lock(&self, owner: u32, patience: &Patience<'_>) -> Option<bool> {
        let mut taken = None;
        patience.until()?;
        self.luck.linger(|| {
            let is_free = self.lock_word().load() as u32 & OWNER == 0;
            taken = is_free.then(|| word::try_lock(&self.lock_word(), owner)).flatten();
            taken.is_some()
        });
        taken
    }

    #[inline]
    fn locked(&self, attached: &Attached, suspect: bool) -> Held {
        if suspect {
            self.await_last_breath();
        }
        self.map.word(HOLDER_AT).store(attached.pid.into(), Ordering::Relaxed);
        Held { owner: attached.lock.owner(), pid: attached.pid, suspect }
    }

    /// The kernel marks the word when one thread of the holder has ended, and another might still run for the moment that
    /// it takes to stop it. What the lock protects is changed by one at a time.
    #[cold]
    fn await_last_breath(&self) {
        let holder = self.map.word(HOLDER_AT).load(Ordering::Relaxed);
        if let Ok(pid @ 1..) = u32::try_from(holder)
            && pid != own_pid()
            && let Ok(pidfd) = process::pidfd(pid)
        {
            let _ = process::ends_by(pidfd.as_fd(), Instant::now() + LAST_BREATH);
        }
    }

    /// Frees the lock; if `suspect`, so that the next one is told. Does nothing in a copy of the process that holds it.
    #[inline]
    pub(crate) fn unlock(&self, held: Held, suspect: bool) {
        if !held.is_ours() {
            return;
        }
        if suspect {
            self.map.word(HOLDER_AT).store(0, Ordering::Relaxed);
        }
        // If the word is somebody else's, somebody has written to it who may not, and there is nothing to be freed.
        let _ = word::unlock(&self.lock_word(), held.owner, suspect);
    }

    /// The lock, if this process has it.
    pub(crate) fn held_here(&self) -> Option<Held> {
        let attached = self.attached.get()?;
        let owner = attached.lock.owner();
        let is_held = self.lock_word().load() as u32 & OWNER == owner;
        is_held.then_some(Held { owner, pid: attached.pid, suspect: false })
    }

    /// Wakes all who wait for the lock: one of them does not want it any more.
    pub(crate) fn rouse_lockers(&self) {
        futex::wake_all(keeper::low_half(self.map.word(LOCK_AT)));
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("len", &self.map.len()).finish_non_exhaustive()
    }
}

/// A word in shared memory.
pub(crate) struct KernelWord<'a>(pub(crate) &'a SharedWord);

impl Word for KernelWord<'_> {
    #[inline]
    fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    fn exchange(&self, seen: u64, new: u64) -> Result<(), u64> {
        self.0.compare_exchange(seen, new, Ordering::AcqRel, Ordering::Relaxed).map(drop)
    }

    fn sleep(&self, low: u32, until: Instant) {
        futex::wait_until(keeper::low_half(self.0), low, Some(until));
    }

    fn wake(&self) {
        futex::wake_one(keeper::low_half(self.0));
    }

    fn during<R>(&self, operation: impl FnOnce() -> R) -> R {
        cover::during(self.0, operation)
    }

    fn is_gone(&self, owner: u32) -> bool {
        keeper::is_gone(owner)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn opened(page: &Page, kind: Kind) -> Result<Page, String> {
        Page::open(page.handle().clone(), kind).map_err(|error| error.to_string())
    }

    #[test]
    fn what_came_as_something_else_or_is_damaged_is_not_opened() {
        let page = Page::create(Kind::Lock, 0, Some(0)).unwrap();
        assert!(opened(&page, Kind::Lock).is_ok());
        assert!(opened(&page, Kind::Event).unwrap_err().contains("not that of a Event"));
        page.map.word(MAGIC_AT).store(7, Ordering::Relaxed);
        assert!(opened(&page, Kind::Lock).unwrap_err().contains("damaged"));
        let small = Page::create(Kind::Barrier, 3, Some(0));
        assert!(small.is_err(), "there is no room for members");
        let null = Handle::new(std::fs::File::open("/dev/null").unwrap().into());
        assert!(Page::open(null, Kind::Lock).is_err());
    }

    #[test]
    fn what_is_from_another_numbering_of_processes_is_refused() {
        let page = Page::create(Kind::Lock, 0, Some(0)).unwrap();
        page.map.word(NUMBERS_AT).store(1, Ordering::Relaxed);
        assert!(opened(&page, Kind::Lock).unwrap_err().contains("PID namespace"));
        page.map.word(NUMBERS_AT).store(0, Ordering::Relaxed);
        assert!(opened(&page, Kind::Lock).is_ok(), "it was not known there");
    }

    #[test]
    fn nonsense_in_the_memory_hangs_and_harms_nobody_who_has_a_limit() {
        let page = Page::create(Kind::Semaphore, 1, None).unwrap();
        let patience = || Patience::of(Duration::from_millis(20));
        let nonsense = [u64::MAX, 0xffff_ffff, 1 << 63, 0x4000_0000, 0x8000_0000, 0x3fff_ffff, 1 << 32];
        for word in nonsense {
            page.map.word(LOCK_AT).store(word, Ordering::SeqCst);
            if let Ok(held) = page.lock(&patience()).unwrap() {
                page.map.word(LOCK_AT).store(word, Ordering::SeqCst);
                page.unlock(held, false);
            }
            page.map.word(LOCK_AT).store(0, Ordering::SeqCst);
            for at in (REST_AT..REST_AT + 256).step_by(8) {
                page.map.word(at).store(word, Ordering::SeqCst);
            }
            drop(page.enter(&patience(), || {}));
            page.members().announce(1);
            page.members().sleep(page.member().unwrap(), 0, &patience());
            page.member().unwrap().add(1);
            page.member().unwrap().subtract(7);
            page.members().sum();
        }
    }
}
