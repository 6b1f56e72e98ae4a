//! `Semaphore`, `Condition`, `Barrier` and `Event` in the model checker, their own code on the kernel of `kernel.rs`: with
//! processes that are killed at any step, that come while others wait, and that do not want to wait any more.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread::{JoinHandle, yield_now};

use crate::interleavings::explore;
use crate::sync::error::{LockError, SyncError};
use crate::sync::patience::Patience;
use crate::sync::{Barrier, Condition, Event, Lock, LockGuard, Semaphore, condition, event, semaphore};

use super::kernel::{NEVER, Process, ends};
use super::scene::Scene;

/// An object that travels.
trait Travels {
    /// As another process gets it, in which this is called.
    fn received(&self) -> Self;
}

macro_rules! travels {
    ($($object:ident)*) => {$(
        impl Travels for $object {
            fn received(&self) -> $object {
                $object::of_page(self.page().in_another_process()).unwrap()
            }
        }
    )*};
}

travels!(Barrier Condition Event Lock Semaphore);

#[derive(Clone, Copy)]
struct Semaphores {
    permits: u32,
    /// Threads of each process.
    threads: &'static [usize],
    dying: &'static [usize],
    /// The processes come while others wait.
    late: bool,
    /// Permits are given back by hand.
    by_hand: bool,
    /// Processes that do not want to wait any more at some moment.
    limited: &'static [usize],
}

impl Semaphores {
    fn play(self) {
        Scene::play(self.threads.len(), self.dying, 150, |scene| {
            let made = Arc::new(Semaphore::new(self.permits).unwrap());
            let holding: Arc<Vec<AtomicU32>> =
                Arc::new(self.threads.iter().map(|_| AtomicU32::new(0)).collect());
            let processes: Arc<Vec<_>> =
                Arc::new(scene.processes.iter().map(|(process, _)| Arc::clone(process)).collect());
            let over = Arc::new(AtomicBool::new(false));
            for (index, &threads) in self.threads.iter().enumerate() {
                // This thread keeps none: what another process has is not to be dropped here.
                let received = (!self.late).then(|| processes[index].enter(|| made.received()));
                for received in vec![received; threads] {
                    let made = Arc::clone(&made);
                    let (holding, processes) = (Arc::clone(&holding), Arc::clone(&processes));
                    let limit = self.limited.contains(&index).then(|| Arc::clone(&over));
                    let body = {
                        let limit = limit.clone();
                        move || {
                            let own = received.unwrap_or_else(|| made.received());
                            for _ in 0..2 {
                                self.take_turn(&own, index, &holding, &processes, limit.as_deref());
                            }
                        }
                    };
                    scene.start(index, limit, body);
                }
            }
            scene.begun();
            (0..thread_rng().gen_range(0..40)).for_each(|_| yield_now());
            if thread_rng().gen_bool(0.5) {
                ends(&scene.world, &over);
            } else {
                over.store(true, SeqCst);
                made.page().members().rouse();
            }
            scene.end();
            let (free, dead) = (made.value().unwrap(), self.dying.len() as u32);
            if self.by_hand {
                assert!(free <= self.permits && free + dead >= self.permits, "{free} are left");
            } else {
                assert_eq!(free, self.permits, "all have come back");
            }
        });
    }

    fn take_turn(
        self,
        own: &Semaphore,
        index: usize,
        holding: &[AtomicU32],
        processes: &[Arc<Process>],
        over: Option<&AtomicBool>,
    ) {
        let patience = over.map_or(Patience::ENDLESS, Patience::unless);
        let permit = match semaphore::acquire(own.page(), &patience) {
            Err(SyncError::TimedOut) if over.is_some() => return,
            other => other.unwrap(),
        };
        holding[index].fetch_add(1, SeqCst);
        let living = holding.iter().zip(processes).filter(|(_, process)| !process.is_reaped());
        let held: u32 = living.map(|(count, _)| count.load(SeqCst)).sum();
        assert!(held <= self.permits, "{held} at once");
        yield_now();
        holding[index].fetch_sub(1, SeqCst);
        if self.by_hand {
            permit.forget();
            own.release(1).unwrap();
        }
    }
}

const SEMAPHORES: Semaphores =
    Semaphores { permits: 1, threads: &[1, 1, 1], dying: &[], late: false, by_hand: false, limited: &[] };

#[test]
fn a_semaphore_lets_so_many_in_and_leaves_nobody_asleep() {
    explore(|| SEMAPHORES.play());
    explore(|| Semaphores { permits: 2, threads: &[2, 1, 1], ..SEMAPHORES }.play());
}

