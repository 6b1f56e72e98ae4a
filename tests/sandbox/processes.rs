//! Other processes, and programs.

#![allow(unsafe_code, reason = "the acts are system calls that no library makes")]

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use procpool::{Sandbox, task};
use rustix::process::{Pid, Signal};

use super::Ends::{Deadly, With};
use super::{Act, Place, answer, confined, contrast, forbidden, number};

/// What the acts try to read and to write in the test's own process.
static TARGET: AtomicU64 = AtomicU64::new(1);

fn target() -> Place {
    Place { address: TARGET.as_ptr() as usize, ..Place::here() }
}

fn parent(place: &Place) -> Pid {
    Pid::from_raw(place.pid).expect("a process")
}

/// A signal that does nothing to those who do not expect it.
#[task]
fn signal_the_parent(place: Place) -> Act {
    rustix::process::kill_process(parent(&place), Signal::URG).map_err(|errno| errno.raw_os_error())
}

#[task]
fn signal_the_group_of_the_parent(place: Place) -> Act {
    rustix::process::kill_process_group(parent(&place), Signal::URG).map_err(|errno| errno.raw_os_error())
}

#[task]
fn signal_a_thread_of_the_parent(place: Place) -> Act {
    // SAFETY: a signal touches no memory of this process.
    answer(unsafe { libc::syscall(libc::SYS_tkill, place.pid, libc::SIGURG) }).map(drop)
}

#[task]
fn signal_the_parent_by_a_descriptor(place: Place) -> Act {
    let pidfd = rustix::process::pidfd_open(parent(&place), rustix::process::PidfdFlags::empty());
    let pidfd = pidfd.map_err(|errno| errno.raw_os_error())?;
    rustix::process::pidfd_send_signal(pidfd, Signal::URG).map_err(|errno| errno.raw_os_error())
}

#[task]
fn have_the_kernel_signal_the_parent(place: Place) -> Act {
    use std::os::fd::AsRawFd;
    let (one, _other) = std::os::unix::net::UnixStream::pair().map_err(number)?;
    // SAFETY: the command takes a number.
    let owned = unsafe { libc::fcntl(one.as_raw_fd(), libc::F_SETOWN, place.pid) };
    answer(owned.into()).map(drop)
}

#[task]
fn trace_the_parent(place: Place) -> Act {
    // SAFETY: this request takes no addresses.
    answer(unsafe { libc::ptrace(libc::PTRACE_SEIZE, place.pid, 0, 0) }).map(drop)
}

fn ends(local: &mut u64, place: &Place) -> (libc::iovec, libc::iovec) {
    let local = libc::iovec { iov_base: (&raw mut *local).cast(), iov_len: 8 };
    let remote = libc::iovec { iov_base: std::ptr::with_exposed_provenance_mut(place.address), iov_len: 8 };
    (local, remote)
}

#[task]
fn read_the_parent(place: Place) -> Act {
    let mut value = 0;
    let (local, remote) = ends(&mut value, &place);
    // SAFETY: eight bytes are written to a local variable of that size.
    answer(unsafe { libc::process_vm_readv(place.pid, &raw const local, 1, &raw const remote, 1, 0) } as i64)?;
    if value == 1 { Ok(()) } else { Err(-1) }
}

#[task]
fn write_to_the_parent(place: Place) -> Act {
    let mut value = 2;
    let (local, remote) = ends(&mut value, &place);
    // SAFETY: eight bytes are read from a local variable of that size; the other side is an atomic of the test.
    answer(unsafe { libc::process_vm_writev(place.pid, &raw const local, 1, &raw const remote, 1, 0) } as i64)
        .map(drop)
}

#[task]
fn take_a_descriptor_of_the_parent(place: Place) -> Act {
    // By number, so that what is tried is this call and not the one that opens the process.
    // SAFETY: the calls take numbers.
    let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, place.pid, 0) };
    let pidfd = if pidfd < 0 { 0 } else { pidfd };
    // SAFETY: as above.
    answer(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, 0, 0) }).map(drop)
}

#[task]
fn limit_the_parent(place: Place) -> Act {
    let files = rustix::process::Resource::Nofile;
    let same = rustix::process::getrlimit(files);
    rustix::process::prlimit(Some(parent(&place)), files, same)
        .map(drop)
        .map_err(|errno| errno.raw_os_error())
}

#[task]
fn move_the_parent_to_other_processors(place: Place) -> Act {
    let same =
        rustix::thread::sched_getaffinity(Some(parent(&place))).map_err(|errno| errno.raw_os_error())?;
    rustix::thread::sched_setaffinity(Some(parent(&place)), &same).map_err(|errno| errno.raw_os_error())
}

#[task]
fn start_a_program(_place: Place) -> Act {
    match Command::new("/bin/true").status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(-1),
        Err(error) => Err(number(error)),
    }
}

