//! The one place that knows the state of every task and every worker.
//!
//! [`Machine::submit`] and [`Machine::step`] take what happened and leave what is to be done. They read no
//! clock: the time comes with the event.
//!
//! **Invariant:** every accepted task settles exactly once, however its worker ends.
//! **Invariant:** a task is sent again only if the shared page of its worker proves that it never started.
//! **Invariant:** a lane is reported down only after its link is drained, so a result never loses a race
//! against its worker's death.
//! **Invariant:** nothing is sent between a question about tasks and the last of its answers: what was taken back from
//! behind a task would else be there again when its worker is killed.
//!
//! The rules, by idea: who gets which task ([`dispatch`]), the life and death of a worker ([`lanes`]), tasks
//! that are taken back ([`takeback`]), tried again ([`retry`]) or divided ([`chunks`]), what happens by the clock ([`deadlines`]), how many
//! workers there are ([`flock`]), the end ([`close`]).

use std::time::{Duration, Instant};

use slab::Slab;

use crate::error::{Ran, Refusal, StartError, TaskErrorKind};
use crate::worker_event::WorkerEndReason;

use super::appointments::Appointments;
use super::backlog::Backlog;
use super::policy::{Settings, StartBudget};
use super::roster::Lane;

mod chunks;
mod close;
mod deadlines;
mod dispatch;
mod event;
mod flock;
mod lanes;
mod retry;
mod takeback;

