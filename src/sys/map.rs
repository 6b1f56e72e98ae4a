//! Memory that two processes share, as words and bytes that either may change at any time.

use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::primitive::interleave;

use super::fd::above_standard;

/// A mapping of a sealed memory file. It has no name, and the kernel frees it with its last user.
#[derive(Debug)]
pub(crate) struct SharedMap {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory is reached through atomics only, so any thread may use it; the mapping stays until `Drop`.
unsafe impl Send for SharedMap {}
// SAFETY: as for `Send`.
unsafe impl Sync for SharedMap {}

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

impl SharedMap {
    /// Whether this system makes memory files. It writes nothing: a program that may not write files of that size
    /// would get a signal, on the calling thread.
    pub(crate) fn is_possible() -> io::Result<()> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        Ok(rustix::fs::memfd_create(c"procpool", flags).map(drop)?)
    }

    /// A new memory file of `len` zero bytes. The pages of the first so many are reserved, so that touching them cannot
    /// fail; before any other is touched, [`reserve`](SharedMap::reserve) or [`populate`](SharedMap::populate) it.
    pub(crate) fn create(len: usize, reserved: usize) -> io::Result<(SharedMap, OwnedFd)> {
        super::available::check(len)?;
        let fd = rustix::fs::memfd_create(c"procpool", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let fd = above_standard(fd)?;
        SharedMap::reserve(fd.as_fd(), 0..reserved)?;
        if reserved < len {
            rustix::fs::ftruncate(&fd, len as u64)?;
        }
        rustix::fs::fcntl_add_seals(&fd, SEALS)?;
        Ok((SharedMap::map(fd.as_fd(), len)?, fd))
    }

    /// Has these pages of a memory file of ours there, so that touching them cannot fail from now on.
    pub(crate) fn reserve(fd: BorrowedFd<'_>, pages: Range<usize>) -> io::Result<()> {
        let (offset, len) = (pages.start as u64, pages.len() as u64);
        // A signal interrupts even this, so does the SIGCONT after a stop.
        let reserve = || rustix::fs::fallocate(fd, FallocateFlags::empty(), offset, len);
        Ok(rustix::io::retry_on_intr(reserve)?)
    }

    /// Maps a memory file made by the other side.
    pub(crate) fn open(fd: BorrowedFd<'_>, len: usize) -> io::Result<SharedMap> {
        let sealed = rustix::fs::fcntl_get_seals(fd)?.contains(SEALS);
        let size = u64::try_from(rustix::fs::fstat(fd)?.st_size).unwrap_or(0);
        if !sealed || size < len as u64 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not a sealed memory file of the right size",
            ));
        }
        SharedMap::map(fd, len)
    }

    fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<SharedMap> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                fd,
                0,
            )?
        };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(SharedMap { base, len })
    }

    /// The word at this offset is used soon: its line of the cache is fetched meanwhile. Does nothing but on x86-64: Rust
    /// has no stable way to say that elsewhere.
    #[inline]
    pub(crate) fn expect(&self, offset: usize) {
        let word: *const AtomicU64 = self.word(offset);
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: a hint has no effect on what the program does, wherever it points.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(word.cast());
        }
        let _ = word;
    }

    /// The word at a byte offset that is a multiple of 8.
    pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
        interleave();
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len, "a word inside of the mapping");
        // SAFETY: in bounds and aligned (the base is a page), valid until `Drop`, which needs the only
        // reference; the seals keep the file from shrinking under it; all access is atomic on both sides.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    /// The 32 bits at a byte offset that is a multiple of 4. Whoever uses them never takes them for part of a word.
    pub(crate) fn half_word(&self, offset: usize) -> &AtomicU32 {
        interleave();
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.len, "half a word inside of the mapping");
        // SAFETY: as in `word`.
        unsafe { AtomicU32::from_ptr(self.base.as_ptr().add(offset).cast()) }
    }

    /// As many words from a byte offset on that is a multiple of 8.
    pub(crate) fn words(&self, offset: usize, count: usize) -> &[AtomicU64] {
        interleave();
        assert!(offset.is_multiple_of(8) && offset + 8 * count <= self.len, "words inside of the mapping");
        // SAFETY: as in `word`; words lie beside each other, and an atomic has the layout of its number.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(offset).cast(), count) }
    }

    /// Has the pages of so many bytes there, so that touching them cannot fail from now on. `false` if there is no memory
    /// for them, or the kernel (before Linux 5.14) cannot tell.
    pub(crate) fn populate(&self, offset: usize, len: usize) -> bool {
        assert!(offset <= self.len && len <= self.len - offset, "bytes inside of the mapping");
        let before = offset % super::pages::page_size();
        // SAFETY: the range begins with a page, and is inside of our own mapping, whose content this does not change.
        let populated = rustix::io::retry_on_intr(|| unsafe {
            let start = self.base.as_ptr().add(offset - before);
            rustix::mm::madvise(start.cast(), before + len, Advice::LinuxPopulateWrite)
        });
        populated.is_ok()
    }

    /// Copies words out, as the bytes that they are. The other side may be changing them.
    pub(crate) fn append(words: &[AtomicU64], out: &mut Vec<u8>) {
        out.reserve(8 * words.len());
        let places = out.spare_capacity_mut().as_chunks_mut::<8>().0;
        for (place, word) in places.iter_mut().zip(words) {
            *place = word.load(Ordering::Relaxed).to_ne_bytes().map(MaybeUninit::new);
        }
        // SAFETY: there was room for all of them, and each was written.
        unsafe { out.set_len(out.len() + 8 * words.len()) };
    }

    fn byte(&self, offset: usize) -> &AtomicU8 {
        assert!(offset < self.len, "a byte inside of the mapping");
        // SAFETY: as in `word`; a byte is always aligned.
        unsafe { AtomicU8::from_ptr(self.base.as_ptr().add(offset)) }
    }

    /// Copies bytes out. The other side may be changing them.
    pub(crate) fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        (offset..offset + len).map(|at| self.byte(at).load(Ordering::Relaxed)).collect()
    }

    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        for (at, &byte) in (offset..).zip(bytes) {
            self.byte(at).store(byte, Ordering::Relaxed);
        }
    }
}

impl Drop for SharedMap {
    fn drop(&mut self) {
        // SAFETY: the range is our own mapping, and no reference into it outlives `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "a mapping of ours can be unmapped");
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn two_mappings_of_one_file_share_their_words_and_bytes() {
        let (one, fd) = SharedMap::create(4096, 4096).unwrap();
        let two = SharedMap::open(fd.as_fd(), 4096).unwrap();
        one.word(8).store(77, Ordering::Release);
        one.write(100, b"words");
        assert_eq!(two.word(8).load(Ordering::Acquire), 77);
        assert_eq!(two.read(100, 5), b"words");
    }

    #[test]
    fn a_file_that_could_shrink_or_is_too_small_is_not_mapped() {
        let fd = rustix::fs::memfd_create(c"test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&fd, 4096).unwrap();
        assert!(SharedMap::open(fd.as_fd(), 4096).is_err(), "not sealed");
        let (_map, fd) = SharedMap::create(4096, 4096).unwrap();
        assert!(SharedMap::open(fd.as_fd(), 8192).is_err(), "too small");
        assert!(rustix::fs::ftruncate(&fd, 0).is_err(), "sealed against shrinking");
    }
}
