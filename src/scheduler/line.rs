//! Where tasks wait while all workers have enough: they are handed on together, so that what a step of the machine and a
//! message cost is shared among many.
//!
//! Whoever submits puts a task into the inbox; whoever hands tasks on takes all of that at once, and puts them together from
//! the stock. So nobody who submits waits while that is done, nor does a thread that is put off the processor meanwhile
//! hold up any other for longer than it takes to add one.
//!
//! **Invariant:** tasks wait here only while the line is held, and it is held and let go only under the engine's lock. So
//! whoever finds it held may put a task there, and whoever lets it go finds all of them. The stock is touched only under
//! that lock.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use crate::primitive::{AtomicBool, Mutex, MutexGuard};
use crate::task::TaskNumber;
use crate::wire::records;

use super::encoded::Encoded;
use super::gate::Admission;
use super::job::Order;
use super::members::{CallNo, Member};
use super::slot::Slot;

/// Tasks that have gone are not worth a sweep before there are so many.
const SWEEP: usize = 64;

/// Room for so many tasks is kept when none is left.
const KEPT: usize = 4096;

/// A task that need not wait, with the place it takes among those that `max_pending` allows.
pub(crate) type Refused = (Order, Option<Admission>);

#[derive(Debug, Default)]
pub(super) struct Line {
    /// What [`Inbox::held`] is, for whoever can be wrong about it.
    held: AtomicBool,
    inbox: Mutex<Inbox>,
    stock: Mutex<Stock>,
}

/// What came of late.
#[derive(Debug, Default)]
struct Inbox {
    held: bool,
    /// Their numbers are those before `next`, without a gap.
    queue: VecDeque<Waiting>,
    next: u64,
    /// No task that waits, here or in the stock, has a lower number.
    since: u64,
}

/// What came before that, in the order of their numbers.
#[derive(Debug, Default)]
struct Stock {
    queue: VecDeque<Waiting>,
    /// How many of those have gone.
    gone: usize,
    /// All numbers are below this one.
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    task: TaskNumber,
    /// The lower half of its number.
    low: u32,
    arguments: Encoded,
    /// `None` when its caller does not want it any more, and has been told.
    slot: Option<Arc<Slot>>,
    permit: Option<Admission>,
}

/// Tasks that go to a worker as one.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) members: Vec<Member>,
    pub(super) arguments: Vec<u8>,
}

/// How tasks are put together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portions {
    /// How many there are to be. `None` is as many as are needed for all tasks.
    pub(super) count: Option<usize>,
    /// How many tasks one may be, at the most.
    pub(super) max_tasks: usize,
    /// How many bytes of arguments it may have, unless it is a single task.
    pub(super) max_bytes: usize,
}

impl Line {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a task in line. Gives it back if it need not wait.
    pub(super) fn put(&self, order: Order, permit: Option<Admission>) -> Result<CallNo, Refused> {
        if !self.is_held() {
            return Err((order, permit));
        }
        let mut inbox = self.inbox();
        let number = inbox.next;
        // Numbers that are as far apart as their lower halves tell are kept apart by not waiting here.
        if !inbox.held || number - inbox.since >= u64::from(u32::MAX) {
            return Err((order, permit));
        }
        inbox.next += 1;
        let Order { slot, task, arguments, .. } = order;
        inbox.queue.push_back(Waiting { task, low: number as u32, arguments, slot: Some(slot), permit });
        Ok(CallNo::new(number))
    }

    /// What is submitted from now on waits here.
    pub(super) fn hold(&self) {
        let mut inbox = self.inbox();
        inbox.held = true;
        inbox.since = inbox.next;
        self.held.store(true, Ordering::Release);
    }

    /// Tasks may be waiting here. Exact under the engine's lock.
    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    pub(super) fn len(&self) -> usize {
        self.stock().len() + self.inbox().queue.len()
    }

