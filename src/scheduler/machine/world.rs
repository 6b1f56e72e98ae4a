//! A small world around the machine: workers with FIFO links, a shared page, and deaths at any moment. The random
//! model test and the exhaustive search both play in it.
//!
//! Checked in every state: **1** a task is settled once; **2** `ran=no` means that its body never started; **3**
//! `ran=yes` or a value means that it ran to its end, once; **4** no body starts twice, or more
//! often than it may be tried; **5** only a worker that
//! is up is given tasks; **6** a pool that has ended has neither tasks nor processes; **7** when nothing can
//! happen any more, every accepted task is settled, a pool that was closed has ended, and one that was not has the
//! workers that it keeps and no more; **8** what is not settled is pending; **9** no worker is launched beyond the most
//! that there may be; **10** time comes to rest, and what has waited too long is settled, or some worker has it; **11** a
//! worker that is killed for one task takes no other task along.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{ExitCause, Phase, Ran, StartError};
use crate::scheduler::policy::{Retry, Settings, Terms};
use crate::scheduler::roster::{Life, Reason};

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Sent,
    Claimed,
    Started,
    Finished,
    Revoked,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Process {
    #[default]
    None,
    Booting,
    Up,
    Dead,
}

#[derive(Clone, Copy, Debug)]
enum Said {
    Ready,
    Reply(u64, u8),
    Skipped(u64),
}

#[derive(Clone, Debug, Default)]
struct Worker {
    process: Process,
    /// What the parent has sent; `None` asks it to retire.
    inbox: VecDeque<Option<(u64, u8)>>,
    at: Option<(u64, u8)>,
    said: VecDeque<Said>,
    doomed: bool,
    crashed: bool,
    /// It was told to end.
    leaving: bool,
    slots: BTreeMap<u64, (Slot, Instant)>,
}

#[derive(Clone, Debug, Default)]
struct Ledger {
    no: Option<TaskNo>,
    starts: u8,
    finishes: u8,
    outcome: Option<Option<Ran>>,
    begins_by: Option<Instant>,
}

/// What may still happen in a world.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    pub(super) submits: u8,
    pub(super) crashes: u8,
    pub(super) failed_launches: u8,
    pub(super) cancels: u8,
    pub(super) closes: u8,
    pub(super) ticks: u16,
    pub(super) lies: u8,
    /// Each task is tried again so often when its worker dies.
    pub(super) retries: u8,
    pub(super) resizes: u8,
    /// So many workers are kept, and the others end when they are idle.
    pub(super) keeps: Option<u8>,
    /// Each task must begin in 5 ms.
    pub(super) hurries: bool,
    /// Each task is many calls, and looked at when it is slow.
    pub(super) calls: bool,
}

#[derive(Clone, Debug)]
pub(super) struct World {
    machine: Machine<u8, u8>,
    base: Instant,
    now: Instant,
    workers: Vec<Worker>,
    tasks: Vec<Ledger>,
    /// The body of this task does not end by itself; it has a timeout.
    endless: Option<u8>,
    closed: bool,
    terminated: bool,
    /// The worker whose end is being told was killed for the sake of one of its tasks.
    killed_for_one: bool,
    /// So often time was served and did not go on.
    still: u8,
    pub(super) budget: Budget,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Move {
    Submit,
    Cancel {
        task: u8,
        kill: bool,
    },
    Close(Close),
    /// A worker takes its next step.
    Work(usize),
    /// The parent hears what a worker said.
    Hear(usize),
    Crash(usize),
    LaunchFails(usize),
    /// A kill takes effect.
    Die(usize),
    /// The parent learns of a death, having heard everything.
    Bury(usize),
    Lie(usize),
    Resize(usize),
    Tick,
}

const IDLE: Duration = Duration::from_millis(20);
const HURRY: Duration = Duration::from_millis(5);

pub(in super::super) fn settings(lanes: usize, quota: Option<u64>) -> Settings {
    Settings {
        max_workers: lanes,
        processors: 1,
        min_workers: 0,
        idle_timeout: None,
        max_worker_age: None,
        max_tasks_per_child: quota,
        start_timeout: Duration::from_secs(10),
        stop_timeout: Duration::from_secs(5),
    }
}

impl World {
    pub(super) fn new(lanes: usize, quota: Option<u64>, endless: Option<u8>, budget: Budget) -> World {
        let base = Instant::now();
        let settings = Settings {
            min_workers: budget.keeps.unwrap_or(0).into(),
            idle_timeout: budget.keeps.map(|_| IDLE),
            ..settings(lanes, quota)
        };
        let mut world = World {
            machine: Machine::new(settings, base),
            base,
            now: base,
            workers: vec![Worker::default(); lanes],
            tasks: vec![Ledger::default(); usize::from(budget.submits)],
            endless,
            closed: false,
            terminated: false,
            killed_for_one: false,
            still: 0,
            budget,
        };
        // The pool looks at itself when it is made.
        let mut effects = Vec::new();
        world.machine.step(base, Event::Tick, &mut effects);
        world.perform(effects);
        world
    }

