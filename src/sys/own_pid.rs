//! The number of this process without a system call, and right in a copy that `fork` has made.
//!
//! The number is kept on a page that the kernel gives to a copy as zeros. That holds for every way to copy a process,
//! while what the C library offers to be called at a `fork` misses those that go past it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};

struct Page(*mut AtomicU32);

// SAFETY: the page stays for ever, and is reached through an atomic only.
unsafe impl Send for Page {}
// SAFETY: as for `Send`.
unsafe impl Sync for Page {}

/// `None` where there is no such page to be had.
fn page() -> Option<&'static AtomicU32> {
    static PAGE: OnceLock<Option<Page>> = OnceLock::new();
    let page = PAGE.get_or_init(|| {
        let len = super::pages::page_size();
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let page = unsafe {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            rustix::mm::mmap_anonymous(std::ptr::null_mut(), len, protection, MapFlags::PRIVATE).ok()?
        };
        // SAFETY: the page is ours, and what the advice changes happens in copies of this process.
        let wiped = unsafe { rustix::mm::madvise(page, len, Advice::LinuxWipeOnFork) };
        if wiped.is_err() {
            // SAFETY: it is our own mapping, and nothing refers to it.
            let _ = unsafe { rustix::mm::munmap(page, len) };
            return None;
        }
        Some(Page(page.cast()))
    });
    // SAFETY: aligned as a page is, zero at first, never unmapped.
    page.as_ref().map(|page| unsafe { &*page.0 })
}

pub(crate) fn own_pid() -> u32 {
    let Some(kept) = page() else { return std::process::id() };
    match kept.load(Ordering::Relaxed) {
        0 => {
            let pid = std::process::id();
            kept.store(pid, Ordering::Relaxed);
            pid
        }
        pid => pid,
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "it knows no fork")]
    fn a_copy_has_a_number_of_its_own() {
        assert_eq!((own_pid(), own_pid()), (std::process::id(), std::process::id()));
        // SAFETY: the copy only reads memory and exits.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            let right = own_pid() == std::process::id() && own_pid() == std::process::id();
            // SAFETY: ends the copy at once.
            unsafe { libc::_exit(i32::from(!right)) };
        }
        let mut status = 0;
        // SAFETY: waits for our own child.
        assert_eq!(unsafe { libc::waitpid(copy, &mut status, 0) }, copy);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status}");
        assert_eq!(own_pid(), std::process::id());
    }
}
