//! Words in shared memory that the kernel marks when the process that owns them dies, however it dies.
//!
//! The kernel keeps a list for each thread (`set_robust_list`): when the thread ends, it looks at each word of the list,
//! and in those that hold the number of that thread it puts [`DIED`] in its place and wakes one who waits. We give that
//! list to threads of our own, the keepers, which do nothing but live as long as the process. On the list of a keeper
//! are all words that this process has open, and a word is owned by whoever has put the number of his keeper into it:
//! that takes one atomic exchange and no change of the list, and counts for the process and not for one thread of it.
//!
//! The kernel finds a word at a constant distance from the node of the list that stands for it. Nodes are in private
//! memory directly in front of the shared memory: no pointer is where another process could change it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use rustix::mm::{MapFlags, ProtFlags};

use super::map::SharedMap;
use super::own_pid::own_pid;
use super::per_process::PerProcess;
use super::{futex, process};

/// Nobody owns the word: who did has died.
pub(crate) const DIED: u32 = rustix::thread::futex::OWNER_DIED;
/// Somebody sleeps until the word changes.
pub(crate) const WAITERS: u32 = rustix::thread::futex::WAITERS;
/// The part of a word that is the number of its owner, or 0.
pub(crate) const OWNER: u32 = !(DIED | WAITERS);

/// The private memory in front of the shared memory: a multiple of the size of every kind of page.
const FRONT: usize = 64 << 10;

/// From a node to what the kernel takes for its word: the lower half of a word of 64 bits.
pub(super) const TO_WORD: usize = FRONT + if cfg!(target_endian = "big") { 4 } else { 0 };

/// The kernel goes through 2048 words at most; some of them may be about to leave the list.
const ROOM: usize = 2000;

/// A place in a list. The kernel knows the first field only.
#[repr(C)]
pub(super) struct Node {
    next: AtomicPtr<Node>,
    before: AtomicPtr<Node>,
}

/// What the kernel knows of a thread: `struct robust_list_head`. Its first field makes it the node at which the list ends.
#[repr(C)]
pub(super) struct Head {
    first: AtomicPtr<Node>,
    pub(super) to_word: isize,
    pub(super) pending: AtomicPtr<Node>,
}

impl Head {
    pub(super) fn empty() -> Head {
        Head { first: AtomicPtr::default(), to_word: TO_WORD.cast_signed(), pending: AtomicPtr::default() }
    }

    /// The list ends where it begins. From now on the head stays where it is.
    pub(super) fn close(&self, pending: *mut Node) {
        self.first.store(self.end(), Ordering::Release);
        self.pending.store(pending, Ordering::Release);
    }

    fn end(&self) -> *mut Node {
        ptr::from_ref(self).cast::<Node>().cast_mut()
    }
}

/// A thread whose end is that of the process.
struct Keeper {
    pid: u32,
    tid: u32,
    head: Head,
    /// How many words are on the list. Whoever changes the list holds this.
    count: Mutex<usize>,
}

