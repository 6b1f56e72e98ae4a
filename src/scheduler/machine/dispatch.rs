//! Who gets which task, and when there must be another worker.

use std::time::Instant;

use slab::Slab;

use crate::error::TaskErrorKind;
use crate::worker_event::WorkerEndReason;

use super::super::policy::STALL;
use super::super::roster::{Lane, LaneNo};
use super::{Effect, Effects, Machine, Place, Task, TaskNo};

/// Whether this number in the backlog is of a task that still waits.
pub(super) fn waits<J, R>(tasks: &Slab<Task<J, R>>, no: TaskNo) -> bool {
    tasks.get(no.key as usize).is_some_and(|task| task.serial == no.serial)
}

impl<J: Clone, R> Machine<J, R> {
    /// Gives waiting tasks to workers, launches workers for those that find none, and winds down a pool that
    /// is closing.
    pub(crate) fn dispatch(&mut self, now: Instant, effects: &mut Effects<J, R>) {
        self.give_up_waiting(effects);
        self.retire_worn(now, effects);
        let mut crowded_out = false;
        while let Some(no) = self.front(now, effects) {
            if let Some(lane) = self.next_brisk(now, no) {
                self.send(now, lane, no, effects);
            } else if let Some(lane) = self.next_idle(now, no) {
                self.feed_idle(now, lane, effects);
            } else {
                crowded_out = self.is_crowded_out(now, no);
                break;
            }
        }
        self.launch(now, !crowded_out, effects);
        self.send_ahead(now, effects);
        if crowded_out {
            // A worker that is found slow then makes room, even if it has nothing that could be taken back.
            let slow_at = self.working(now).map(|lane| lane.front_since + STALL).min();
            self.wake_by(slow_at);
        }
        if self.closing.is_some() {
            self.wind_down(now, effects);
        }
    }

    /// How many more tasks find a worker at once, or one that is about to be free: what comes on top of that may as well
    /// wait before it is accepted. Without end if nothing is accepted any more.
    pub(crate) fn appetite(&self) -> usize {
        match self.refusal() {
            Some(_) => usize::MAX,
            None => self.open_lanes().count().saturating_sub(self.backlog.len()),
        }
    }

    /// The same for quick tasks, which wake no more workers than there are processors.
    pub(crate) fn appetite_for_quick(&self, now: Instant) -> usize {
        let awake = self.open_lanes().filter(|lane| !lane.sent.is_empty()).count();
        let open = awake + self.unused_processors(now);
        self.appetite().min(open.saturating_sub(self.backlog.len()))
    }

    /// Those that take another task.
    fn open_lanes(&self) -> impl Iterator<Item = &Lane> {
        let has_enough = |lane: &Lane| lane.is_up() && lane.sent.len() > 1;
        self.lanes.iter().filter(move |lane| lane.is_usable() && !lane.silent && !has_enough(lane))
    }

    /// How many more workers could use a processor. Those that are held up by a slow task may be waiting for something.
    fn unused_processors(&self, now: Instant) -> usize {
        self.settings.processors.saturating_sub(self.working(now).count())
    }

    /// The lanes whose workers use a processor, as far as is known.
    fn working(&self, now: Instant) -> impl Iterator<Item = &Lane> {
        let works = move |lane: &&Lane| {
            lane.is_up() && !lane.sent.is_empty() && !lane.silent && !lane.is_stalled(now)
        };
        self.lanes.iter().filter(works)
    }

    /// No worker is woken for this task, as others use all processors.
    fn is_crowded_out(&self, now: Instant, no: TaskNo) -> bool {
        self.task(no).spec.quick && self.unused_processors(now) == 0
    }

    /// Settles what waits for a worker that will never come.
    fn give_up_waiting(&mut self, effects: &mut Effects<J, R>) {
        if self.backlog.is_empty() && self.delayed == 0 {
            return;
        }
        let kind = match &self.broken {
            Some(cause) => TaskErrorKind::PoolBroken(cause.clone()),
            None if self.closing.is_some_and(|close| close.kill) => {
                TaskErrorKind::Cancelled { was_running: false }
            }
            None if self.closing.is_some_and(|close| close.cancel_pending) => {
                return self.cancel_what_was_split_off(effects);
            }
            None => return,
        };
        let waiting = self.take_waiting();
        self.settle_all(waiting, &kind, effects);
    }

