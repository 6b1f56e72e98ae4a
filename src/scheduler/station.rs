//! What the supervisor knows of each worker.

use std::sync::Arc;
use std::time::Instant;

use crate::error::StartError;
use crate::launch::Process;

use super::lane::Link;

/// What the supervisor knows of a lane.
#[derive(Default)]
pub(super) struct Station {
    pub(super) life: u32,
    pub(super) worker: Option<Attended>,
}

/// A worker that has not been reaped.
pub(super) struct Attended {
    pub(super) process: Process,
    pub(super) link: Arc<Link>,
    /// Its turn ended before all that it had said was heard. What is left may have been read from the socket
    /// already, which is then quiet.
    pub(super) unheard: bool,
    /// It does not call: its replies are collected at this time.
    pub(super) collect: Option<Instant>,
    /// How often that was in vain, in a row.
    pub(super) fruitless: u32,
    /// It has closed its channel, and is killed at this time if it still lives and is not about to end.
    pub(super) deaf: Option<Instant>,
    /// Until then it may be about to.
    pub(super) dying: Option<Instant>,
    /// Why it never became a worker, when that is known before its death.
    pub(super) unborn: Option<StartError>,
}
