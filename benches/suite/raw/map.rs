//! Memory that two processes share: the only unsafe code of the raw contestants.
#![expect(unsafe_code, reason = "memory that another process writes is no Rust value; each use is argued")]

use std::os::fd::AsFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::fs::MemfdFlags;
use rustix::mm::{MapFlags, ProtFlags};

/// Bytes of one ring: small enough to stay in the cache of a core.
pub(super) const RING: usize = 256 * 1024;

const HEAD: usize = 4096;

/// The words at the beginning; each has a line of the cache to itself.
#[repr(C)]
pub(super) struct Head {
    pub(super) call: Word,
    pub(super) reply: Word,
    /// Bytes that were ever written to a ring, and read from it: there, then back.
    pub(super) written: [Count; 2],
    pub(super) read: [Count; 2],
}

#[repr(align(128))]
pub(super) struct Word(pub(super) AtomicU32);

#[repr(align(128))]
pub(super) struct Count(pub(super) AtomicU64);

const _: () = assert!(size_of::<Head>() <= HEAD);

/// A head and two rings. Lives as long as the process, as the processes that hold it do one thing only.
#[derive(Clone, Copy)]
pub(super) struct Map(NonNull<u8>);

// SAFETY: the head is atomics only, and the bytes of the rings are reached only through `put` and `get`, whose callers
// keep writer and reader apart by the counts.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    pub(super) fn create() -> std::io::Result<(Map, std::os::fd::OwnedFd)> {
        let file = rustix::fs::memfd_create("bench", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&file, (HEAD + 2 * RING) as u64)?;
        Ok((Map::open(&file)?, file))
    }

    pub(super) fn open(file: impl AsFd) -> std::io::Result<Map> {
        let (read_write, length) = (ProtFlags::READ | ProtFlags::WRITE, HEAD + 2 * RING);
        // SAFETY: the kernel chooses the place, so no memory of this program is replaced.
        let base =
            unsafe { rustix::mm::mmap(ptr::null_mut(), length, read_write, MapFlags::SHARED, file, 0) }?;
        Ok(Map(NonNull::new(base.cast()).expect("a mapping is not at zero")))
    }

    pub(super) fn head(&self) -> &Head {
        // SAFETY: the mapping is never taken away, is aligned to a page, is as long as a head, was zeros at first, which is
        // a valid value of each atomic, and is changed through atomics only.
        unsafe { self.0.cast::<Head>().as_ref() }
    }

    /// Copies into a ring. The counts say that nobody reads there meanwhile.
    pub(super) fn put(&self, ring: usize, at: usize, bytes: &[u8]) {
        assert!(ring < 2 && at + bytes.len() <= RING);
        // SAFETY: the range is inside the mapping by the line above, and `bytes`, a borrow of private memory, does not
        // overlap it.
        unsafe {
            let place = self.0.as_ptr().add(HEAD + ring * RING + at);
            ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
        }
    }

    /// Copies out of a ring. The counts say that nobody writes there meanwhile.
    pub(super) fn get(&self, ring: usize, at: usize, bytes: &mut [u8]) {
        assert!(ring < 2 && at + bytes.len() <= RING);
        // SAFETY: as in `put`.
        unsafe {
            let place = self.0.as_ptr().add(HEAD + ring * RING + at);
            ptr::copy_nonoverlapping(place, bytes.as_mut_ptr(), bytes.len());
        }
    }
}
