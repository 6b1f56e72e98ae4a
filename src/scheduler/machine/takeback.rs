//! Tasks that are taken back from a worker: cancelled, stuck behind a slow one, or before a deaf one.
//!
//! The worker and the parent settle on the shared page who has a task. Until the machine knows for all of the
//! tasks it asked about, it sends none: one that came back would else be on its way to another worker when the
//! second reason to take it back is answered.

use std::time::{Duration, Instant};

use crate::error::{ExitCause, Phase, Ran, TaskErrorKind};

use super::super::policy::{Escalation, FOREVER};
use super::super::roster::{Asked, LaneNo, Life, Reason};
use super::dispatch::waits;
use super::lanes::blame;
use super::{Cancel, Effect, Effects, End, Fate, Machine, Place, Task, TaskNo, Verdict, Why};

impl<J, R> Task<J, R> {
    fn steps(&self) -> Escalation {
        let Escalation { ask, terminate } =
            self.spec.terms.as_ref().map(|terms| terms.stop).unwrap_or_default();
        let clamp = |grace: Duration| grace.min(FOREVER);
        Escalation { ask: ask.map(clamp), terminate: terminate.map(clamp) }
    }
}

impl<J: Clone, R> Machine<J, R> {
    pub(super) fn cancel(&mut self, no: TaskNo, how: Cancel, effects: &mut Effects<J, R>) {
        let Some(task) = self.get(no) else { return };
        match task.place {
            // The call that was meant has not begun, or has ended.
            Place::Queued | Place::Delayed { .. } if how == Cancel::OneCall => {}
            Place::Queued => {
                self.settle_cancelled(no, effects);
                self.forget();
            }
            Place::Delayed { .. } => self.settle_cancelled(no, effects),
            Place::Sent { lane, seq } => {
                if matches!(how, Cancel::Stop | Cancel::Kill | Cancel::OneCall) {
                    self.take_back_behind(lane, no, effects);
                }
                self.revoke(lane, seq, no, Why::Cancel { how }, effects);
            }
        }
    }

    /// What was sent behind a task must not begin in a worker that is to be killed for the task's sake. What has
    /// begun all the same, once this is answered, proves that the task has ended.
    pub(super) fn take_back_behind(&mut self, lane: LaneNo, no: TaskNo, effects: &mut Effects<J, R>) {
        let before = self.lanes[lane.0].sent.iter().take_while(|&&(_, sent)| sent != no).count();
        self.revoke_sent(lane, before + 1, Why::Stalled, effects);
    }

