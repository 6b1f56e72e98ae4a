//! What the machine is told, and what it asks for.

use std::time::{Duration, Instant};

use std::sync::Arc;

use crate::error::{ExitCause, LimitHit, Panic, Phase, Ran, StartError, TaskErrorKind};
use crate::worker_event::WorkerEndReason;

use super::super::policy::Terms;
use super::super::roster::LaneNo;

/// An accepted task. Never used again, even if its place in the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskNo {
    pub(super) key: u32,
    pub(super) serial: u32,
}

/// What the machine must know of a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spec {
    /// Bytes of its encoded arguments.
    pub(crate) bytes: usize,
    /// The longest its body may run.
    pub(crate) timeout: Option<Duration>,
    /// Cancelled while it runs, it is asked to stop.
    pub(crate) cooperates: bool,
    /// It is many calls, and what has not begun of them can be taken back.
    pub(crate) divisible: bool,
    /// Its calls are so short that they do nothing but use a processor: more of them at once than there are processors
    /// gain nothing.
    pub(crate) quick: bool,
    /// Tasks with the same number, unless 0, go to one worker together if they can.
    pub(crate) bundle: u64,
    /// What few tasks ask for.
    pub(crate) terms: Option<Arc<Terms>>,
}

/// How hard a task is cancelled that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancel {
    /// It is left alone.
    Pending,
    /// It is asked to stop if it cooperates, and left alone otherwise.
    Mild,
    /// It is stopped, by the steps that its terms name.
    Stop,
    /// Its worker is killed.
    Kill,
    /// Its worker is killed, for one of its calls: what becomes of the others its death tells.
    OneCall,
}

/// What a worker's reply says of the task, as far as it matters who gets it next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A value, or a failure that another attempt would repeat.
    Final,
    /// The task itself returned an error.
    Failed,
    Panicked,
    Crashed,
    TimedOut,
}

/// What happened. `R` is a worker's reply, which the machine only passes on.
#[derive(Debug)]
pub(crate) enum Event<R> {
    /// The worker has not begun with a task that was to be divided.
    NotBegun { lane: LaneNo, seq: u64 },
    /// The worker of a lane is ready.
    Up { lane: LaneNo },
    /// The worker of a lane is gone, and everything it had sent has been reported. `phases` tells, for the
    /// tasks it still had, oldest first, how far each had come.
    Down { lane: LaneNo, end: Box<End>, phases: Vec<Phase> },
    /// A worker replied to a task.
    Replied { lane: LaneNo, seq: u64, reply: R, ended: Ended, ran_for: Duration },
    /// A worker told some of the results of a task that is many calls.
    PartlyReplied { lane: LaneNo, seq: u64, reply: R },
    /// The worker of a lane has grown beyond its memory, and should be replaced when its task is done.
    Swollen { lane: LaneNo },
    /// A worker passed over a task that had been taken back.
    Skipped { lane: LaneNo, seq: u64 },
    /// A worker said something that no worker says, and nothing that it says can be heard any more.
    Violated { lane: LaneNo, message: String },
    /// A worker said something that no worker says. Its replies are still heard, and the task that runs now need not
    /// be the one that made it say so.
    Strayed { lane: LaneNo, message: String },
    /// The caller no longer wants a task.
    Cancel { task: TaskNo, how: Cancel },
    /// The answer to [`Effect::Revoke`].
    Revoked { task: TaskNo, why: Why, taken: bool },
    /// The answer to [`Effect::Inspect`].
    Seen { task: TaskNo, phase: Phase, started: Option<Instant> },
    /// All workers are wanted now, before there is work for them.
    WarmUp,
    /// There may be so many workers from now on.
    Resize { max_workers: usize },
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
    pub(crate) limit: Option<LimitHit>,
    pub(crate) last_words: Option<Panic>,
}

/// What to do. `J` is a task's job, which the machine only passes on.
#[derive(Debug)]
pub(crate) enum Effect<J, R> {
    /// Make a worker for this lane; answered by `Up` or `Down`. A lane that was never launched before has the
    /// next number: it replaces one whose worker cannot be killed.
    Launch { lane: LaneNo },
    /// Give the worker a task, after all that it was given before.
    Send { lane: LaneNo, seq: u64, job: J, attempt: u16 },
    /// The task's outcome, once and for all, and those of earlier attempts.
    Settle { job: J, verdict: Verdict<R>, earlier: Vec<Verdict<R>> },
    /// Try to take back a task that has not started; answered by `Revoked` before any other event.
    Revoke { lane: LaneNo, seq: u64, task: TaskNo, why: Why },
    /// Look how far a task has come; answered by `Seen` before any other event.
    Inspect { lane: LaneNo, seq: u64, task: TaskNo },
    /// Hear what the worker has said, although it has not called: it may have forgotten to.
    Listen { lane: LaneNo },
    /// Some results of a task.
    Results { lane: LaneNo, job: J, reply: R },
    /// Take back what has not begun of a task that is many calls, and have it go on as another.
    Divide { lane: LaneNo, seq: u64 },
    /// Ask a task that runs to stop.
    Ask { lane: LaneNo, seq: u64 },
    /// Ask the worker to end.
    Retire { lane: LaneNo },
    /// Send the worker and its process group the signal that asks to end.
    Terminate { lane: LaneNo },
    /// Kill the worker and its process group; answered by `Down`.
    Kill { lane: LaneNo },
    /// The worker of this lane takes tasks, so long after it was launched.
    Started { lane: LaneNo, after: Duration },
    /// The worker of this lane has ended, for this reason.
    Ended { lane: LaneNo, reason: WorkerEndReason, pid: u32, cause: ExitCause },
    /// A worker for this lane could not be started.
    StartFailed { lane: LaneNo, error: StartError },
    /// Whoever waits for workers to be up should look again.
    Roused,
    /// The pool has ended: nothing is pending and no worker is left.
    Terminated,
}

#[derive(Clone, Debug)]
pub(crate) enum Verdict<R> {
    Replied(R),
    Failed(Ran, TaskErrorKind),
}

/// Why a task is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It was cancelled.
    Cancel { how: Cancel },
    /// It should have begun by now.
    Expired,
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
