//! What happens by the clock: tasks that run too long, workers that do not start, end, die or answer.

use std::io;
use std::time::{Duration, Instant};

use crate::error::{HandshakeError, Phase, StartError};
use crate::worker_event::WorkerEndReason;

use super::super::policy::{LOOK_AGAIN, STALL, UNHEARD, UNRESPONSIVE};
use super::super::roster::{Lane, LaneNo, Life, Reason};
use super::{Close, Effect, Effects, Machine, TaskNo, Why};

impl<J: Clone, R> Machine<J, R> {
    /// Another task, or none, has come to the front of its worker: its body starts now or later.
    pub(super) fn front_changed(&mut self, now: Instant, lane_no: LaneNo) {
        let front = self.lanes[lane_no.0].sent.front().map(|&(_, no)| no);
        let divisible = front.is_some_and(|no| self.task(no).spec.divisible);
        let look = front.and_then(|no| self.body_limit(no, now)).map(|(at, _)| at);
        let idle_timeout = self.settings.idle_timeout;
        let lane = &mut self.lanes[lane_no.0];
        lane.front_since = now;
        lane.relieve_at = front.map(|_| now + STALL);
        lane.divisible = divisible;
        lane.look = look;
        lane.idle_until = idle_timeout.filter(|_| front.is_none()).map(|timeout| now + timeout);
        if lane.expires.is_some_and(|at| at <= now) {
            lane.wear(WorkerEndReason::MaxAge);
        }
        let wake = lane.wake();
        self.wake_by(wake);
    }

    /// When a body that starts then must have ended, and how long that is.
    fn body_limit(&self, no: TaskNo, started: Instant) -> Option<(Instant, Duration)> {
        let spec = &self.task(no).spec;
        if spec.timeout.is_none() && spec.terms.is_none() {
            return None;
        }
        let by_timeout = spec.timeout.map(|timeout| (started + timeout, timeout));
        let deadline = spec.terms.as_ref().and_then(|terms| terms.deadline);
        let by_deadline = deadline.map(|at| (at, at.saturating_duration_since(started)));
        [by_timeout, by_deadline].into_iter().flatten().min()
    }

    fn look_at(&mut self, lane: LaneNo, at: Instant) {
        self.lanes[lane.0].look = Some(at);
        self.wake_by(Some(at));
    }

    pub(super) fn tick(&mut self, now: Instant, effects: &mut Effects<J, R>) {
        while let Some(no) = self.appointments.due(now) {
            self.keep_appointment(now, no, effects);
        }
        for index in 0..self.lanes.len() {
            self.look_after(now, LaneNo(index), effects);
        }
        if let Some(Close { by: Some(by), .. }) = self.closing
            && by <= now
        {
            self.close(now, Close { cancel_pending: true, kill: true, by: None }, effects);
        }
        self.find_wake();
    }

    /// What is waited for no more is no reason to wake up.
    pub(super) fn find_wake(&mut self) {
        self.wake = self.lanes.iter().filter_map(Lane::wake).chain(self.appointments.next()).min();
        self.wake_by(self.closing.and_then(|close| close.by));
    }

