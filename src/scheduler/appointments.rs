//! When to look at which task that no worker runs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::machine::TaskNo;

/// Appointments to look at a task. One that is overtaken by events is dropped when it comes up, or when most are
/// such.
#[derive(Clone, Debug, Default)]
pub(crate) struct Appointments {
    heap: BinaryHeap<Reverse<(Instant, TaskNo)>>,
}

/// Appointments that nobody keeps are not worth a sweep before there are so many.
const SWEEP: usize = 64;

impl Appointments {
    /// `live` tells the tasks that there are, of which there are `count`.
    pub(crate) fn add(&mut self, at: Instant, task: TaskNo, count: usize, live: impl Fn(TaskNo) -> bool) {
        if self.heap.len() > SWEEP + 4 * count {
            self.heap.retain(|&Reverse((_, task))| live(task));
        }
        self.heap.push(Reverse((at, task)));
    }

    /// The next task to look at, if its time has come.
    pub(crate) fn due(&mut self, now: Instant) -> Option<TaskNo> {
        let &Reverse((at, task)) = self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        Some(task)
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod test {
    use std::time::Duration;

    use super::*;

    #[test]
    fn they_come_up_in_their_order_and_those_nobody_keeps_do_not_pile_up() {
        let now = Instant::now();
        let mut machine: crate::scheduler::machine::Machine<(), ()> =
            crate::scheduler::machine::test_machine(now);
        let task = machine.submit(now, (), Default::default()).expect("a task");
        let mut appointments = Appointments::default();
        for seconds in (0..10_000).rev() {
            appointments.add(now + Duration::from_secs(seconds), task, 1, |_| false);
        }
        assert!(appointments.heap.len() <= SWEEP + 5, "{} appointments", appointments.heap.len());
        assert_eq!(appointments.next(), Some(now));
        assert_eq!(appointments.due(now), Some(task));
        assert_eq!(appointments.due(now), None);
    }
}