#[test]
fn the_permits_of_the_dead_come_back_to_those_who_wait() {
    explore(|| Semaphores { dying: &[0], ..SEMAPHORES }.play());
    explore(|| Semaphores { permits: 2, threads: &[2, 1, 1, 1], dying: &[0, 1], ..SEMAPHORES }.play());
}

#[test]
fn a_death_is_heard_by_those_who_waited_before_the_dead_had_come() {
    explore(|| Semaphores { late: true, dying: &[0, 1], ..SEMAPHORES }.play());
}

#[test]
fn who_does_not_want_a_permit_any_more_takes_no_wake_up_with_him() {
    explore(|| Semaphores { limited: &[0], ..SEMAPHORES }.play());
    explore(|| Semaphores { limited: &[0, 1], dying: &[1], ..SEMAPHORES }.play());
}

#[test]
fn who_is_told_not_to_wait_any_more_does_not_sleep_on() {
    explore(|| {
        Scene::play(1, &[], 0, |scene| {
            let made = Semaphore::new(0).unwrap();
            let received = scene.processes[0].0.enter(|| made.received());
            let (over, own) = (Arc::new(AtomicBool::new(false)), received.clone());
            let told = Arc::clone(&over);
            scene.start(0, None, move || {
                let refused = semaphore::acquire(own.page(), &Patience::unless(&told));
                assert!(matches!(refused, Err(SyncError::TimedOut)));
            });
            // As the drop of a future does it, which is in the same process.
            scene.start(0, None, move || {
                over.store(true, SeqCst);
                received.page().members().rouse();
            });
            scene.end();
        });
    });
}

#[test]
fn permits_that_are_given_back_by_hand_are_lost_with_their_holders_only() {
    explore(|| Semaphores { by_hand: true, permits: 2, ..SEMAPHORES }.play());
    // A permit that its holder has forgotten is gone with him, so there must be one for those who live.
    explore(|| Semaphores { by_hand: true, permits: 2, dying: &[0], ..SEMAPHORES }.play());
}

/// The lock, whatever has become of those who had it.
fn taken(taken: Result<LockGuard, LockError<LockGuard>>) -> LockGuard {
    match taken {
        Err(LockError::OwnerDied(died)) => died.repaired(),
        other => other.unwrap(),
    }
}

/// Waits for an item, and takes it.
fn consume((lock, changed): (Lock, Condition), items: &Arc<AtomicU64>) -> impl FnOnce() + Send + use<> {
    let items = Arc::clone(items);
    move || {
        let mut guard = taken(lock.lock());
        while items.load(SeqCst) == 0 {
            guard = taken(changed.wait(guard));
        }
        items.fetch_sub(1, SeqCst);
        drop(guard);
    }
}

/// Consumers wait for items, and are notified once for each.
fn consumers(living: usize, dying: &'static [usize], late: bool) {
    let count = living + dying.len();
    Scene::play(count, dying, 150, |scene| {
        let (lock, changed) = (Arc::new(Lock::new().unwrap()), Arc::new(Condition::new().unwrap()));
        let items = Arc::new(AtomicU64::new(0));
        for index in 0..count {
            let process = Arc::clone(&scene.processes[index].0);
            let received = (!late).then(|| process.enter(|| (lock.received(), changed.received())));
            let (lock, changed, items) = (Arc::clone(&lock), Arc::clone(&changed), Arc::clone(&items));
            scene.start(index, None, move || {
                let received = received.unwrap_or_else(|| (lock.received(), changed.received()));
                consume(received, &items)();
            });
        }
        scene.begun();
        // Who dies has taken one item and one notification at most.
        for _ in 0..count {
            let guard = taken(lock.lock());
            items.fetch_add(1, SeqCst);
            if thread_rng().gen_bool(0.5) {
                changed.notify_one().unwrap();
                drop(guard);
            } else {
                drop(guard);
                changed.notify_one().unwrap();
            }
        }
        scene.end();
        assert!(items.load(SeqCst) <= dying.len() as u64, "the living have had theirs");
        assert_eq!(changed.page().members().sum(), 0, "nobody waits");
    });
}

#[test]
fn a_notification_for_each_item_leaves_nobody_asleep() {
    explore(|| consumers(3, &[], false));
}

#[test]
fn a_notification_is_not_lost_with_a_dead_waiter() {
    explore(|| consumers(2, &[0], false));
    explore(|| consumers(1, &[0, 1], false));
    explore(|| consumers(1, &[0, 1], true));
}

