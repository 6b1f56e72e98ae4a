//! Memory that nobody can change any more, in whichever process.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::process::{Resource, getrlimit};

use super::available;
use super::fd::above_standard;

/// What it takes for the bytes to stay as they are.
const SEALS: SealFlags =
    SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::SEAL);

/// The kind of memory files that have pages of the usual size: what others do when memory is short is not known here.
const TMPFS: i64 = 0x0102_1994;

/// A mapping of a memory file that is sealed against every change.
#[derive(Debug)]
pub(crate) struct Frozen {
    base: NonNull<u8>,
    /// Bytes that are mapped: at least one.
    mapped: usize,
    /// Bytes that count.
    len: usize,
}

// SAFETY: nobody can write to the memory, so any thread may read it; the mapping stays until `Drop`.
unsafe impl Send for Frozen {}
// SAFETY: as for `Send`.
unsafe impl Sync for Frozen {}

/// Tells memory files apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    device: u64,
    file: u64,
    /// Numbers of files come again after some billions, but not at the same time.
    changed: (i64, i64),
    len: usize,
}

impl Frozen {
    /// A new memory file that holds these bytes, for ever.
    pub(crate) fn create(bytes: &[u8]) -> io::Result<(Frozen, OwnedFd)> {
        let fd = memory_file(bytes.len().max(1))?;
        let mut rest = bytes;
        let mut offset = 0;
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(&fd, rest, offset))?;
            rest = &rest[written..];
            offset += written as u64;
        }
        rustix::fs::fcntl_add_seals(&fd, SEALS)?;
        Ok((Frozen::map(fd.as_fd(), bytes.len())?, fd))
    }

    /// Maps a memory file that somebody else made, if it holds so many bytes, and for ever.
    pub(crate) fn open(fd: BorrowedFd<'_>, len: usize) -> io::Result<Frozen> {
        checked(fd, len, SEALS)?;
        let stat = rustix::fs::fstat(fd)?;
        // A hole takes memory when it is read, and there may be none then.
        if u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512) < len as u64 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a memory file with holes"));
        }
        Frozen::map(fd, len)
    }

    fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Frozen> {
        let mapped = len.max(1);
        // Private, and yet the memory of the file, since nobody writes to it: kernels before 6.7 refuse a shared mapping
        // of what is sealed against writing.
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let base = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), mapped, ProtFlags::READ, MapFlags::PRIVATE, fd, 0)?
        };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Frozen { base, mapped, len })
    }

    /// The bytes, from the beginning of a page on.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes are mapped until `Drop`, which needs the only reference. The file is sealed: it was not
        // mapped for writing when that was done, nobody can write to it since, and it cannot shrink under the mapping.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    /// Which file a descriptor is of, if it is to hold so many bytes.
    pub(crate) fn identity(fd: BorrowedFd<'_>, len: usize) -> io::Result<Identity> {
        let stat = rustix::fs::fstat(fd)?;
        #[allow(clippy::unnecessary_cast, reason = "the types are the C library's choice")]
        let changed = (stat.st_ctime as i64, stat.st_ctime_nsec as i64);
        #[allow(clippy::unnecessary_cast, reason = "the types are the C library's choice")]
        let (device, file) = (stat.st_dev as u64, stat.st_ino as u64);
        Ok(Identity { device, file, changed, len })
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // SAFETY: the range is our own mapping, and no reference into it outlives `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.mapped) };
        debug_assert!(unmapped.is_ok(), "a mapping of ours can be unmapped");
    }
}

/// Whether a memory file of so many bytes may be tried, which is not told by an error otherwise.
pub(crate) fn room_for(len: usize) -> io::Result<()> {
    // Beyond this limit the system does not answer with an error but with a signal.
    if getrlimit(Resource::Fsize).current.is_some_and(|limit| limit < len as u64) {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "more bytes than this process may write to a file (RLIMIT_FSIZE)",
        ));
    }
    available::check(len)
}

/// A new memory file of so many zero bytes, its pages reserved, so that touching them cannot fail.
fn memory_file(len: usize) -> io::Result<OwnedFd> {
    room_for(len)?;
    let fd = rustix::fs::memfd_create(c"procpool", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let fd = above_standard(fd)?;
    rustix::io::retry_on_intr(|| rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, len as u64))?;
    Ok(fd)
}

/// Whether a descriptor is of a memory file that cannot change its size and holds so many bytes.
pub(crate) fn check_size(fd: BorrowedFd<'_>, len: usize) -> io::Result<()> {
    checked(fd, len, SealFlags::SHRINK.union(SealFlags::GROW))
}

/// Whether a descriptor is of a memory file that has these seals and holds so many bytes.
fn checked(fd: BorrowedFd<'_>, len: usize, seals: SealFlags) -> io::Result<()> {
    let bad = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    // Files that are no memory files have no seals to ask for.
    let has = rustix::fs::fcntl_get_seals(fd).unwrap_or(SealFlags::empty());
    if !has.contains(seals) {
        return bad("not a memory file that is sealed as it must be");
    }
    #[allow(clippy::unnecessary_cast, reason = "the type is the C library's choice")]
    if rustix::fs::fstatfs(fd)?.f_type as i64 != TMPFS {
        return bad("a memory file with pages of another kind");
    }
    let size = u64::try_from(rustix::fs::fstat(fd)?.st_size).unwrap_or(0);
    if size < len as u64 {
        return bad("a memory file that is too small");
    }
    Ok(())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_frozen_stays_as_it_is_whoever_tries() {
        let (one, fd) = Frozen::create(b"for ever").unwrap();
        let other = Frozen::open(fd.as_fd(), 8).unwrap();
        assert_eq!((one.bytes(), other.bytes()), (&b"for ever"[..], &b"for ever"[..]));
        assert!(rustix::io::pwrite(&fd, b"x", 0).is_err());
        assert!(rustix::fs::ftruncate(&fd, 0).is_err());
        assert!(rustix::fs::ftruncate(&fd, 1 << 20).is_err());
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        assert!(rustix::fs::fallocate(&fd, punch, 0, 8).is_err());
        // SAFETY: the mapping is not made, and would be of no use to anybody.
        let mapped =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), 8, ProtFlags::WRITE, MapFlags::SHARED, &fd, 0) };
        assert!(mapped.is_err());
        assert_eq!(one.bytes(), b"for ever");
    }

    #[test]
    fn what_could_change_is_not_mapped() {
        let open = |fd: &OwnedFd, len| Frozen::open(fd.as_fd(), len).map(drop).unwrap_err().to_string();
        let null = std::fs::File::open("/dev/null").unwrap().into();
        assert!(open(&null, 0).contains("sealed"));
        let fd = memory_file(10).unwrap();
        for seals in [SealFlags::empty(), SealFlags::SHRINK, SealFlags::GROW, SealFlags::WRITE] {
            rustix::fs::fcntl_add_seals(&fd, seals).unwrap();
            assert!(open(&fd, 10).contains("sealed"), "{seals:?}");
        }
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SEAL).unwrap();
        assert!(Frozen::open(fd.as_fd(), 10).is_ok());
        assert!(open(&fd, 11).contains("too small"));
        let holes =
            rustix::fs::memfd_create(c"holes", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&holes, 1 << 20).unwrap();
        rustix::fs::fcntl_add_seals(&holes, SEALS).unwrap();
        assert!(open(&holes, 1 << 20).contains("holes"));
    }

    #[test]
    fn more_memory_than_there_can_be_is_an_error() {
        assert!(memory_file(usize::MAX).is_err());
        assert!(memory_file(1 << 62).is_err());
    }
}
