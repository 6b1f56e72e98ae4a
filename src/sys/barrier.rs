//! A barrier for the memory of all processes that have asked to be part of it, made by whoever wants to know what they
//! have done: so they need none of their own for each step.

use std::sync::OnceLock;

use rustix::thread::{MembarrierCommand, membarrier};

use crate::primitive::MODELLED;

/// This process is part of it from now on. Asked while it has one thread, which is quick. `false` if it cannot be.
pub(crate) fn join() -> bool {
    membarrier(MembarrierCommand::RegisterGlobalExpedited).is_ok()
}

/// All that others have stored before is there now, and all that they load after this is what is there now. `false` if
/// there is no such thing here.
pub(crate) fn everywhere() -> bool {
    // A model has one order of all steps.
    MODELLED || membarrier(MembarrierCommand::GlobalExpedited).is_ok()
}

/// Whether there is such a thing here.
pub(crate) fn is_possible() -> bool {
    static POSSIBLE: OnceLock<bool> = OnceLock::new();
    *POSSIBLE.get_or_init(everywhere)
}