#[test]
fn a_notification_is_taken_with_the_lock_or_left_to_another() {
    explore(|| {
        Scene::play(2, &[0], 150, |scene| {
            let (lock, changed) = (Arc::new(Lock::new().unwrap()), Arc::new(Condition::new().unwrap()));
            let items = Arc::new(AtomicU64::new(0));
            for index in 0..2 {
                let received = scene.processes[index].0.enter(|| (lock.received(), changed.received()));
                scene.start(index, None, consume(received, &items));
            }
            scene.begun();
            while changed.page().members().sum() < 2 && scene.is_there(0) {
                yield_now();
            }
            let guard = taken(lock.lock());
            items.fetch_add(1, SeqCst);
            drop(guard);
            changed.notify_one().unwrap();
            // Also when it sleeps, and so comes to no step.
            (0..thread_rng().gen_range(0..60)).for_each(|_| yield_now());
            scene.processes[0].0.kill();
            scene.threads.pop().map(JoinHandle::join);
            // Who dies with the lock may have taken the notification, and the next one is told to look after that.
            let (guard, has_died) = match lock.lock() {
                Err(LockError::OwnerDied(died)) => (died.repaired(), true),
                other => (other.unwrap(), false),
            };
            if items.load(SeqCst) == 0 {
                items.fetch_add(1, SeqCst);
                changed.notify_one().unwrap();
            } else if has_died {
                changed.notify_one().unwrap();
            }
            drop(guard);
            scene.end();
        });
    });
}

#[test]
fn a_notification_that_has_begun_reaches_those_who_wait_when_its_sender_dies() {
    explore(|| {
        Scene::play(3, &[0], 60, |scene| {
            let (lock, changed) = (Arc::new(Lock::new().unwrap()), Arc::new(Condition::new().unwrap()));
            let notified = Arc::new(AtomicU32::new(0));
            for index in [1, 2] {
                let received = scene.processes[index].0.enter(|| (lock.received(), changed.received()));
                let notified = Arc::clone(&notified);
                scene.start(index, None, move || {
                    let (lock, changed) = received;
                    drop(taken(changed.wait(taken(lock.lock()))));
                    notified.fetch_add(1, SeqCst);
                });
            }
            while changed.page().members().sum() < 2 {
                yield_now();
            }
            let received = scene.processes[0].0.enter(|| changed.received());
            scene.start(0, None, move || received.notify_all().unwrap());
            // Those for whom there is a notification take it without anybody's help. To look takes no step.
            scene.begun();
            let lived = scene.threads.pop().is_some_and(|reaper| reaper.join().unwrap());
            while changed.page().own(condition::NOTIFICATIONS).load(SeqCst) > 0 {
                yield_now();
            }
            if lived {
                assert_eq!(changed.page().members().sum(), 0);
            }
            changed.notify_all().unwrap();
            scene.end();
            assert_eq!(notified.load(SeqCst), 2);
        });
    });
}

/// What has become of each round.
#[derive(Default)]
struct Round {
    come: AtomicU32,
    acted: AtomicU32,
    places: Mutex<BTreeSet<u32>>,
    broken: AtomicU32,
}

impl Round {
    fn meet(&self, barrier: &Barrier, lives: bool, patience: &Patience<'_>) -> Result<u32, SyncError> {
        self.come.fetch_add(1, SeqCst);
        let place = barrier.wait_for(patience, || {
            self.acted.fetch_add(1, SeqCst);
        });
        match &place {
            Ok(place) => {
                assert_eq!(self.come.load(SeqCst), barrier.parties(), "all had come");
                assert_eq!(self.acted.load(SeqCst), 1, "the last one has acted");
                assert!(self.places.lock().unwrap().insert(*place), "each has another place");
            }
            Err(SyncError::Broken | SyncError::TimedOut) => {
                self.broken.fetch_add(u32::from(lives), SeqCst);
            }
            Err(error) => panic!("{error}"),
        }
        place
    }
}

