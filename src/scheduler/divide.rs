//! What becomes of a task that is many calls when one of them is slow, or its worker dies: called under the engine's lock.

use std::sync::Arc;
use std::task::Waker;

use crate::transport::Message;

use super::chunk::Rest;
use super::engine::Core;
use super::lane::Link;
use super::machine::{LaneNo, Spec};

impl Core {
    /// Has those calls of a task go on as another that its worker has not begun. Says whether there are any.
    pub(super) fn divide(&mut self, lane: LaneNo, seq: u64, wakers: &mut Vec<Waker>) -> bool {
        let begun = self.link(lane).and_then(|link| link.board.stop_calls(seq));
        begun.is_some_and(|begun| self.split(lane, seq, begun, wakers))
    }

    /// Takes the results that a worker has not sent yet, because the call that it is at is slow.
    pub(super) fn hurry(&self, lane: LaneNo, seq: u64, wakers: &mut Vec<Waker>) {
        if let Some((_, job)) = self.machine.job_at(lane, seq)
            && let Some((chunk, link)) = job.chunk.as_ref().zip(self.link(lane))
            && link.board.calls_begun(seq).is_some()
            && let Some((first, bytes)) = link.board.results_left()
        {
            // If they cannot be, that shows when the worker sends them.
            let waker = chunk.add(first, Message { bytes, ..Message::default() });
            wakers.extend(waker.ok().flatten());
        }
    }

    /// The calls after the first so many of a task go on as another task. Says whether there are any.
    fn split(&mut self, lane: LaneNo, seq: u64, begun: u32, wakers: &mut Vec<Waker>) -> bool {
        let Some((no, job)) = self.machine.job_at(lane, seq) else { return false };
        let Some((chunk, (rest, after))) = job.chunk.clone().zip(job.rest(begun)) else { return false };
        let slot = Arc::clone(&rest.slot);
        let spec = Spec { bytes: rest.arguments.len(), cooperates: true, divisible: true, ..Spec::default() };
        let task = self.machine.split_off(no, rest, spec);
        let calls = after.calls();
        wakers.extend(chunk.goes_on(Rest { chunk: after, slot, task, calls }));
        true
    }

    /// The worker of a lane is dead, which was at its front task. If that is many calls, those that it did are told, and
    /// those that it had not begun go on.
    pub(super) fn rescue(&mut self, lane: LaneNo, link: &Link, wakers: &mut Vec<Waker>) {
        let Some(seq) = self.machine.outstanding(lane).next() else { return };
        let Some((_, job)) = self.machine.job_at(lane, seq) else { return };
        let Some(chunk) = &job.chunk else { return };
        // If it had begun none, the first is to blame: else a task that is not to be begun would be tried for ever.
        let begun = link.board.calls_begun(seq).unwrap_or(0).max(1);
        let (first, left) = link.board.results_left().unwrap_or_default();
        chunk.break_off(begun, first, left);
        self.split(lane, seq, begun, wakers);
    }
}
