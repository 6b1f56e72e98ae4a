//! What happens because time passes.

use super::*;

impl<J: Clone, R> Machine<J, R> {
    /// A task has come to the head of its worker: its body starts now or later.
    pub(super) fn arm(&mut self, now: Instant, no: TaskNo) {
        if let Some(timeout) = self.task(no).spec.timeout {
            self.look_at(now + timeout, no);
        }
    }

    pub(super) fn look_at(&mut self, at: Instant, no: TaskNo) {
        self.deadlines.add(at, no);
        self.wake_by(Some(at));
    }

    pub(super) fn tick(&mut self, now: Instant, effects: &mut Effects<J, R>) {
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
    pub(super) fn look_after(&mut self, now: Instant, lane_no: LaneNo, effects: &mut Effects<J, R>) {
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

    pub(super) fn seen(
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
            // The result is on its way, and counts if it comes.
            (Phase::Replying, _) => {
                let patience = *task.replying.get_or_insert(now) + limit.max(UNHEARD);
                if patience <= now {
                    self.condemn(now, lane, Reason::Unresponsive, effects);
                } else {
                    self.look_at(patience, no);
                }
            }
            (Phase::Sent | Phase::Running, _) => {
                let patience = self.lanes[lane.0].front_since + limit.max(UNRESPONSIVE);
                if patience <= now {
                    effects.push(Effect::Revoke { lane, seq, task: no, why: Why::Unresponsive });
                } else {
                    self.look_at((now + limit.clamp(STALL, STALL * 5)).min(patience), no);
                }
            }
        }
    }

    pub(super) fn wake_by(&mut self, at: Option<Instant>) {
        self.wake = [self.wake, at].into_iter().flatten().min();
    }
}
