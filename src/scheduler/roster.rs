//! The lanes: one place for a worker each, with what was sent to it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::HandshakeError;

use super::machine::TaskNo;
use super::policy::{MAX_BYTES_AHEAD, Pace, SLOTS};

/// The place of a worker, which its replacement takes over: 0 to `max_workers` - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LaneNo(pub(crate) usize);

/// Where the worker of a lane is in its life.
#[derive(Clone, Debug)]
pub(crate) enum Life {
    /// There is none.
    Empty,
    /// Launched, not ready yet.
    Starting { until: Instant },
    /// Takes tasks.
    Up,
    /// Asked to end; has no tasks.
    Retiring { until: Instant },
    /// Being killed. Its death settles or returns its tasks.
    Condemned { reason: Reason, starting: bool, until: Instant },
    /// Did not die in time. Its tasks have been settled.
    Leaked,
}

/// Why a worker is killed.
#[derive(Clone, Debug)]
pub(crate) enum Reason {
    /// This task ran longer than its timeout.
    TimedOut { task: TaskNo, limit: Duration, ran_for: Duration },
    /// It said something that no worker says.
    Protocol(String),
    /// The task it ran was cancelled, and that kills.
    Cancelled,
    /// The pool ends.
    Closing,
    /// Its start took too long.
    Handshake(HandshakeError),
    /// It did not take up the task it was sent, or did not end when asked.
    Unresponsive,
}

#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) life: Life,
    /// Tasks sent to this worker, oldest first, with their sequence numbers. Only the front one can be
    /// running; those behind it were sent early to hide latency and go back to the backlog, in order, if the
    /// worker dies.
    pub(crate) sent: VecDeque<(u64, TaskNo)>,
    /// Bytes of the arguments of `sent`.
    pub(crate) bytes: usize,
    /// The sequence number of the next task; counts from 1 in each worker's life.
    pub(crate) next_seq: u64,
    /// The worker is past this sequence number, so its slot is free again.
    pub(crate) confirmed: u64,
    /// The front task cannot have started before this moment.
    pub(crate) front_since: Instant,
    pub(crate) pace: Pace,
}

impl Lane {
    pub(crate) fn new(now: Instant) -> Lane {
        Lane {
            life: Life::Empty,
            sent: VecDeque::new(),
            bytes: 0,
            next_seq: 1,
            confirmed: 0,
            front_since: now,
            pace: Pace::default(),
        }
    }

    /// Whether one more task with so many bytes of arguments may be sent, given how many may be held.
    pub(crate) fn has_room(&self, depth: usize, bytes: usize, quota: Option<u64>) -> bool {
        matches!(self.life, Life::Up)
            && self.sent.len() < depth
            && self.next_seq - 1 - self.confirmed < SLOTS
            && (self.sent.is_empty() || self.bytes + bytes <= MAX_BYTES_AHEAD)
            && quota.is_none_or(|quota| self.next_seq <= quota)
    }

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.life, Life::Up) && self.sent.is_empty()
    }

    /// A process exists, or is being made.
    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.life, Life::Empty | Life::Leaked)
    }

    /// When something must happen to this lane although no event comes.
    pub(crate) fn wake(&self, stall: Duration) -> Option<Instant> {
        match self.life {
            Life::Starting { until } | Life::Retiring { until } | Life::Condemned { until, .. } => {
                Some(until)
            }
            Life::Up if self.sent.len() > 1 => Some(self.front_since + stall),
            Life::Up | Life::Empty | Life::Leaked => None,
        }
    }
}
