//! The task that runs now, as the code that it runs can see it.
//!
//! A worker runs one task at a time. What it runs is known to the thread that runs it, and to those to which that
//! thread hands it: a thread that some earlier task left behind is not mistaken for part of this one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::primitive::{AtomicBool, Mutex, MutexGuard, thread_local};
use crate::sys::clock;
use crate::task::{Registry, TaskNumber, guarded, traces};
use crate::wire::frame::Header;

use super::desk::Desk;
use super::place::{self, Place};

thread_local! {
    static CURRENT: RefCell<Option<Arc<Running>>> = const { RefCell::new(None) };
    /// What the last task leaves, for its memory.
    static SPARE: Cell<Option<Arc<Running>>> = const { Cell::new(None) };
}

/// One run of a task's body.
pub(crate) struct Running {
    desk: Arc<Desk>,
    seq: u64,
    pub(crate) place: Place,
    pub(crate) task: &'static str,
    /// From 1.
    pub(crate) attempt: u32,
    /// The earlier one of the end of its timeout and of its deadline.
    pub(crate) deadline: Option<Instant>,
    /// The body has ended. Changed under the lock of `waiting` only.
    over: AtomicBool,
    waiting: Mutex<Waiting>,
}

/// Those who want to know when the task is to stop, in the order in which they came.
#[derive(Default)]
struct Waiting {
    next: u64,
    wakers: BTreeMap<u64, (Wants, Waker)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// To be woken when the task is asked to stop.
    Stop,
    /// To be woken then, and when the task has ended without that.
    StopOrEnd,
}

/// A place among those who wait, given up when dropped.
pub(crate) struct Registration {
    running: Arc<Running>,
    key: u64,
}

/// The body that a frame asks for starts now on this thread, at `since`.
pub(super) fn begin(desk: &Arc<Desk>, header: &Header, since: u64) {
    let timeout = (header.nanos > 0).then(|| since.saturating_add(header.nanos));
    let deadline = (header.deadline > 0).then_some(header.deadline);
    let running = Running {
        desk: Arc::clone(desk),
        seq: header.seq,
        place: place::here(),
        task: Registry::get().entry(TaskNumber(header.task)).map_or("", |entry| entry.name),
        attempt: u32::from(header.attempt).max(1),
        deadline: [timeout, deadline].into_iter().flatten().min().and_then(clock::instant),
        over: AtomicBool::new(false),
        waiting: Mutex::default(),
    };
    let mut spare = SPARE.with(Cell::take);
    let running = match spare.as_mut().and_then(Arc::get_mut) {
        Some(place) => {
            *place = running;
            spare
        }
        None => Some(Arc::new(running)),
    };
    CURRENT.with(|current| current.replace(running));
}

/// Nobody but this thread has the task that it runs: a body that runs next may be taken for the same.
pub(super) fn is_kept_by_nobody() -> bool {
    CURRENT.with(|current| current.borrow().as_ref().is_some_and(|running| Arc::strong_count(running) == 1))
}

/// The body has ended.
pub(super) fn end() {
    if let Some(running) = CURRENT.with(RefCell::take) {
        running.end();
        SPARE.with(|spare| spare.set(Some(running)));
    }
}

/// This process is a copy of one that may have been in the middle of a task, which is not its own.
pub(super) fn forget() {
    // What it holds is for the original to give back.
    CURRENT.with(|current| mem::forget(current.take()));
    SPARE.with(|spare| mem::forget(spare.take()));
}

/// The task that this thread runs, or works for.
pub(crate) fn running() -> Option<Arc<Running>> {
    // A thread that is ending may have lost its variables, and works for nobody any more.
    let running = CURRENT.try_with(|current| current.borrow().clone()).ok().flatten();
    if running.is_some() {
        traces::leave();
    }
    running
}

/// Calls `body` on this thread in the name of a task, or of none.
pub(crate) fn within<R>(running: Option<Arc<Running>>, body: impl FnOnce() -> R) -> R {
    struct Back(Option<Arc<Running>>);
    impl Drop for Back {
        fn drop(&mut self) {
            CURRENT.with(|current| current.replace(self.0.take()));
        }
    }
    let _back = Back(CURRENT.with(|current| current.replace(running)));
    body()
}

