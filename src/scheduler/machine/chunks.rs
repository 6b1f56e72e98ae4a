//! Tasks that are many calls: their results come in parts, and what has not begun of them can go on as another task.

use std::time::Instant;

use super::super::policy::{LOOK_AGAIN_AT_UNBEGUN, STALL};
use super::super::roster::{Lane, LaneNo};
use super::{Effect, Effects, Machine, Place, Spec, TaskNo, Why};

impl<J: Clone, R> Machine<J, R> {
    /// A part of the results of the task that a worker is at.
    pub(super) fn partly_replied(
        &mut self,
        now: Instant,
        lane_no: LaneNo,
        seq: u64,
        reply: R,
        effects: &mut Effects<J, R>,
    ) {
        let lane = &mut self.lanes[lane_no.0];
        if lane.has_lied() {
            return;
        }
        lane.silent = false;
        match lane.sent.front().copied() {
            Some((front, no)) if front == seq && self.task(no).spec.divisible => {
                if let Some(job) = self.task(no).job.clone() {
                    effects.push(Effect::Results { lane: lane_no, job, reply });
                }
            }
            _ => {
                let message = format!("it told a part of task {seq}, which is not the one it has");
                self.strayed(now, lane_no, message, effects);
            }
        }
    }

    /// The front task of a worker has not begun, or the worker is past it and that has not been heard: nothing can be said
    /// of its calls. It is looked at again later, and then goes to another worker that works. Each time that this happens
    /// the next worker has twice as long.
    pub(super) fn not_begun(&mut self, now: Instant, lane_no: LaneNo, seq: u64, effects: &mut Effects<J, R>) {
        let lane = &mut self.lanes[lane_no.0];
        let Some(&(_, no)) = lane.sent.front().filter(|&&(front, _)| front == seq) else { return };
        let waited = now.saturating_duration_since(lane.front_since);
        lane.relieve_at = Some(now + waited.clamp(STALL, LOOK_AGAIN_AT_UNBEGUN));
        let (wake, is_up) = (lane.wake(), lane.is_up());
        self.wake_by(wake);
        let works =
            |lane: &Lane| lane.is_fresh() && !lane.silent && (lane.is_idle() || !lane.is_stalled(now));
        let task = &mut self.tasks[no.key as usize];
        if waited >= STALL * (2 << task.left_lying.min(8))
            && is_up
            && self.lanes.iter().any(|lane| works(lane) || lane.may_launch())
        {
            task.left_lying = task.left_lying.saturating_add(1);
            self.lanes[lane_no.0].silent = true;
            self.revoke(lane_no, seq, no, Why::Stalled, effects);
        }
    }

    /// The job of the task that a worker has under this number, unless it is settled.
    pub(crate) fn job_at(&self, lane: LaneNo, seq: u64) -> Option<(TaskNo, &J)> {
        let &(_, no) = self.lanes[lane.0].sent.iter().find(|&&(sent, _)| sent == seq)?;
        Some((no, self.task(no).job.as_ref()?))
    }

    /// Accepts what has not begun of a task, in its place in the line. It was accepted as part of that one, so a pool that
    /// takes no more tasks takes it. Follow it by [`Machine::step`] or [`Machine::dispatch`].
    pub(crate) fn split_off(&mut self, of: TaskNo, job: J, spec: Spec) -> TaskNo {
        let age = self.get(of).map(|of| of.age);
        let no = self.insert(age, job, spec, None);
        self.backlog.put_back(age.unwrap_or(no.serial), no);
        no
    }

    /// The front task of a worker is slow, and can be divided.
    pub(super) fn divide(&mut self, lane_no: LaneNo, effects: &mut Effects<J, R>) {
        if let Some(&(seq, no)) = self.lanes[lane_no.0].sent.front()
            && self.task(no).spec.divisible
            && matches!(self.task(no).place, Place::Sent { .. })
        {
            effects.push(Effect::Divide { lane: lane_no, seq });
        }
    }
}
