//! What worker processes need of the kernel, tried before there is a pool: a kernel that is too old, a filter of a
//! container or a missing `/proc` is one error of the first `build`, not the error of every task.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::StartError;
use crate::sys::map::SharedMap;
use crate::sys::{process, socket};

/// A thing that is needed, what making it is called, and the attempt.
type Need = (&'static str, &'static str, fn() -> io::Result<()>);

const NEEDS: [Need; 4] = [
    ("pidfd_open (Linux 5.3)", "open a descriptor of this process", || process::own_pidfd().map(drop)),
    ("/proc, mounted for this process", "find this program", || fs::read_link("/proc/self/exe").map(drop)),
    ("sealed memory files (Linux 3.17)", "make shared memory", SharedMap::is_possible),
    ("unix socket pairs", "make a socket pair", || socket::pair().map(drop)),
];

/// Tries it all, until it has worked once. A kernel does not lose any of it; what a filter or a change of the root takes
/// from the program later is an error of the start that needs it.
pub(super) fn check() -> Result<(), StartError> {
    static WORKS: AtomicBool = AtomicBool::new(false);
    if WORKS.load(Ordering::Relaxed) {
        return Ok(());
    }
    for (what, doing, attempt) in NEEDS {
        attempt().map_err(|error| match error.raw_os_error() {
            // A shortage says nothing about the system.
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM) => StartError::spawn(doing, error),
            _ => StartError::Unsupported { what, source: Arc::new(error) },
        })?;
    }
    WORKS.store(true, Ordering::Relaxed);
    Ok(())
}
