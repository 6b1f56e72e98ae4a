//! Processes: death, signals, and what a worker sets up for itself.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions, waitid};

use super::fd::above_standard;

/// A descriptor that becomes readable when the process ends.
pub(crate) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    above_standard(rustix::process::pidfd_open(to_pid(pid)?, PidfdFlags::empty())?)
}

/// A descriptor for this process, to be inherited by those that must not outlive it.
pub(crate) fn own_pidfd() -> io::Result<OwnedFd> {
    pidfd(std::process::id())
}

fn to_pid(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

pub(crate) fn parent() -> u32 {
    rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs())
}

/// Kills the process group that the process behind a descriptor has made, and nobody else. `leader` is its number.
pub(crate) fn kill_group(pidfd: BorrowedFd<'_>, leader: u32) {
    signal_group(pidfd, leader, Signal::KILL);
}

/// Asks a process group to end. The same holds as for [`kill_group`].
pub(crate) fn terminate_group(pidfd: BorrowedFd<'_>, leader: u32) {
    signal_group(pidfd, leader, Signal::TERM);
}

/// Interrupts a process group, as Ctrl-C does. The same holds as for [`kill_group`].
pub(crate) fn interrupt_group(pidfd: BorrowedFd<'_>, leader: u32) {
    signal_group(pidfd, leader, Signal::INT);
}

fn signal_group(pidfd: BorrowedFd<'_>, leader: u32, signal: Signal) {
    /// `PIDFD_SIGNAL_PROCESS_GROUP`.
    const GROUP: libc::c_uint = 1 << 2;
    let nothing = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is borrowed, and without more to say about the signal no memory is read.
    let answer = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal.as_raw(), nothing, GROUP)
    };
    if answer == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH) {
        // A group that has no member left needs no signal.
        return;
    }
    // Before Linux 6.9 a group is known by its number only. That belongs to nobody else until the leader has been
    // waited for, which somebody else in this program may have done.
    if is_child(pidfd)
        && let Ok(leader) = to_pid(leader)
    {
        let _ = rustix::process::kill_process_group(leader, signal);
    }
}

/// Whether the process behind a descriptor is a child of this one that nobody has waited for.
pub(crate) fn is_child(pidfd: BorrowedFd<'_>) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::PidFd(pidfd), look), Err(Errno::CHILD))
}

/// Whether the child behind a descriptor, which has ended, was killed. True where that cannot be told.
pub(crate) fn was_killed(pidfd: BorrowedFd<'_>, pid: u32) -> bool {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match wait_for_child(pidfd, pid, look) {
        Ok(Some(status)) => status.terminating_signal() == Some(libc::SIGKILL),
        Ok(None) | Err(_) => true,
    }
}

/// How the child behind a descriptor has ended, and lets go of it. `None` if somebody else has waited for it, or has
/// its status for now: a debugger does. Then it is waited for until that lets go.
pub(crate) fn collect(pidfd: OwnedFd, pid: u32) -> Option<WaitIdStatus> {
    let told = wait_for_child(pidfd.as_fd(), pid, WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    if let Ok(None) = told {
        let wait = move || {
            block_signals();
            let _ = wait_for_child(pidfd.as_fd(), pid, WaitIdOptions::EXITED);
        };
        // Without room for a thread it stays in the process table as long as this program runs.
        let _ = thread::Builder::new().name("procpool-reaper".to_owned()).stack_size(64 << 10).spawn(wait);
    }
    told.ok().flatten()
}

fn wait_for_child(
    pidfd: BorrowedFd<'_>,
    pid: u32,
    options: WaitIdOptions,
) -> io::Result<Option<WaitIdStatus>> {
    rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd), options)).or_else(|errno| match errno {
        // Linux 5.3 knows children by their numbers only, which are another child's once somebody else has waited.
        Errno::INVAL => {
            let pid = to_pid(pid)?;
            Ok(rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), options))?)
        }
        errno => Err(errno.into()),
    })
}