    /// Everything that can happen next. With `fair`, only what the world does by itself sooner or later.
    pub(super) fn moves(&self, fair: bool) -> Vec<Move> {
        let mut moves = Vec::new();
        let budget = &self.budget;
        for (lane, worker) in self.workers.iter().enumerate() {
            let alive = matches!(worker.process, Process::Booting | Process::Up);
            if alive && self.can_work(worker) {
                moves.push(Move::Work(lane));
            }
            if !worker.said.is_empty() {
                moves.push(Move::Hear(lane));
            }
            if alive && worker.doomed {
                moves.push(Move::Die(lane));
            }
            if worker.process == Process::Dead && worker.said.is_empty() {
                moves.push(Move::Bury(lane));
            }
            if !fair && alive && budget.crashes > 0 {
                moves.push(Move::Crash(lane));
            }
            if !fair && worker.process == Process::Booting && budget.failed_launches > 0 {
                moves.push(Move::LaunchFails(lane));
            }
            if !fair && worker.process == Process::Up && budget.lies > 0 {
                moves.push(Move::Lie(lane));
            }
        }
        // Time passes when nothing else is about to happen, or at any moment.
        if self.machine.wake().is_some() && budget.ticks > 0 {
            moves.push(Move::Tick);
        }
        if !fair {
            if budget.submits > 0 {
                moves.push(Move::Submit);
            }
            if budget.resizes > 0 {
                let other = |&most: &usize| most != self.machine.max_workers();
                moves.extend((1..=2).filter(other).map(Move::Resize));
            }
            if budget.cancels > 0 {
                let open =
                    (0..).zip(&self.tasks).filter(|(_, task)| task.no.is_some() && task.outcome.is_none());
                moves
                    .extend(open.flat_map(|(task, _)| [false, true].map(|kill| Move::Cancel { task, kill })));
            }
            if budget.closes > 0 {
                for (cancel_pending, kill) in [(false, false), (true, false), (true, true)] {
                    moves.push(Move::Close(Close { cancel_pending, kill, by: None }));
                }
            }
        }
        moves
    }

    fn terms(&self) -> Option<Arc<Terms>> {
        let retry = Retry {
            retries: u32::from(self.budget.retries),
            backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(1),
            on_crash: true,
            on_timeout: true,
            on_panic: false,
            on_error: false,
        };
        let retry = (self.budget.retries > 0).then_some(retry);
        let queue_timeout = self.budget.hurries.then_some(HURRY);
        let usual = retry.is_none() && queue_timeout.is_none();
        (!usual).then(|| Arc::new(Terms { retry, queue_timeout, ..Terms::default() }))
    }

    fn can_work(&self, worker: &Worker) -> bool {
        match (worker.process, worker.at) {
            (Process::Booting, _) => true,
            (_, Some((seq, task))) => {
                self.endless != Some(task)
                    || worker.slots.get(&seq).is_none_or(|&(slot, _)| slot != Slot::Started)
            }
            (_, None) => !worker.inbox.is_empty(),
        }
    }

