//! How a worker ends that ends by itself.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys::fork;

/// Whether this process is a copy of the program from the middle of its `main`.
static COPIED: AtomicBool = AtomicBool::new(false);

/// What is registered for the exit of this process is the program's: to remove a file, say, that others still need.
pub(super) fn without_handlers() {
    COPIED.store(true, Ordering::Relaxed);
}

/// Ends this process.
pub(super) fn end(code: i32) -> ! {
    if !COPIED.load(Ordering::Relaxed) {
        std::process::exit(code);
    }
    // Nobody is left to be told of an error.
    let _ = io::stdout().flush();
    fork::flush_c();
    fork::leave(code)
}
