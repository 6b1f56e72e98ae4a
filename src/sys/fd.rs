//! Descriptors: which ones a new process would inherit, and whether there is room for more.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::{Errno, FdFlags, fcntl_dupfd_cloexec, fcntl_getfd};
use rustix::process::Resource;
use serde::{Deserialize, Serialize};

/// Descriptors of this crate start here in a worker, out of the way of code that counts on low numbers.
const HIGH: RawFd = 500;

/// Where nothing that is written goes anywhere.
pub(crate) fn null() -> io::Result<OwnedFd> {
    above_standard(rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A descriptor that a new process inherits although nobody meant it to, recognised by what it refers to, so
/// that the same number opened by somebody else is not mistaken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Inherited {
    fd: RawFd,
    file: u64,
}

/// Tells the files of one device apart, and those of different devices as good as surely.
fn identity(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(stat.st_ino ^ stat.st_dev.rotate_right(16))
}

/// The descriptors beyond the standard three that a program started now would inherit. Fails as well unless so many
/// more can be opened now.
pub(crate) fn inheritable(room: u64) -> io::Result<Vec<Inherited>> {
    // Numbers at or above the limit are given to nobody. Some may be in use, since before it was lowered.
    let limit = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let mut free = limit;
    let mut found = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // A thread may have descriptors of its own.
    let folder = rustix::fs::open("/proc/thread-self/fd", flags, Mode::empty())?;
    let mut memory = [MaybeUninit::uninit(); 4 << 10];
    let mut entries = RawDir::new(folder.as_fd(), &mut memory);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_str();
        let Some(fd) = name.ok().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        free -= u64::from(u64::from(fd.unsigned_abs()) < limit);
        if fd <= 2 {
            continue;
        }
        // SAFETY: the borrow ends in this iteration, and both calls merely answer EBADF if another thread has
        // closed the number meanwhile.
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        let looked = match fcntl_getfd(borrowed) {
            Ok(flags) if flags.contains(FdFlags::CLOEXEC) => continue,
            looked => looked.and_then(|_| identity(borrowed)),
        };
        match looked {
            Ok(file) => found.push(Inherited { fd, file }),
            Err(Errno::BADF) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    // That of the listing is among those that were counted.
    if free + 1 < room { Err(Errno::MFILE.into()) } else { Ok(found) }
}

/// Closes what was inherited by accident. For the start of a worker, before any other code has run.
pub(crate) fn close_inherited(list: &[Inherited]) {
    for &Inherited { fd, file } in list {
        // SAFETY: see `inheritable`.
        let same = identity(unsafe { BorrowedFd::borrow_raw(fd) }).is_ok_and(|id| id == file);
        if fd > 2 && same {
            // SAFETY: the number came into this process by exec and still refers to the same file, so no
            // Rust object of this process owns it: none has run yet.
            drop(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) });
        }
    }
}

/// Closes all descriptors beyond the standard three but these: also those that came to be inherited while this
/// process was being started. For the start of a worker, before any other code has run.
#[cfg(feature = "sandbox")]
pub(crate) fn close_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let numbers = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok())
        .filter(|&fd| fd > 2 && kept.iter().all(|kept| kept.as_raw_fd() != fd))
        .collect::<Vec<_>>();
    for fd in numbers {
        // SAFETY: no Rust object of this process owns it: no code of the program has run yet, and what this crate
        // has opened is among the kept ones. The descriptor of the listing itself is closed by now, and the answer
        // to its number is EBADF.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Gives the calling thread descriptors of its own, with none but this one among them.
pub(crate) fn keep_for_this_thread(kept: BorrowedFd<'_>) -> io::Result<()> {
    let number = kept.as_raw_fd().unsigned_abs();
    // SAFETY: the calls take numbers. The first separates the thread's descriptors from those of the process before it
    // closes any, or fails and leaves all as it was; so no descriptor is closed that another thread uses, and this
    // one has no object that owns any but the kept one.
    unsafe {
        if number == 0 || libc::close_range(0, number - 1, libc::CLOSE_RANGE_UNSHARE.cast_signed()) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::close_range(number + 1, u32::MAX, 0);
    }
    Ok(())
}

/// Moves the socket that came as standard input to a high number that programs started by tasks do not
/// inherit, and leaves `/dev/null` in its place.
pub(crate) fn take_stdin() -> io::Result<OwnedFd> {
    let taken = to_high(rustix::stdio::stdin())?;
    empty_stdin()?;
    Ok(taken)
}

/// Nothing can be read from the standard input from now on.
pub(crate) fn empty_stdin() -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::stdio::dup2_stdin(&null)?)
}