impl Keeper {
    /// Starts one, which is never freed: the kernel looks at its list when the process has ended.
    fn start() -> io::Result<&'static Keeper> {
        let (tell, told) = mpsc::sync_channel::<io::Result<&'static Keeper>>(1);
        let keep = move || {
            process::block_signals();
            let keeper = Box::leak(Box::new(Keeper {
                pid: own_pid(),
                tid: rustix::thread::gettid().as_raw_pid().cast_unsigned(),
                head: Head::empty(),
                count: Mutex::new(0),
            }));
            keeper.head.close(ptr::null_mut());
            let head = ptr::from_ref(&keeper.head);
            // SAFETY: the head is never freed and always leads through nodes of ours back to itself. The list that the
            // C library may have given to this thread was empty and stays so: the thread calls nothing of it that
            // takes a robust mutex.
            let kept = unsafe { libc::syscall(libc::SYS_set_robust_list, head, size_of::<Head>()) } == 0;
            let _ = tell.send(if kept { Ok(keeper) } else { Err(io::Error::last_os_error()) });
            if kept {
                loop {
                    thread::park();
                }
            }
        };
        thread::Builder::new().name("procpool-locks".to_owned()).stack_size(64 << 10).spawn(keep)?;
        told.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
    }

    /// Puts a node in front of the others. At any moment what the kernel can follow is a whole list.
    fn add(&self, node: NonNull<Node>) {
        let first = self.head.first.load(Ordering::Relaxed);
        // SAFETY: the node is one of a mapping that stays until it has been taken out again, which needs `count`, as
        // this does; so is the first of the list, or else it is the head, which has no more than `next`.
        unsafe {
            node.as_ref().next.store(first, Ordering::Relaxed);
            node.as_ref().before.store(self.head.end(), Ordering::Relaxed);
            if first != self.head.end() {
                (*first).before.store(node.as_ptr(), Ordering::Relaxed);
            }
        }
        self.head.first.store(node.as_ptr(), Ordering::Release);
    }

    fn remove(&self, node: NonNull<Node>) {
        // SAFETY: as in `add`; the neighbours of a node in the list are in the list.
        unsafe {
            let next = node.as_ref().next.load(Ordering::Relaxed);
            let before = node.as_ref().before.load(Ordering::Relaxed);
            if before == self.head.end() {
                self.head.first.store(next, Ordering::Release);
            } else {
                (*before).next.store(next, Ordering::Release);
            }
            if next != self.head.end() {
                (*next).before.store(before, Ordering::Relaxed);
            }
        }
    }
}

static KEEPERS: PerProcess<Mutex<Vec<&'static Keeper>>> = PerProcess::new();

/// Memory shared with other processes, with room in front for the nodes of its words.
#[derive(Debug)]
pub(crate) struct KeptMap {
    /// Of the shared part.
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory is reached through atomics only, so any thread may use it; the mapping stays until `Drop`.
unsafe impl Send for KeptMap {}
// SAFETY: as for `Send`.
unsafe impl Sync for KeptMap {}

impl KeptMap {
    /// A new memory file of `len` zero bytes, its pages reserved, so that touching them cannot fail.
    pub(crate) fn create(len: usize) -> io::Result<(KeptMap, OwnedFd)> {
        let (_, fd) = SharedMap::create(len, len)?;
        Ok((KeptMap::map(fd.as_fd(), len)?, fd))
    }

    /// Maps a memory file made by another process.
    pub(crate) fn open(fd: BorrowedFd<'_>) -> io::Result<KeptMap> {
        let len = usize::try_from(rustix::fs::fstat(fd)?.st_size).unwrap_or(0);
        let mapped = if len == 0 { Err(io::ErrorKind::InvalidData.into()) } else { SharedMap::open(fd, len) };
        drop(mapped?);
        KeptMap::map(fd, len)
    }

    fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<KeptMap> {
        let whole = FRONT.checked_add(len).ok_or(io::ErrorKind::OutOfMemory)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let front = unsafe {
            rustix::mm::mmap_anonymous(ptr::null_mut(), whole, protection, MapFlags::PRIVATE)?.cast::<u8>()
        };
        // SAFETY: inside of the mapping that was just made.
        let base = unsafe { front.add(FRONT) };
        let kept = KeptMap { base: NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?, len };
        // SAFETY: takes the place of memory that is ours and that nobody has seen.
        unsafe {
            rustix::mm::mmap(base.cast(), len, protection, MapFlags::SHARED | MapFlags::FIXED, fd, 0)?;
        }
        Ok(kept)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The word at a byte offset that is a multiple of 8.
    #[inline]
    pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len, "a word inside of the mapping");
        // SAFETY: in bounds and aligned (the base is a page), valid until `Drop`, which needs the only
        // reference; the seals keep the file from shrinking under it; all access is atomic on all sides.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    /// The address of bytes in the mapping, for `sys::words` to make atomics of.
    #[inline]
    pub(super) fn address(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(offset.checked_add(len).is_some_and(|end| end <= self.len), "inside of the mapping");
        // SAFETY: in bounds.
        unsafe { self.base.as_ptr().add(offset) }
    }

