//! Tasks that are submitted one by one while all workers have enough: they wait in line and travel in batches, to the
//! machine one task each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Refusal, TaskError, TaskErrorKind};
use crate::transport::{FEW_CALLS, Progress};

use super::chunk::{Chunk, Lost};
use super::core::{BrainEffect, Core};
use super::engine::Engine;
use super::job::Job;
use super::later::Later;
use super::line::{Batch, Portions};
use super::machine::{Cancel, Counts, Event, LaneNo, Spec, TaskNo};
use super::members::{CallNo, Members};
use super::policy::{LEISURE, STALL};
use super::slot::{Outcome, Slot};

/// How long a batch should keep its worker busy: long enough to be worth a message, short enough that others do not wait
/// for what it holds.
const SPAN: Duration = Duration::from_micros(200);
/// As long as many more wait, nobody waits for what it holds. It is long enough then for the thread that fetches results
/// to have its turn on a busy machine, and over, and fetched, before it is found slow.
const LONG_SPAN: Duration = Duration::from_micros(1500);
const _: () = assert!(LONG_SPAN.as_nanos() + (LEISURE as u128) < STALL.as_nanos());

/// An accepted task, as its future knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Number {
    /// The machine has it.
    Task(TaskNo),
    /// It was put in line.
    Call(CallNo),
}

impl Number {
    pub(crate) fn cancel(self, engine: &Engine, how: Cancel) {
        match self {
            Number::Task(task) => engine.cancel(task, how),
            Number::Call(call) => engine.cancel_call(call, how),
        }
    }

    /// Whether a worker has taken it up.
    pub(crate) fn is_running(self, engine: &Engine) -> bool {
        match self {
            Number::Task(task) => engine.is_running(task),
            Number::Call(call) => engine.is_call_running(call),
        }
    }

    /// Waits for it as long as that makes its outcome come sooner.
    pub(crate) fn help(self, engine: &Engine, slot: &Slot, until: Option<Instant>) {
        match self {
            Number::Task(task) => engine.help(task, slot, until),
            Number::Call(call) => engine.help_call(call, slot, until),
        }
    }
}

/// Bytes of arguments that a batch may have, if messages may.
const BATCH_BYTES: usize = 64 << 10;

/// Nanoseconds.
const QUICK: u64 = 10_000;
const SHORT: u64 = 200_000;

/// The batches that the machine has, and what is known of their tasks.
#[derive(Debug, Default)]
pub(super) struct Batches {
    /// By the number of their first call: what lies between that and the next one is of the same batch, or of none.
    under_way: BTreeMap<CallNo, (TaskNo, Arc<Chunk>)>,
    /// How long a task runs on the average of late, in nanoseconds. `None` while nothing is known.
    length: Option<u64>,
    /// How many more tasks were cancelled than the machine knows, and how many of them were killed. A batch that it
    /// counts may be none.
    cancelled: isize,
    killed: isize,
}

impl Batches {
    /// Tasks are over sooner than a thread that sleeps is awake.
    pub(super) fn are_quick(&self) -> bool {
        self.length.is_some_and(|length| length < QUICK)
    }

    /// A task that may have been several calls has run for so long.
    pub(super) fn note(&mut self, calls: u32, nanos: u64) {
        let each = nanos / u64::from(calls.max(1));
        // One that is slow is believed at once.
        self.length = Some(self.length.map_or(each, |known| each.max(known - known / 8 + each / 8)));
    }

    /// How many tasks a batch may be when so many wait, for so many workers.
    fn most(&self, waiting: usize, workers: usize) -> usize {
        let Some(length) = self.length else { return 1 };
        let within = |span: Duration| (span.as_nanos() as u64 / length.max(1)) as usize;
        let long = within(LONG_SPAN).min(waiting / (2 * workers));
        within(SPAN).max(long).clamp(1, FEW_CALLS as usize)
    }

    /// The machine's counts, with what it does not know.
    pub(super) fn counted(&self, Counts { cancelled, killed }: Counts) -> Counts {
        Counts {
            cancelled: cancelled.saturating_add_signed(self.cancelled),
            killed: killed.saturating_add_signed(self.killed),
        }
    }

    /// The task that a call travels with, and its place there.
    fn find(&self, number: CallNo) -> Option<(TaskNo, &Arc<Chunk>, u32)> {
        let (_, (no, chunk)) = self.under_way.range(..=number).next_back()?;
        let call = chunk.with_members(|members, _| members.find(number))??;
        Some((*no, chunk, call))
    }
}

impl Core {
    /// Calls that go to a worker together go on as this task of the machine's.
    pub(super) fn has_batch(&mut self, no: TaskNo, chunk: Arc<Chunk>) {
        if let Some(first) = chunk.with_members(|members, _| members.first()).flatten() {
            self.batches.under_way.insert(first, (no, chunk));
        }
    }