impl Running {
    /// Whether nobody wants it to go on: it was asked to stop, or is over.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.desk.is_asked(self.seq) || self.over.load(Ordering::Acquire)
    }

    /// Whoever panicked under this lock had finished changing what it guards.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `waker` woken when the time comes; `None` if it has come.
    pub(crate) fn watch(self: &Arc<Self>, wants: Wants, waker: &Waker) -> Option<Registration> {
        let registration = {
            let mut waiting = self.waiting();
            if self.is_cancelled() {
                return None;
            }
            let key = waiting.next;
            waiting.next += 1;
            waiting.wakers.insert(key, (wants, waker.clone()));
            // Under the lock: the thread that rings for us is to know the task that runs, and under this lock it is
            // known that this one still does.
            self.desk.listen(self);
            Registration { running: Arc::clone(self), key }
        };
        // Who asks after this look finds us.
        (!self.is_cancelled()).then_some(registration)
    }

    /// Whether those who [`watch`](Running::watch) are woken. If not, they have to look.
    pub(crate) fn is_heard(&self) -> bool {
        self.desk.is_listening()
    }

    /// Wakes all, if the task was asked to stop.
    pub(super) fn look(&self) {
        if self.desk.is_asked(self.seq) {
            let wakers = mem::take(&mut self.waiting().wakers);
            // The youngest first: what waits is not given the place of what has just been stopped.
            wake(wakers.into_values().rev().map(|(_, waker)| waker));
        }
    }

    fn end(&self) {
        let wakers = {
            let mut waiting = self.waiting();
            self.over.store(true, Ordering::Release);
            mem::take(&mut waiting.wakers)
        };
        let wants_end = |(wants, waker)| (wants == Wants::StopOrEnd).then_some(waker);
        wake(wakers.into_values().filter_map(wants_end));
    }
}

/// Wakers are the user's code: a panic in one is its own affair.
fn wake(wakers: impl Iterator<Item = Waker>) {
    for waker in wakers {
        let _ = guarded(|| waker.wake());
    }
}

