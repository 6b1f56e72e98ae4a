//! The end of a pool, gentle or not.

use std::time::Instant;

use crate::error::TaskErrorKind;
use crate::worker_event::WorkerEndReason;

use super::super::roster::{Lane, LaneNo, Reason};
use super::{Cancel, Close, Effect, Effects, Machine, Why};

impl<J: Clone, R> Machine<J, R> {
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
            let waiting = self.take_waiting();
            self.settle_all(waiting, &TaskErrorKind::Cancelled { was_running: false }, effects);
            let how = if close.kill { Cancel::Kill } else { Cancel::Pending };
            for lane in 0..self.lanes.len() {
                self.revoke_sent(LaneNo(lane), 0, Why::Cancel { how }, effects);
            }
        }
        if close.kill {
            for lane in 0..self.lanes.len() {
                if self.lanes[lane].sent.is_empty() {
                    self.condemn(now, LaneNo(lane), Reason::Closing, effects);
                }
            }
        }
    }

    /// Ends the workers of a closing pool that have nothing left to do, and then the pool.
    pub(super) fn wind_down(&mut self, now: Instant, effects: &mut Effects<J, R>) {
        let kill = self.closing.is_some_and(|close| close.kill);
        if self.backlog.is_empty() && self.delayed == 0 {
            for index in 0..self.lanes.len() {
                let lane = &self.lanes[index];
                if lane.is_starting() || (kill && lane.sent.is_empty()) {
                    self.condemn(now, LaneNo(index), Reason::Closing, effects);
                } else if lane.is_idle() {
                    self.retire(now, LaneNo(index), WorkerEndReason::Shutdown, effects);
                }
            }
        }
        if self.tasks.is_empty() && !self.terminated && !self.lanes.iter().any(Lane::is_live) {
            self.terminated = true;
            effects.push(Effect::Terminated);
        }
    }
}
