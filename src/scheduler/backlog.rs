//! The tasks that no worker has, oldest first.

use std::collections::VecDeque;

use super::machine::TaskNo;

/// A queue that may hold numbers of tasks that are gone; whoever takes from it skips those.
///
/// **Invariant:** the queue is in the order in which its tasks were accepted, whatever came back when. What was split off
/// a task stands where that was accepted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog {
    queue: VecDeque<Standing>,
    /// How many of the numbers are of tasks that still wait. Kept by the calls below.
    waiting: usize,
}

/// A task where it was accepted, by the serial number of that. These may wrap around; no two that wait are half of them
/// apart.
#[derive(Clone, Copy, Debug)]
struct Standing {
    age: u32,
    task: TaskNo,
}

/// Numbers of tasks that are gone are not worth a sweep before there are so many.
const SWEEP: usize = 64;

impl Backlog {
    pub(crate) fn push(&mut self, age: u32, task: TaskNo) {
        self.queue.push_back(Standing { age, task });
        self.waiting += 1;
    }

    /// A task comes back, to its old place in the line. Of several, give the youngest first: each is then at
    /// its place at once.
    pub(crate) fn put_back(&mut self, age: u32, task: TaskNo) {
        let is_older = |other: &&Standing| other.age.wrapping_sub(age) > u32::MAX / 2;
        let older = self.queue.iter().take_while(is_older).count();
        self.queue.insert(older, Standing { age, task });
        self.waiting += 1;
    }

    /// A waiting task was cancelled. Its number stays in the queue until it comes to the front, or until most
    /// of the numbers are such.
    pub(crate) fn forget(&mut self, waits: impl Fn(TaskNo) -> bool) {
        self.waiting -= 1;
        if self.queue.len() > SWEEP + 2 * self.waiting {
            self.queue.retain(|standing| waits(standing.task));
        }
    }

    /// The oldest waiting task.
    pub(crate) fn front(&mut self, waits: impl Fn(TaskNo) -> bool) -> Option<TaskNo> {
        while let Some(&Standing { task, .. }) = self.queue.front() {
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
    pub(crate) fn take_all(&mut self) -> Vec<TaskNo> {
        self.waiting = 0;
        std::mem::take(&mut self.queue).into_iter().map(|standing| standing.task).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The numbers that take memory, of tasks that wait and of others.
    pub(crate) fn numbers(&self) -> impl ExactSizeIterator<Item = TaskNo> + '_ {
        self.queue.iter().map(|standing| standing.task)
    }
}