    /// Puts the word at a byte offset that is a multiple of 16 on the list of a keeper of this process, until what this
    /// returns is dropped.
    pub(crate) fn keep(self: &Arc<Self>, offset: usize) -> io::Result<Kept> {
        let has_node = offset.is_multiple_of(size_of::<Node>()) && offset < self.len.min(FRONT);
        assert!(has_node, "a word whose node overlaps with no other");
        // SAFETY: the front is as far before the base as its node is before its word, so the node is in the front.
        let node = unsafe { self.base.sub(FRONT).add(offset) }.cast::<Node>();
        let keepers = KEEPERS.get_or_make(|| Ok::<_, io::Error>(Mutex::default()))?;
        let mut keepers = keepers.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room =
            |keeper: &&&Keeper| *keeper.count.lock().unwrap_or_else(PoisonError::into_inner) < ROOM;
        let keeper = match keepers.iter().find(has_room) {
            Some(keeper) => *keeper,
            None => {
                let keeper = Keeper::start()?;
                keepers.push(keeper);
                keeper
            }
        };
        let mut count = keeper.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        keeper.add(node);
        drop(count);
        Ok(Kept { keeper, node, _map: Arc::clone(self) })
    }
}

impl Drop for KeptMap {
    fn drop(&mut self) {
        // SAFETY: the range is our own mapping, no reference into it outlives `self`, and no node of it is on a list:
        // a `Kept` holds the mapping.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().sub(FRONT).cast(), FRONT + self.len) };
        debug_assert!(unmapped.is_ok(), "a mapping of ours can be unmapped");
    }
}

/// A word on the list of a keeper.
pub(crate) struct Kept {
    keeper: &'static Keeper,
    node: NonNull<Node>,
    _map: Arc<KeptMap>,
}

// SAFETY: the node is reached by whoever holds the keeper's lock only.
unsafe impl Send for Kept {}
// SAFETY: as for `Send`.
unsafe impl Sync for Kept {}

impl Kept {
    /// What stands for this process in the word.
    #[inline]
    pub(crate) fn owner(&self) -> u32 {
        self.keeper.tid
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // In a copy of the process the keeper is not there, and another thread may have held its lock.
        if self.keeper.pid == own_pid() {
            let mut count = self.keeper.count.lock().unwrap_or_else(PoisonError::into_inner);
            *count -= 1;
            self.keeper.remove(self.node);
        }
    }
}

/// The half of a word that the kernel knows: its lower 32 bits. To be named to the kernel, and not to be read.
#[inline]
pub(crate) fn low_half(word: &AtomicU64) -> &AtomicU32 {
    let half = ptr::from_ref(word).cast::<AtomicU32>();
    // SAFETY: both halves are inside of the word, whose memory stays as long as the reference, and aligned.
    unsafe { &*half.add(usize::from(cfg!(target_endian = "big"))) }
}

/// Whether the thread with this number, an owner of a word, is no more. When in doubt, it is there.
pub(crate) fn is_gone(owner: u32) -> bool {
    // SAFETY: the call takes numbers, and signal 0 is none.
    let sent = unsafe { libc::syscall(libc::SYS_tkill, owner.cast_signed(), 0) };
    sent != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH)
}

/// Which processes know each other's threads by the same numbers; 0 if that cannot be told.
pub(crate) fn number_space() -> u64 {
    rustix::fs::stat("/proc/self/ns/pid").map_or(0, |stat| stat.st_ino)
}

/// Sleeps until the lower half of one of these words is not the number beside it any more, or until then. May return
/// early. False if this kernel cannot do that.
pub(crate) fn wait_for_any(words: &[(&AtomicU64, u32)], until: std::time::Instant) -> bool {
    futex::wait_for_any(words.iter().map(|&(word, seen)| (low_half(word), seen)), until)
}