    /// A task of the machine's is settled: if it was a batch, those of its callers are told who have not been.
    pub(super) fn settles(&mut self, job: &Job, outcome: &Outcome, later: &mut Later) {
        let calls = job.chunk.as_ref().map_or(1, |chunk| chunk.calls());
        let error = match outcome {
            Outcome::Value { nanos, .. } => {
                self.batches.note(calls, *nanos);
                None
            }
            Outcome::Failed(error) => Some(error),
        };
        let Some(chunk) = job.chunk.as_ref().filter(|chunk| chunk.has_members()) else { return };
        if let Some(first) = chunk.with_members(|members, _| members.first()).flatten() {
            self.batches.under_way.remove(&first);
        }
        let Some(error) = error else { return };
        let lost = Lost::new(&chunk.ending(), error.clone());
        let told = chunk.with_members(|members, untold| members.lose(lost, untold.start, later));
        if let TaskErrorKind::Cancelled { was_running } = error.kind() {
            let told = told.unwrap_or(0) as isize;
            self.batches.cancelled += told - 1;
            self.batches.killed += if *was_running { told.min(1) - 1 } else { 0 };
        }
    }

    /// Accepted by the machine and not settled, a batch counted as the tasks that it is.
    pub(super) fn pending(&self) -> usize {
        let waiting = |chunk: &Arc<Chunk>| chunk.with_members(|members, _| members.waiting()).unwrap_or(0);
        let more = self.batches.under_way.values().map(|(_, chunk)| waiting(chunk) as isize - 1);
        self.machine.pending().saturating_add_signed(more.sum())
    }
}

impl Engine {
    /// So many short tasks wait in line that workers will be busy for longer than results may lie anywhere.
    pub(super) fn has_plenty(&self, core: &Core) -> bool {
        let Some(length) = core.batches.length.filter(|&length| length < SHORT) else { return false };
        let work = length.saturating_mul(self.line.len() as u64);
        work > LEISURE * core.machine.max_workers() as u64
    }

    /// Hands tasks in line on to the machine, as many as workers want, and sees to it that those wait that come when
    /// workers have enough. Says whether the machine has taken a step.
    pub(super) fn hand_on(&self, core: &mut Core, effects: &mut Vec<BrainEffect>, later: &mut Later) -> bool {
        if !self.lets_calls_go_together {
            return false;
        }
        let mut appetite = core.machine.appetite();
        if (1..usize::MAX).contains(&appetite) && core.batches.are_quick() {
            let now = core.now();
            appetite = core.machine.appetite_for_quick(now);
        }
        match (appetite > 0, self.line.is_held()) {
            (true, true) => {}
            (false, false) => {
                self.line.hold();
                return false;
            }
            (true, false) | (false, true) => return false,
        }
        let most = core.batches.most(self.line.len(), core.machine.max_workers());
        // A machine that takes anything refuses it: then the line is let go first, or others could put more there for ever.
        let count = (appetite < usize::MAX).then_some(appetite);
        self.hand_on_portions(core, count, most, later);
        let now = core.now();
        core.machine.dispatch(now, effects);
        true
    }

    /// Hands all tasks in line on to the machine: what is submitted next comes behind them, or finds the pool closed.
    pub(super) fn hand_on_all(&self, core: &mut Core, later: &mut Later) {
        if self.line.is_held() {
            // However long they take: what waits behind a slow one goes elsewhere in time.
            self.hand_on_portions(core, None, FEW_CALLS as usize, later);
        }
    }

    /// Bytes of arguments that a batch may have.
    pub(super) fn batch_bytes(&self) -> usize {
        usize::try_from(self.worker.limit).unwrap_or(usize::MAX).min(BATCH_BYTES)
    }

    fn hand_on_portions(&self, core: &mut Core, count: Option<usize>, max_tasks: usize, later: &mut Later) {
        let now = core.now();
        let portions = Portions { count, max_tasks, max_bytes: self.batch_bytes() };
        for Batch { members, arguments } in self.line.take(portions) {
            let bytes = arguments.len();
            let length = core.batches.length.unwrap_or(0);
            let members = Members::new(members, self.worker.limit, length);
            let (job, chunk) = Job::batch(arguments, members, 0);
            // A task that comes behind these may need a worker that they leave asleep.
            let quick = count.is_some() && core.batches.are_quick();
            let spec = Spec { bytes, divisible: true, quick, ..Spec::default() };
            match core.machine.submit(now, job, spec) {
                Ok(no) => core.has_batch(no, chunk),
                Err(refusal) => refuse(&chunk, &refusal, later),
            }
        }
    }

