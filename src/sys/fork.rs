//! Copies of this process: of a program, as its child, and of a template, as a child of the same parent.

use std::io;

use super::threads;

/// Which of the two processes this is.
pub(crate) enum Forked {
    /// The copy has this number.
    Original(u32),
    Copy,
}

/// Copies this process as `fork` does. The copy has all signals blocked. Refuses in a process with more than one thread:
/// what the others were in the middle of would stay so in the copy for ever.
pub(crate) fn fork_child() -> io::Result<Forked> {
    has_one_thread()?;
    // SAFETY: all-zero signal sets are valid values to be filled, and the mask concerns this thread only. This thread is
    // the only one, so no lock is held by another, and the copy may go on with whatever it likes.
    let pid = unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        // What is sent to the group of both is for the original, until the copy has left the group.
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let pid = libc::fork();
        if pid != 0 {
            let error = io::Error::last_os_error();
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
            if pid < 0 {
                return Err(error);
            }
        }
        pid
    };
    Ok(u32::try_from(pid).ok().filter(|&pid| pid > 0).map_or(Forked::Copy, Forked::Original))
}

/// Copies this process; the copy is a child of this process's parent, which can wait for it and signal it as for any
/// other of its children. Refuses as [`fork_child`] does.
pub(crate) fn fork_sibling() -> io::Result<Forked> {
    has_one_thread()?;
    // Where the C library keeps the number of the main thread: the copy's is put there, as the library's own `fork` does.
    let mut at: usize = 0;
    // SAFETY: the kernel writes one pointer to where it is told to.
    let told = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut at) } == 0;
    let mut flags = libc::CLONE_PARENT;
    if cfg!(target_env = "gnu") && told && at != 0 {
        flags |= libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
    }
    // Not `clone3`, which filters of older containers do not know. On one kind of machine the first two change places, and
    // the last two have their order by the machine: one of these is not looked at with these flags.
    let (first, second) = if cfg!(target_arch = "s390x") { (0, flags) } else { (flags, 0) };
    // SAFETY: without shared memory and with the stack that it has, this is a fork. This thread is the only one, so no
    // lock is held by another, and the copy may go on with whatever it likes; the one word that the kernel writes is
    // in the copy's own memory, and is the C library's for this very purpose.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone, libc::c_long::from(first), libc::c_long::from(second), 0_usize, at, at)
    };
    match u32::try_from(pid) {
        Ok(0) => Ok(Forked::Copy),
        Ok(pid) => Ok(Forked::Original(pid)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

fn has_one_thread() -> io::Result<()> {
    let names = threads::names()?;
    if names.len() == 1 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "the template has {} threads ({}), and only a process with one can be copied: start threads in the \
         `initializer` instead",
        names.len(),
        names.join(", ")
    )))
}

/// Signals are from now on as `exec` leaves them: ignored if they were, and else as nobody handles them. Those that wait
/// at this moment came to the program that this process is a copy of.
pub(crate) fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: all-zero is a valid `sigaction`, the default one; neither it nor to ignore a signal runs any code. What
        // cannot be changed stays as it is.
        unsafe {
            let default: libc::sigaction = std::mem::zeroed();
            let mut action = default;
            let known = libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0;
            if !known || action.sa_sigaction == libc::SIG_IGN {
                continue;
            }
            action = default;
            action.sa_sigaction = libc::SIG_IGN;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
            libc::sigaction(signal, &raw const default, std::ptr::null_mut());
        }
    }
}

/// Writes out what C code has printed and not written yet, or each copy would write it once more.
pub(crate) fn flush_c() {
    // SAFETY: without a stream it flushes all, under the locks of the C library.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// Ends this process, and runs nothing of what was registered for its exit.
pub(crate) fn leave(code: i32) -> ! {
    // SAFETY: it does not return, so nothing is used after it.
    unsafe { libc::_exit(code) }
}

/// Sets an environment variable, or removes it. For a copy of a process that has one thread.
pub(crate) fn change_variable(name: &std::ffi::OsStr, value: Option<&std::ffi::OsStr>) {
    // SAFETY: this thread is the only one, so nobody reads the environment meanwhile.
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, value),
            None => std::env::remove_var(name),
        }
    }
}
