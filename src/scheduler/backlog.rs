//! The tasks that no worker has, oldest first.

use std::collections::VecDeque;

use super::machine::TaskNo;

/// A queue that may hold numbers of tasks that are gone; whoever takes from it skips those.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog {
    queue: VecDeque<TaskNo>,
    /// How many of the numbers are of tasks that still wait. Kept by the calls below.
    waiting: usize,
}

impl Backlog {
    pub(crate) fn push(&mut self, task: TaskNo) {
        self.queue.push_back(task);
        self.waiting += 1;
    }

    /// Tasks that come back, in their old order, go before all others: they were accepted earlier.
    pub(crate) fn put_back(&mut self, tasks: impl DoubleEndedIterator<Item = TaskNo>) {
        for task in tasks.rev() {
            self.queue.push_front(task);
            self.waiting += 1;
        }
    }

    /// A waiting task was cancelled. Its number stays in the queue until it comes to the front.
    pub(crate) fn forget(&mut self) {
        self.waiting -= 1;
        if self.waiting == 0 {
            self.queue.clear();
        }
    }

    /// The oldest waiting task.
    pub(crate) fn front(&mut self, waits: impl Fn(TaskNo) -> bool) -> Option<TaskNo> {
        while let Some(&task) = self.queue.front() {
            if waits(task) {
                return Some(task);
            }
            self.queue.pop_front();
        }
        None
    }

    /// Takes the task that [`Backlog::front`] showed.
    pub(crate) fn take_front(&mut self) {
        self.queue.pop_front();
        self.waiting -= 1;
    }

    /// Takes all waiting tasks, oldest first.
    pub(crate) fn take_all(&mut self) -> VecDeque<TaskNo> {
        self.waiting = 0;
        std::mem::take(&mut self.queue)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }
}