    /// Takes a task out whose caller does not want it any more, if it is still here.
    pub(super) fn withdraw(&self, number: CallNo) -> Option<Member> {
        let mut stock = self.stock();
        if number >= CallNo::new(stock.next) {
            self.fetch(&mut stock, &mut self.inbox());
        }
        stock.withdraw(number)
    }

    /// Takes the oldest tasks, in portions of about equal size. When none is left, the line is let go.
    pub(super) fn take(&self, Portions { count, max_tasks, max_bytes }: Portions) -> Vec<Batch> {
        let mut stock = self.stock();
        let mut waiting = match count {
            // Those who submit from now on find it let go, so there is an end to this.
            None => {
                let mut inbox = self.inbox();
                self.fetch(&mut stock, &mut inbox);
                self.let_go(&mut inbox);
                stock.len()
            }
            Some(_) => stock.len() + self.inbox().queue.len(),
        };
        let mut batches = Vec::new();
        while waiting > 0 && count.is_none_or(|count| batches.len() < count) {
            let share = count.map_or(waiting, |count| waiting.div_ceil(count - batches.len()));
            let most = share.min(max_tasks);
            let mut batch = Batch { members: Vec::with_capacity(most), arguments: Vec::new() };
            if !stock.fill(&mut batch, most, max_bytes) {
                self.fetch(&mut stock, &mut self.inbox());
                stock.fill(&mut batch, most, max_bytes);
            }
            waiting -= batch.members.len();
            batches.push(batch);
        }
        if stock.len() == 0 {
            stock.clear();
            let mut inbox = self.inbox();
            if inbox.queue.is_empty() {
                self.let_go(&mut inbox);
            }
        }
        batches
    }

    /// Takes all that has come.
    fn fetch(&self, stock: &mut Stock, inbox: &mut Inbox) {
        if stock.len() == 0 {
            stock.clear();
            inbox.since = inbox.next - inbox.queue.len() as u64;
            std::mem::swap(&mut stock.queue, &mut inbox.queue);
        } else {
            stock.queue.append(&mut inbox.queue);
        }
        stock.next = inbox.next;
    }

    fn let_go(&self, inbox: &mut Inbox) {
        inbox.queue.shrink_to(KEPT);
        inbox.held = false;
        self.held.store(false, Ordering::Release);
    }
}

impl Waiting {
    /// Its number, if all numbers are below that one.
    fn number(&self, next: u64) -> CallNo {
        CallNo::new(next - u64::from((next as u32).wrapping_sub(self.low)))
    }
}

impl Stock {
    fn len(&self) -> usize {
        self.queue.len() - self.gone
    }

    /// Forgets those that have gone, when there are no others.
    fn clear(&mut self) {
        self.queue.clear();
        self.queue.shrink_to(KEPT);
        self.gone = 0;
    }

    fn withdraw(&mut self, number: CallNo) -> Option<Member> {
        let next = self.next;
        let index = self.queue.binary_search_by_key(&number, |waiting| waiting.number(next)).ok()?;
        let waiting = self.queue.get_mut(index)?;
        let slot = waiting.slot.take()?;
        waiting.arguments = Encoded::default();
        let member = Member { number, slot, permit: waiting.permit.take() };
        self.gone += 1;
        if self.gone > SWEEP && 2 * self.gone > self.queue.len() {
            self.queue.retain(|waiting| waiting.slot.is_some());
            self.gone = 0;
        }
        Some(member)
    }

