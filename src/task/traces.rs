//! Whether a call has left something behind that concerns the next one: somebody may keep its context, or a panic was
//! noted. Most leave nothing, and of many short ones nobody has to look twice.

use std::cell::Cell;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use crate::primitive::thread_local;

thread_local! {
    /// By the thread that it ran on.
    static HERE: Cell<bool> = const { Cell::new(false) };
}

/// By whatever thread of the process. All who look share it, so who looks may find what is not its own.
static ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// The call that runs on this thread leaves something.
pub(crate) fn leave() {
    // A thread that is ending runs no calls.
    let _ = HERE.try_with(|here| here.set(true));
}

/// Something is left for whatever call comes next in this process.
pub(crate) fn leave_elsewhere() {
    ELSEWHERE.store(true, Relaxed);
}

/// Whether something is there.
#[inline]
pub(crate) fn are_there() -> bool {
    HERE.with(Cell::get) || ELSEWHERE.load(Relaxed)
}

/// All that is there is known.
pub(crate) fn seen() {
    HERE.with(|here| here.set(false));
    ELSEWHERE.store(false, Relaxed);
}
