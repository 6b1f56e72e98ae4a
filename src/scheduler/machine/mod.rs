//! The one place that knows the state of every task and every worker.
//!
//! [`Machine::submit`] and [`Machine::step`] take what happened and leave what is to be done. They read no
//! clock: the time comes with the event.
//!
//! **Invariant:** every accepted task settles exactly once, however its worker ends.
//! **Invariant:** a task is sent again only if the shared page of its worker proves that it never started.
//! **Invariant:** a lane is reported down only after its link is drained, so a result never loses a race
//! against its worker's death.

mod feed;
mod hear;
mod stop;
mod watch;

use std::time::{Duration, Instant};

use slab::Slab;

use crate::error::{
    ExitCause, HandshakeError, Panic, Phase, Ran, Refusal, StartError, TaskErrorKind, WorkerExit,
};

use super::backlog::Backlog;
use super::deadlines::Deadlines;
use super::policy::{MAX_RESENDS, STALL, Settings, StartBudget, UNHEARD, UNRESPONSIVE};
use super::roster::{Lane, Life, Reason};

pub(crate) use super::roster::LaneNo;

/// An accepted task. Never used again, even if its place in the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskNo {
    key: u32,
    serial: u32,
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
    /// The time that [`Machine::wake`] asked for has come.
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
    /// Make a worker for this lane; answered by `Up` or `Down`.
    Launch { lane: LaneNo },
    /// Give the worker a task, after all that it was given before.
    Send { lane: LaneNo, seq: u64, job: J },
    /// The task's outcome, once and for all.
    Settle { job: J, verdict: Verdict<R> },
    /// Try to take back a task that has not started; answered by `Revoked` before any other event.
    Revoke { lane: LaneNo, seq: u64, task: TaskNo, why: Why },
    /// Look how far a task has come; answered by `Seen` before any other event.
    Inspect { lane: LaneNo, seq: u64, task: TaskNo },
    /// Ask a task that runs to stop.
    Ask { lane: LaneNo, seq: u64 },
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
    /// It was cancelled; if it runs, ask it to stop.
    CancelOrAsk,
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

#[derive(Clone, Debug)]
enum Place {
    Queued,
    Sent { lane: LaneNo, seq: u64 },
}

#[derive(Clone, Debug)]
struct Task<J> {
    serial: u32,
    /// `None` once it is settled although its worker still has it.
    job: Option<J>,
    spec: Spec,
    place: Place,
    resends: u8,
    /// When its body was first seen running. Later claims of its worker do not count.
    started: Option<Instant>,
    /// When its result was first seen on its way.
    replying: Option<Instant>,
}

/// What the machine counts for those who ask.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) cancelled: usize,
    pub(crate) killed: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Machine<J, R> {
    settings: Settings,
    tasks: Slab<Task<J>>,
    serial: u32,
    bundles: u64,
    backlog: Backlog,
    lanes: Vec<Lane>,
    deadlines: Deadlines,
    starts: StartBudget,
    /// All workers are wanted, work or no work.
    warm: bool,
    broken: Option<StartError>,
    closing: Option<Close>,
    terminated: bool,
    counts: Counts,
    /// No later than the next moment at which something must happen without an event.
    wake: Option<Instant>,
    effects: std::marker::PhantomData<R>,
}

type Effects<J, R> = Vec<Effect<J, R>>;

impl<J: Clone, R> Machine<J, R> {
    pub(crate) fn new(settings: Settings, now: Instant) -> Machine<J, R> {
        Machine {
            lanes: (0..settings.max_workers).map(|_| Lane::new(now)).collect(),
            settings,
            tasks: Slab::new(),
            serial: 0,
            bundles: 0,
            backlog: Backlog::default(),
            deadlines: Deadlines::default(),
            starts: StartBudget::default(),
            warm: false,
            broken: None,
            closing: None,
            terminated: false,
            counts: Counts::default(),
            wake: None,
            effects: std::marker::PhantomData,
        }
    }

