//! The life of a worker that is a thread of this program: as in a process of its own, but that it returns.

use std::os::fd::OwnedFd;

use crate::sys::process;

use super::place::Place;
use super::serve::{Serve, serve};
use super::{panic, place};

/// Makes the calling thread a worker, until it is told to end or is given up.
///
/// Gives its channel back, to be closed after its end is told.
#[must_use]
pub(crate) fn serve_here(place: Place, work: Serve) -> OwnedFd {
    // The pool's own thread, which started this one, keeps the program's signals away from itself.
    process::unblock_signals();
    place::take_thread(place);
    panic::serve();
    serve(work, || {}).channel
}