    pub(super) fn play(&mut self, play: Move) {
        let mut effects = Vec::new();
        match play {
            Move::Submit => {
                self.budget.submits -= 1;
                let name = (self.tasks.len() - usize::from(self.budget.submits) - 1) as u8;
                let timeout = (self.endless == Some(name)).then(|| Duration::from_millis(10));
                if let Ok(no) = self.machine.submit(
                    self.now,
                    name,
                    Spec {
                        bytes: 1,
                        timeout,
                        divisible: self.budget.calls,
                        quick: self.budget.calls && name.is_multiple_of(2),
                        terms: self.terms(),
                        ..Spec::default()
                    },
                ) {
                    let ledger = &mut self.tasks[usize::from(name)];
                    ledger.no = Some(no);
                    ledger.begins_by = self.budget.hurries.then(|| self.now + HURRY);
                    self.machine.dispatch(self.now, &mut effects);
                }
            }
            Move::Cancel { task, kill } => {
                self.budget.cancels -= 1;
                let task = self.tasks[usize::from(task)].no.expect("it was accepted");
                let how = if kill { Cancel::Kill } else { Cancel::Mild };
                self.machine.step(self.now, Event::Cancel { task, how }, &mut effects);
            }
            Move::Close(close) => {
                self.budget.closes -= 1;
                self.closed = true;
                self.machine.step(self.now, Event::Close(close), &mut effects);
            }
            Move::Tick => {
                self.budget.ticks -= 1;
                let wake = self.machine.wake().expect("there was one");
                self.still = if wake <= self.now { self.still + 1 } else { 0 };
                assert!(self.still < 5, "10: time stands still: {self:#?}");
                self.now = self.now.max(wake);
                self.machine.step(self.now, Event::Tick, &mut effects);
            }
            Move::Resize(max_workers) => {
                self.budget.resizes -= 1;
                self.machine.step(self.now, Event::Resize { max_workers }, &mut effects);
            }
            Move::Work(lane) => self.work(lane),
            Move::Hear(lane) => {
                let said = self.workers[lane].said.pop_front().expect("it said something");
                let lane = LaneNo(lane);
                let event = match said {
                    Said::Ready => Event::Up { lane },
                    Said::Reply(seq, reply) => Event::Replied {
                        lane,
                        seq,
                        reply,
                        ended: Ended::Final,
                        ran_for: Duration::from_micros(1),
                    },
                    Said::Skipped(seq) => Event::Skipped { lane, seq },
                };
                self.machine.step(self.now, event, &mut effects);
            }
            Move::Crash(lane) => {
                self.budget.crashes -= 1;
                self.workers[lane].process = Process::Dead;
                self.workers[lane].crashed = true;
            }
            Move::Die(lane) => self.workers[lane].process = Process::Dead,
            Move::LaunchFails(lane) => {
                self.budget.failed_launches -= 1;
                self.bury(lane, End::Unborn(StartError::invalid("no luck")), &mut effects);
            }
            Move::Bury(lane) => {
                let fate =
                    Fate { pid: 7, cause: ExitCause::Code(0), oom: None, limit: None, last_words: None };
                self.bury(lane, End::Exited(fate), &mut effects);
            }
            Move::Lie(lane) => {
                self.budget.lies -= 1;
                let event = Event::Replied {
                    lane: LaneNo(lane),
                    seq: 77,
                    reply: 99,
                    ended: Ended::Final,
                    ran_for: Duration::ZERO,
                };
                self.machine.step(self.now, event, &mut effects);
            }
        }
        self.perform(effects);
        self.killed_for_one = false;
        let open = self.tasks.iter().filter(|task| task.no.is_some() && task.outcome.is_none());
        assert_eq!(self.machine.pending(), open.clone().count(), "8: what is not settled is pending");
        if matches!(play, Move::Tick) {
            let mut late = open.filter(|task| task.begins_by.is_some_and(|at| at <= self.now));
            let waits = late.any(|task| task.no.is_some_and(|no| self.machine.worker_of(no).is_none()));
            assert!(!waits, "10: a task waits too long: {self:#?}");
        }
        if self.terminated {
            assert!(self.machine.tasks.is_empty(), "6: it has ended with tasks");
            let left = |lane: usize| self.workers[lane].process != Process::None;
            let leaked: Vec<_> = self.machine.leaked().map(|lane| lane.0).collect();
            let unnamed = (0..self.workers.len()).find(|&lane| left(lane) && !leaked.contains(&lane));
            assert_eq!(unnamed, None, "6: it has ended with a process that it does not name");
        }
    }

