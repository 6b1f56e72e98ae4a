//! When to look at which running task.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::machine::TaskNo;

/// Appointments to look at a task. One that is overtaken by events is dropped when it comes up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, TaskNo)>>,
}

impl Deadlines {
    pub(crate) fn add(&mut self, at: Instant, task: TaskNo) {
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
