//! What travels between a caller, the machine and a worker: the machine passes it on without looking.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sys::clock;
use crate::task::TaskNumber;
use crate::wire::frame::{Header, Kind};

use super::policy::Terms;
use super::slot::Slot;

/// A task as the machine passes it on.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) slot: Arc<Slot>,
    pub(crate) task: TaskNumber,
    /// The encoded arguments.
    pub(crate) body: Arc<Vec<u8>>,
    /// The longest its body may run.
    pub(crate) timeout: Option<Duration>,
    /// When it must be done, waiting included.
    pub(crate) deadline: Option<Instant>,
    /// Cancelled while it runs, it is asked to stop.
    pub(crate) cooperates: bool,
    /// The fault that its first attempt brings, for tests; 0 is none.
    pub(crate) fault: u8,
    /// What few tasks ask for.
    pub(crate) terms: Option<Arc<Terms>>,
    /// The place it takes among those that `max_pending` allows.
    pub(crate) permit: Option<Arc<async_lock::SemaphoreGuardArc>>,
}

impl Job {
    /// What the worker is told beside the arguments.
    pub(crate) fn header(&self, seq: u64, attempt: u16) -> Header {
        // Zero is no timeout on the wire, and the shortest one here.
        let nanos = |timeout: Duration| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1);
        Header {
            task: self.task.0,
            seq,
            attempt,
            fault: if attempt == 1 { self.fault } else { 0 },
            nanos: self.timeout.map_or(0, nanos),
            deadline: self.deadline.map_or(0, clock::nanos_at),
            ..Header::new(Kind::Run)
        }
    }
}

/// What a worker said of a task.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) kind: Kind,
    pub(crate) nanos: u64,
    pub(crate) body: Vec<u8>,
}

/// What a worker runs before it is ready.
#[derive(Debug)]
pub(crate) struct Initializer {
    pub(crate) task: TaskNumber,
    pub(crate) body: Arc<Vec<u8>>,
    /// Reads the encoded result: an `Err` is the reason why the worker cannot work.
    pub(crate) judge: fn(&[u8]) -> Result<(), String>,
}