    /// Its worker has gone on to another task.
    fn is_overtaken(&self, lane: LaneNo, no: TaskNo) -> bool {
        self.lanes[lane.0].sent.back().is_some_and(|&(_, last)| last != no)
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
            if let Why::Cancel { how } = why {
                self.cancel(no, how, effects);
            }
            return;
        };
        if taken {
            self.unsend(now, lane, seq);
        }
        match (why, taken) {
            (Why::Cancel { how: Cancel::OneCall }, true) => self.put_back(now, no, effects),
            (Why::Cancel { .. }, true) => self.settle_cancelled(no, effects),
            (Why::Cancel { how }, false) => self.cancel_running(now, no, lane, seq, how, effects),
            (Why::Stalled | Why::Expired, false) => {}
            (Why::Stalled | Why::Expired | Why::Leaked, true) => self.put_back(now, no, effects),
            (Why::Unresponsive, taken) => {
                if taken && self.may_resend(no, true) {
                    self.put_back(now, no, effects);
                } else if taken {
                    let (ran, kind, _) = blame(no, Phase::Sent, None, &unknown());
                    self.settle(no, Verdict::Failed(ran, kind), effects);
                }
                self.condemn(now, lane, Reason::Unresponsive, effects);
            }
            (Why::Leaked, false) => self.settle_leaked(lane, no, effects),
        }
    }

    /// A number in the backlog is of a task that is gone.
    pub(super) fn forget(&mut self) {
        let tasks = &self.tasks;
        self.backlog.forget(|no| waits(tasks, no));
    }

    fn cancel_running(
        &mut self,
        now: Instant,
        no: TaskNo,
        lane: LaneNo,
        seq: u64,
        how: Cancel,
        effects: &mut Effects<J, R>,
    ) {
        self.tasks[no.key as usize].unwanted |= how != Cancel::Pending;
        match how {
            Cancel::Mild if self.task(no).spec.cooperates => effects.push(Effect::Ask { lane, seq }),
            Cancel::Pending | Cancel::Mild => {}
            Cancel::Stop => self.stop(now, no, lane, seq, Reason::Cancelled { task: no }, effects),
            Cancel::Kill => self.end_worker_of(now, no, lane, Reason::Cancelled { task: no }, None, effects),
            Cancel::OneCall if self.is_overtaken(lane, no) => {}
            Cancel::OneCall => self.condemn(now, lane, Reason::Cancelled { task: no }, effects),
        }
    }

    /// Stops a task that runs: by the first of the steps that its terms name.
    pub(super) fn stop(
        &mut self,
        now: Instant,
        no: TaskNo,
        lane_no: LaneNo,
        seq: u64,
        reason: Reason,
        effects: &mut Effects<J, R>,
    ) {
        let steps = self.task(no).steps();
        let lane = &mut self.lanes[lane_no.0];
        match steps.ask {
            // It is being asked, and its time runs. If that is another task, that one has ended: a worker is at one
            // task at a time.
            Some(_) if lane.asked.as_ref().is_some_and(|asked| asked.task == no) => {}
            Some(grace) if lane.is_up() => {
                lane.asked = Some(Asked { task: no, until: now + grace, reason });
                lane.look = None;
                effects.push(Effect::Ask { lane: lane_no, seq });
                self.wake_by(Some(now + grace));
            }
            _ => self.end_worker_of(now, no, lane_no, reason, steps.terminate, effects),
        }
    }

    /// A task that was asked to stop goes on.
    pub(super) fn stop_harder(&mut self, now: Instant, lane: LaneNo, effects: &mut Effects<J, R>) {
        let Some(Asked { task, reason, .. }) = self.lanes[lane.0].asked.take() else { return };
        let grace = self.get(task).and_then(|task| task.steps().terminate);
        self.end_worker_of(now, task, lane, reason, grace, effects);
    }

    /// Who cancels a task is told at once; who waits for one that ran out of time, when its worker is dead, so that
    /// a result on its way still counts.
    fn end_worker_of(
        &mut self,
        now: Instant,
        no: TaskNo,
        lane: LaneNo,
        reason: Reason,
        grace: Option<Duration>,
        effects: &mut Effects<J, R>,
    ) {
        if matches!(reason, Reason::Cancelled { .. })
            && let Some(task) = self.get_mut(no)
            && let Some(job) = task.job.take()
        {
            let earlier = std::mem::take(&mut task.earlier);
            self.outlived += 1;
            let verdict = Verdict::Failed(Ran::Maybe, TaskErrorKind::Cancelled { was_running: true });
            self.tell(job, verdict, earlier, effects);
            if self.is_overtaken(lane, no) {
                return;
            }
        }
        self.condemn_by(now, lane, reason, grace, effects);
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

    /// Returns a task that did not start to those that wait, unless it has waited too long. It goes on alone: what
    /// it was bundled with may be what held it up.
    pub(super) fn put_back(&mut self, now: Instant, no: TaskNo, effects: &mut Effects<J, R>) {
        let task = &mut self.tasks[no.key as usize];
        if task.job.is_none() {
            // Settled while it ran. That it did not run after all, only a worker can say that wrote what it must not.
            self.tasks.remove(no.key as usize);
            self.outlived -= 1;
            return;
        }
        if let Some(limit) = task.is_late(now) {
            return self.settle_expired(no, limit, effects);
        }
        task.spec.bundle = 0;
        // What a worker claimed that never started it is nothing to go by.
        task.started = None;
        task.replying = None;
        let age = task.age;
        self.backlog.put_back(age, no);
    }

    /// The worker of this task cannot be killed, so nobody will ever tell how it ended.
    fn settle_leaked(&mut self, lane: LaneNo, no: TaskNo, effects: &mut Effects<J, R>) {
        self.lanes[lane.0].sent.retain(|&(_, sent)| sent != no);
        let reason = match &self.lanes[lane.0].life {
            Life::Condemned { reason, .. } => Some(reason),
            _ => None,
        };
        let (ran, kind, _) = blame(no, Phase::Running, reason, &unknown());
        self.settle(no, Verdict::Failed(ran, kind), effects);
    }
}

/// The end of a worker that is not waited for.
fn unknown() -> End {
    End::Exited(Fate { pid: 0, cause: ExitCause::Unknown, oom: None, limit: None, last_words: None })
}