    /// Calls that were taken back when nothing is to begin any more. A task that cost a worker may be tried again.
    fn cancel_what_was_split_off(&mut self, effects: &mut Effects<J, R>) {
        let tasks = &self.tasks;
        let is_divisible = |no: &TaskNo| waits(tasks, *no) && tasks[no.key as usize].spec.divisible;
        for no in self.backlog.numbers().filter(is_divisible).collect::<Vec<_>>() {
            // The number of one that is gone may be that of another again.
            if self.get(no).is_some() {
                self.settle_cancelled(no, effects);
                self.forget();
            }
        }
    }

    /// The oldest task that waits. What is late at the front is settled: its appointment is only kept later.
    #[inline]
    fn front(&mut self, now: Instant, effects: &mut Effects<J, R>) -> Option<TaskNo> {
        loop {
            let tasks = &self.tasks;
            let no = self.backlog.front(|no| waits(tasks, no))?;
            let Some(limit) = self.task(no).is_late(now) else { return Some(no) };
            self.backlog.take_front();
            self.settle_expired(no, limit, effects);
        }
    }

    /// The first idle worker: the lowest lanes stay warm and the highest fall idle.
    fn next_idle(&self, now: Instant, no: TaskNo) -> Option<LaneNo> {
        if self.is_crowded_out(now, no) {
            return None;
        }
        let spec = &self.task(no).spec;
        let index = self.lanes.iter().position(|lane| lane.is_idle() && lane.has_room(1, spec))?;
        Some(LaneNo(index))
    }

    /// A worker that is awake and done with what it has before another would be awake.
    fn next_brisk(&self, now: Instant, no: TaskNo) -> Option<LaneNo> {
        let task = self.task(no);
        if task.is_suspect() || task.spec.bundle != 0 {
            return None;
        }
        let index = self.lanes.iter().position(|lane| {
            !lane.sent.is_empty()
                && lane.pace.is_done_soon(lane.sent.len())
                && lane.has_room(lane.depth(&task.spec), &task.spec)
                && !lane.is_stalled(now)
        })?;
        Some(LaneNo(index))
    }

    /// Gives an idle worker the oldest task, and those that are bundled with it.
    fn feed_idle(&mut self, now: Instant, lane: LaneNo, effects: &mut Effects<J, R>) {
        let mut bundle = 0;
        while let Some(no) = self.front(now, effects) {
            let spec = &self.task(no).spec;
            let first = self.lanes[lane.0].sent.is_empty();
            let together = first || (bundle != 0 && spec.bundle == bundle);
            if !together || !self.lanes[lane.0].has_room(usize::MAX, spec) {
                break;
            }
            bundle = spec.bundle;
            self.send(now, lane, no, effects);
        }
    }

    /// Hides the latency of short tasks by sending more of them than a worker can run at once.
    fn send_ahead(&mut self, now: Instant, effects: &mut Effects<J, R>) {
        while let Some(no) = self.front(now, effects) {
            let task = self.task(no);
            if task.is_suspect() {
                break;
            }
            let crowded_out = self.is_crowded_out(now, no);
            let candidate = (0..self.lanes.len())
                .filter(|&index| {
                    let lane = &self.lanes[index];
                    !(crowded_out && lane.sent.is_empty())
                        && lane.has_room(lane.depth(&task.spec), &task.spec)
                        && !lane.is_stalled(now)
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
        let task = &mut self.tasks[no.key as usize];
        task.place = Place::Sent { lane: lane_no, seq };
        lane.bytes += task.spec.bytes;
        let wake = lane.wake();
        let job = task.job.clone().expect("a task in the backlog is not settled");
        let attempt = u16::try_from(task.earlier.len() + 1).unwrap_or(u16::MAX);
        lane.alone = task.is_suspect();
        if self.settings.max_tasks_per_child.is_some_and(|most| seq >= most) {
            lane.wear(WorkerEndReason::MaxTasks);
        }
        effects.push(Effect::Send { lane: lane_no, seq, job, attempt });
        self.wake_by(wake);
        if first {
            self.front_changed(now, lane_no);
        }
    }
}
