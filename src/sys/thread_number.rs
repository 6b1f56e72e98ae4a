//! The number of the calling thread without a system call, and right in a copy that `fork` has made of the process.

use std::cell::Cell;

use super::own_pid::own_pid;

thread_local! {
    /// The process in which it was asked for, and the number.
    static KNOWN: Cell<(u32, u64)> = const { Cell::new((0, 0)) };
}

/// No other thread has it that lives, in any process of the same PID namespace. It is never 0.
pub(crate) fn own_thread() -> u64 {
    let pid = own_pid();
    match KNOWN.try_with(Cell::get) {
        Ok((known, number)) if known == pid => number,
        _ => {
            let number = rustix::thread::gettid().as_raw_pid().unsigned_abs().into();
            let _ = KNOWN.try_with(|known| known.set((pid, number)));
            number
        }
    }
}
