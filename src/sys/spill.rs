//! Memory files that are written and read by calls, and not mapped: they can grow, and nobody gets a signal for it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};
use rustix::io::{Errno, pread, pwrite};
use rustix::process::{Resource, getrlimit};

use super::fd::above_standard;

/// A new file of no bytes.
pub(crate) fn create() -> io::Result<OwnedFd> {
    above_standard(memfd_create(c"procpool-queue", MemfdFlags::CLOEXEC)?)
}

/// Writes all bytes from this place on.
pub(crate) fn write(fd: BorrowedFd<'_>, mut at: u64, mut bytes: &[u8]) -> io::Result<()> {
    let end = at.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?;
    // The kernel would send a signal to who writes beyond his limit.
    if getrlimit(Resource::Fsize).current.is_some_and(|limit| end > limit) {
        return Err(Errno::FBIG.into());
    }
    super::available::check(bytes.len())?;
    while !bytes.is_empty() {
        match pwrite(fd, bytes, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                at += written as u64;
                bytes = &bytes[written..];
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Fills the buffer from this place on.
pub(crate) fn read(fd: BorrowedFd<'_>, mut at: u64, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match pread(fd, &mut *buffer, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                at += read as u64;
                buffer = &mut buffer[read..];
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Gives the memory of these bytes back, as far as it is whole pages.
pub(crate) fn discard(fd: BorrowedFd<'_>, from: u64, to: u64) {
    if from < to {
        // Memory that is not given back now is with the file.
        let _ = fallocate(fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, to - from);
    }
}

#[cfg(test)]
mod test {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_was_discarded_takes_no_memory() {
        let file = create().unwrap();
        let bytes: Vec<u8> = (0..100_000_u32).map(|at| at as u8).collect();
        write(file.as_fd(), 3 << 20, &bytes).unwrap();
        let mut back = vec![0; bytes.len()];
        read(file.as_fd(), 3 << 20, &mut back).unwrap();
        assert!(back == bytes);
        assert!(rustix::fs::fstat(&file).unwrap().st_blocks > 0);
        discard(file.as_fd(), 0, 4 << 20);
        assert_eq!(rustix::fs::fstat(&file).unwrap().st_blocks, 0);
        assert!(read(file.as_fd(), 9 << 20, &mut back).is_err(), "nothing was written there");
        assert!(write(file.as_fd(), u64::MAX, &bytes).is_err());
    }
}