    /// Adds the oldest tasks to a batch until it is full. Says whether it is.
    fn fill(&mut self, batch: &mut Batch, max_tasks: usize, max_bytes: usize) -> bool {
        while batch.members.len() < max_tasks {
            let Some(front) = self.queue.front() else { return false };
            let bytes = batch.arguments.len() + front.arguments.len() + records::OVERHEAD;
            if front.slot.is_some() && bytes > max_bytes && !batch.members.is_empty() {
                return true;
            }
            let number = front.number(self.next);
            let Some(Waiting { task, arguments, slot, permit, .. }) = self.queue.pop_front() else {
                return false;
            };
            let Some(slot) = slot else {
                self.gone -= 1;
                continue;
            };
            let at = records::open(&mut batch.arguments);
            batch.arguments.extend_from_slice(&arguments);
            records::close(&mut batch.arguments, at, task.0);
            batch.members.push(Member { number, slot, permit });
        }
        true
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::wire::attach::Handles;
    use crate::wire::records::Records;

    fn order(n: u8) -> Order {
        Order {
            slot: Arc::new(Slot::new("one")),
            task: TaskNumber(n.into()),
            arguments: Encoded::take(&mut vec![n; 5], Handles::default()),
            timeout: None,
            deadline: None,
            cooperates: false,
            fault: Default::default(),
            terms: None,
            chunk: None,
        }
    }

    fn put(line: &Line, n: u8) -> CallNo {
        line.put(order(n), None).expect("it is held")
    }

    /// Which tasks a batch consists of.
    fn tasks(batch: &Batch) -> Vec<u32> {
        let mut tasks = Vec::new();
        for (task, arguments) in Records::new(&batch.arguments) {
            assert_eq!(arguments, [task as u8; 5]);
            tasks.push(task);
        }
        assert_eq!(tasks.len(), batch.members.len());
        tasks
    }

    fn taken(line: &Line, count: Option<usize>, max_tasks: usize) -> Vec<Vec<u32>> {
        line.take(Portions { count, max_tasks, max_bytes: 10_000 }).iter().map(tasks).collect()
    }

    #[test]
    fn tasks_wait_only_while_the_line_is_held() {
        let line = Line::default();
        assert!(line.put(order(0), None).is_err());
        line.hold();
        let _ = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(|n| put(&line, n));
        assert_eq!(taken(&line, Some(2), 3), [[0, 1, 2], [3, 4, 5]]);
        assert!(line.is_held(), "there are others");
        assert_eq!(taken(&line, Some(3), 100), [vec![6, 7], vec![8], vec![9]]);
        assert!(!line.is_held() && line.put(order(0), None).is_err());
        line.hold();
        assert!(taken(&line, Some(2), 9).is_empty());
        assert!(!line.is_held());
        line.hold();
        let _ = [0, 1, 2, 3, 4].map(|n| put(&line, n));
        assert_eq!(taken(&line, None, 2), [vec![0, 1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn what_is_withdrawn_leaves_nothing() {
        let line = Line::default();
        line.hold();
        let numbers: Vec<_> = (0..200).map(|n| put(&line, n)).collect();
        for number in numbers.iter().take(199) {
            assert!(line.withdraw(*number).is_some());
            assert!(line.withdraw(*number).is_none(), "once is enough");
        }
        assert_eq!(line.len(), 1);
        assert!(line.stock().queue.len() < 2 * SWEEP + 2, "those that have gone take no memory for ever");
        let late = put(&line, 7);
        assert_eq!(taken(&line, Some(1), 100), [[199, 7]]);
        assert!(line.withdraw(late).is_none(), "it is not here any more");
        line.hold();
        line.withdraw(put(&line, 1)).expect("it is here");
        assert!(taken(&line, Some(1), 100).is_empty() && !line.is_held());
    }

    #[test]
    fn a_batch_has_an_end_in_bytes() {
        let line = Line::default();
        line.hold();
        for _ in 0..200 {
            let large = Order { arguments: Encoded::Many(vec![1; 1000].into()), ..order(1) };
            line.put(large, None).expect("it is held");
        }
        let batches = line.take(Portions { count: None, max_tasks: 1000, max_bytes: 4096 });
        assert!(batches.iter().all(|batch| batch.members.len() == 4 && batch.arguments.len() <= 4096));
        assert_eq!(batches.len(), 50);
        line.hold();
        put(&line, 1);
        put(&line, 2);
        let alone = line.take(Portions { count: None, max_tasks: 1000, max_bytes: 1 });
        assert_eq!(alone.iter().map(tasks).collect::<Vec<_>>(), [[1], [2]], "what is too much goes alone");
    }
}