/// A machine of one worker, for tests of the other rooms.
#[cfg(test)]
pub(super) fn test_machine<J: Clone, R>(now: Instant) -> Machine<J, R> {
    Machine::new(world::settings(1, None), now)
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod search;
#[cfg(test)]
mod test;
#[cfg(test)]
mod world;

pub(crate) use super::roster::LaneNo;
pub(crate) use event::{Cancel, Close, Effect, End, Ended, Event, Fate, Spec, TaskNo, Verdict, Why};

#[derive(Clone, Debug)]
enum Place {
    Queued,
    Sent {
        lane: LaneNo,
        seq: u64,
    },
    /// It has failed and waits for its next attempt.
    Delayed {
        until: Instant,
    },
}

#[derive(Clone, Debug)]
struct Task<J, R> {
    serial: u32,
    /// Where it stands among those that wait: the serial number that it was accepted with, or what it was split off.
    age: u32,
    /// `None` once it is settled although its worker still has it.
    job: Option<J>,
    spec: Spec,
    place: Place,
    /// How many workers died with it at the front, before it started.
    resends: u8,
    /// How many workers left it lying.
    left_lying: u8,
    /// When its body was first seen running. Later claims of its worker do not count.
    started: Option<Instant>,
    /// When its result was first seen on its way.
    replying: Option<Instant>,
    /// When its next attempt must have begun, and how long that is from its acceptance.
    expires: Option<(Instant, Duration)>,
    /// How earlier attempts ended.
    earlier: Vec<Verdict<R>>,
    /// It was cancelled while it ran: it is not tried again.
    unwanted: bool,
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
    tasks: Slab<Task<J, R>>,
    serial: u32,
    bundles: u64,
    backlog: Backlog,
    /// How many tasks wait for their next attempt.
    delayed: usize,
    /// How many tasks are settled although their workers still have them.
    outlived: usize,
    appointments: Appointments,
    lanes: Vec<Lane>,
    /// Workers that became ready so far.
    lives: u64,
    starts: StartBudget,
    /// All workers are wanted, work or no work, and have not been up at once since.
    warm: bool,
    broken: Option<StartError>,
    closing: Option<Close>,
    terminated: bool,
    counts: Counts,
    /// Answers to [`Effect::Revoke`] and [`Effect::Inspect`] that have not come yet.
    unanswered: usize,
    /// No later than the next moment at which something must happen without an event.
    wake: Option<Instant>,
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
            delayed: 0,
            outlived: 0,
            appointments: Appointments::default(),
            lives: 0,
            starts: StartBudget::default(),
            warm: false,
            broken: None,
            closing: None,
            terminated: false,
            counts: Counts::default(),
            unanswered: 0,
            wake: None,
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
    pub(crate) fn submit(&mut self, now: Instant, job: J, spec: Spec) -> Result<TaskNo, Refusal> {
        if let Some(refusal) = self.refusal() {
            return Err(refusal);
        }
        let terms = spec.terms.as_deref();
        let by_wait = terms.and_then(|terms| terms.queue_timeout).map(|wait| (now + wait, wait));
        let by_deadline =
            terms.and_then(|terms| terms.deadline).map(|at| (at, at.saturating_duration_since(now)));
        let expires = [by_wait, by_deadline].into_iter().flatten().min();
        let no = self.insert(None, job, spec, expires);
        self.backlog.push(no.serial, no);
        if let Some((at, _)) = expires {
            self.look_later(at, no);
        }
        Ok(no)
    }

    /// A task of the table that is in no line yet.
    fn insert(
        &mut self,
        age: Option<u32>,
        job: J,
        spec: Spec,
        expires: Option<(Instant, Duration)>,
    ) -> TaskNo {
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let task = Task {
            serial,
            age: age.unwrap_or(serial),
            job: Some(job),
            spec,
            place: Place::Queued,
            resends: 0,
            left_lying: 0,
            started: None,
            replying: None,
            expires,
            earlier: Vec::new(),
            unwanted: false,
        };
        let key = self.tasks.insert(task);
        TaskNo { key: u32::try_from(key).expect("four thousand million tasks fit"), serial }
    }

    /// A fresh number for [`Spec::bundle`].
    pub(crate) fn bundle(&mut self) -> u64 {
        self.bundles += 1;
        self.bundles
    }

    pub(crate) fn step(&mut self, now: Instant, event: Event<R>, effects: &mut Effects<J, R>) {
        self.step_all(now, [event], effects);
    }

    /// Several events at one time, and one look at what follows from them.
    pub(crate) fn step_all(
        &mut self,
        now: Instant,
        events: impl IntoIterator<Item = Event<R>>,
        effects: &mut Effects<J, R>,
    ) {
        for event in events {
            self.note(now, event, effects);
        }
        if self.unanswered == 0 {
            self.dispatch(now, effects);
        }
    }

    fn note(&mut self, now: Instant, event: Event<R>, effects: &mut Effects<J, R>) {
        match event {
            Event::Up { lane } => self.up(now, lane, effects),
            Event::Down { lane, end, phases } => self.down(now, lane, *end, &phases, effects),
            Event::Replied { lane, seq, reply, ended, ran_for } => {
                self.replied(now, lane, seq, (reply, ended, ran_for), effects)
            }
            Event::NotBegun { lane, seq } => self.not_begun(now, lane, seq, effects),
            Event::PartlyReplied { lane, seq, reply } => self.partly_replied(now, lane, seq, reply, effects),
            Event::Swollen { lane } => self.lanes[lane.0].wear(WorkerEndReason::MaxRss),
            Event::Skipped { lane, seq } => self.skipped(now, lane, seq, effects),
            Event::Violated { lane, message } => self.violated(now, lane, message, effects),
            Event::Strayed { lane, message } => self.strayed(now, lane, message, effects),
            Event::Cancel { task, how } => self.cancel(task, how, effects),
            Event::Revoked { task, why, taken } => self.revoked(now, task, why, taken, effects),
            Event::Seen { task, phase, started } => self.seen(now, task, phase, started, effects),
            Event::WarmUp => self.warm = self.refusal().is_none() && !self.is_complete(),
            Event::Resize { max_workers } => self.resize(now, max_workers, effects),
            Event::Close(close) => self.close(now, close, effects),
            Event::Tick => self.tick(now, effects),
        }
    }

    fn settle(&mut self, no: TaskNo, verdict: Verdict<R>, effects: &mut Effects<J, R>) {
        let task = self.tasks.remove(no.key as usize);
        if let Place::Sent { lane, .. } = task.place {
            let lane = &mut self.lanes[lane.0];
            lane.bytes = lane.bytes.saturating_sub(task.spec.bytes);
        }
        self.delayed -= usize::from(matches!(task.place, Place::Delayed { .. }));
        match task.job {
            Some(job) => self.tell(job, verdict, task.earlier, effects),
            None => self.outlived -= 1,
        }
    }

    fn settle_cancelled(&mut self, no: TaskNo, effects: &mut Effects<J, R>) {
        let kind = TaskErrorKind::Cancelled { was_running: false };
        self.settle(no, Verdict::Failed(Ran::No, kind), effects);
    }

    /// Settles tasks that waited, as far as they still do.
    fn settle_all(&mut self, tasks: Vec<TaskNo>, kind: &TaskErrorKind, effects: &mut Effects<J, R>) {
        for no in tasks {
            if self.get(no).is_some() {
                self.settle(no, Verdict::Failed(Ran::No, kind.clone()), effects);
            }
        }
    }

    /// Tells a caller what became of a job, and counts it.
    fn tell(
        &mut self,
        job: J,
        mut verdict: Verdict<R>,
        earlier: Vec<Verdict<R>>,
        effects: &mut Effects<J, R>,
    ) {
        if let Verdict::Failed(ran, kind) = &mut verdict {
            *ran = retry::ran(*ran, &earlier);
            let cancelled = matches!(kind, TaskErrorKind::Cancelled { .. });
            let killed = matches!(
                kind,
                TaskErrorKind::Cancelled { was_running: true } | TaskErrorKind::TimedOut { .. }
            );
            self.counts.cancelled += usize::from(cancelled);
            self.counts.killed += usize::from(killed);
        }
        effects.push(Effect::Settle { job, verdict, earlier });
    }

    fn wake_by(&mut self, at: Option<Instant>) {
        self.wake = [self.wake, at].into_iter().flatten().min();
    }

    fn get(&self, no: TaskNo) -> Option<&Task<J, R>> {
        self.tasks.get(no.key as usize).filter(|task| task.serial == no.serial)
    }

    fn get_mut(&mut self, no: TaskNo) -> Option<&mut Task<J, R>> {
        self.tasks.get_mut(no.key as usize).filter(|task| task.serial == no.serial)
    }

    /// A task that is known to be in the table.
    fn task(&self, no: TaskNo) -> &Task<J, R> {
        &self.tasks[no.key as usize]
    }

    /// Every lane that can have a worker has one.
    fn is_complete(&self) -> bool {
        self.lanes.iter().all(|lane| lane.is_up() || !lane.is_usable())
    }

    /// When to send [`Event::Tick`], if nothing else happens before.
    pub(crate) fn wake(&self) -> Option<Instant> {
        self.wake
    }

    /// Where a task is, if some worker has it.
    pub(crate) fn worker_of(&self, no: TaskNo) -> Option<(LaneNo, u64)> {
        match self.get(no)?.place {
            Place::Sent { lane, seq } => Some((lane, seq)),
            Place::Queued | Place::Delayed { .. } => None,
        }
    }

    /// The sequence numbers of what a worker has, oldest first.
    pub(crate) fn outstanding(&self, lane: LaneNo) -> impl Iterator<Item = u64> + '_ {
        self.lanes[lane.0].sent.iter().map(|&(seq, _)| seq)
    }

    /// After how long to collect the replies of a worker; `None` if it should call.
    pub(crate) fn collect_after(&self, lane: LaneNo, at_leisure: bool) -> Option<Duration> {
        let lane = &self.lanes[lane.0];
        lane.pace.collect_after(lane.sent.len(), at_leisure)
    }

    /// The most workers there may be.
    pub(crate) fn max_workers(&self) -> usize {
        self.settings.max_workers
    }

    /// So many processors are there for the workers.
    pub(crate) fn may_use(&mut self, processors: usize) {
        self.settings.processors = processors;
    }

    /// Accepted and not settled.
    pub(crate) fn pending(&self) -> usize {
        self.tasks.len() - self.outlived
    }

    /// All workers have been up at once since [`Event::WarmUp`].
    pub(crate) fn all_up(&self) -> bool {
        !self.warm
    }

    pub(crate) fn is_terminated(&self) -> bool {
        self.terminated
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// The lanes whose workers live although they were killed.
    pub(crate) fn leaked(&self) -> impl Iterator<Item = LaneNo> + '_ {
        let lanes = self.lanes.iter().enumerate();
        lanes
            .filter(|(_, lane)| matches!(lane.life, super::roster::Life::Leaked))
            .map(|(index, _)| LaneNo(index))
    }
}
