//! Who gets which task, and when a worker is launched for it, or replaced.

use super::*;

impl<J: Clone, R> Machine<J, R> {
    /// Settles what waits for a worker that will never come.
    pub(super) fn give_up_waiting(&mut self, effects: &mut Effects<J, R>) {
        if self.backlog.is_empty() {
            return;
        }
        let closed = self.closing.is_some_and(|close| close.kill);
        let kind = match &self.broken {
            Some(cause) => TaskErrorKind::PoolBroken(cause.clone()),
            None if closed => TaskErrorKind::Cancelled { was_running: false },
            None => return,
        };
        for no in self.backlog.take_all() {
            if self.get(no).is_some() {
                self.counts.cancelled += usize::from(closed);
                self.settle(no, Verdict::Failed(Ran::No, kind.clone()), effects);
            }
        }
    }

    /// Replaces workers that have had their share of tasks.
    pub(super) fn retire_used_up(&mut self, now: Instant, effects: &mut Effects<J, R>) {
        let Some(quota) = self.settings.max_tasks_per_child else { return };
        for index in 0..self.lanes.len() {
            if self.lanes[index].is_idle() && self.lanes[index].next_seq > quota {
                self.retire(now, LaneNo(index), effects);
            }
        }
    }

    /// The first idle worker: the lowest lanes stay warm and the highest fall idle.
    pub(super) fn next_idle(&self) -> Option<LaneNo> {
        let quota = self.settings.max_tasks_per_child;
        let index = self.lanes.iter().position(|lane| lane.is_idle() && lane.has_room(1, 0, quota))?;
        Some(LaneNo(index))
    }

    /// Gives an idle worker the oldest task, and those that are bundled with it.
    pub(super) fn feed_idle(&mut self, now: Instant, lane: LaneNo, effects: &mut Effects<J, R>) {
        let mut bundle = 0;
        while let Some(no) = self.front() {
            let spec = &self.task(no).spec;
            let first = self.lanes[lane.0].sent.is_empty();
            let together = first || (bundle != 0 && spec.bundle == bundle);
            let quota = self.settings.max_tasks_per_child;
            if !together || !self.lanes[lane.0].has_room(usize::MAX, spec.bytes, quota) {
                break;
            }
            bundle = spec.bundle;
            self.send(now, lane, no, effects);
        }
    }

    /// Hides the latency of short tasks by sending more of them than a worker can run at once.
    pub(super) fn send_ahead(&mut self, now: Instant, effects: &mut Effects<J, R>) {
        while let Some(no) = self.front() {
            let bytes = self.task(no).spec.bytes;
            let quota = self.settings.max_tasks_per_child;
            let candidate = (0..self.lanes.len())
                .filter(|&index| {
                    let lane = &self.lanes[index];
                    lane.has_room(lane.pace.depth(), bytes, quota) && now < lane.front_since + STALL
                })
                .min_by_key(|&index| self.lanes[index].sent.len());
            let Some(lane) = candidate else { break };
            self.send(now, LaneNo(lane), no, effects);
        }
    }

    /// Sends the front task of the backlog.
    pub(super) fn send(&mut self, now: Instant, lane_no: LaneNo, no: TaskNo, effects: &mut Effects<J, R>) {
        self.backlog.take_front();
        let lane = &mut self.lanes[lane_no.0];
        let seq = lane.next_seq;
        lane.next_seq += 1;
        lane.sent.push_back((seq, no));
        let first = lane.sent.len() == 1;
        if first {
            lane.front_since = now;
        }
        let wake = lane.wake(STALL);
        let task = &mut self.tasks[no.key as usize];
        task.place = Place::Sent { lane: lane_no, seq };
        lane.bytes += task.spec.bytes;
        let job = task.job.clone().expect("a task in the backlog is not settled");
        effects.push(Effect::Send { lane: lane_no, seq, job });
        self.wake_by(wake);
        if first {
            self.arm(now, no);
        }
    }

    /// Launches a worker for each task that waits and that no worker being started will take.
    pub(super) fn launch(&mut self, now: Instant, effects: &mut Effects<J, R>) {
        if self.broken.is_some() || self.closing.is_some_and(|close| close.kill) {
            return;
        }
        let starting = self.lanes.iter().filter(|lane| matches!(lane.life, Life::Starting { .. })).count();
        let wanted = if self.warm { self.lanes.len() } else { self.backlog.len().saturating_sub(starting) };
        let empty = self.lanes.iter().enumerate().filter(|(_, lane)| matches!(lane.life, Life::Empty));
        let empty: Vec<_> = empty.map(|(index, _)| LaneNo(index)).take(wanted).collect();
        if empty.is_empty() {
            return;
        }
        if let Some(at) = self.starts.wait_until(now) {
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

    pub(super) fn retire(&mut self, now: Instant, lane: LaneNo, effects: &mut Effects<J, R>) {
        let until = now + self.settings.stop_timeout;
        self.lanes[lane.0].life = Life::Retiring { until };
        effects.push(Effect::Retire { lane });
        self.wake_by(Some(until));
    }
}
