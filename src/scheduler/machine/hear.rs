//! What workers say, and what their end means for their tasks.

use super::*;

impl<J: Clone, R> Machine<J, R> {
    pub(super) fn up(&mut self, now: Instant, lane: LaneNo, effects: &mut Effects<J, R>) {
        match self.lanes[lane.0].life {
            Life::Starting { .. } => {
                self.lanes[lane.0].life = Life::Up;
                self.starts.succeeded();
                if self.is_complete() {
                    self.warm = false;
                }
                effects.push(Effect::Roused);
            }
            // It became ready while it was being killed.
            Life::Condemned { starting: true, .. } | Life::Leaked => {}
            _ => {
                let reason = Reason::Protocol("it said that it was ready twice".to_owned());
                self.condemn(now, lane, reason, effects);
            }
        }
    }

    pub(super) fn replied(
        &mut self,
        now: Instant,
        lane_no: LaneNo,
        seq: u64,
        reply: R,
        ran_for: Duration,
        effects: &mut Effects<J, R>,
    ) {
        let lane = &mut self.lanes[lane_no.0];
        let alive = matches!(lane.life, Life::Up | Life::Condemned { starting: false, .. });
        let no = match lane.sent.front() {
            // Nothing that a worker says after a lie is believed.
            _ if matches!(lane.life, Life::Condemned { reason: Reason::Protocol(_), .. } | Life::Leaked) => {
                return;
            }
            Some(&(front, no)) if front == seq && alive => no,
            _ => {
                let message = format!("it replied to task {seq}, which it does not have");
                return self.condemn(now, lane_no, Reason::Protocol(message), effects);
            }
        };
        lane.sent.pop_front();
        lane.confirmed = seq;
        lane.front_since = now;
        lane.pace.note(ran_for);
        let next = lane.sent.front().map(|&(_, next)| next);
        if let Some(next) = next {
            self.arm(now, next);
        }
        self.settle(no, Verdict::Replied(reply), effects);
    }

    pub(super) fn skipped(&mut self, now: Instant, lane_no: LaneNo, seq: u64, effects: &mut Effects<J, R>) {
        let lane = &mut self.lanes[lane_no.0];
        let has_it = lane.sent.iter().any(|&(sent, _)| sent <= seq);
        if seq <= lane.confirmed || seq >= lane.next_seq || has_it {
            let message = format!("it passed over task {seq}, which was not taken back");
            return self.condemn(now, lane_no, Reason::Protocol(message), effects);
        }
        lane.confirmed = seq;
    }

    /// Decides that a worker must die. Its tasks are settled or returned when it is dead.
    pub(super) fn condemn(
        &mut self,
        now: Instant,
        lane: LaneNo,
        reason: Reason,
        effects: &mut Effects<J, R>,
    ) {
        let life = &mut self.lanes[lane.0].life;
        let starting = match life {
            Life::Empty | Life::Leaked | Life::Condemned { .. } => return,
            Life::Starting { .. } => true,
            Life::Up | Life::Retiring { .. } => false,
        };
        let until = now + self.settings.stop_timeout;
        *life = Life::Condemned { reason, starting, until };
        effects.push(Effect::Kill { lane });
        self.wake_by(Some(until));
    }

    pub(super) fn down(
        &mut self,
        now: Instant,
        lane_no: LaneNo,
        end: End,
        phases: &[Phase],
        effects: &mut Effects<J, R>,
    ) {
        let lane = std::mem::replace(&mut self.lanes[lane_no.0], Lane::new(now));
        let (starting, reason) = match lane.life {
            Life::Starting { .. } => (true, None),
            Life::Condemned { reason, starting, .. } => (starting, Some(reason)),
            Life::Up | Life::Retiring { .. } | Life::Empty | Life::Leaked => (false, None),
        };
        if starting {
            return self.start_failed(now, end, reason, effects);
        }
        let mut back = Vec::new();
        for (index, &(_, no)) in lane.sent.iter().enumerate() {
            let phase = phases.get(index).copied().unwrap_or(Phase::Sent);
            if phase == Phase::Sent && self.may_resend(no, index == 0) {
                back.push(no);
            } else {
                let (ran, kind) = blame(no, phase, reason.as_ref(), &end);
                self.settle(no, Verdict::Failed(ran, kind), effects);
            }
        }
        self.backlog.put_back(back.into_iter());
    }

    /// Turns a task that its worker never started back into a waiting one, unless that happened too often. Only
    /// the task at the head is `suspect`: a worker cannot have died of what it had not come to.
    pub(super) fn may_resend(&mut self, no: TaskNo, suspect: bool) -> bool {
        let task = &mut self.tasks[no.key as usize];
        if task.job.is_none() {
            return false;
        }
        task.resends += u8::from(suspect);
        task.place = Place::Queued;
        task.spec.bundle = 0;
        task.resends <= MAX_RESENDS
    }

    pub(super) fn start_failed(
        &mut self,
        now: Instant,
        end: End,
        reason: Option<Reason>,
        effects: &mut Effects<J, R>,
    ) {
        let cause = match (reason, end) {
            (Some(Reason::Closing), _) => return,
            (Some(Reason::Handshake(error)), _) => StartError::Handshake(error),
            (Some(Reason::Protocol(message)), _) => {
                StartError::Handshake(HandshakeError::Protocol { message })
            }
            (_, End::Unborn(error)) => error,
            (_, End::Exited(fate)) => StartError::Handshake(HandshakeError::Died { cause: fate.cause }),
        };
        self.starts.failed(now);
        let alive = self.lanes.iter().any(|lane| matches!(lane.life, Life::Up | Life::Retiring { .. }));
        if self.starts.exhausted() && !alive {
            self.break_with(now, cause, effects);
        }
    }

    /// No worker can be had: everything that waits fails, now and later.
    pub(super) fn break_with(&mut self, now: Instant, cause: StartError, effects: &mut Effects<J, R>) {
        self.broken = Some(cause);
        self.warm = false;
        for lane in 0..self.lanes.len() {
            if matches!(self.lanes[lane].life, Life::Starting { .. }) {
                self.condemn(now, LaneNo(lane), Reason::Closing, effects);
            }
        }
        effects.push(Effect::Roused);
    }
}

/// What to tell of a task whose worker is gone.
pub(super) fn blame(no: TaskNo, phase: Phase, reason: Option<&Reason>, end: &End) -> (Ran, TaskErrorKind) {
    let ran = match phase {
        Phase::Sent => Ran::No,
        Phase::Running => Ran::Maybe,
        Phase::Replying => Ran::Yes,
    };
    let kind = match (reason, end) {
        // It may have ended between the decision and the kill, without a result.
        (Some(&Reason::TimedOut { task, limit, ran_for }), _) if task == no && phase != Phase::Sent => {
            TaskErrorKind::TimedOut { limit, ran_for }
        }
        (Some(Reason::Protocol(message)), _) if phase != Phase::Sent => {
            TaskErrorKind::Protocol { message: message.clone() }
        }
        (_, End::Exited(fate)) => TaskErrorKind::WorkerDied(WorkerExit {
            pid: fate.pid,
            cause: fate.cause,
            phase,
            oom: fate.oom,
            last_words: fate.last_words.clone(),
        }),
        (_, End::Unborn(error)) => TaskErrorKind::PoolBroken(error.clone()),
    };
    (ran, kind)
}