/// Runs `body` in a copy of this process, which then is killed.
#[cfg(test)]
pub(crate) fn in_a_killed_copy(body: impl FnOnce()) {
    // SAFETY: the copy starts a thread and takes memory; the C library sees to it that no other thread has its locks.
    let copy = unsafe { libc::fork() };
    if copy == 0 {
        body();
        // SAFETY: ends the copy.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
    let mut status = 0;
    // SAFETY: waits for our own child.
    assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
    assert!(libc::WIFSIGNALED(status), "{status}");
}

#[cfg(test)]
mod test {
    use super::*;

    fn map() -> Arc<KeptMap> {
        Arc::new(KeptMap::create(8192).unwrap().0)
    }

    #[test]
    fn the_kernel_marks_what_a_killed_process_owned_and_nothing_else() {
        let map = map();
        map.word(32).store(77, Ordering::Release);
        in_a_killed_copy(|| {
            let [owned, foreign, left, high] = [16, 32, 48, 64].map(|at| map.keep(at).unwrap());
            map.word(16).store(u64::from(owned.owner() | WAITERS), Ordering::Release);
            map.word(48).store(u64::from(left.owner()), Ordering::Release);
            map.word(64).store(u64::from(high.owner()) | 5 << 32, Ordering::Release);
            drop(left);
            std::mem::forget([owned, foreign, high]);
        });
        assert_eq!(map.word(16).load(Ordering::Acquire), u64::from(DIED | WAITERS));
        assert_eq!(map.word(32).load(Ordering::Acquire), 77);
        let left = map.word(48).load(Ordering::Acquire) as u32;
        assert!(left & DIED == 0 && is_gone(left & OWNER), "taken off the list, and yet {left:#x}");
        assert_eq!(map.word(64).load(Ordering::Acquire), u64::from(DIED) | 5 << 32);
    }

    #[test]
    fn more_words_than_one_list_has_room_for_are_marked_all_the_same() {
        let maps: Vec<_> = (0..7).map(|_| map()).collect();
        in_a_killed_copy(|| {
            for map in &maps {
                for at in (0..8192).step_by(16) {
                    let kept = map.keep(at).unwrap();
                    map.word(at).store(kept.owner().into(), Ordering::Release);
                    std::mem::forget(kept);
                }
            }
        });
        let words = maps.iter().flat_map(|map| (0..8192).step_by(16).map(|at| map.word(at)));
        let unmarked = words.filter(|word| word.load(Ordering::Acquire) != DIED.into()).count();
        assert_eq!(unmarked, 0, "of {}", 7 * 512);
    }

    #[test]
    fn a_list_stays_whole_when_words_leave_it_in_any_order() {
        let map = map();
        in_a_killed_copy(|| {
            let mut kept: Vec<_> = (0..60).map(|n| Some(map.keep(n * 16).unwrap())).collect();
            for (n, kept) in kept.iter().enumerate() {
                let owner = kept.as_ref().unwrap().owner();
                map.word(n * 16).store(owner.into(), Ordering::Release);
            }
            for n in [0, 59, 30, 31, 29, 1, 58] {
                kept[n] = None;
            }
            std::mem::forget(kept);
        });
        let marked =
            (0..60).filter(|n| map.word(n * 16).load(Ordering::Acquire) == DIED.into()).collect::<Vec<_>>();
        assert_eq!(marked.len(), 53, "{marked:?}");
    }

    #[test]
    fn only_a_sealed_file_is_mapped() {
        let plain = rustix::fs::memfd_create(c"test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        assert!(KeptMap::open(plain.as_fd()).is_err(), "empty");
        rustix::fs::ftruncate(&plain, 4096).unwrap();
        assert!(KeptMap::open(plain.as_fd()).is_err(), "not sealed");
        let (_map, fd) = KeptMap::create(4096).unwrap();
        assert_eq!(KeptMap::open(fd.as_fd()).unwrap().len(), 4096);
    }
}