    /// Why a task would be refused now.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        if self.closing.is_some() {
            return Some(Refusal::PoolClosed);
        }
        self.broken.clone().map(Refusal::PoolBroken)
    }

    /// Accepts a task. Follow it by [`Machine::step`] or [`Machine::dispatch`], which find it a worker.
    pub(crate) fn submit(&mut self, job: J, spec: Spec) -> Result<TaskNo, Refusal> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        self.serial = self.serial.wrapping_add(1);
        let task = Task {
            serial: self.serial,
            job: Some(job),
            spec,
            place: Place::Queued,
            resends: 0,
            started: None,
            replying: None,
        };
        let key = self.tasks.insert(task);
        let no =
            TaskNo { key: u32::try_from(key).expect("four thousand million tasks fit"), serial: self.serial };
        self.backlog.push(no);
        Ok(no)
    }

    /// A fresh number for [`Spec::bundle`].
    pub(crate) fn bundle(&mut self) -> u64 {
        self.bundles += 1;
        self.bundles
    }

    pub(crate) fn step(&mut self, now: Instant, event: Event<R>, effects: &mut Effects<J, R>) {
        match event {
            Event::Up { lane } => self.up(now, lane, effects),
            Event::Down { lane, end, phases } => self.down(now, lane, end, &phases, effects),
            Event::Replied { lane, seq, reply, ran_for } => {
                self.replied(now, lane, seq, reply, ran_for, effects)
            }
            Event::Skipped { lane, seq } => self.skipped(now, lane, seq, effects),
            Event::Violated { lane, message } => self.condemn(now, lane, Reason::Protocol(message), effects),
            Event::Cancel { task, kill } => self.cancel(task, kill, effects),
            Event::Revoked { task, why, taken } => self.revoked(now, task, why, taken, effects),
            Event::Seen { task, phase, started } => self.seen(now, task, phase, started, effects),
            Event::WarmUp => self.warm = self.refusal().is_none() && !self.is_complete(),
            Event::Close(close) => self.close(now, close, effects),
            Event::Tick => self.tick(now, effects),
        }
        self.dispatch(now, effects);
    }

    /// Gives waiting tasks to workers, launches workers for those that find none, and winds down a pool that
    /// is closing.
    pub(crate) fn dispatch(&mut self, now: Instant, effects: &mut Effects<J, R>) {
        self.give_up_waiting(effects);
        self.retire_used_up(now, effects);
        while let Some(lane) = self.next_idle() {
            if self.front().is_none() {
                break;
            }
            self.feed_idle(now, lane, effects);
        }
        self.launch(now, effects);
        self.send_ahead(now, effects);
        if self.closing.is_some() {
            self.wind_down(now, effects);
        }
    }

    fn front(&mut self) -> Option<TaskNo> {
        let tasks = &self.tasks;
        self.backlog.front(|no| tasks.get(no.key as usize).is_some_and(|task| task.serial == no.serial))
    }

    fn settle(&mut self, no: TaskNo, verdict: Verdict<R>, effects: &mut Effects<J, R>) {
        let task = self.tasks.remove(no.key as usize);
        if let Place::Sent { lane, .. } = task.place {
            let lane = &mut self.lanes[lane.0];
            lane.bytes = lane.bytes.saturating_sub(task.spec.bytes);
        }
        if let Some(job) = task.job {
            effects.push(Effect::Settle { job, verdict });
        }
    }

    fn settle_cancelled(&mut self, no: TaskNo, effects: &mut Effects<J, R>) {
        self.counts.cancelled += 1;
        let kind = TaskErrorKind::Cancelled { was_running: false };
        self.settle(no, Verdict::Failed(Ran::No, kind), effects);
    }

    fn get(&self, no: TaskNo) -> Option<&Task<J>> {
        self.tasks.get(no.key as usize).filter(|task| task.serial == no.serial)
    }

    fn get_mut(&mut self, no: TaskNo) -> Option<&mut Task<J>> {
        self.tasks.get_mut(no.key as usize).filter(|task| task.serial == no.serial)
    }

    /// A task that is known to be in the table.
    fn task(&self, no: TaskNo) -> &Task<J> {
        &self.tasks[no.key as usize]
    }

    /// When to send [`Event::Tick`], if nothing else happens before.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.wake
    }

    /// Where a task is, if some worker has it.
    pub(crate) fn worker_of(&self, no: TaskNo) -> Option<(LaneNo, u64)> {
        match self.get(no)?.place {
            Place::Sent { lane, seq } => Some((lane, seq)),
            Place::Queued => None,
        }
    }

    /// The sequence numbers of what a worker has, oldest first.
    pub(crate) fn outstanding(&self, lane: LaneNo) -> impl Iterator<Item = u64> + '_ {
        self.lanes[lane.0].sent.iter().map(|&(seq, _)| seq)
    }

    /// Accepted and not settled.
    pub(crate) fn pending(&self) -> usize {
        self.tasks.len()
    }

    /// All workers have been up at once since [`Event::WarmUp`]; one that died since then is no news.
    pub(crate) fn all_up(&self) -> bool {
        !self.warm
    }

    /// Every lane that can have a worker has one.
    fn is_complete(&self) -> bool {
        self.lanes.iter().all(|lane| matches!(lane.life, Life::Up | Life::Leaked))
    }

    #[cfg(test)]
    fn is_up(&self, lane: LaneNo) -> bool {
        matches!(self.lanes[lane.0].life, Life::Up)
    }

    pub(crate) fn is_terminated(&self) -> bool {
        self.terminated
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn leaked(&self) -> impl Iterator<Item = LaneNo> + '_ {
        let lanes = self.lanes.iter().enumerate();
        lanes.filter(|(_, lane)| matches!(lane.life, Life::Leaked)).map(|(index, _)| LaneNo(index))
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod search;
#[cfg(test)]
mod test;
#[cfg(test)]
mod world;
