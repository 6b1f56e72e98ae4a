//! Attempts: whether a task that failed is tried again, when, and what is remembered of it.
//!
//! A task waits for its next attempt outside of the backlog, so it delays nobody. One that may have brought down a
//! worker is a suspect: it is sent alone, so that the next crash costs no other task even a detour.

use std::time::{Duration, Instant};

use crate::error::{Ran, TaskErrorKind};

use super::{Effects, Ended, Machine, Place, Task, TaskNo, Verdict};

impl<J, R> Task<J, R> {
    /// An earlier attempt took its worker down.
    pub(super) fn is_suspect(&self) -> bool {
        self.earlier.iter().any(|verdict| matches!(verdict, Verdict::Failed(..)))
    }

    /// How long it might have waited, if it must not begin any more.
    pub(super) fn is_late(&self, now: Instant) -> Option<Duration> {
        self.expires.filter(|&(at, _)| at <= now).map(|(_, limit)| limit)
    }
}

impl<J: Clone, R> Machine<J, R> {
    /// An attempt has ended: the task is settled with that, or tried again.
    pub(super) fn conclude(
        &mut self,
        now: Instant,
        no: TaskNo,
        verdict: Verdict<R>,
        ended: Ended,
        effects: &mut Effects<J, R>,
    ) {
        match self.next_attempt(now, no, ended) {
            None => self.settle(no, verdict, effects),
            Some(until) => {
                if let Some((lane, _)) = self.worker_of(no) {
                    let lane = &mut self.lanes[lane.0];
                    lane.bytes = lane.bytes.saturating_sub(self.tasks[no.key as usize].spec.bytes);
                }
                self.delayed += 1;
                let task = &mut self.tasks[no.key as usize];
                task.earlier.push(verdict);
                task.place = Place::Delayed { until };
                self.look_later(until, no);
                self.expire_by_deadline(no);
            }
        }
    }

    /// The first attempt has begun in time: those that follow must only begin before the deadline.
    fn expire_by_deadline(&mut self, no: TaskNo) {
        let task = &mut self.tasks[no.key as usize];
        let deadline = task.spec.terms.as_ref().and_then(|terms| terms.deadline);
        let before = task.expires;
        task.expires =
            before.zip(deadline).map(|((at, limit), deadline)| (deadline, limit + (deadline - at)));
        if let Some((at, _)) = task.expires.filter(|_| task.expires != before) {
            self.look_later(at, no);
        }
    }

    /// When the task is tried again after such an end, if it is.
    fn next_attempt(&self, now: Instant, no: TaskNo, ended: Ended) -> Option<Instant> {
        let task = self.task(no);
        let terms = task.spec.terms.as_deref()?;
        let retry = terms.retry.as_ref()?;
        let failures = u32::try_from(task.earlier.len() + 1).unwrap_or(u32::MAX);
        let stopped =
            self.broken.is_some() || self.closing.is_some_and(|close| close.cancel_pending || close.kill);
        if stopped || task.job.is_none() || task.unwanted || failures > retry.retries || !retry.covers(ended)
        {
            return None;
        }
        let until = now + retry.pause(failures, u64::from(no.serial) << 8 | u64::from(failures & 0xff));
        terms.deadline.is_none_or(|deadline| until < deadline).then_some(until)
    }

    /// A task that waits for its next attempt, or that should have begun by now.
    pub(super) fn keep_appointment(&mut self, now: Instant, no: TaskNo, effects: &mut Effects<J, R>) {
        let Some(task) = self.get(no) else { return };
        let late = task.is_late(now);
        match task.place {
            Place::Delayed { until } if until <= now => {
                self.delayed -= 1;
                self.tasks[no.key as usize].place = Place::Queued;
                self.put_back(now, no, effects);
            }
            Place::Queued => {
                if let Some(limit) = late {
                    self.settle_expired(no, limit, effects);
                    self.forget();
                }
            }
            Place::Sent { lane, seq } if late.is_some() => {
                self.revoke(lane, seq, no, super::Why::Expired, effects)
            }
            Place::Delayed { .. } | Place::Sent { .. } => {}
        }
    }

    pub(super) fn settle_expired(&mut self, no: TaskNo, limit: Duration, effects: &mut Effects<J, R>) {
        self.settle(no, Verdict::Failed(Ran::No, TaskErrorKind::QueueTimedOut { limit }), effects);
    }

    pub(super) fn look_later(&mut self, at: Instant, no: TaskNo) {
        let tasks = &self.tasks;
        self.appointments.add(at, no, tasks.len(), |no| super::dispatch::waits(tasks, no));
        self.wake_by(Some(at));
    }

    /// Takes all tasks that no worker has.
    pub(super) fn take_waiting(&mut self) -> Vec<TaskNo> {
        let mut waiting = self.backlog.take_all();
        if self.delayed > 0 {
            let delayed = self.tasks.iter().filter(|(_, task)| matches!(task.place, Place::Delayed { .. }));
            waiting.extend(delayed.map(|(key, task)| TaskNo { key: key as u32, serial: task.serial }));
        }
        waiting
    }
}

/// Whether the body may have run, given that of earlier attempts.
pub(super) fn ran<R>(ran: Ran, earlier: &[Verdict<R>]) -> Ran {
    let told = earlier.iter().map(|verdict| match verdict {
        Verdict::Replied(_) => Ran::Yes,
        Verdict::Failed(ran, _) => *ran,
    });
    told.fold(ran, Ran::or)
}
