//! The lanes: one place for a worker each, with what was sent to it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::error::HandshakeError;
use crate::transport::CHUNKS;
use crate::worker_event::WorkerEndReason;

use super::machine::{Spec, TaskNo};
use super::policy::{MAX_BYTES_AHEAD, Pace, SLOTS, STALL};

/// The place of a worker, which its replacement takes over: 0 to `max_workers` - 1, and above for the
/// replacements of those that cannot be killed.
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
    Retiring { until: Instant, why: WorkerEndReason },
    /// Being killed. Its death settles or returns its tasks. With `kill_at` it has been asked by a signal to end,
    /// and is killed then.
    Condemned { reason: Reason, starting: bool, kill_at: Option<Instant>, until: Instant },
    /// Did not die in time. Its tasks have been settled, and another lane has taken its place.
    Leaked,
    /// Died after all, when its place was taken. The lane is not used again.
    Gone,
}

/// Why a worker is killed.
#[derive(Clone, Debug)]
pub(crate) enum Reason {
    /// This task ran longer than its timeout.
    TimedOut { task: TaskNo, limit: Duration, ran_for: Duration },
    /// It said something that no worker says.
    Protocol(String),
    /// The task it ran was cancelled, and that kills.
    Cancelled { task: TaskNo },
    /// The pool ends.
    Closing,
    /// Its start took too long.
    Handshake(HandshakeError),
    /// It did not take up the task it was sent, or did not reply to it, or did not end when asked.
    Unresponsive,
}

/// A task that has been asked to stop. If it has not by then, its worker is killed for this reason.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) task: TaskNo,
    pub(crate) until: Instant,
    pub(crate) reason: Reason,
}

impl Reason {
    /// What those are told who watch the workers.
    pub(crate) fn told(&self) -> WorkerEndReason {
        match self {
            Reason::TimedOut { .. } => WorkerEndReason::TimedOut,
            Reason::Protocol(message) => WorkerEndReason::Protocol { message: message.clone() },
            Reason::Cancelled { .. } => WorkerEndReason::Cancelled,
            Reason::Closing => WorkerEndReason::Shutdown,
            Reason::Handshake(_) | Reason::Unresponsive => WorkerEndReason::Unresponsive,
        }
    }
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
    /// When the front task came to the front. For a lane without tasks, when its worker was launched or had
    /// none left.
    pub(crate) front_since: Instant,
    /// When to take back what waits behind the front task. `None` if that has been done.
    pub(crate) relieve_at: Option<Instant>,
    /// It left a task lying that went elsewhere then: it gets no other before it has said something.
    pub(crate) silent: bool,
    /// The front task is many calls.
    pub(crate) divisible: bool,
    /// When to see how far the front task has come. `None` if it has no timeout.
    pub(crate) look: Option<Instant>,
    pub(crate) pace: Pace,
    /// The task that runs has been asked to stop.
    pub(crate) asked: Option<Asked>,
    /// The front task has brought down a worker before: nothing else is sent along with it.
    pub(crate) alone: bool,
    /// It has said what no worker says, and is killed then if it still has a task.
    pub(crate) strayed: Option<(Instant, String)>,
    /// Why the worker takes no more tasks and ends when it has none.
    pub(crate) worn: Option<WorkerEndReason>,
    /// When it is too old.
    pub(crate) expires: Option<Instant>,
    /// When it has been idle for too long. `None` while it is not idle, or has to stay.
    pub(crate) idle_until: Option<Instant>,
    /// The pool has been made smaller by this place. It gets no new worker.
    pub(crate) surplus: bool,
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
            relieve_at: None,
            silent: false,
            divisible: false,
            look: None,
            pace: Pace::default(),
            asked: None,
            alone: false,
            strayed: None,
            worn: None,
            expires: None,
            idle_until: None,
            surplus: false,
        }
    }

    /// The worker takes no more tasks, and ends when it has none. The first reason counts.
    pub(crate) fn wear(&mut self, why: WorkerEndReason) {
        self.worn.get_or_insert(why);
    }

    /// There is a place for it after all.
    pub(crate) fn keep(&mut self) {
        self.surplus = false;
        self.worn.take_if(|why| *why == WorkerEndReason::Resized);
    }

    /// It is up and takes tasks.
    pub(crate) fn is_fresh(&self) -> bool {
        self.is_up() && self.worn.is_none()
    }

    /// It has no worker and may get one.
    pub(crate) fn may_launch(&self) -> bool {
        matches!(self.life, Life::Empty) && !self.surplus
    }

    /// How many tasks may be held, if another like this is one of them.
    pub(crate) fn depth(&self, spec: &Spec) -> usize {
        if spec.divisible { self.pace.depth_of_calls() } else { self.pace.depth() }
    }

    /// Whether this task may be sent as well, given how many may be held.
    pub(crate) fn has_room(&self, depth: usize, spec: &Spec) -> bool {
        let slots = if spec.divisible { CHUNKS } else { SLOTS };
        self.is_up()
            && self.worn.is_none()
            && self.sent.len() < depth
            && (!self.alone || self.sent.is_empty())
            && self.asked.is_none()
            && !self.silent
            && self.next_seq - 1 - self.confirmed < slots
            && (self.sent.is_empty() || self.bytes + spec.bytes <= MAX_BYTES_AHEAD)
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.life, Life::Up)
    }

    /// Its worker broke the protocol: nothing that it says is believed any more.
    pub(crate) fn has_lied(&self) -> bool {
        matches!(self.life, Life::Condemned { reason: Reason::Protocol(_), .. } | Life::Leaked | Life::Gone)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.is_up() && self.sent.is_empty()
    }

    pub(crate) fn is_starting(&self) -> bool {
        matches!(self.life, Life::Starting { .. })
    }

    /// Its start has neither succeeded nor been found to have failed.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self.life, Life::Starting { .. } | Life::Condemned { starting: true, .. })
    }

    /// Its worker became ready and nobody has decided to kill it.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.life, Life::Up | Life::Retiring { .. })
    }

    /// It has a worker, or may have one.
    pub(crate) fn is_usable(&self) -> bool {
        !self.is_lost() && !self.surplus
    }

    /// Its worker cannot be killed, or could not be.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.life, Life::Leaked | Life::Gone)
    }

    /// A process exists, or is being made, that is not given up.
    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.life, Life::Empty | Life::Leaked | Life::Gone)
    }

    /// The front task holds up what is behind it.
    pub(crate) fn is_stalled(&self, now: Instant) -> bool {
        self.front_since + STALL <= now
    }

    /// When to take back what waits for the front task and another worker could do.
    pub(crate) fn to_be_relieved(&self) -> Option<Instant> {
        self.relieve_at.filter(|_| self.sent.len() > 1 || self.divisible)
    }

    /// When something must happen to this lane although no event comes.
    pub(crate) fn wake(&self) -> Option<Instant> {
        match self.life {
            Life::Starting { until } | Life::Retiring { until, .. } => Some(until),
            Life::Condemned { kill_at, until, .. } => Some(kill_at.unwrap_or(until)),
            Life::Up if self.sent.is_empty() => earliest([self.expires, self.idle_until]),
            Life::Up => {
                let strayed = self.strayed.as_ref().map(|&(until, _)| until);
                let asked = self.asked.as_ref().map(|asked| asked.until);
                earliest([self.look, self.to_be_relieved(), strayed, asked])
            }
            Life::Empty | Life::Leaked | Life::Gone => None,
        }
    }
}

pub(crate) fn earliest<const N: usize>(moments: [Option<Instant>; N]) -> Option<Instant> {
    moments.into_iter().flatten().min()
}
