//! Making a copy of this process that is a child of the same parent.

use std::io;

/// Which of the two processes this is.
pub(crate) enum Forked {
    /// The copy has this number.
    Original(u32),
    Copy,
}

/// Copies this process; the copy is a child of this process's parent, which can wait for it and signal it as for any
/// other of its children. Refuses in a process with more than one thread: what the others were in the middle of would
/// stay so in the copy for ever.
pub(crate) fn fork_sibling() -> io::Result<Forked> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        let message = format!(
            "the template has {threads} threads, and only a process with one can be copied: start threads in the \
             `initializer` instead"
        );
        return Err(io::Error::other(message));
    }
    // SAFETY: a structure of numbers, of which zero means no special wish.
    let mut wish: libc::clone_args = unsafe { std::mem::zeroed() };
    wish.flags = libc::CLONE_PARENT as u64;
    // Where the C library keeps the number of the main thread: the copy's is put there, as the library's own `fork` does.
    let mut at: usize = 0;
    // SAFETY: the kernel writes one pointer to where it is told to.
    let told = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut at) } == 0;
    if cfg!(target_env = "gnu") && told && at != 0 {
        wish.flags |= (libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID) as u64;
        wish.child_tid = at as u64;
    }
    // SAFETY: without shared memory and with the stack that it has, this is a fork. This thread is the only one, so no
    // lock is held by another, and the copy may go on with whatever it likes; the one word that the kernel writes is
    // in the copy's own memory, and is the C library's for this very purpose.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const wish, size_of_val(&wish)) };
    match u32::try_from(pid) {
        Ok(0) => Ok(Forked::Copy),
        Ok(pid) => Ok(Forked::Original(pid)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Writes out what C code has printed and not written yet, or each copy would write it once more.
pub(crate) fn flush_c() {
    // SAFETY: without a stream it flushes all, under the locks of the C library.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}
