//! No orphans: a thread that waits for the parent's death and then ends the worker's whole process group.
//!
//! It holds a descriptor of the parent process itself, opened by the parent. Unlike the end of the socket it
//! does not depend on who else holds a copy of it, unlike `PR_SET_PDEATHSIG` not on the thread that
//! started the worker, and it tells even of a parent that died before the vigil began.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::thread;

use crate::sys::{fd, process};

/// It begins. [`wait`](Vigil::wait) before anything runs that may get in its way.
#[must_use]
pub(crate) struct Vigil(mpsc::Receiver<()>);

pub(crate) fn start(parent: OwnedFd) -> io::Result<Vigil> {
    let (settled, is_settled) = mpsc::sync_channel(1);
    let watch = move || {
        process::block_signals();
        // From here on a task that closes the descriptors of its process, or puts others in their place, does not make
        // this thread blind. Where the kernel has no way to do that (before Linux 5.9) it does: then the end of the
        // socket tells of the parent's death, as soon as the task has ended.
        let _ = fd::keep_for_this_thread(parent.as_fd());
        let _ = settled.send(());
        if process::wait_for_end(parent.as_fd()).is_ok() {
            process::kill_own_group();
        }
    };
    thread::Builder::new().name("procpool-vigil".to_owned()).stack_size(64 << 10).spawn(watch)?;
    Ok(Vigil(is_settled))
}

impl Vigil {
    /// Returns when the vigil is kept, whatever tasks do to their process from then on.
    pub(crate) fn wait(self) {
        // Fails only with the thread, which then ends the process.
        let _ = self.0.recv();
    }
}