    /// One step of a worker: become ready, take up, start, finish, reply.
    fn work(&mut self, lane: usize) {
        let now = self.now;
        let worker = &mut self.workers[lane];
        if worker.process == Process::Booting {
            worker.process = Process::Up;
            worker.said.push_back(Said::Ready);
            return;
        }
        let Some((seq, task)) = worker.at else {
            match worker.inbox.pop_front().expect("there was something") {
                None => worker.process = Process::Dead,
                Some((seq, task)) => match worker.slots.get_mut(&seq).expect("it was published") {
                    (slot @ Slot::Sent, since) => {
                        (*slot, *since) = (Slot::Claimed, now);
                        worker.at = Some((seq, task));
                    }
                    (Slot::Revoked, _) => worker.said.push_back(Said::Skipped(seq)),
                    (slot, _) => panic!("a fresh task is {slot:?}"),
                },
            }
            return;
        };
        let ledger = &mut self.tasks[usize::from(task)];
        let slot = worker.slots.get_mut(&seq).expect("it was claimed");
        match slot.0 {
            Slot::Claimed => {
                *slot = (Slot::Started, now);
                ledger.starts += 1;
                assert!(ledger.starts <= 1 + self.budget.retries, "4: task {task} starts too often");
            }
            Slot::Started => {
                slot.0 = Slot::Finished;
                ledger.finishes += 1;
            }
            Slot::Finished => {
                worker.at = None;
                worker.said.push_back(Said::Reply(seq, task));
            }
            Slot::Sent | Slot::Revoked => panic!("a claimed task is {:?}", slot.0),
        }
    }

    fn bury(&mut self, lane: usize, end: End, effects: &mut Vec<Effect<u8, u8>>) {
        let phases = self.machine.outstanding(LaneNo(lane)).map(|seq| self.phase(lane, seq).0).collect();
        let worker = std::mem::take(&mut self.workers[lane]);
        let for_one = |life: &Life| {
            let Life::Condemned { reason, .. } = life else { return false };
            matches!(reason, Reason::TimedOut { .. } | Reason::Cancelled { .. })
        };
        self.killed_for_one = !worker.crashed && for_one(&self.machine.lanes[lane].life);
        self.machine.step(self.now, Event::Down { lane: LaneNo(lane), end: Box::new(end), phases }, effects);
    }

    fn phase(&self, lane: usize, seq: u64) -> (Phase, Option<Instant>) {
        match self.workers[lane].slots.get(&seq) {
            Some(&(Slot::Started, since)) => (Phase::Running, Some(since)),
            Some(&(Slot::Finished, since)) => (Phase::Replying, Some(since)),
            _ => (Phase::Sent, None),
        }
    }

    fn perform(&mut self, mut effects: Vec<Effect<u8, u8>>) {
        while !effects.is_empty() {
            let mut followed = Vec::new();
            for effect in effects {
                if let Some(event) = self.answer(effect) {
                    self.machine.step(self.now, event, &mut followed);
                }
            }
            effects = followed;
        }
    }