    /// Cancels a task that was put in line.
    fn cancel_call(&self, number: CallNo, how: Cancel) {
        if self.is_copy() {
            return;
        }
        self.drive(|core, effects, later| {
            if let Some(member) = self.line.withdraw(number) {
                core.batches.cancelled += 1;
                member.cancel(false, later);
            } else {
                core.cancel_call(number, how, effects, later);
            }
        });
    }

    /// Whether a worker has taken up a task that was put in line.
    fn is_call_running(&self, number: CallNo) -> bool {
        let core = self.core();
        let Some((no, _, call)) = core.batches.find(number) else { return false };
        let Some((lane, seq)) = core.machine.worker_of(no) else { return false };
        core.link(lane).is_some_and(|link| link.board.has_begun(seq, call))
    }

    /// Waits for a task that was put in line: see [`Engine::help`].
    fn help_call(&self, number: CallNo, slot: &Slot, until: Option<Instant>) {
        if slot.is_done() || self.is_copy() {
            return;
        }
        let task = self.core().batches.find(number).map(|(no, ..)| no);
        if let Some(task) = task {
            self.help(task, slot, until);
        }
    }
}

impl Core {
    /// Nothing is to begin any more of what a worker has taken up: of a batch, each call that has not begun is cancelled.
    pub(super) fn cancel_what_has_not_begun(&mut self, lane: LaneNo, seq: u64, later: &mut Later) {
        let Some(chunk) = self.machine.job_at(lane, seq).and_then(|(_, job)| job.chunk.clone()) else {
            return;
        };
        if !chunk.has_members() {
            self.divide(lane, seq, later);
            return;
        }
        let Some(link) = self.link(lane).cloned() else { return };
        let cancelled = chunk.with_members(|members, untold| {
            let untold = untold.filter(|&call| link.board.revoke_call(seq, call)).collect::<Vec<_>>();
            let gone = untold.into_iter().filter_map(|call| members.take(call)).collect::<Vec<_>>();
            gone.into_iter().map(|member| member.cancel(false, later)).count()
        });
        self.batches.cancelled += cancelled.unwrap_or(0) as isize;
    }

    fn cancel_call(
        &mut self,
        number: CallNo,
        how: Cancel,
        effects: &mut Vec<BrainEffect>,
        later: &mut Later,
    ) {
        let Some((no, chunk, call)) = self.batches.find(number) else { return };
        let chunk = Arc::clone(chunk);
        let begun = self
            .machine
            .worker_of(no)
            .filter(|&(lane, seq)| self.link(lane).is_some_and(|link| !link.board.revoke_call(seq, call)));
        let Some((lane, seq)) = begun else {
            chunk.with_members(|members, _| members.unwant(call));
            if let Some(member) = chunk.with_members(|members, _| members.take(call)).flatten() {
                self.batches.cancelled += 1;
                member.cancel(false, later);
            }
            return;
        };
        if !matches!(how, Cancel::Stop | Cancel::Kill) {
            return;
        }
        // What comes behind it goes elsewhere, so that nothing is killed along with it.
        self.divide(lane, seq, later);
        let now = self.now();
        let is_at_it = self.link(lane).is_some_and(|link| {
            !link.board.has_begun(seq, call + 1) && link.board.call_progress(call) != Progress::Finished
        });
        if is_at_it && let Some(member) = chunk.with_members(|members, _| members.take(call)).flatten() {
            self.batches.cancelled += 1;
            self.batches.killed += 1;
            member.cancel(true, later);
            self.machine.step(now, Event::Cancel { task: no, how: Cancel::OneCall }, effects);
        } else {
            self.machine.dispatch(now, effects);
        }
    }
}

fn refuse(chunk: &Chunk, refusal: &Refusal, later: &mut Later) {
    let lost = Lost::new(&chunk.ending(), TaskError::not_run("", refusal.clone().into()));
    chunk.with_members(|members, untold| members.lose(lost, untold.start, later));
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn batches_are_short_unless_very_many_wait() {
        let most = |nanos, waiting| {
            let mut batches = Batches::default();
            batches.note(1, nanos);
            batches.most(waiting, 2)
        };
        assert_eq!(Batches::default().most(1_000, 2), 1, "nothing is known of the first task");
        assert_eq!([0, 10, 40, 120, 100_000].map(|waiting| most(50_000, waiting)), [4, 4, 10, 30, 30]);
        assert_eq!([0, 100_000].map(|waiting| most(1, waiting)), [FEW_CALLS as usize; 2]);
        assert_eq!([0, 100_000].map(|waiting| most(10_000_000, waiting)), [1, 1]);
    }
}
