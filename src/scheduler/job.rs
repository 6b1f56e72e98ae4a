//! What travels between a caller, the machine and a worker: the machine passes it on without looking.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::sys::clock;
use crate::task::TaskNumber;
use crate::transport::{Bytes, Message};
use crate::wire::attach::{Handle, Handles};
use crate::wire::frame::{Header, Kind};
use crate::wire::records::Records;

use super::chunk::{Chunk, Cut};
use super::encoded::Encoded;
use super::gate::Admission;
use super::members::Members;
use super::policy::Terms;
use super::slot::Slot;

/// A task as the machine passes it on.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    order: Arc<Order>,
    /// The place it takes among those that `max_pending` allows. Given back when the task is settled, even if its
    /// arguments are still on their way to a worker that died.
    _permit: Option<Arc<Admission>>,
}

/// What does not change of a task.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) slot: Arc<Slot>,
    pub(crate) task: TaskNumber,
    pub(crate) arguments: Encoded,
    /// The longest its body may run.
    pub(crate) timeout: Option<Duration>,
    /// When it must be done, waiting included.
    pub(crate) deadline: Option<Instant>,
    /// Cancelled while it runs, it is asked to stop.
    pub(crate) cooperates: bool,
    /// The fault that its first attempt brings, for tests; 0 is none.
    pub(crate) fault: AtomicU8,
    /// What few tasks ask for.
    pub(crate) terms: Option<Arc<Terms>>,
    /// It is many calls, whose arguments are records.
    pub(crate) chunk: Option<Arc<Chunk>>,
}

impl Job {
    pub(crate) fn new(order: Order, permit: Option<Admission>) -> Job {
        Job { order: Arc::new(order), _permit: permit.map(Arc::new) }
    }

    /// What the worker is told beside the arguments.
    pub(crate) fn header(&self, seq: u64, attempt: u16) -> Header {
        if let Some(chunk) = &self.chunk {
            let nanos = u64::from(chunk.calls());
            return Header { task: self.task.0, seq, nanos, ..Header::new(Kind::RunCalls) };
        }
        // Zero is no timeout on the wire, and the shortest one here.
        let nanos = |timeout: Duration| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1);
        Header {
            task: self.task.0,
            seq,
            attempt,
            whole: self.arguments.is_whole(),
            fault: if attempt == 1 { self.fault.load(Ordering::Relaxed) } else { 0 },
            nanos: self.timeout.map_or(0, nanos),
            deadline: self.deadline.map_or(0, clock::nanos_at),
            ..Header::new(Kind::Run)
        }
    }

    /// The calls after the first so many, as a task of their own, whose first has cost so many workers. `None` if nobody
    /// wants them, or there are none.
    pub(crate) fn rest(&self, begun: u32, resends: u8) -> Option<(Job, Arc<Chunk>)> {
        let cut = self.chunk.as_ref()?.cut(begun)?;
        let rest = Records::new(&self.arguments).after(begun)?;
        Some(match cut {
            Cut::Calls(calls) => Job::calls(self.slot.task, rest.part(calls)?, Chunk::new(calls, resends)),
            Cut::Members(members) => {
                let (members, arguments) = members.compact(rest);
                Job::batch(arguments, members, resends)
            }
        })
    }

    /// Tasks that were submitted one by one, as one task.
    pub(super) fn batch(arguments: Vec<u8>, members: Members, resends: u8) -> (Job, Arc<Chunk>) {
        Job::calls("", arguments, Chunk::of_members(members, resends))
    }

    /// Calls as one task.
    pub(crate) fn calls(name: &'static str, arguments: Vec<u8>, chunk: Chunk) -> (Job, Arc<Chunk>) {
        let chunk = Arc::new(chunk);
        let order = Order {
            slot: Arc::new(Slot::new(name)),
            // Each call names its own.
            task: TaskNumber(0),
            arguments: Encoded::large(arguments),
            timeout: None,
            deadline: None,
            // A cancellation takes back what has not begun.
            cooperates: true,
            fault: AtomicU8::new(0),
            terms: None,
            chunk: Some(Arc::clone(&chunk)),
        };
        (Job::new(order, None), chunk)
    }

    /// The arguments, for whoever sends them.
    pub(crate) fn into_bytes(self) -> Arc<Order> {
        self.order
    }
}

impl Deref for Job {
    type Target = Order;

    fn deref(&self) -> &Order {
        &self.order
    }
}

impl Bytes for Order {
    fn bytes(&self) -> &[u8] {
        &self.arguments
    }

    fn handles(&self) -> &[Handle] {
        self.arguments.handles()
    }
}

/// What a worker said of a task.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) kind: Kind,
    pub(crate) nanos: u64,
    /// The body is the memory of the value.
    pub(crate) whole: bool,
    /// Of several calls: which is the first whose result it brings.
    pub(crate) first: u32,
    pub(crate) body: Vec<u8>,
    pub(crate) handles: Handles,
}

/// What a worker runs before it is ready.
#[derive(Debug)]
pub(crate) struct Initializer {
    pub(crate) task: TaskNumber,
    pub(crate) body: Arc<Message>,
    /// Reads the encoded result: an `Err` is the reason why the worker cannot work.
    pub(crate) judge: fn(&[u8], Handles) -> Result<(), String>,
}