/// Bytes of memory that this process holds. `None` if the system does not tell.
pub(crate) fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * super::pages::page_size() as u64)
}

/// Kills the process behind a descriptor, and nobody else.
pub(crate) fn kill(pidfd: BorrowedFd<'_>) {
    let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
}

/// Kills this process and nobody else, as somebody from outside would.
pub(crate) fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    // The signal is on its way to this very thread.
    loop {
        std::thread::park();
    }
}

/// Kills this process with everything in its group.
pub(crate) fn kill_own_group() -> ! {
    let own = rustix::process::getpid();
    if rustix::process::getpgrp() == own {
        let _ = rustix::process::kill_current_process_group(Signal::KILL);
    }
    loop {
        let _ = rustix::process::kill_process(own, Signal::KILL);
    }
}

/// Waits until the process behind a descriptor has ended.
pub(crate) fn wait_for_end(pidfd: BorrowedFd<'_>) -> io::Result<()> {
    let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
    loop {
        match poll(&mut fds, None) {
            Ok(_) if fds[0].revents().is_empty() => {}
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Waits until the process behind a descriptor has ended, at most until then, and tells whether it has.
pub(crate) fn ends_by(pidfd: BorrowedFd<'_>, until: Instant) -> io::Result<bool> {
    loop {
        let rest = until.saturating_duration_since(Instant::now());
        let rest = rustix::event::Timespec {
            tv_sec: rest.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: rest.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&rest)) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Whether the process behind a descriptor ends within a second. One that has just lost its children may take a
/// moment to be seen as ended.
pub(crate) fn is_ending(pidfd: BorrowedFd<'_>) -> bool {
    matches!(ends_by(pidfd, Instant::now() + Duration::from_secs(1)), Ok(true))
}

/// Whether the kernel is taking a process down, or has done so: its program runs no more.
pub(crate) fn is_exiting(pid: u32) -> bool {
    /// The kernel's `PF_EXITING`.
    const EXITING: u32 = 4;
    let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else { return false };
    // The name, in parentheses, may have anything in it.
    let stat = String::from_utf8_lossy(&stat);
    let flags = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(6)?.parse::<u32>().ok());
    flags.is_some_and(|flags| flags & EXITING != 0)
}

/// Whether this program runs with more rights than whoever started it.
pub(crate) fn is_secure() -> bool {
    // SAFETY: reads a value that the kernel left for the process.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether this program started again would run with more rights than this process gives it.
pub(crate) fn would_be_secure() -> bool {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    is_secure() || geteuid() != getuid() || getegid() != getgid()
}

/// The user of this process.
pub(crate) fn user() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Keeps the calling thread out of the way of the program's signal handlers.
pub(crate) fn block_signals() {
    // SAFETY: an all-zero signal set is a valid value to be filled, and the mask concerns this thread only.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        // A fault is for the thread that has it, and kills the process past all handlers if it is blocked there.
        for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP] {
            libc::sigdelset(&raw mut all, fault);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
    }
}

/// Lets all signals through to the calling thread.
pub(crate) fn unblock_signals() {
    // SAFETY: an all-zero signal set is a valid value to be filled, and the mask concerns this thread only.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// What a worker sets for itself: no blocked signals, SIGPIPE as Rust's `main` would find it, a name for `ps`, and
/// that it wakes up when its parent dies.
pub(crate) fn settle_in(name: &str) {
    // The thread that started this process blocks them all, and a process inherits that through `exec`.
    unblock_signals();
    // SAFETY: ignoring SIGPIPE installs no handler, and is what the Rust runtime does before `main`.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    // A worker that is stopped when its parent dies must run once more, for its vigil to end it. The signal comes
    // when the thread that started the worker ends; that is the pool's own, and it outlives its workers.
    wake_with_parent();
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
}

/// This process leads a process group of its own from now on.
pub(crate) fn lead_a_group() {
    // Fails only for one that leads a session, and a group with it.
    let _ = rustix::process::setpgid(None, None);
}

/// The kernel ends this process when the thread that has started it ends. `false` if that has ended already.
pub(crate) fn end_with_parent(maker: u32) -> bool {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    parent() == maker
}

/// From now on the end of the thread that has started this process only wakes it, if it is stopped.
pub(crate) fn wake_with_parent() {
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::CONT));
}

/// The children of the calling thread, zombies included; `None` if the system does not tell.
pub(crate) fn own_children() -> Option<Vec<u32>> {
    if has_no_children() { Some(Vec::new()) } else { children("/proc/thread-self/children") }
}

/// Whether the calling thread has no children for sure. A list of none takes longer.
fn has_no_children() -> bool {
    const ANY: libc::c_int =
        libc::WEXITED | libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT | libc::__WNOTHREAD | libc::__WALL;
    // SAFETY: an all-zero `siginfo_t` is a valid value to be filled; nothing is collected.
    let answer = unsafe { libc::waitid(libc::P_ALL, 0, &mut std::mem::zeroed(), ANY) };
    answer < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ECHILD)
}

/// The same for the first thread of this process.
pub(crate) fn children_of_first_thread() -> Option<Vec<u32>> {
    children(&format!("/proc/self/task/{}/children", std::process::id()))
}

fn children(list: &str) -> Option<Vec<u32>> {
    let children = fs::read_to_string(list).ok()?;
    Some(children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// What a process is called in lists of processes.
pub(crate) fn name_of(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

/// Kills and reaps the children of the calling thread that it did not have `before`. For a child that came
/// into being although starting it failed.
pub(crate) fn reap_strays(before: &[u32]) {
    for pid in own_children().unwrap_or_default() {
        if !before.contains(&pid) {
            put_down(pid);
        }
    }
}

/// Kills and reaps a child that was made a moment ago.
pub(crate) fn put_down(pid: u32) {
    if let Ok(pid) = to_pid(pid) {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
    }
}

#[cfg(test)]
mod test {
    use std::os::fd::AsFd;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_that_is_gone_but_for_its_status_is_exiting_and_one_that_sleeps_is_not() {
        assert!(!is_exiting(std::process::id()));
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        assert!(!is_exiting(child.id()));
        child.kill().unwrap();
        wait_for_end(pidfd(child.id()).unwrap().as_fd()).unwrap();
        assert!(is_exiting(child.id()), "it has not been waited for");
        child.wait().unwrap();
        assert!(!is_exiting(child.id()), "there is no such process");
    }

    #[test]
    fn a_thread_knows_its_children_until_they_are_waited_for() {
        // What other tests start belongs to their threads.
        std::thread::spawn(|| {
            assert_eq!(own_children(), Some(Vec::new()));
            let mut child = Command::new("sleep").arg("600").spawn().unwrap();
            assert_eq!(own_children(), Some(vec![child.id()]));
            child.kill().unwrap();
            wait_for_end(pidfd(child.id()).unwrap().as_fd()).unwrap();
            assert_eq!(own_children(), Some(vec![child.id()]), "it has ended, and is there");
            child.wait().unwrap();
            assert_eq!(own_children(), Some(Vec::new()));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn who_was_killed_is_known_before_it_is_waited_for() {
        for (signal, killed) in [(Some(Signal::KILL), true), (Some(Signal::TERM), false), (None, false)] {
            let mut child =
                Command::new("sleep").arg(if signal.is_some() { "600" } else { "0" }).spawn().unwrap();
            let pidfd = pidfd(child.id()).unwrap();
            if let Some(signal) = signal {
                rustix::process::pidfd_send_signal(&pidfd, signal).unwrap();
            }
            wait_for_end(pidfd.as_fd()).unwrap();
            assert_eq!(was_killed(pidfd.as_fd(), child.id()), killed, "{signal:?}");
            assert_eq!(child.wait().unwrap().success(), signal.is_none(), "its status is left");
        }
    }
}
