//! Tasks that nobody wants, and the end of the pool.

use super::hear::blame;
use super::*;

impl<J: Clone, R> Machine<J, R> {
    pub(super) fn cancel(&mut self, no: TaskNo, kill: bool, effects: &mut Effects<J, R>) {
        let Some(task) = self.get(no) else { return };
        match task.place {
            Place::Queued => {
                self.backlog.forget();
                self.settle_cancelled(no, effects);
            }
            Place::Sent { lane, seq } => {
                let ask = task.spec.cooperates && !kill;
                let why = if ask { Why::CancelOrAsk } else { Why::Cancel { kill } };
                effects.push(Effect::Revoke { lane, seq, task: no, why });
            }
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
        let Some(Task { place: Place::Sent { lane, seq }, .. }) = self.get(no) else { return };
        let (lane_no, seq) = (*lane, *seq);
        if taken {
            self.unsend(now, lane_no, seq);
        }
        match (why, taken) {
            (Why::Cancel { .. } | Why::CancelOrAsk, true) => self.settle_cancelled(no, effects),
            (Why::Cancel { kill: true }, false) => {
                if let Some(job) = self.tasks[no.key as usize].job.take() {
                    let kind = TaskErrorKind::Cancelled { was_running: true };
                    effects.push(Effect::Settle { job, verdict: Verdict::Failed(Ran::Maybe, kind) });
                    self.counts.cancelled += 1;
                    self.counts.killed += 1;
                }
                self.condemn(now, lane_no, Reason::Cancelled, effects);
            }
            (Why::CancelOrAsk, false) => effects.push(Effect::Ask { lane: lane_no, seq }),
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
    pub(super) fn unsend(&mut self, now: Instant, lane_no: LaneNo, seq: u64) {
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

    pub(super) fn put_back(&mut self, no: TaskNo) {
        self.tasks[no.key as usize].spec.bundle = 0;
        self.backlog.put_back(std::iter::once(no));
    }

    pub(super) fn close(&mut self, now: Instant, close: Close, effects: &mut Effects<J, R>) {
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
    pub(super) fn wind_down(&mut self, now: Instant, effects: &mut Effects<J, R>) {
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

    /// The worker of this task cannot be killed, so nobody will ever tell how it ended.
    pub(super) fn settle_leaked(&mut self, lane: LaneNo, no: TaskNo, effects: &mut Effects<J, R>) {
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