/// What a memory file of this crate is called where the kernel lists descriptors.
const OWN_MEMORY: &str = "/memfd:procpool (deleted)";

/// Takes all files and connections from this process but the standard streams, these, and memory that procpool shares.
/// For a copy of a program, in which objects of the program still have the numbers of its descriptors: a number that
/// is free would be given to the next file that is opened, and they would read and write that. So each number stays
/// taken, by a descriptor with which nothing can be done.
pub(crate) fn disable_all_but(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let nothing = rustix::fs::open("/dev/null", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let listed = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let fd: RawFd = entry.file_name().to_str()?.parse().ok()?;
            let is_memory = std::fs::read_link(entry.path()).is_ok_and(|path| path.as_os_str() == OWN_MEMORY);
            (!is_memory).then_some(fd)
        })
        .collect::<Vec<_>>();
    let kept =
        |fd: RawFd| fd <= 2 || fd == nothing.as_raw_fd() || kept.iter().any(|kept| kept.as_raw_fd() == fd);
    for fd in listed.into_iter().filter(|&fd| !kept(fd)) {
        // SAFETY: both calls take numbers. No object loses its number, nor gets that of another: what it does with its
        // descriptor from now on fails. The number of the listing itself is free by now, and left so.
        unsafe {
            if libc::fcntl(fd, libc::F_GETFD) >= 0 && libc::dup3(nothing.as_raw_fd(), fd, libc::O_CLOEXEC) < 0
            {
                // Numbers above the limit, which was lowered since, are given to nobody.
                libc::close(fd);
            }
        }
    }
    Ok(())
}

/// Opens `/dev/null` in place of those of the standard three descriptors that are closed, as Rust's runtime does
/// before `main`: otherwise a file of a task would become its standard output.
pub(crate) fn fill_standard() {
    while let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())
        && null.as_raw_fd() <= 2
    {
        // It stays open for the life of the process, as standard descriptors do.
        let _ = null.into_raw_fd();
    }
}

/// The same descriptor, if need be under another number than those of the standard streams: a program that has closed
/// them may print all the same, and what it prints must not come to us.
pub(crate) fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 { Ok(fd) } else { Ok(fcntl_dupfd_cloexec(fd, 3)?) }
}

/// A duplicate with a high number; with any number where the limit is low.
pub(crate) fn to_high(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(fcntl_dupfd_cloexec(fd, HIGH).or_else(|_| fcntl_dupfd_cloexec(fd, 3))?)
}

/// Fails unless so many more descriptors can be opened now.
pub(crate) fn headroom(count: usize) -> io::Result<()> {
    let null = File::open("/dev/null")?;
    let spare: Result<Vec<_>, _> = (1..count).map(|_| fcntl_dupfd_cloexec(null.as_fd(), 3)).collect();
    spare.map(drop).map_err(io::Error::from)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_would_be_inherited_is_listed_and_room_for_more_is_asked_for() {
        let open = |flags| rustix::fs::open("/dev/null", OFlags::RDONLY | flags, Mode::empty()).unwrap();
        let (inherited, not) = (open(OFlags::empty()), open(OFlags::CLOEXEC));
        let listed = inheritable(1).unwrap();
        let is_listed = |fd: &OwnedFd| listed.iter().any(|listed| listed.fd == fd.as_raw_fd());
        assert!(is_listed(&inherited) && !is_listed(&not));
        let limit = rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert_eq!(inheritable(limit).unwrap_err().raw_os_error(), Some(libc::EMFILE));
    }
}