    /// Does what is due for one lane.
    fn look_after(&mut self, now: Instant, lane_no: LaneNo, effects: &mut Effects<J, R>) {
        let lane = &mut self.lanes[lane_no.0];
        match &mut lane.life {
            Life::Starting { until } if *until <= now => {
                let limit = self.settings.start_timeout;
                let reason = Reason::Handshake(HandshakeError::TimedOut { limit });
                self.condemn(now, lane_no, reason, effects);
            }
            Life::Retiring { until, .. } if *until <= now => {
                self.condemn(now, lane_no, Reason::Unresponsive, effects);
            }
            Life::Condemned { kill_at, until, .. } if kill_at.is_some_and(|at| at <= now) => {
                *kill_at = None;
                *until = now + self.settings.stop_timeout;
                effects.push(Effect::Kill { lane: lane_no });
            }
            Life::Condemned { kill_at: None, until, .. } if *until <= now => {
                if lane.sent.is_empty() {
                    self.leak(now, lane_no, effects);
                } else {
                    // Once its tasks are gone, the next look gives it up.
                    *until = now;
                    self.divide(lane_no, effects);
                    self.revoke_sent(lane_no, 0, Why::Leaked, effects);
                }
            }
            Life::Up if lane.sent.is_empty() => self.look_after_idle(now, lane_no),
            Life::Up => {
                if let Some((_, message)) = lane.strayed.take_if(|(until, _)| *until <= now) {
                    return self.condemn(now, lane_no, Reason::Protocol(message), effects);
                }
                if lane.asked.as_ref().is_some_and(|asked| asked.until <= now) {
                    return self.stop_harder(now, lane_no, effects);
                }
                let stalled = lane.to_be_relieved().is_some_and(|at| at <= now);
                if stalled {
                    lane.relieve_at = None;
                    lane.pace.note(STALL);
                    effects.push(Effect::Listen { lane: lane_no });
                }
                let look = lane.look.take_if(|at| *at <= now);
                if let Some(&(seq, task)) = lane.sent.front().filter(|_| look.is_some()) {
                    self.take_back_behind(lane_no, task, effects);
                    self.unanswered += 1;
                    effects.push(Effect::Inspect { lane: lane_no, seq, task });
                } else if stalled {
                    self.revoke_sent(lane_no, 1, Why::Stalled, effects);
                    self.divide(lane_no, effects);
                }
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
        self.unanswered -= 1;
        let Some((lane, seq)) = self.worker_of(no) else { return };
        let since = self.lanes[lane.0].front_since;
        let Some((_, limit)) = self.body_limit(no, since) else { return };
        let Some(task) = self.get_mut(no) else { return };
        match phase {
            // A worker that says when its task began says so before it says that it did. One that does not has had
            // the task since it came to the head.
            Phase::Running => {
                let started = *task.started.get_or_insert(started.unwrap_or(since).min(now));
                match self.body_limit(no, started) {
                    Some((at, limit)) if at <= now => {
                        let reason = Reason::TimedOut { task: no, limit, ran_for: now - started };
                        self.stop(now, no, lane, seq, reason, effects);
                    }
                    limited => self.look_at(lane, limited.map_or(now, |(at, _)| at)),
                }
            }
            // The result is on its way, and counts if it comes.
            Phase::Replying => {
                effects.push(Effect::Listen { lane });
                let patience = *task.replying.get_or_insert(now) + limit.max(UNHEARD);
                if patience <= now {
                    self.condemn(now, lane, Reason::Unresponsive, effects);
                } else {
                    self.look_at(lane, patience);
                }
            }
            Phase::Sent => {
                let patience = since + limit.max(UNRESPONSIVE);
                if patience <= now {
                    self.revoke(lane, seq, no, Why::Unresponsive, effects);
                } else {
                    let again = now + limit.clamp(*LOOK_AGAIN.start(), *LOOK_AGAIN.end());
                    self.look_at(lane, again.min(patience));
                }
            }
        }
    }

    /// Gives up a worker that was killed and does not die. Another takes its place, but not for ever: what
    /// keeps one process may keep them all.
    fn leak(&mut self, now: Instant, lane: LaneNo, effects: &mut Effects<J, R>) {
        self.lanes[lane.0].life = Life::Leaked;
        if !self.lanes[lane.0].surplus {
            self.lanes.push(Lane::new(now));
        }
        if self.leaked().count() > self.settings.max_workers && self.broken.is_none() {
            let source =
                io::Error::new(io::ErrorKind::ResourceBusy, "too many of them were killed and live on");
            self.break_with(StartError::spawn("replace worker processes", source), effects);
        }
    }
}
