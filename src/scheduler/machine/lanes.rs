//! The life of a worker, from its launch to its death and what that means for its tasks.

use std::time::{Duration, Instant};

use crate::error::{HandshakeError, Phase, Ran, StartError, TaskErrorKind, WorkerExit};
use crate::worker_event::WorkerEndReason;

use super::super::policy::{MAX_RESENDS, STRAYED};
use super::super::roster::{Lane, LaneNo, Life, Reason};
use super::{Effect, Effects, End, Ended, Fate, Machine, Place, TaskNo, Verdict, Why};

impl<J: Clone, R> Machine<J, R> {
    pub(super) fn up(&mut self, now: Instant, lane: LaneNo, effects: &mut Effects<J, R>) {
        match self.lanes[lane.0].life {
            Life::Starting { .. } => {
                let after = now - self.lanes[lane.0].front_since;
                self.lanes[lane.0].life = Life::Up;
                self.starts.succeeded();
                self.settle_in(now, lane);
                effects.push(Effect::Started { lane, after });
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
        (reply, ended, ran_for): (R, Ended, Duration),
        effects: &mut Effects<J, R>,
    ) {
        let lane = &mut self.lanes[lane_no.0];
        if lane.has_lied() {
            return;
        }
        let no = match lane.sent.front() {
            Some(&(front, no)) if front == seq => no,
            _ => {
                let message = format!("it replied to task {seq}, which is not the one it has");
                return self.strayed(now, lane_no, message, effects);
            }
        };
        lane.sent.pop_front();
        lane.silent = false;
        lane.confirmed = seq;
        lane.pace.note(ran_for);
        lane.asked.take_if(|asked| asked.task == no);
        self.starts.proven();
        self.front_changed(now, lane_no);
        self.conclude(now, no, Verdict::Replied(reply), ended, effects);
    }

    pub(super) fn skipped(&mut self, now: Instant, lane_no: LaneNo, seq: u64, effects: &mut Effects<J, R>) {
        let lane = &mut self.lanes[lane_no.0];
        let has_it = lane.sent.iter().any(|&(sent, _)| sent <= seq);
        if seq <= lane.confirmed || seq >= lane.next_seq || has_it {
            let message = format!("it passed over task {seq}, which was not taken back");
            return self.strayed(now, lane_no, message, effects);
        }
        lane.silent = false;
        lane.confirmed = seq;
    }

    /// A worker is not to be trusted with another task. The one that it is at may be innocent of that, and gets a
    /// moment to end.
    pub(super) fn strayed(
        &mut self,
        now: Instant,
        lane_no: LaneNo,
        message: String,
        effects: &mut Effects<J, R>,
    ) {
        let lane = &mut self.lanes[lane_no.0];
        if !lane.is_up() {
            return self.violated(now, lane_no, message, effects);
        }
        if lane.strayed.is_some() {
            return;
        }
        let until = now + STRAYED;
        lane.wear(WorkerEndReason::Protocol { message: message.clone() });
        lane.strayed = Some((until, message));
        self.revoke_sent(lane_no, 1, Why::Stalled, effects);
        self.divide(lane_no, effects);
        self.wake_by(Some(until));
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

    /// Decides that a worker must die. Its tasks are settled or returned when it is dead.
    pub(super) fn condemn(
        &mut self,
        now: Instant,
        lane: LaneNo,
        reason: Reason,
        effects: &mut Effects<J, R>,
    ) {
        self.condemn_by(now, lane, reason, None, effects);
    }

    /// With a grace, the worker is first asked by a signal to end.
    pub(super) fn condemn_by(
        &mut self,
        now: Instant,
        lane_no: LaneNo,
        reason: Reason,
        grace: Option<Duration>,
        effects: &mut Effects<J, R>,
    ) {
        let lane = &mut self.lanes[lane_no.0];
        let until = now + self.settings.stop_timeout;
        let starting = match &mut lane.life {
            Life::Condemned { kill_at, until: given_up, .. } => {
                if grace.is_none() && kill_at.take().is_some() {
                    *given_up = until;
                    effects.push(Effect::Kill { lane: lane_no });
                }
                return;
            }
            Life::Empty | Life::Leaked | Life::Gone => return,
            Life::Starting { .. } => true,
            Life::Up | Life::Retiring { .. } => false,
        };
        lane.asked = None;
        let kill_at = grace.map(|grace| now + grace);
        // Those who kill for the sake of a task have seen to that.
        let goes_on = grace.is_some() || matches!(reason, Reason::Protocol(_));
        lane.life = Life::Condemned { reason, starting, kill_at, until };
        if goes_on {
            // Else it might begin what is behind its task, and be killed under that.
            self.revoke_sent(lane_no, 1, Why::Stalled, effects);
            self.divide(lane_no, effects);
        }
        effects.push(match kill_at {
            None => Effect::Kill { lane: lane_no },
            Some(_) => Effect::Terminate { lane: lane_no },
        });
        self.wake_by(Some(kill_at.unwrap_or(until)));
    }

    pub(super) fn down(
        &mut self,
        now: Instant,
        lane_no: LaneNo,
        end: End,
        phases: &[Phase],
        effects: &mut Effects<J, R>,
    ) {
        let surplus = self.lanes[lane_no.0].surplus;
        let fresh = Lane { surplus, ..Lane::new(now) };
        let lane = std::mem::replace(&mut self.lanes[lane_no.0], fresh);
        let (starting, reason, told) = match lane.life {
            Life::Starting { .. } => (true, None, WorkerEndReason::Died),
            Life::Condemned { reason, starting, .. } => {
                let told = reason.told();
                (starting, Some(reason), told)
            }
            Life::Retiring { why, .. } => (false, None, why),
            Life::Up | Life::Empty => (false, None, WorkerEndReason::Died),
            Life::Leaked | Life::Gone => {
                self.lanes[lane_no.0].life = Life::Gone;
                return;
            }
        };
        if starting {
            // While a worker starts, this is when it was launched.
            return self.start_failed(now, lane_no, lane.front_since, end, reason, effects);
        }
        let idle = phases.first().is_none_or(|&phase| phase == Phase::Sent);
        if told == WorkerEndReason::Died && lane.confirmed == 0 && idle {
            self.starts.stumbled(now);
        }
        if let End::Exited(Fate { pid, cause, .. }) = end {
            effects.push(Effect::Ended { lane: lane_no, reason: told, pid, cause });
        }
        // The youngest first, as the backlog wants them back.
        for (index, &(_, no)) in lane.sent.iter().enumerate().rev() {
            // Only what was told proves that a body did not start.
            let phase = phases.get(index).copied().unwrap_or(Phase::Running);
            if phase == Phase::Sent && self.may_resend(no, index == 0) {
                self.put_back(now, no, effects);
            } else {
                let (ran, kind, ended) = blame(no, phase, reason.as_ref(), &end);
                self.conclude(now, no, Verdict::Failed(ran, kind), ended, effects);
            }
        }
    }

    /// Whether a task that its worker never started may go to another one. Only the task that a worker was at
    /// can have to do with its death.
    pub(super) fn may_resend(&mut self, no: TaskNo, suspect: bool) -> bool {
        let task = &mut self.tasks[no.key as usize];
        task.place = Place::Queued;
        task.resends += u8::from(suspect);
        task.resends <= MAX_RESENDS && task.job.is_some()
    }

    fn start_failed(
        &mut self,
        now: Instant,
        lane: LaneNo,
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
        effects.push(Effect::StartFailed { lane, error: cause.clone() });
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
pub(super) fn blame(
    no: TaskNo,
    phase: Phase,
    reason: Option<&Reason>,
    end: &End,
) -> (Ran, TaskErrorKind, Ended) {
    let ran = match phase {
        Phase::Sent => Ran::No,
        Phase::Running => Ran::Maybe,
        Phase::Replying => Ran::Yes,
    };
    let crashed = if phase == Phase::Sent { Ended::Final } else { Ended::Crashed };
    let (kind, ended) = match (reason, end) {
        // It may have ended between the decision and the kill, without a result.
        (Some(&Reason::TimedOut { task, limit, ran_for }), _) if task == no && phase != Phase::Sent => {
            (TaskErrorKind::TimedOut { limit, ran_for }, Ended::TimedOut)
        }
        (Some(&Reason::Cancelled { task }), _) if task == no => {
            (TaskErrorKind::Cancelled { was_running: true }, Ended::Final)
        }
        (Some(Reason::Protocol(message)), _) if phase != Phase::Sent => {
            (TaskErrorKind::Protocol { message: message.clone() }, crashed)
        }
        (_, End::Exited(fate)) => {
            let exit = WorkerExit {
                pid: fate.pid,
                cause: fate.cause,
                phase,
                oom: fate.oom,
                limit: fate.limit,
                last_words: fate.last_words.clone(),
            };
            (TaskErrorKind::WorkerDied(exit), crashed)
        }
        (_, End::Unborn(error)) => (TaskErrorKind::PoolBroken(error.clone()), Ended::Final),
    };
    (ran, kind, ended)
}
