//! Whoever waits helps: a thread that is blocked for a result listens to the worker itself, so that there is no other
//! thread to be woken between the two.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::park;
use crate::primitive::{AtomicBool, MODELLED, MutexGuard};
use crate::transport::{Bell, Wish};

use super::core::Command;
use super::engine::Engine;
use super::lane::Link;
use super::listener::{Heard, Listener};
use super::loose::Number;
use super::machine::{LaneNo, TaskNo};
use super::slot::Slot;

/// How long a thread waits that has other things to do.
const MOMENT: Duration = Duration::from_micros(50);

/// Of so many looks one is at all that may have happened, the others are at the ring.
const LOOK_AROUND: u32 = 8;

/// Wakes a thread that sleeps at the bell of a worker, when somebody else has settled its task.
struct Sleeper {
    bell: Bell,
    /// It sleeps, or is about to unless the task is settled.
    asleep: AtomicBool,
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Most tasks are settled by the thread itself that waits for them. It says that it sleeps before it looks at the
        // slot, under whose lock the task was settled before this.
        if self.asleep.load(Ordering::SeqCst) {
            self.bell.rouse();
        }
    }
}

/// A thread that listens to a worker for the sake of one task.
struct Help<'a> {
    engine: &'a Engine,
    lane: LaneNo,
    link: &'a Link,
    slot: &'a Slot,
    until: Option<Instant>,
    /// Everything else that the worker says is left to the supervisor.
    in_a_hurry: bool,
}

impl Engine {
    /// Waits for a task by listening to the worker that is at it, if there is one and nobody else does. Returns when
    /// the task is settled, when the time is over, or when there is nothing to help with: look which.
    pub(crate) fn help(&self, task: TaskNo, slot: &Slot, until: Option<Instant>) {
        if MODELLED || slot.is_done() || self.is_copy() {
            return;
        }
        let at = {
            let core = self.core();
            // Where much is to be told, one thread tells it all at once.
            if self.has_plenty(&core) { None } else { core.worker_at(task) }
        };
        if let Some((lane, link)) = at {
            Help { engine: self, lane, link: &link, slot, until, in_a_hurry: false }.run();
        }
    }

    /// [`help`](Engine::help), for a moment, where that is likely to be enough: tasks are short, and there is no other that
    /// this thread could see to instead. Nor is there a callback that may take a lock which it holds. Says whether it has
    /// waited.
    pub(crate) fn help_shortly(&self, number: Number, slot: &Slot) -> bool {
        let Number::Task(task) = number else { return false };
        if MODELLED || slot.is_done() || slot.has_callbacks() || self.is_copy() {
            return false;
        }
        let at = {
            let core = self.core();
            let is_alone = core.batches.are_quick() && core.machine.pending() == 1;
            if is_alone { core.worker_at(task) } else { None }
        };
        let Some((lane, link)) = at.filter(|(_, link)| link.luck.is_worth_a_try()) else { return false };
        let until = Some(Instant::now() + MOMENT);
        Help { engine: self, lane, link: &link, slot, until, in_a_hurry: true }.run();
        link.luck.note(slot.is_done());
        true
    }

    /// Tells the machine what is in the ring. Says whether there was something.
    fn listen_for(&self, lane: LaneNo, mut listener: MutexGuard<'_, Listener>) -> bool {
        let mut events = SmallVec::<[_; 1]>::new();
        while let Heard::Event(event) = listener.hear_express(lane) {
            events.push(event);
        }
        if events.is_empty() {
            return false;
        }
        let _here = park::completing_tasks();
        self.tell_from(listener, events);
        true
    }
}

impl Help<'_> {
    fn run(&self) {
        let Help { engine, lane, link, slot, until, in_a_hurry } = *self;
        let Some(_claim) = link.claim() else { return };
        let announced = link.bell.announced();
        if until.is_none_or(|until| until > Instant::now()) {
            link.bell.wish(Wish::None);
            // Where it is set how long to look, what came for others does not end that.
            while self.look_out(announced)
                && engine.worker.spin.is_some()
                && !slot.is_done()
                && link.bell.announced() == announced
            {}
        }
        if !slot.is_done() {
            self.listen_and_sleep(announced);
        }
        link.bell.wish(Wish::Message);
        if !in_a_hurry {
            while engine.listen_for(lane, link.listener()) {}
        } else if link.try_listener().is_none_or(|listener| !listener.is_ring_empty()) {
            // Whoever else listens may have looked before this thread stopped to wish for nothing.
            engine.drive(|core, _, later| core.order(Command::Listen(lane), later));
        }
    }

    /// Looks whether the worker says something, without sleep, and listens. Says whether something came.
    fn look_out(&self, announced: u64) -> bool {
        let Help { engine, lane, link, slot, until, .. } = *self;
        let written = link.board.replies_written();
        let mut looks = 0_u32;
        let came = link.awake.linger_until(until, || {
            looks = looks.wrapping_add(1);
            if looks % LOOK_AROUND != 1 {
                return link.board.replies_written() != written;
            }
            let has_come = |listener: MutexGuard<'_, Listener>| !listener.is_ring_empty();
            link.try_listener().is_some_and(has_come) || link.bell.announced() != announced || slot.is_done()
        });
        // Nobody has to be told how to wake this thread before it has looked at what came.
        if came && let Some(listener) = link.try_listener() {
            engine.listen_for(lane, listener);
        }
        came
    }

    /// Listens and sleeps in turn.
    fn listen_and_sleep(&self, announced: u64) {
        let Help { engine, lane, link, slot, until, in_a_hurry } = *self;
        let sleeper = Arc::new(Sleeper { bell: link.bell.clone(), asleep: AtomicBool::new(false) });
        let waker = Waker::from(Arc::clone(&sleeper));
        let context = Context::from_waker(&waker);
        while slot.poll_done(&context).is_pending() {
            link.bell.wish(Wish::Wake);
            let listener = if in_a_hurry { link.try_listener() } else { Some(link.listener()) };
            let heard = listener.is_some_and(|listener| engine.listen_for(lane, listener));
            // Large replies are for the thread that can wait for several sockets.
            if until.is_some_and(|until| until <= Instant::now()) || link.bell.announced() != announced {
                break;
            }
            if !heard {
                sleeper.asleep.store(true, Ordering::SeqCst);
                if !slot.is_done() {
                    link.bell.sleep(until);
                }
                sleeper.asleep.store(false, Ordering::SeqCst);
            }
        }
        slot.let_go();
    }
}
