//! The one place that knows the state of every task and every worker.
//!
//! [`Machine::submit`] and [`Machine::step`] take what happened and leave what is to be done. They read no
//! clock: the time comes with the event.
//!
//! **Invariant:** every accepted task settles exactly once, however its worker ends.
//! **Invariant:** a task is sent again only if the shared page of its worker proves that it never started.
//! **Invariant:** a lane is reported down only after its link is drained, so a result never loses a race
//! against its worker's death.

use std::time::{Duration, Instant};

use slab::Slab;

use crate::error::{
    ExitCause, HandshakeError, Panic, Phase, Ran, Refusal, StartError, TaskErrorKind, WorkerExit,
};

use super::backlog::Backlog;
use super::deadlines::Deadlines;
use super::policy::{MAX_RESENDS, STALL, Settings, StartBudget, UNRESPONSIVE};
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
            Event::WarmUp => self.warm = true,
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

    /// Settles what waits for a worker that will never come.
    fn give_up_waiting(&mut self, effects: &mut Effects<J, R>) {
        if self.backlog.is_empty() {
            return;
        }
        let closed = self.closing.is_some_and(|close| close.kill);
        let kind = match &self.broken {
            Some(cause) => TaskErrorKind::PoolBroken(cause.clone()),
            None if closed => TaskErrorKind::Cancelled { was_running: false },
            None => return,
        };
        for no in self.backlog.take_all() {
            if self.get(no).is_some() {
                self.counts.cancelled += usize::from(closed);
                self.settle(no, Verdict::Failed(Ran::No, kind.clone()), effects);
            }
        }
    }

    /// Replaces workers that have had their share of tasks.
    fn retire_used_up(&mut self, now: Instant, effects: &mut Effects<J, R>) {
        let Some(quota) = self.settings.max_tasks_per_child else { return };
        for index in 0..self.lanes.len() {
            if self.lanes[index].is_idle() && self.lanes[index].next_seq > quota {
                self.retire(now, LaneNo(index), effects);
            }
        }
    }

    fn front(&mut self) -> Option<TaskNo> {
        let tasks = &self.tasks;
        self.backlog.front(|no| tasks.get(no.key as usize).is_some_and(|task| task.serial == no.serial))
    }

    /// The first idle worker: the lowest lanes stay warm and the highest fall idle.
    fn next_idle(&self) -> Option<LaneNo> {
        let quota = self.settings.max_tasks_per_child;
        let index = self.lanes.iter().position(|lane| lane.is_idle() && lane.has_room(1, 0, quota))?;
        Some(LaneNo(index))
    }

    /// Gives an idle worker the oldest task, and those that are bundled with it.
    fn feed_idle(&mut self, now: Instant, lane: LaneNo, effects: &mut Effects<J, R>) {
        let mut bundle = 0;
        while let Some(no) = self.front() {
            let spec = &self.task(no).spec;
            let first = self.lanes[lane.0].sent.is_empty();
            let together = first || (bundle != 0 && spec.bundle == bundle);
            let quota = self.settings.max_tasks_per_child;
            if !together || !self.lanes[lane.0].has_room(usize::MAX, spec.bytes, quota) {
                break;
            }
            bundle = spec.bundle;
            self.send(now, lane, no, effects);
        }
    }

    /// Hides the latency of short tasks by sending more of them than a worker can run at once.
    fn send_ahead(&mut self, now: Instant, effects: &mut Effects<J, R>) {
        while let Some(no) = self.front() {
            let bytes = self.task(no).spec.bytes;
            let quota = self.settings.max_tasks_per_child;
            let candidate = (0..self.lanes.len())
                .filter(|&index| {
                    let lane = &self.lanes[index];
                    lane.has_room(lane.pace.depth(), bytes, quota) && now < lane.front_since + STALL
                })
                .min_by_key(|&index| self.lanes[index].sent.len());
            let Some(lane) = candidate else { break };
            self.send(now, LaneNo(lane), no, effects);
        }
    }

    /// Sends the front task of the backlog.
    fn send(&mut self, now: Instant, lane_no: LaneNo, no: TaskNo, effects: &mut Effects<J, R>) {
        self.backlog.take_front();
        let lane = &mut self.lanes[lane_no.0];
        let seq = lane.next_seq;
        lane.next_seq += 1;
        lane.sent.push_back((seq, no));
        let first = lane.sent.len() == 1;
        if first {
            lane.front_since = now;
        }
        let wake = lane.wake(STALL);
        let task = &mut self.tasks[no.key as usize];
        task.place = Place::Sent { lane: lane_no, seq };
        lane.bytes += task.spec.bytes;
        let job = task.job.clone().expect("a task in the backlog is not settled");
        effects.push(Effect::Send { lane: lane_no, seq, job });
        self.wake_by(wake);
        if first {
            self.arm(now, no);
        }
    }

    /// A task has come to the head of its worker: its body starts now or later.
    fn arm(&mut self, now: Instant, no: TaskNo) {
        if let Some(timeout) = self.task(no).spec.timeout {
            self.look_at(now + timeout, no);
        }
    }

    fn look_at(&mut self, at: Instant, no: TaskNo) {
        self.deadlines.add(at, no);
        self.wake_by(Some(at));
    }

    /// Launches a worker for each task that waits and that no worker being started will take.
    fn launch(&mut self, now: Instant, effects: &mut Effects<J, R>) {
        if self.broken.is_some() || self.closing.is_some_and(|close| close.kill) {
            return;
        }
        let starting = self.lanes.iter().filter(|lane| matches!(lane.life, Life::Starting { .. })).count();
        let wanted = if self.warm { self.lanes.len() } else { self.backlog.len().saturating_sub(starting) };
        let empty = self.lanes.iter().enumerate().filter(|(_, lane)| matches!(lane.life, Life::Empty));
        let empty: Vec<_> = empty.map(|(index, _)| LaneNo(index)).take(wanted).collect();
        if empty.is_empty() {
            return;
        }
        if let Some(at) = self.starts.wait_until(now) {
            self.wake_by(Some(at));
            return;
        }
        let until = now + self.settings.start_timeout;
        for lane in empty {
            self.lanes[lane.0] = Lane { life: Life::Starting { until }, ..Lane::new(now) };
            effects.push(Effect::Launch { lane });
        }
        self.wake_by(Some(until));
    }

    fn up(&mut self, now: Instant, lane: LaneNo, effects: &mut Effects<J, R>) {
        match self.lanes[lane.0].life {
            Life::Starting { .. } => {
                self.lanes[lane.0].life = Life::Up;
                self.starts.succeeded();
                if self.lanes.iter().all(|lane| matches!(lane.life, Life::Up)) {
                    self.warm = false;
                }
                effects.push(Effect::Roused);
            }
            // It became ready while it was being killed.
            Life::Condemned { starting: true, .. } | Life::Leaked => {}
            _ => {
                let reason = Reason::Protocol("it said that it was ready twice".to_owned());
                self.condemn(now, lane, reason, effects);
            }
        }
    }

    fn replied(
        &mut self,
        now: Instant,
        lane_no: LaneNo,
        seq: u64,
        reply: R,
        ran_for: Duration,
        effects: &mut Effects<J, R>,
    ) {
        let lane = &mut self.lanes[lane_no.0];
        let alive = matches!(lane.life, Life::Up | Life::Condemned { starting: false, .. });
        let no = match lane.sent.front() {
            // Nothing that a worker says after a lie is believed.
            _ if matches!(lane.life, Life::Condemned { reason: Reason::Protocol(_), .. } | Life::Leaked) => {
                return;
            }
            Some(&(front, no)) if front == seq && alive => no,
            _ => {
                let message = format!("it replied to task {seq}, which it does not have");
                return self.condemn(now, lane_no, Reason::Protocol(message), effects);
            }
        };
        lane.sent.pop_front();
        lane.confirmed = seq;
        lane.front_since = now;
        lane.pace.note(ran_for);
        let next = lane.sent.front().map(|&(_, next)| next);
        if let Some(next) = next {
            self.arm(now, next);
        }
        self.settle(no, Verdict::Replied(reply), effects);
    }

    fn skipped(&mut self, now: Instant, lane_no: LaneNo, seq: u64, effects: &mut Effects<J, R>) {
        let lane = &mut self.lanes[lane_no.0];
        let has_it = lane.sent.iter().any(|&(sent, _)| sent <= seq);
        if seq <= lane.confirmed || seq >= lane.next_seq || has_it {
            let message = format!("it passed over task {seq}, which was not taken back");
            return self.condemn(now, lane_no, Reason::Protocol(message), effects);
        }
        lane.confirmed = seq;
    }

    fn retire(&mut self, now: Instant, lane: LaneNo, effects: &mut Effects<J, R>) {
        let until = now + self.settings.stop_timeout;
        self.lanes[lane.0].life = Life::Retiring { until };
        effects.push(Effect::Retire { lane });
        self.wake_by(Some(until));
    }

    /// Decides that a worker must die. Its tasks are settled or returned when it is dead.
    fn condemn(&mut self, now: Instant, lane: LaneNo, reason: Reason, effects: &mut Effects<J, R>) {
        let life = &mut self.lanes[lane.0].life;
        let starting = match life {
            Life::Empty | Life::Leaked | Life::Condemned { .. } => return,
            Life::Starting { .. } => true,
            Life::Up | Life::Retiring { .. } => false,
        };
        let until = now + self.settings.stop_timeout;
        *life = Life::Condemned { reason, starting, until };
        effects.push(Effect::Kill { lane });
        self.wake_by(Some(until));
    }

    fn down(
        &mut self,
        now: Instant,
        lane_no: LaneNo,
        end: End,
        phases: &[Phase],
        effects: &mut Effects<J, R>,
    ) {
        let lane = std::mem::replace(&mut self.lanes[lane_no.0], Lane::new(now));
        let (starting, reason) = match lane.life {
            Life::Starting { .. } => (true, None),
            Life::Condemned { reason, starting, .. } => (starting, Some(reason)),
            Life::Up | Life::Retiring { .. } | Life::Empty | Life::Leaked => (false, None),
        };
        if starting {
            return self.start_failed(now, end, reason, effects);
        }
        let mut back = Vec::new();
        for (index, &(_, no)) in lane.sent.iter().enumerate() {
            let phase = phases.get(index).copied().unwrap_or(Phase::Sent);
            if phase == Phase::Sent && self.may_resend(no) {
                back.push(no);
            } else {
                let (ran, kind) = blame(no, phase, reason.as_ref(), &end);
                self.settle(no, Verdict::Failed(ran, kind), effects);
            }
        }
        self.backlog.put_back(back.into_iter());
    }

    /// Turns a task that its worker never started back into a waiting one, unless that happened too often.
    fn may_resend(&mut self, no: TaskNo) -> bool {
        let task = &mut self.tasks[no.key as usize];
        if task.job.is_none() {
            return false;
        }
        task.resends += 1;
        task.place = Place::Queued;
        task.spec.bundle = 0;
        task.resends <= MAX_RESENDS
    }

    fn start_failed(&mut self, now: Instant, end: End, reason: Option<Reason>, effects: &mut Effects<J, R>) {
        let cause = match (reason, end) {
            (Some(Reason::Closing), _) => return,
            (Some(Reason::Handshake(error)), _) => StartError::Handshake(error),
            (Some(Reason::Protocol(message)), _) => {
                StartError::Handshake(HandshakeError::Protocol { message })
            }
            (_, End::Unborn(error)) => error,
            (_, End::Exited(fate)) => StartError::Handshake(HandshakeError::Died { cause: fate.cause }),
        };
        self.starts.failed(now);
        let alive = self.lanes.iter().any(|lane| matches!(lane.life, Life::Up | Life::Retiring { .. }));
        if self.starts.exhausted() && !alive {
            self.break_with(now, cause, effects);
        }
    }

    /// No worker can be had: everything that waits fails, now and later.
    fn break_with(&mut self, now: Instant, cause: StartError, effects: &mut Effects<J, R>) {
        self.broken = Some(cause);
        self.warm = false;
        for lane in 0..self.lanes.len() {
            if matches!(self.lanes[lane].life, Life::Starting { .. }) {
                self.condemn(now, LaneNo(lane), Reason::Closing, effects);
            }
        }
        effects.push(Effect::Roused);
    }

    fn cancel(&mut self, no: TaskNo, kill: bool, effects: &mut Effects<J, R>) {
        let Some(task) = self.get(no) else { return };
        match task.place {
            Place::Queued => {
                self.backlog.forget();
                self.settle_cancelled(no, effects);
            }
            Place::Sent { lane, seq } => {
                effects.push(Effect::Revoke { lane, seq, task: no, why: Why::Cancel { kill } });
            }
        }
    }

    fn revoked(&mut self, now: Instant, no: TaskNo, why: Why, taken: bool, effects: &mut Effects<J, R>) {
        let Some(Task { place: Place::Sent { lane, seq }, .. }) = self.get(no) else { return };
        let (lane_no, seq) = (*lane, *seq);
        if taken {
            self.unsend(now, lane_no, seq);
        }
        match (why, taken) {
            (Why::Cancel { .. }, true) => self.settle_cancelled(no, effects),
            (Why::Cancel { kill: true }, false) => {
                if let Some(job) = self.tasks[no.key as usize].job.take() {
                    let kind = TaskErrorKind::Cancelled { was_running: true };
                    effects.push(Effect::Settle { job, verdict: Verdict::Failed(Ran::Maybe, kind) });
                    self.counts.cancelled += 1;
                    self.counts.killed += 1;
                }
                self.condemn(now, lane_no, Reason::Cancelled, effects);
            }
            (Why::Cancel { kill: false } | Why::Stalled, false) => {}
            (Why::Stalled, true) => self.put_back(no),
            (Why::Unresponsive, taken) => {
                if taken {
                    self.put_back(no);
                }
                self.condemn(now, lane_no, Reason::Unresponsive, effects);
            }
            (Why::Leaked, true) => self.put_back(no),
            (Why::Leaked, false) => self.settle_leaked(lane_no, no, effects),
        }
    }

    /// Removes a task that was taken back from what its worker has.
    fn unsend(&mut self, now: Instant, lane_no: LaneNo, seq: u64) {
        let lane = &mut self.lanes[lane_no.0];
        let Some(index) = lane.sent.iter().position(|&(sent, _)| sent == seq) else { return };
        if let Some((_, no)) = lane.sent.remove(index) {
            let task = &mut self.tasks[no.key as usize];
            lane.bytes = lane.bytes.saturating_sub(task.spec.bytes);
            task.place = Place::Queued;
        }
        if index == 0 {
            lane.front_since = now;
            if let Some(&(_, next)) = lane.sent.front() {
                self.arm(now, next);
            }
        }
    }

    fn put_back(&mut self, no: TaskNo) {
        self.tasks[no.key as usize].spec.bundle = 0;
        self.backlog.put_back(std::iter::once(no));
    }

    fn tick(&mut self, now: Instant, effects: &mut Effects<J, R>) {
        while let Some(no) = self.deadlines.due(now) {
            if let Some(Task { place: Place::Sent { lane, seq }, .. }) = self.get(no)
                && self.lanes[lane.0].sent.front().is_some_and(|&(front, _)| front == *seq)
            {
                effects.push(Effect::Inspect { lane: *lane, seq: *seq, task: no });
            }
        }
        for index in 0..self.lanes.len() {
            self.look_after(now, LaneNo(index), effects);
        }
        if let Some(Close { by: Some(by), .. }) = self.closing
            && by <= now
        {
            self.close(now, Close { cancel_pending: true, kill: true, by: None }, effects);
        }
        let lanes = self.lanes.iter().filter_map(|lane| lane.wake(STALL)).min();
        let closing = self.closing.and_then(|close| close.by);
        self.wake = [lanes, closing, self.deadlines.next()].into_iter().flatten().min();
    }

    /// Does what is due for one lane.
    fn look_after(&mut self, now: Instant, lane_no: LaneNo, effects: &mut Effects<J, R>) {
        let limit = self.settings.start_timeout;
        let lane = &mut self.lanes[lane_no.0];
        match &mut lane.life {
            Life::Starting { until } if *until <= now => {
                let reason = Reason::Handshake(HandshakeError::TimedOut { limit });
                self.condemn(now, lane_no, reason, effects);
            }
            Life::Retiring { until } if *until <= now => {
                self.condemn(now, lane_no, Reason::Unresponsive, effects);
            }
            Life::Condemned { until, .. } if *until <= now => {
                for &(seq, task) in &lane.sent {
                    effects.push(Effect::Revoke { lane: lane_no, seq, task, why: Why::Leaked });
                }
                if lane.sent.is_empty() {
                    lane.life = Life::Leaked;
                } else {
                    // Once its tasks are gone, the next look gives it up.
                    *until = now;
                }
            }
            Life::Up if lane.sent.len() > 1 && lane.front_since + STALL <= now => {
                // From the back, so that each goes before those that came after it.
                for &(seq, task) in lane.sent.iter().skip(1).rev() {
                    effects.push(Effect::Revoke { lane: lane_no, seq, task, why: Why::Stalled });
                }
                lane.front_since = now;
                lane.pace.note(STALL);
            }
            _ => {}
        }
    }

    fn seen(
        &mut self,
        now: Instant,
        no: TaskNo,
        phase: Phase,
        started: Option<Instant>,
        effects: &mut Effects<J, R>,
    ) {
        let Some(task) = self.get_mut(no) else { return };
        let Place::Sent { lane, seq } = task.place else { return };
        let Some(limit) = task.spec.timeout else { return };
        match (phase, started) {
            (Phase::Running, Some(claimed)) => {
                let started = *task.started.get_or_insert(claimed.min(now));
                if started + limit <= now {
                    let reason = Reason::TimedOut { task: no, limit, ran_for: now - started };
                    self.counts.killed += 1;
                    self.condemn(now, lane, reason, effects);
                } else {
                    self.look_at(started + limit, no);
                }
            }
            // The result is on its way, and counts.
            (Phase::Replying, _) => {}
            (Phase::Sent | Phase::Running, _) => {
                let patience = self.lanes[lane.0].front_since + limit.max(UNRESPONSIVE);
                if patience <= now {
                    effects.push(Effect::Revoke { lane, seq, task: no, why: Why::Unresponsive });
                } else {
                    self.look_at((now + limit.min(STALL * 5)).min(patience), no);
                }
            }
        }
    }

    fn close(&mut self, now: Instant, close: Close, effects: &mut Effects<J, R>) {
        let merged = match self.closing {
            None => close,
            Some(before) => Close {
                cancel_pending: before.cancel_pending || close.cancel_pending,
                kill: before.kill || close.kill,
                by: [before.by, close.by].into_iter().flatten().min(),
            },
        };
        // What `by` asks for has been done if it kills already.
        self.closing = Some(Close { by: merged.by.filter(|_| !merged.kill), ..merged });
        self.warm = false;
        effects.push(Effect::Roused);
        self.wake_by(merged.by);
        if close.cancel_pending || close.kill {
            for no in self.backlog.take_all() {
                if self.get(no).is_some() {
                    self.settle_cancelled(no, effects);
                }
            }
            for index in 0..self.lanes.len() {
                for &(seq, task) in &self.lanes[index].sent {
                    let why = Why::Cancel { kill: close.kill };
                    effects.push(Effect::Revoke { lane: LaneNo(index), seq, task, why });
                }
            }
        }
        if close.kill {
            for index in 0..self.lanes.len() {
                if self.lanes[index].sent.is_empty() {
                    self.condemn(now, LaneNo(index), Reason::Closing, effects);
                }
            }
        }
    }

    /// Ends the workers of a closing pool that have nothing left to do, and then the pool.
    fn wind_down(&mut self, now: Instant, effects: &mut Effects<J, R>) {
        if self.backlog.is_empty() {
            let kill = self.closing.is_some_and(|close| close.kill);
            for index in 0..self.lanes.len() {
                let lane = &self.lanes[index];
                if lane.is_idle() && !kill {
                    self.retire(now, LaneNo(index), effects);
                } else if lane.is_idle() || matches!(lane.life, Life::Starting { .. }) {
                    self.condemn(now, LaneNo(index), Reason::Closing, effects);
                }
            }
        }
        if self.tasks.is_empty() && !self.terminated && !self.lanes.iter().any(Lane::is_live) {
            self.terminated = true;
            effects.push(Effect::Terminated);
        }
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

    /// The worker of this task cannot be killed, so nobody will ever tell how it ended.
    fn settle_leaked(&mut self, lane: LaneNo, no: TaskNo, effects: &mut Effects<J, R>) {
        self.lanes[lane.0].sent.retain(|&(_, sent)| sent != no);
        let unknown = End::Exited(Fate { pid: 0, cause: ExitCause::Unknown, oom: None, last_words: None });
        let reason = match &self.lanes[lane.0].life {
            Life::Condemned { reason, .. } => Some(reason),
            _ => None,
        };
        let (ran, kind) = blame(no, Phase::Running, reason, &unknown);
        self.settle(no, Verdict::Failed(ran, kind), effects);
    }

    fn wake_by(&mut self, at: Option<Instant>) {
        self.wake = [self.wake, at].into_iter().flatten().min();
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

    pub(crate) fn all_up(&self) -> bool {
        self.lanes.iter().all(|lane| matches!(lane.life, Life::Up))
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

/// What to tell of a task whose worker is gone.
fn blame(no: TaskNo, phase: Phase, reason: Option<&Reason>, end: &End) -> (Ran, TaskErrorKind) {
    let ran = match phase {
        Phase::Sent => Ran::No,
        Phase::Running => Ran::Maybe,
        Phase::Replying => Ran::Yes,
    };
    let kind = match (reason, end) {
        (Some(&Reason::TimedOut { task, limit, ran_for }), _) if task == no && phase == Phase::Running => {
            TaskErrorKind::TimedOut { limit, ran_for }
        }
        (Some(Reason::Protocol(message)), _) if phase != Phase::Sent => {
            TaskErrorKind::Protocol { message: message.clone() }
        }
        (_, End::Exited(fate)) => TaskErrorKind::WorkerDied(WorkerExit {
            pid: fate.pid,
            cause: fate.cause,
            phase,
            oom: fate.oom,
            last_words: fate.last_words.clone(),
        }),
        (_, End::Unborn(error)) => TaskErrorKind::PoolBroken(error.clone()),
    };
    (ran, kind)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod search;
#[cfg(test)]
mod test;
#[cfg(test)]
mod world;
