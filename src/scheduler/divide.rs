//! What becomes of a task that is many calls when one of them is slow, or its worker dies: called under the engine's lock.

use std::sync::Arc;

use crate::error::Phase;
use crate::transport::{Message, Progress};

use super::chunk::Rest;
use super::core::Core;
use super::job::Reply;
use super::lane::Link;
use super::later::Later;
use super::machine::{Event, LaneNo, Spec};
use super::policy::MAX_RESENDS;

impl Core {
    /// Has those calls of a task go on as another that its worker has not begun. Says whether there are any.
    pub(super) fn divide(&mut self, lane: LaneNo, seq: u64, later: &mut Later) -> bool {
        let begun = self.link(lane).and_then(|link| link.board.stop_calls(seq));
        begun.is_some_and(|begun| self.split(lane, seq, begun, 0, later))
    }

    /// The task that a worker is at is slow: what stands behind its slow call goes elsewhere, and what came before is told.
    /// Says what the machine has to know of that.
    pub(super) fn relieve(&mut self, lane: LaneNo, seq: u64, later: &mut Later) -> Option<Event<Reply>> {
        if self.link(lane).is_some_and(|link| link.board.calls_begun(seq).is_none()) {
            return Some(Event::NotBegun { lane, seq });
        }
        let divided = self.divide(lane, seq, later);
        // No call begins any more behind the one that is slow: all results before it are there now.
        self.hurry(lane, seq, later);
        divided.then_some(Event::Tick)
    }

    /// Takes the results that a worker has not sent yet, because the call that it is at is slow.
    fn hurry(&self, lane: LaneNo, seq: u64, later: &mut Later) {
        if let Some((_, job)) = self.machine.job_at(lane, seq)
            && let Some((chunk, link)) = job.chunk.as_ref().zip(self.link(lane))
            && let Some((first, bytes)) = link.board.results_left(seq)
        {
            // If they cannot be, that shows when the worker sends them.
            let _ = chunk.add(first, Message { bytes, ..Message::default() }, later);
        }
    }

    /// The calls after the first so many of a task go on as another task. Says whether there are any.
    fn split(&mut self, lane: LaneNo, seq: u64, begun: u32, resends: u8, later: &mut Later) -> bool {
        let Some((no, job)) = self.machine.job_at(lane, seq) else { return false };
        let Some((chunk, (rest, after))) = job.chunk.clone().zip(job.rest(begun, resends)) else {
            return false;
        };
        let slot = Arc::clone(&rest.slot);
        let (bytes, cooperates) = (rest.arguments.len(), rest.cooperates);
        let spec = Spec { bytes, cooperates, divisible: true, ..Spec::default() };
        let task = self.machine.split_off(no, rest, spec);
        if after.has_members() {
            self.has_batch(task, after);
            return true;
        }
        let mut calls = after.calls();
        // Others that were taken back before come after these.
        if let Some(others) = chunk.take_rest() {
            calls += others.calls;
            after.goes_on(others, later);
        }
        chunk.goes_on(Rest { chunk: after, slot, task, calls }, later);
        true
    }

    /// The worker of a lane has died before it began with its front task. If that is many calls, only the first of them can
    /// be the cause.
    pub(super) fn spare_all_but_the_first(&mut self, lane: LaneNo, later: &mut Later) {
        let front = self.machine.outstanding(lane).next();
        if let Some(seq) = front {
            self.split(lane, seq, 1, 0, later);
        }
    }

    /// The worker of a lane is dead, which had taken up this task. If that is many calls, those that it did are told, and
    /// those that it had not begun go on.
    pub(super) fn rescue(&mut self, lane: LaneNo, seq: u64, link: &Link, later: &mut Later) {
        let Some((_, job)) = self.machine.job_at(lane, seq) else { return };
        let Some(chunk) = &job.chunk else { return };
        // It was at others already: it has made all of these calls, although nobody could hear what came of them.
        let past = link.board.is_past_calls(seq);
        let begun = if past { chunk.calls() } else { link.board.calls_begun(seq).unwrap_or(0) };
        let call = begun.saturating_sub(1);
        let phase = match link.board.call_progress(call) {
            _ if begun == 0 => Phase::Sent,
            _ if past => Phase::Replying,
            Progress::Started => Phase::Running,
            Progress::Finished => Phase::Replying,
            Progress::Sent | Progress::Claimed | Progress::Revoked => Phase::Sent,
        };
        // A call that did not run may be tried again, but not for ever: it may be what took its worker down.
        let resends = 1 + if call == 0 { chunk.resends } else { 0 };
        let again = phase == Phase::Sent && resends <= MAX_RESENDS;
        let left = link.board.results_left(seq).unwrap_or_default();
        chunk.break_off(call, (!again).then_some(phase), left, later);
        if again {
            self.split(lane, seq, call, resends, later);
        } else {
            self.split(lane, seq, call + 1, 0, later);
        }
    }
}
