//! How many workers there are: launched for work or to keep a minimum, retired when idle, old or too many.

use std::time::Instant;

use crate::worker_event::WorkerEndReason;

use super::super::policy;
use super::super::roster::{Lane, LaneNo, Life};
use super::{Effect, Effects, Machine};

impl<J: Clone, R> Machine<J, R> {
    /// Launches a worker for each task that waits and that no worker being started will take, and for those that
    /// are missing from the minimum.
    pub(super) fn launch(&mut self, now: Instant, tasks_want: bool, effects: &mut Effects<J, R>) {
        if self.broken.is_some() || self.closing.is_some_and(|close| close.kill) {
            return;
        }
        self.keep_surplus();
        let count = |of: fn(&Lane) -> bool| self.lanes.iter().filter(|lane| of(lane)).count();
        let starting = count(Lane::is_starting);
        let for_tasks = if tasks_want { self.backlog.len().saturating_sub(starting) } else { 0 };
        let wanted = match self.warm {
            true => self.lanes.len(),
            false => for_tasks.max(self.missing(starting + count(Lane::is_fresh))),
        };
        // After a failure one worker tries for all, until one succeeds.
        let wanted = match self.starts.has_failed() {
            true => wanted.min(1usize.saturating_sub(count(Lane::is_undecided))),
            false => wanted,
        };
        let empty = (0..).map(LaneNo).zip(&self.lanes).filter(|(_, lane)| lane.may_launch());
        let empty: Vec<_> = empty.map(|(lane, _)| lane).take(wanted).collect();
        if empty.is_empty() {
            return;
        }
        if let Some(at) = self.starts.wait_until(now, for_tasks > 0) {
            self.wake_by(Some(at));
            return;
        }
        let until = now + self.settings.start_timeout;
        for lane in empty {
            self.lanes[lane.0] = Lane { life: Life::Starting { until }, ..Lane::new(now) };
            effects.push(Effect::Launch { lane });
        }
        self.wake_by(Some(until));
    }

    /// Where a place has no worker, one of those that are too many takes it and stays: nobody is launched beyond
    /// the most that there may be.
    fn keep_surplus(&mut self) {
        let place = |lanes: &[Lane], of: fn(&Lane) -> bool| lanes.iter().position(of);
        while let Some(kept) = place(&self.lanes, |lane| lane.surplus && (lane.is_starting() || lane.is_up()))
            && let Some(free) = place(&self.lanes, Lane::may_launch)
        {
            self.lanes[kept].keep();
            self.lanes[free].surplus = true;
        }
    }

    /// How many workers are missing from the minimum, if there are so many.
    fn missing(&self, present: usize) -> usize {
        match self.closing {
            None => self.minimum().saturating_sub(present),
            Some(_) => 0,
        }
    }

    fn minimum(&self) -> usize {
        self.settings.min_workers.min(self.settings.max_workers)
    }

    /// Ends the workers that are worn, as they become idle.
    pub(super) fn retire_worn(&mut self, now: Instant, effects: &mut Effects<J, R>) {
        for index in 0..self.lanes.len() {
            if self.lanes[index].is_idle()
                && let Some(why) = self.lanes[index].worn.clone()
            {
                self.retire(now, LaneNo(index), why, effects);
            }
        }
    }

    pub(super) fn retire(
        &mut self,
        now: Instant,
        lane: LaneNo,
        why: WorkerEndReason,
        effects: &mut Effects<J, R>,
    ) {
        let until = now + self.settings.stop_timeout;
        self.lanes[lane.0].life = Life::Retiring { until, why };
        effects.push(Effect::Retire { lane });
        self.wake_by(Some(until));
    }

    /// A worker takes tasks from now on.
    pub(super) fn settle_in(&mut self, now: Instant, lane_no: LaneNo) {
        self.lives += 1;
        let lives = self.lives;
        let expires = self.settings.max_worker_age.map(|age| policy::expiry(now, age, lives));
        let lane = &mut self.lanes[lane_no.0];
        lane.expires = expires;
        if lane.surplus {
            lane.wear(WorkerEndReason::Resized);
        }
        self.front_changed(now, lane_no);
        // It need not start in time any more.
        self.find_wake();
    }

    /// An idle worker has become too old, or has been idle for too long.
    pub(super) fn look_after_idle(&mut self, now: Instant, lane_no: LaneNo) {
        let has_come = |moment: Option<Instant>| moment.is_some_and(|at| at <= now);
        let up = self.lanes.iter().filter(|lane| lane.is_fresh()).count();
        let minimum = self.minimum();
        // It is wanted as long as the others are started that it is to be up with.
        let again = self.settings.idle_timeout.filter(|_| self.warm);
        let again = again.map(|timeout| now + timeout.max(*policy::LOOK_AGAIN.end()));
        let lane = &mut self.lanes[lane_no.0];
        if has_come(lane.expires) {
            lane.wear(WorkerEndReason::MaxAge);
            // Asked to end in this very step.
            lane.expires = None;
        }
        if has_come(lane.idle_until) {
            lane.idle_until = again;
            if up > minimum && again.is_none() {
                lane.wear(WorkerEndReason::Idle);
            }
        }
    }

    /// There may be so many workers from now on. Those that are too many finish what they have.
    pub(super) fn resize(&mut self, now: Instant, max_workers: usize, effects: &mut Effects<J, R>) {
        self.settings.max_workers = max_workers;
        let mut usable = self.lanes.iter().filter(|lane| lane.is_usable()).count();
        for lane in self.lanes.iter_mut().filter(|lane| lane.surplus && !lane.is_lost()) {
            if usable < max_workers {
                lane.keep();
                usable += 1;
            }
        }
        while usable < max_workers {
            self.lanes.push(Lane::new(now));
            usable += 1;
        }
        // Places without a worker go first, then those whose worker does nothing, then those without tasks; of equals the
        // last.
        let mut order: Vec<_> =
            (0..self.lanes.len()).filter(|&index| self.lanes[index].is_usable()).collect();
        order.sort_by_key(|&index| {
            let lane = &self.lanes[index];
            (!lane.may_launch(), !lane.silent, !lane.is_idle(), usize::MAX - index)
        });
        for &index in &order[..usable - max_workers] {
            let lane = &mut self.lanes[index];
            lane.surplus = true;
            if lane.is_up() {
                lane.wear(WorkerEndReason::Resized);
            }
        }
        if self.warm && self.is_complete() {
            self.warm = false;
            effects.push(Effect::Roused);
        }
    }
}
