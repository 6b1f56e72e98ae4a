//! What the machine is told, and what it asks for.

use std::time::{Duration, Instant};

use crate::error::{ExitCause, Panic, Phase, Ran, StartError, TaskErrorKind};

use super::super::roster::LaneNo;

/// An accepted task. Never used again, even if its place in the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TaskNo {
    pub(super) key: u32,
    pub(super) serial: u32,
}

impl TaskNo {
    /// Accepted before that one. Serial numbers may wrap around; no two tasks that wait are half of them apart.
    pub(crate) fn is_older_than(self, other: TaskNo) -> bool {
        self.serial.wrapping_sub(other.serial) > u32::MAX / 2
    }
}

/// What the machine must know of a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spec {
    /// Bytes of its encoded arguments.
    pub(crate) bytes: usize,
    /// The longest its body may run.
    pub(crate) timeout: Option<Duration>,
    /// Tasks with the same number, unless 0, go to one worker together if they can.
    pub(crate) bundle: u64,
}

/// What happened. `R` is a worker's reply, which the machine only passes on.
#[derive(Debug)]
pub(crate) enum Event<R> {
    /// The worker of a lane is ready.
    Up { lane: LaneNo },
    /// The worker of a lane is gone, and everything it had sent has been reported. `phases` tells, for the
    /// tasks it still had, oldest first, how far each had come.
    Down { lane: LaneNo, end: End, phases: Vec<Phase> },
    /// A worker replied to a task.
    Replied { lane: LaneNo, seq: u64, reply: R, ran_for: Duration },
    /// A worker passed over a task that had been taken back.
    Skipped { lane: LaneNo, seq: u64 },
    /// A worker said something that no worker says.
    Violated { lane: LaneNo, message: String },
    /// The caller no longer wants a task.
    Cancel { task: TaskNo, kill: bool },
    /// The answer to [`Effect::Revoke`].
    Revoked { task: TaskNo, why: Why, taken: bool },
    /// The answer to [`Effect::Inspect`].
    Seen { task: TaskNo, phase: Phase, started: Option<Instant> },
    /// All workers are wanted now, before there is work for them.
    WarmUp,
    /// No more tasks.
    Close(Close),
    /// The time that [`Machine::wake`](super::Machine::wake) asked for has come.
    Tick,
}

/// How the worker of a lane ended.
#[derive(Debug)]
pub(crate) enum End {
    /// It never became a worker.
    Unborn(StartError),
    Exited(Fate),
}

/// What the operating system and the shared page tell of a dead worker.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) pid: u32,
    pub(crate) cause: ExitCause,
    pub(crate) oom: Option<bool>,
    pub(crate) last_words: Option<Panic>,
}

/// What to do. `J` is a task's job, which the machine only passes on.
#[derive(Debug)]
pub(crate) enum Effect<J, R> {
    /// Make a worker for this lane; answered by `Up` or `Down`. A lane that was never launched before has the
    /// next number: it replaces one whose worker cannot be killed.
    Launch { lane: LaneNo },
    /// Give the worker a task, after all that it was given before.
    Send { lane: LaneNo, seq: u64, job: J },
    /// The task's outcome, once and for all.
    Settle { job: J, verdict: Verdict<R> },
    /// Try to take back a task that has not started; answered by `Revoked` before any other event.
    Revoke { lane: LaneNo, seq: u64, task: TaskNo, why: Why },
    /// Look how far a task has come; answered by `Seen` before any other event.
    Inspect { lane: LaneNo, seq: u64, task: TaskNo },
    /// Ask the worker to end.
    Retire { lane: LaneNo },
    /// Kill the worker and its process group; answered by `Down`.
    Kill { lane: LaneNo },
    /// Whoever waits for workers to be up should look again.
    Roused,
    /// The pool has ended: nothing is pending and no worker is left.
    Terminated,
}

#[derive(Debug)]
pub(crate) enum Verdict<R> {
    Replied(R),
    Failed(Ran, TaskErrorKind),
}

/// Why a task is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It was cancelled; if it runs, kill it or let it be.
    Cancel { kill: bool },
    /// It waits behind a slow task.
    Stalled,
    /// Its worker does not take it up.
    Unresponsive,
    /// Its worker cannot be killed.
    Leaked,
}

/// How a pool ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Close {
    /// Cancel what has not started.
    pub(crate) cancel_pending: bool,
    /// Kill what runs.
    pub(crate) kill: bool,
    /// Do both at this time, at the latest.
    pub(crate) by: Option<Instant>,
}
