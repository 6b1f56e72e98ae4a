//! The tasks that no worker has, oldest first.

use std::collections::VecDeque;

use super::machine::TaskNo;

/// A queue that may hold numbers of tasks that are gone; whoever takes from it skips those.
///
/// **Invariant:** the queue is in the order in which its tasks were accepted, whatever came back when.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog {
    queue: VecDeque<TaskNo>,
    /// How many of the numbers are of tasks that still wait. Kept by the calls below.
    waiting: usize,
}

/// Numbers of tasks that are gone are not worth a sweep before there are so many.
const SWEEP: usize = 64;

impl Backlog {
    pub(crate) fn push(&mut self, task: TaskNo) {
        self.queue.push_back(task);
        self.waiting += 1;
    }

    /// A task comes back, to its old place in the line. Of several, give the youngest first: each is then at
    /// its place at once.
    pub(crate) fn put_back(&mut self, task: TaskNo) {
        let older = self.queue.iter().take_while(|other| other.is_older_than(task)).count();
        self.queue.insert(older, task);
        self.waiting += 1;
    }

    /// A waiting task was cancelled. Its number stays in the queue until it comes to the front, or until most
    /// of the numbers are such.
    pub(crate) fn forget(&mut self, waits: impl Fn(TaskNo) -> bool) {
        self.waiting -= 1;
        if self.queue.len() > SWEEP + 2 * self.waiting {
            self.queue.retain(|&task| waits(task));
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

    /// The numbers that take memory, of tasks that wait and of others.
    pub(crate) fn numbers(&self) -> impl ExactSizeIterator<Item = TaskNo> + '_ {
        self.queue.iter().copied()
    }
}