    fn answer(&mut self, effect: Effect<u8, u8>) -> Option<Event<u8>> {
        match effect {
            Effect::Launch { lane } => {
                if self.workers.len() <= lane.0 {
                    self.workers.resize(lane.0 + 1, Worker::default());
                }
                assert_eq!(self.workers[lane.0].process, Process::None, "5: a lane has one worker");
                self.workers[lane.0].process = Process::Booting;
                let stays = |worker: &&Worker| worker.process != Process::None && !worker.leaving;
                let staying = self.workers.iter().filter(stays).count();
                assert!(staying <= self.machine.max_workers(), "9: {staying} workers");
            }
            Effect::Send { lane, seq, job, .. } => {
                let worker = &mut self.workers[lane.0];
                assert!(
                    matches!(worker.process, Process::Up | Process::Dead),
                    "5: only workers that are up get tasks"
                );
                assert!(self.machine.lanes[lane.0].is_up(), "5: only workers that are up get tasks");
                worker.slots.insert(seq, (Slot::Sent, self.now));
                worker.inbox.push_back(Some((seq, job)));
                if self.budget.retries > 0 {
                    // Whether its first attempt comes back or has failed, only the machine knows.
                    self.tasks[usize::from(job)].begins_by = None;
                }
            }
            Effect::Retire { lane } => {
                self.workers[lane.0].leaving = true;
                self.workers[lane.0].inbox.push_back(None);
            }
            Effect::Terminate { lane } | Effect::Kill { lane } => {
                self.workers[lane.0].leaving = true;
                self.workers[lane.0].doomed = true;
            }
            Effect::Settle { job, verdict, .. } => self.settle(job, verdict),
            Effect::Revoke { lane, seq, task, why } => {
                let slot = self.workers[lane.0].slots.get_mut(&seq);
                let taken = slot.is_some_and(|(slot, _)| {
                    let taken = *slot == Slot::Sent;
                    if taken {
                        *slot = Slot::Revoked;
                    }
                    taken
                });
                return Some(Event::Revoked { task, why, taken });
            }
            Effect::Inspect { lane, seq, task } => {
                let (phase, started) = self.phase(lane.0, seq);
                return Some(Event::Seen { task, phase, started });
            }
            // Whose calls have begun is at the last of them.
            Effect::Divide { lane, seq } => {
                let slot = self.workers[lane.0].slots.get(&seq).map(|&(slot, _)| slot);
                let begun = !matches!(slot, Some(Slot::Sent | Slot::Claimed));
                return (!begun).then_some(Event::NotBegun { lane, seq });
            }
            Effect::Results { .. } => unreachable!("no worker of this world tells a part"),
            Effect::Roused
            | Effect::Listen { .. }
            | Effect::Ask { .. }
            | Effect::Started { .. }
            | Effect::Ended { .. }
            | Effect::StartFailed { .. } => {}
            Effect::Terminated => {
                assert!(!self.terminated, "6: it ends once");
                self.terminated = true;
            }
        }
        None
    }

    fn settle(&mut self, task: u8, verdict: Verdict<u8>) {
        let ledger = &mut self.tasks[usize::from(task)];
        assert!(ledger.outcome.is_none(), "1: task {task} is settled twice");
        let ran = match verdict {
            Verdict::Replied(reply) => {
                assert_eq!(reply, task, "3: a task has its own value");
                None
            }
            Verdict::Failed(ran, kind) => {
                let taken_along = self.killed_for_one && matches!(kind, TaskErrorKind::WorkerDied(_));
                assert!(!taken_along, "11: task {task} dies of a kill for another one");
                Some(ran)
            }
        };
        match ran {
            Some(Ran::No) => assert_eq!(ledger.starts, 0, "2: task {task} did run"),
            Some(Ran::Maybe) => {}
            None | Some(Ran::Yes) => {
                assert!(ledger.finishes >= 1, "3: task {task} did not end");
                assert!(ledger.finishes <= 1 + self.budget.retries, "3: task {task} ended too often")
            }
        }
        ledger.outcome = Some(ran);
    }

    /// What must hold when nothing more happens by itself.
    pub(super) fn assert_settled(&self) {
        for (name, task) in self.tasks.iter().enumerate() {
            assert!(
                task.no.is_none() || task.outcome.is_some(),
                "7: task {name} is never settled: {self:#?}"
            );
            let ran_no = task.outcome == Some(Some(Ran::No));
            assert!(!ran_no || task.starts == 0, "2: task {name} ran after all");
        }
        assert!(!self.closed || self.terminated, "7: the pool never ends: {self:#?}");
        if let Some(kept) = self.budget.keeps
            && !self.closed
            && self.machine.refusal().is_none()
        {
            let up = self.workers.iter().filter(|worker| worker.process == Process::Up).count();
            let kept = usize::from(kept).min(self.machine.max_workers());
            assert_eq!(up, kept, "7: the workers that are kept: {self:#?}");
        }
    }

    /// Equal for worlds that go on in the same way: times count from the beginning.
    pub(super) fn fingerprint(&self) -> u64 {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        debug_assert!(self.now >= self.base);
        BuildHasherDefault::<DefaultHasher>::default().hash_one(format!("{self:?}"))
    }
}
