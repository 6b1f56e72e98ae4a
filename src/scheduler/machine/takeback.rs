//! Tasks that are taken back from a worker: cancelled, stuck behind a slow one, or before a deaf one.
//!
//! The worker and the parent settle on the shared page who has a task. Until the machine knows for all of the
//! tasks it asked about, it sends none: one that came back would else be on its way to another worker when the
//! second reason to take it back is answered.

use std::time::Instant;

use crate::error::{ExitCause, Phase, Ran, TaskErrorKind};

use super::super::roster::{LaneNo, Life, Reason};
use super::dispatch::waits;
use super::lanes::blame;
use super::{Effect, Effects, End, Fate, Machine, Place, TaskNo, Verdict, Why};

impl<J: Clone, R> Machine<J, R> {
    pub(super) fn cancel(&mut self, no: TaskNo, kill: bool, effects: &mut Effects<J, R>) {
        let Some(task) = self.get(no) else { return };
        match task.place {
            Place::Queued => {
                self.settle_cancelled(no, effects);
                let tasks = &self.tasks;
                self.backlog.forget(|no| waits(tasks, no));
            }
            Place::Sent { lane, seq } => self.revoke(lane, seq, no, Why::Cancel { kill }, effects),
        }
    }

    pub(super) fn revoke(
        &mut self,
        lane: LaneNo,
        seq: u64,
        task: TaskNo,
        why: Why,
        effects: &mut Effects<J, R>,
    ) {
        self.unanswered += 1;
        effects.push(Effect::Revoke { lane, seq, task, why });
    }

    /// Takes back what a worker has, but for so many at its front. The youngest goes first, as the backlog
    /// wants them.
    pub(super) fn revoke_sent(&mut self, lane: LaneNo, but: usize, why: Why, effects: &mut Effects<J, R>) {
        let sent: Vec<_> = self.lanes[lane.0].sent.iter().skip(but).copied().collect();
        for (seq, task) in sent.into_iter().rev() {
            self.revoke(lane, seq, task, why, effects);
        }
    }

    pub(super) fn revoked(
        &mut self,
        now: Instant,
        no: TaskNo,
        why: Why,
        taken: bool,
        effects: &mut Effects<J, R>,
    ) {
        self.unanswered -= 1;
        let Some(task) = self.get(no) else { return };
        let Place::Sent { lane, seq } = task.place else {
            // It was taken back a moment ago, for another reason.
            if let Why::Cancel { kill } = why {
                self.cancel(no, kill, effects);
            }
            return;
        };
        if taken {
            self.unsend(now, lane, seq);
        }
        match (why, taken) {
            (Why::Cancel { .. }, true) => self.settle_cancelled(no, effects),
            (Why::Cancel { kill: true }, false) => {
                if let Some(job) = self.tasks[no.key as usize].job.take() {
                    let kind = TaskErrorKind::Cancelled { was_running: true };
                    self.tell(job, Verdict::Failed(Ran::Maybe, kind), effects);
                }
                self.condemn(now, lane, Reason::Cancelled, effects);
            }
            (Why::Cancel { kill: false } | Why::Stalled, false) => {}
            (Why::Stalled | Why::Leaked, true) => self.put_back(no),
            (Why::Unresponsive, taken) => {
                if taken {
                    self.put_back(no);
                }
                self.condemn(now, lane, Reason::Unresponsive, effects);
            }
            (Why::Leaked, false) => self.settle_leaked(lane, no, effects),
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
            self.front_changed(now, lane_no);
        }
    }

    /// Returns a task that did not start to those that wait. It goes on alone: what it was bundled with may be
    /// what held it up.
    pub(super) fn put_back(&mut self, no: TaskNo) {
        let task = &mut self.tasks[no.key as usize];
        task.spec.bundle = 0;
        // What a worker claimed that never started it is nothing to go by.
        task.started = None;
        task.replying = None;
        self.backlog.put_back(no);
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
}
