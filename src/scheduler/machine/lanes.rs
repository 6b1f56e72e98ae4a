//! The life of a worker, from its launch to its death and what that means for its tasks.

use std::time::{Duration, Instant};

use crate::error::{HandshakeError, Phase, Ran, StartError, TaskErrorKind, WorkerExit};

use super::super::policy::MAX_RESENDS;
use super::super::roster::{Lane, LaneNo, Life, Reason};
use super::{Effect, Effects, End, Machine, Place, TaskNo, Verdict};

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
            Life::Condemned { starting: true, .. } => {}
            _ => self.violated(now, lane, "it said that it was ready twice".to_owned(), effects),
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
        let no = match lane.sent.front() {
            Some(&(front, no)) if front == seq => no,
            _ => {
                let message = format!("it replied to task {seq}, which is not the one it has");
                return self.violated(now, lane_no, message, effects);
            }
        };
        lane.sent.pop_front();
        lane.confirmed = seq;
        lane.pace.note(ran_for);
        self.front_changed(now, lane_no);
        self.settle(no, Verdict::Replied(reply), effects);
    }

    pub(super) fn skipped(&mut self, now: Instant, lane_no: LaneNo, seq: u64, effects: &mut Effects<J, R>) {
        let lane = &mut self.lanes[lane_no.0];
        let has_it = lane.sent.iter().any(|&(sent, _)| sent <= seq);
        if seq <= lane.confirmed || seq >= lane.next_seq || has_it {
            let message = format!("it passed over task {seq}, which was not taken back");
            return self.violated(now, lane_no, message, effects);
        }
        lane.confirmed = seq;
    }

    pub(super) fn violated(
        &mut self,
        now: Instant,
        lane: LaneNo,
        message: String,
        effects: &mut Effects<J, R>,
    ) {
        self.condemn(now, lane, Reason::Protocol(message), effects);
    }

    pub(super) fn retire(&mut self, now: Instant, lane: LaneNo, effects: &mut Effects<J, R>) {
        let until = now + self.settings.stop_timeout;
        self.lanes[lane.0].life = Life::Retiring { until };
        effects.push(Effect::Retire { lane });
        self.wake_by(Some(until));
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
            Life::Empty | Life::Condemned { .. } | Life::Leaked | Life::Gone => return,
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
            Life::Up | Life::Retiring { .. } | Life::Empty => (false, None),
            Life::Leaked | Life::Gone => {
                self.lanes[lane_no.0].life = Life::Gone;
                return;
            }
        };
        if starting {
            // While a worker starts, this is when it was launched.
            return self.start_failed(now, lane.front_since, end, reason, effects);
        }
        // The youngest first, as the backlog wants them back.
        for (index, &(_, no)) in lane.sent.iter().enumerate().rev() {
            // Only what was told proves that a body did not start.
            let phase = phases.get(index).copied().unwrap_or(Phase::Running);
            if phase == Phase::Sent && self.may_resend(no, index == 0) {
                self.put_back(no);
            } else {
                let (ran, kind) = blame(no, phase, reason.as_ref(), &end);
                self.settle(no, Verdict::Failed(ran, kind), effects);
            }
        }
    }

    /// Whether a task that its worker never started may go to another one. Only the task that a worker was at
    /// can have to do with its death.
    fn may_resend(&mut self, no: TaskNo, suspect: bool) -> bool {
        let task = &mut self.tasks[no.key as usize];
        task.place = Place::Queued;
        task.resends += u8::from(suspect);
        task.resends <= MAX_RESENDS && task.job.is_some()
    }

    fn start_failed(
        &mut self,
        now: Instant,
        launched: Instant,
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
        self.starts.failed(now, launched);
        let hope = self.lanes.iter().any(|lane| lane.is_alive() || lane.is_starting());
        if self.starts.exhausted() && !hope {
            self.break_with(cause, effects);
        }
    }

    /// No worker can be had: everything that waits fails, now and later.
    pub(super) fn break_with(&mut self, cause: StartError, effects: &mut Effects<J, R>) {
        self.broken = Some(cause);
        self.warm = false;
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