#[task]
fn become_a_program(_place: Place) -> Act {
    // What is not there tells whether the call is allowed, and leaves the worker as it is.
    // SAFETY: the strings end with a zero, and the arrays with a null pointer.
    unsafe { libc::execve(c"/".as_ptr(), [std::ptr::null()].as_ptr(), [std::ptr::null()].as_ptr()) };
    match number(std::io::Error::last_os_error()) {
        libc::EACCES => Ok(()),
        number => Err(number),
    }
}

#[task]
fn split_in_two(_place: Place) -> Act {
    // SAFETY: the child ends at once.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) }
    }
    answer(child.into())?;
    // SAFETY: waits for a child of ours, and wants no status.
    answer(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }.into()).map(drop)
}

/// What does not die with the group of the worker: the child leaves it.
#[task]
fn start_a_session(_place: Place) -> Act {
    match Command::new("setsid").arg("true").status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(libc::EPERM),
        Err(error) => Err(number(error)),
    }
}

#[task]
fn start_a_program_that_signals_the_parent(place: Place) -> Act {
    match Command::new("/bin/sh").arg("-c").arg(format!("kill -URG {} 2>/dev/null", place.pid)).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(libc::EPERM),
        Err(error) => Err(number(error)),
    }
}

#[task]
fn signal_itself(_place: Place) -> Act {
    rustix::process::kill_process(rustix::process::getpid(), Signal::URG)
        .map_err(|errno| errno.raw_os_error())?;
    rustix::process::kill_current_process_group(Signal::URG).map_err(|errno| errno.raw_os_error())?;
    rustix::process::kill_process_group(rustix::process::getpgrp(), Signal::URG)
        .map_err(|errno| errno.raw_os_error())?;
    // SAFETY: the signal does nothing.
    answer(unsafe { libc::raise(libc::SIGURG) }.into()).map(drop)
}

/// The directories in which programs, their loader and their libraries are.
pub(crate) fn programs() -> Sandbox {
    let dirs = ["/usr", "/bin", "/lib", "/lib64"];
    dirs.iter().filter(|dir| std::path::Path::new(dir).exists()).fold(Sandbox::required(), Sandbox::execute)
}

forbidden! {
    the_parent_cannot_be_signalled: signal_the_parent, Place::here(), With(libc::EPERM);
    the_group_of_the_parent_cannot_be_signalled:
        signal_the_group_of_the_parent, Place::here(), With(libc::EPERM);
    a_thread_of_the_parent_cannot_be_signalled: signal_a_thread_of_the_parent, Place::here(), With(libc::EPERM);
    the_parent_cannot_be_signalled_by_a_descriptor:
        signal_the_parent_by_a_descriptor, Place::here(), With(libc::EPERM);
    the_kernel_cannot_be_made_to_signal_the_parent:
        have_the_kernel_signal_the_parent, Place::here(), With(libc::EPERM);
    the_parent_cannot_be_traced: trace_the_parent, Place::here(), Deadly;
    the_memory_of_the_parent_cannot_be_read: read_the_parent, target(), Deadly;
    the_descriptors_of_the_parent_cannot_be_taken: take_a_descriptor_of_the_parent, Place::here(), Deadly;
    the_limits_of_the_parent_cannot_be_changed: limit_the_parent, Place::here(), With(libc::EPERM);
    the_parent_cannot_be_moved: move_the_parent_to_other_processors, Place::here(), With(libc::EPERM);
    no_program_can_be_started: start_a_program, Place::here(), With(libc::EPERM);
    no_worker_can_become_another_program: become_a_program, Place::here(), With(libc::EPERM);
    no_process_can_be_made: split_in_two, Place::here(), With(libc::EPERM);
}

crate::support::isolated! {
    timeout = 60;

    fn the_memory_of_the_parent_cannot_be_written() {
        let pool = confined(Sandbox::required());
        pool.submit(write_to_the_parent, target()).result().expect_err("a death");
        assert_eq!(TARGET.load(Ordering::Relaxed), 1);
        contrast(write_to_the_parent, &target(), Sandbox::required(), Deadly);
        assert!(TARGET.load(Ordering::Relaxed) == 2 || !rustix::process::geteuid().is_root());
    }

    fn a_worker_can_signal_itself_and_its_group() {
        let pool = confined(Sandbox::required());
        assert_eq!(pool.submit(signal_itself, Place::here()).result().expect("an answer"), Ok(()));
    }

    fn programs_that_are_allowed_can_be_started_and_have_the_same_sandbox() {
        let pool = confined(programs());
        assert_eq!(pool.submit(start_a_program, Place::here()).result().expect("an answer"), Ok(()));
        contrast(start_a_program_that_signals_the_parent, &Place::here(), programs(), With(libc::EPERM));
        contrast(signal_the_parent, &Place::here(), programs(), With(libc::EPERM));
    }

    fn a_program_that_is_not_among_the_allowed_ones_cannot_be_started() {
        let pool = confined(Sandbox::required().execute("/etc/passwd"));
        assert_eq!(pool.submit(start_a_program, Place::here()).result().expect("an answer"), Err(libc::EACCES));
    }

    fn no_program_can_leave_the_group_of_its_worker() {
        contrast(start_a_session, &Place::here(), programs(), With(libc::EPERM));
    }
}