/// So many meet twice, each in its own process but for the last two, which are threads of one.
fn meetings(parties: usize, dying: &'static [usize], limited: bool) {
    Scene::play(parties - 1, dying, 100, |scene| {
        let made = Barrier::new(parties as u32).unwrap();
        let rounds = Arc::new([Round::default(), Round::default()]);
        let over = Arc::new(AtomicBool::new(false));
        let mut received: Vec<Barrier> =
            scene.processes.iter().map(|(process, _)| process.enter(|| made.received())).collect();
        received.extend(received.last().cloned());
        for (party, barrier) in received.into_iter().enumerate() {
            let (index, rounds) = (party.min(parties - 2), Arc::clone(&rounds));
            let limit = (limited && party == 0).then(|| Arc::clone(&over));
            let lives = !dying.contains(&index);
            scene.start(index, limit.clone(), move || {
                let patience = limit.as_deref().map_or(Patience::ENDLESS, Patience::unless);
                let _ = rounds.iter().all(|round| round.meet(&barrier, lives, &patience).is_ok());
            });
        }
        scene.begun();
        (0..thread_rng().gen_range(0..40)).for_each(|_| yield_now());
        ends(&scene.world, &over);
        scene.end();
        let has_died = dying.iter().any(|&index| scene.has_died(index));
        for round in &*rounds {
            let (went_on, broken) = (!round.places.lock().unwrap().is_empty(), round.broken.load(SeqCst) > 0);
            assert!(!(went_on && broken), "a round is for all who live, or for none");
            assert!(has_died || limited || went_on, "nothing has broken it");
        }
        assert!(!has_died || made.is_broken().unwrap(), "who comes is told");
        made.reset().unwrap();
        let again = Arc::new(Round::default());
        let mut threads = Vec::new();
        for _ in 0..parties {
            let process = scene.world.process();
            let (barrier, again) = (process.enter(|| made.received()), Arc::clone(&again));
            threads.push(process.start(NEVER, move || {
                again.meet(&barrier, true, &Patience::ENDLESS).unwrap();
            }));
        }
        threads.into_iter().for_each(|thread| assert!(thread.join().unwrap()));
    });
}

#[test]
fn all_go_on_when_the_last_has_come() {
    explore(|| meetings(3, &[], false));
}

#[test]
fn a_dead_participant_breaks_a_barrier_and_nobody_hangs() {
    explore(|| meetings(3, &[0], false));
    explore(|| meetings(3, &[1], false));
    explore(|| meetings(4, &[0, 1], false));
}

#[test]
fn a_participant_that_came_while_others_waited_is_missed_when_it_dies() {
    explore(|| {
        Scene::play(2, &[1], 80, |scene| {
            let made = Arc::new(Barrier::new(2).unwrap());
            let received = scene.processes[0].0.enter(|| made.received());
            scene.start(0, None, move || drop(received.wait_for(&Patience::ENDLESS, || {})));
            let (late, has_come) = (Arc::clone(&made), Arc::new(AtomicBool::new(false)));
            let comes = Arc::clone(&has_come);
            scene.start(1, None, move || {
                let received = late.received();
                comes.store(true, SeqCst);
                drop(received.wait_for(&Patience::ENDLESS, || {}));
            });
            scene.begun();
            scene.threads.pop().map(JoinHandle::join);
            // Whoever dies before the barrier has reached it was never there.
            if !scene.has_died(1) || !has_come.load(SeqCst) {
                made.abort().unwrap();
            }
            scene.end();
        });
    });
}

#[test]
fn who_does_not_want_to_wait_any_more_breaks_a_barrier() {
    explore(|| meetings(3, &[], true));
    explore(|| meetings(3, &[1], true));
}

#[test]
fn an_event_wakes_all_who_wait_whoever_dies() {
    explore(|| {
        Scene::play(4, &[0, 1], 20, |scene| {
            let made = Event::new().unwrap();
            for index in 0..4 {
                let received = scene.processes[index].0.enter(|| made.received());
                scene.start(index, None, move || match index {
                    0 => received.set(),
                    _ => assert!(event::wait(received.page(), &Patience::ENDLESS)),
                });
            }
            scene.begun();
            while !made.is_set() && scene.is_there(0) {
                yield_now();
            }
            if !made.is_set() {
                made.set();
            }
            scene.end();
        });
    });
}

#[test]
fn who_waited_when_an_event_was_set_is_not_held_back_when_it_is_cleared() {
    explore(|| {
        Scene::play(2, &[], 0, |scene| {
            let made = Event::new().unwrap();
            for index in 0..2 {
                let received = scene.processes[index].0.enter(|| made.received());
                scene.start(index, None, move || {
                    assert!(event::wait(received.page(), &Patience::ENDLESS));
                });
            }
            scene.begun();
            while scene.world.asleep() < 2 {
                yield_now();
            }
            made.set();
            made.clear();
            scene.end();
        });
    });
}