impl Registration {
    /// From now on wakes another. Does nothing for a place that was used.
    pub(crate) fn renew(&self, waker: &Waker) {
        if let Some((_, known)) = self.running.waiting().wakers.get_mut(&self.key) {
            known.clone_from(waker);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Dropped outside of the lock: a waker is the user's code.
        let waker = self.running.waiting().wakers.remove(&self.key);
        drop(waker);
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("task", &self.task)
            .field("attempt", &self.attempt)
            .field("deadline", &self.deadline)
            .field("cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("running", &self.running).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod test {
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;
    use std::time::Duration;

    use super::*;
    use crate::transport::Board;
    use crate::wire::frame::Kind;

    /// Notes when it is woken: after how many others.
    struct Note {
        order: Arc<AtomicU32>,
        woken: AtomicU32,
    }

    impl Wake for Note {
        fn wake(self: Arc<Self>) {
            self.woken.store(1 + self.order.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    fn notes<const N: usize>() -> [Arc<Note>; N] {
        let order = Arc::default();
        std::array::from_fn(|_| Arc::new(Note { order: Arc::clone(&order), woken: AtomicU32::new(0) }))
    }

    fn woken<const N: usize>(notes: &[Arc<Note>; N]) -> [u32; N] {
        std::array::from_fn(|i| notes[i].woken.load(Ordering::Relaxed))
    }

    fn desk() -> Arc<Desk> {
        Desk::new(Board::create().unwrap().0)
    }

    fn begun(header: Header) -> Arc<Running> {
        begin(&desk(), &header, clock::nanos());
        running().expect("it has begun")
    }

    fn run() -> Arc<Running> {
        begun(Header { seq: 5, ..Header::new(Kind::Run) })
    }

    #[test]
    fn a_task_is_told_what_its_frame_says() {
        let second = 1_000_000_000;
        let now = clock::nanos();
        let told = |nanos, deadline| {
            let header = Header { attempt: 3, nanos, deadline, ..Header::new(Kind::Run) };
            begin(&desk(), &header, now);
            let running = running().unwrap();
            end();
            assert_eq!(running.attempt, 3);
            running.deadline.map(|deadline| clock::nanos_at(deadline) - now)
        };
        assert_eq!(told(0, 0), None);
        assert_eq!(told(second, 0), Some(second));
        assert_eq!(told(0, now + 2 * second), Some(2 * second));
        assert_eq!(told(second, now + 2 * second), Some(second));
        assert_eq!(told(3 * second, now + 2 * second), Some(2 * second));
        assert_eq!(
            begun(Header::new(Kind::Run)).attempt,
            1,
            "a frame that does not say is of the first attempt"
        );
        end();
    }

    #[test]
    fn a_task_runs_on_its_own_thread_and_in_its_scope_only() {
        assert!(running().is_none());
        let running_here = run();
        assert!(within(None, running).is_none());
        let caught = std::panic::catch_unwind(|| within(None, || panic!("out of the scope")));
        assert!(caught.is_err() && running().is_some(), "a panic leaves the scope too");
        let there = Arc::clone(&running_here);
        let seen =
            std::thread::spawn(|| (running().is_none(), within(Some(there), running), running().is_none()));
        let (before, within, after) = seen.join().unwrap();
        assert!(before && after && Arc::ptr_eq(&within.unwrap(), &running_here));
        end();
        assert!(running().is_none());
    }

    #[test]
    fn who_is_asked_to_stop_wakes_all_that_still_wait_the_youngest_first() {
        let running = run();
        let notes = notes::<4>();
        let watch = |i: usize, wants| running.watch(wants, &Waker::from(Arc::clone(&notes[i])));
        let registrations = [
            watch(0, Wants::Stop),
            watch(1, Wants::StopOrEnd),
            watch(2, Wants::Stop),
            watch(3, Wants::StopOrEnd),
        ];
        let [first, second, third, fourth] = registrations.map(Option::unwrap);
        drop(third);
        running.look();
        assert_eq!(woken(&notes), [0; 4], "nobody has asked");
        running.desk.board.ask_to_stop(5);
        running.look();
        // The thread that listens may be faster than we are: it wakes the same.
        let end = Instant::now() + Duration::from_secs(10);
        while woken(&notes) != [3, 2, 0, 1] {
            assert!(Instant::now() < end, "{:?}", woken(&notes));
        }
        assert!(running.is_cancelled() && running.watch(Wants::Stop, Waker::noop()).is_none());
        drop((first, second, fourth));
        end_of(&running);
    }

    #[test]
    fn the_end_wakes_those_who_want_to_know_of_it() {
        let running = run();
        let notes = notes::<2>();
        let waker = |i: usize| Waker::from(Arc::clone(&notes[i]));
        let stop = running.watch(Wants::Stop, &waker(0)).unwrap();
        let end = running.watch(Wants::StopOrEnd, Waker::noop()).unwrap();
        end.renew(&waker(1));
        assert!(!running.is_cancelled());
        end_of(&running);
        assert_eq!(woken(&notes), [0, 1]);
        assert!(running.is_cancelled() && running.watch(Wants::StopOrEnd, Waker::noop()).is_none());
        drop((stop, end));
    }

    #[test]
    fn nobody_is_kept_who_does_not_wait_any_more() {
        let running = run();
        let notes = notes::<1>();
        for _ in 0..100 {
            drop(running.watch(Wants::Stop, &Waker::from(Arc::clone(&notes[0]))).unwrap());
        }
        assert!(running.waiting().wakers.is_empty());
        assert_eq!(Arc::strong_count(&notes[0]), 1);
        end_of(&running);
    }

    fn end_of(expected: &Arc<Running>) {
        assert!(Arc::ptr_eq(&running().unwrap(), expected));
        end();
    }
}
