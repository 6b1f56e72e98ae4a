//! Locks and shared numbers do across processes what their like do in one, in every way of waiting.

mod support;

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::time::Duration;

use futures::executor::block_on;
use procpool::sync::{LockError, SyncError};
use procpool::{
    Array, Barrier, BoundedSemaphore, Condition, Event, Lock, ProcessPoolExecutor, RLock, Semaphore, Value,
    task,
};
use serde::{Deserialize, Serialize};
use support::eventually;

const PATIENCE: Duration = Duration::from_secs(20);

fn pool(workers: usize) -> ProcessPoolExecutor {
    let pool = ProcessPoolExecutor::builder().max_workers(workers).build().expect("a pool");
    pool.warm_up().wait().expect("workers");
    pool
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[task]
fn count(counter: Value<u64>, times: u64) -> Result<(), String> {
    for _ in 0..times {
        *counter.lock().map_err(text)? += 1;
    }
    Ok(())
}

#[task]
fn count_without_lock(counter: Value<i16>, histogram: Array<u32>, times: u32) {
    for time in 0..times {
        counter.fetch_sub(1);
        histogram.fetch_add(time as usize % histogram.len(), 1);
    }
}

/// Moves ones from place to place, so that their sum stays the same for whoever holds the lock.
#[task]
fn shuffle(array: Array<[f32; 2]>, times: usize) -> Result<(), String> {
    for time in 0..times {
        let array = array.lock().map_err(text)?;
        let (from, to) = (time % array.len(), (time * 7 + 3) % array.len());
        array.update(from, |pair| pair[0] -= 1.0);
        array.update(to, |pair| pair[0] += 1.0);
        let sum: f32 = array.iter().map(|pair| pair[0]).sum();
        if sum != 0.0 {
            return Err(format!("{sum}"));
        }
    }
    Ok(())
}

/// The highest number of those who were at it at the same time.
#[task]
fn crowd(semaphore: Semaphore, inside: Value<u32>, times: u32) -> Result<u32, String> {
    let mut most = 0;
    for _ in 0..times {
        let _permit = semaphore.acquire().map_err(text)?;
        most = most.max(inside.fetch_add(1) + 1);
        std::thread::yield_now();
        inside.fetch_sub(1);
    }
    Ok(most)
}

/// Adds up what it is given until there is nothing more to come.
#[task]
fn consume(slot: Value<[u64; 2]>, changed: Condition) -> Result<u64, String> {
    let mut sum = 0;
    loop {
        let mut slot = changed.wait_for(slot.lock().map_err(text)?, |slot| slot[0] != 0).map_err(text)?;
        match slot[0] {
            1 => {
                sum += slot[1];
                slot[0] = 0;
            }
            _ => return Ok(sum),
        }
        drop(slot);
        changed.notify_all().map_err(text)?;
    }
}

#[task]
fn await_turn(turns: Value<u32>, waiting: Value<u32>, changed: Condition) -> Result<(), String> {
    let guard = turns.lock().map_err(text)?;
    waiting.fetch_add(1);
    let mut guard = changed.wait(guard).map_err(text)?;
    *guard += 1;
    Ok(())
}

#[task]
fn meet(barrier: Barrier, rounds: u32, arrived: Value<u32>) -> Result<u32, String> {
    let mut last = 0;
    for round in 1..=rounds {
        arrived.fetch_add(1);
        last += u32::from(barrier.wait().map_err(text)? + 1 == barrier.parties());
        let seen = arrived.load();
        if seen < round * barrier.parties() {
            return Err(format!("{seen} have come to round {round}"));
        }
        barrier.wait().map_err(text)?;
    }
    Ok(last)
}

#[derive(Debug, Serialize, Deserialize)]
struct Kit {
    lock: Lock,
    events: Vec<Event>,
    rlock: Option<RLock>,
    bounded: BoundedSemaphore,
}

/// Makes objects, and lets others have them.
#[task]
fn make_kit() -> Result<Kit, String> {
    let events = vec![Event::new().map_err(text)?, Event::new().map_err(text)?];
    events[1].set();
    let bounded = BoundedSemaphore::new(3).map_err(text)?;
    Ok(Kit { lock: Lock::new().map_err(text)?, events, rlock: Some(RLock::new().map_err(text)?), bounded })
}

#[task]
fn use_kit(kit: Kit) -> Result<Kit, String> {
    kit.events[0].set();
    kit.events[1].clear();
    kit.bounded.acquire().map_err(text)?.forget();
    drop((kit.lock.lock().map_err(text)?, kit.rlock.as_ref().expect("it is there").lock().map_err(text)?));
    Ok(kit)
}

support::isolated! {
    timeout = 60;

    fn a_counter_of_four_processes_comes_out_right() {
        let pool = pool(4);
        let counter = Value::new(0_u64).expect("a value");
        let tasks: Vec<_> = (0..4).map(|_| pool.submit(count, (counter.clone(), 20_000))).collect();
        for task in tasks {
            assert_eq!(task.result().expect("it ends"), Ok(()));
        }
        assert_eq!(counter.load(), 80_000);
        let (small, histogram) =
            (Value::new(0_i16).expect("a value"), Array::<u32>::zeroed(3).expect("an array"));
        let tasks: Vec<_> = (0..4)
            .map(|_| pool.submit(count_without_lock, (small.clone(), histogram.clone(), 6000)))
            .collect();
        for task in tasks {
            task.result().expect("it ends");
        }
        assert_eq!(small.load(), -24_000);
        assert_eq!(histogram.lock().expect("the lock").to_vec(), [8000; 3]);
    }

    fn an_array_is_seen_as_a_whole_by_whoever_holds_its_lock() {
        let pool = pool(3);
        let array = Array::from_slice(&[[0.0_f32, 1.0]; 100]).expect("an array");
        let tasks: Vec<_> = (0..3).map(|_| pool.submit(shuffle, (array.clone(), 1000))).collect();
        for task in tasks {
            assert_eq!(task.result().expect("it ends"), Ok(()));
        }
        let guard = array.lock().expect("the lock");
        assert!(guard.iter().all(|pair| pair[1] == 1.0) && guard.get(100).is_none() && guard.len() == 100);
        guard.copy_from_slice(&[[2.0, 3.0]; 100]);
        guard.set(99, [4.0, 5.0]);
        assert_eq!(guard.get(99), Some([4.0, 5.0]));
        assert_eq!(guard.get(98), Some([2.0, 3.0]));
    }

    fn no_more_than_there_are_permits_are_at_it_and_all_get_their_turn() {
        let pool = pool(4);
        for permits in [1, 2, 3] {
            let (semaphore, inside) =
                (Semaphore::new(permits).expect("a semaphore"), Value::new(0).expect("a value"));
            let tasks: Vec<_> =
                (0..4).map(|_| pool.submit(crowd, (semaphore.clone(), inside.clone(), 500))).collect();
            for task in tasks {
                let most = task.result().expect("it ends").expect("it gets its permits");
                assert!(most <= permits, "{most} of {permits}");
            }
            assert_eq!(semaphore.value().expect("it can be asked"), permits);
        }
    }

    fn what_one_process_gives_under_a_condition_another_takes() {
        let pool = pool(2);
        let (slot, changed) = (Value::new([0_u64; 2]).expect("a value"), Condition::new().expect("a condition"));
        let consumers: Vec<_> =
            (0..2).map(|_| pool.submit(consume, (slot.clone(), changed.clone()))).collect();
        for number in 1..=500 {
            let mut slot = changed.wait_for(slot.lock().expect("the lock"), |slot| slot[0] == 0).expect("the lock");
            *slot = [1, number];
            drop(slot);
            changed.notify_all().expect("they are told");
        }
        let mut slot = changed.wait_for(slot.lock().expect("the lock"), |slot| slot[0] == 0).expect("the lock");
        slot[0] = 2;
        drop(slot);
        changed.notify_all().expect("they are told");
        let sums = consumers.into_iter().map(|task| task.result().expect("it ends").expect("its sum"));
        assert_eq!(sums.sum::<u64>(), 500 * 501 / 2);
    }

    fn so_many_are_woken_as_are_notified_and_none_who_comes_later() {
        let pool = pool(5);
        let (turns, waiting) = (Value::new(0_u32).expect("a value"), Value::new(0_u32).expect("a value"));
        let changed = Condition::new().expect("a condition");
        // There is nobody to be woken, and it is not kept for those who come.
        changed.notify(3).expect("they are told");
        let tasks: Vec<_> = (0..5)
            .map(|_| pool.submit(await_turn, (turns.clone(), waiting.clone(), changed.clone())))
            .collect();
        eventually("all wait", PATIENCE, || waiting.load() == 5 && turns.try_lock().is_ok());
        changed.notify(2).expect("they are told");
        eventually("two are woken", PATIENCE, || turns.load() == 2);
        let guard = turns.lock().expect("the lock");
        let (guard, notified) = changed.wait_timeout(guard, Duration::from_millis(50)).expect("the lock");
        assert!(!notified && *guard == 2, "and no third");
        drop(guard);
        changed.notify_one().expect("they are told");
        eventually("one more is woken", PATIENCE, || turns.load() == 3);
        changed.notify_all().expect("they are told");
        for task in tasks {
            assert_eq!(task.result().expect("it ends"), Ok(()));
        }
        assert_eq!(turns.load(), 5);
    }

    fn nobody_passes_a_barrier_before_all_have_come_round_after_round() {
        let pool = pool(3);
        let (barrier, arrived) = (Barrier::new(3).expect("a barrier"), Value::new(0_u32).expect("a value"));
        let tasks: Vec<_> =
            (0..3).map(|_| pool.submit(meet, (barrier.clone(), 200, arrived.clone()))).collect();
        let last = tasks.into_iter().map(|task| task.result().expect("it ends").expect("no round fails"));
        assert_eq!(last.sum::<u32>(), 200, "one was the last in each");
    }

    fn the_action_of_the_last_runs_before_all_go_on_and_a_panic_in_it_breaks_the_barrier() {
        let barrier = Barrier::new(3).expect("a barrier");
        let acted = AtomicU32::new(0);
        let act = || {
            // Time for the others to go on, if they could.
            (0..1000).for_each(|_| std::thread::yield_now());
            acted.fetch_add(1, SeqCst);
        };
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    barrier.wait_with(act).expect("all come");
                    assert_eq!(acted.load(SeqCst), 1);
                });
            }
        });
        std::thread::scope(|scope| {
            let wait = || barrier.wait_with(|| panic!("in the action"));
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(wait)).collect();
            let ends: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            assert_eq!(ends.iter().filter(|end| end.is_err()).count(), 1);
            assert!(ends.into_iter().flatten().all(|end| matches!(end, Err(SyncError::Broken))));
        });
        barrier.reset().expect("it begins anew");
        // For those who wait it is broken, and for those who come later it is not.
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| barrier.wait());
            eventually("it waits", PATIENCE, || barrier.n_waiting().is_ok_and(|waiting| waiting == 1));
            barrier.reset().expect("it begins anew");
            assert!(matches!(waiting.join().expect("no panic"), Err(SyncError::Broken)));
        });
        assert!(!barrier.is_broken().expect("it can be asked"));
        assert!(matches!(barrier.wait_timeout(Duration::from_millis(5)), Err(SyncError::TimedOut)));
        assert!(matches!(barrier.wait(), Err(SyncError::Broken)));
    }

    fn an_event_releases_all_who_wait_even_if_it_is_cleared_at_once() {
        let event = Event::new().expect("an event");
        for _ in 0..100 {
            let threads: [AtomicU32; 3] = Default::default();
            std::thread::scope(|scope| {
                let wait = |thread: &AtomicU32| {
                    thread.store(rustix::thread::gettid().as_raw_pid().unsigned_abs(), SeqCst);
                    event.wait_timeout(PATIENCE)
                };
                let waiting: Vec<_> = threads.iter().map(|thread| scope.spawn(move || wait(thread))).collect();
                eventually("they sleep", PATIENCE, || {
                    let at = support::procfs::wchan(std::process::id());
                    let sleeps = |tid| at.iter().any(|(thread, at)| *thread == tid && at.contains("futex"));
                    threads.iter().all(|thread| sleeps(thread.load(SeqCst)))
                });
                event.set();
                event.clear();
                for thread in waiting {
                    assert!(thread.join().expect("no panic"), "it was set while one waited");
                }
            });
        }
        assert!(!event.wait_timeout(Duration::from_millis(5)));
    }

    fn handles_travel_in_anything_both_ways() {
        let pool = pool(2);
        let kit = pool.submit(make_kit, ()).result().expect("it ends").expect("a kit");
        assert!(!kit.events[0].is_set() && kit.events[1].is_set());
        let other = pool.submit(use_kit, kit).result().expect("it ends").expect("the kit");
        assert!(other.events[0].is_set() && !other.events[1].is_set());
        assert_eq!(other.bounded.value().expect("it can be asked"), 2);
        drop(other.lock.try_lock().expect("it is free"));
    }

    fn what_is_of_no_size_or_goes_elsewhere_than_into_a_message_is_refused() {
        let refused = Value::new(()).expect_err("there is nothing to share").to_string();
        assert!(refused.contains("no size"), "{refused}");
        assert!(Barrier::new(0).is_err(), "for nobody");
        // A formatter is a serializer as well.
        use std::fmt::Write;
        let lock = Lock::new().expect("a lock");
        assert!(write!(String::new(), "{}", std::fmt::from_fn(|f| lock.serialize(f))).is_err());
    }

    fn everything_can_be_awaited_and_given_up() {
        let mut context = Context::from_waker(Waker::noop());
        let semaphore = Semaphore::new(1).expect("a semaphore");
        let permit = block_on(semaphore.acquire_async()).expect("a permit");
        let mut unwanted = Box::pin(semaphore.acquire_async());
        assert!(unwanted.as_mut().poll(&mut context).is_pending());
        drop(unwanted);
        std::thread::scope(|scope| {
            let wanted = scope.spawn(|| block_on(semaphore.acquire_async()).map(drop));
            drop(permit);
            wanted.join().expect("no panic").expect("a permit");
        });
        eventually("it is back", PATIENCE, || semaphore.value().is_ok_and(|value| value == 1));

        let event = Event::new().expect("an event");
        let mut unwanted = Box::pin(event.wait_async());
        assert!(unwanted.as_mut().poll(&mut context).is_pending());
        drop(unwanted);
        std::thread::scope(|scope| {
            let wanted = scope.spawn(|| block_on(event.wait_async()));
            event.set();
            wanted.join().expect("no panic").expect("it is set");
        });

        let barrier = Barrier::new(2).expect("a barrier");
        let (one, other) = block_on(futures::future::join(barrier.wait_async(), barrier.wait_async()));
        assert_eq!(one.expect("both came") + other.expect("both came"), 1);
        let mut unwanted = Box::pin(barrier.wait_async());
        assert!(unwanted.as_mut().poll(&mut context).is_pending());
        eventually("it waits", PATIENCE, || barrier.n_waiting().is_ok_and(|waiting| waiting == 1));
        drop(unwanted);
        eventually("it is broken", PATIENCE, || barrier.is_broken().expect("it can be asked"));

        let (number, changed) = (Value::new(1).expect("a value"), Condition::new().expect("a condition"));
        let guard = block_on(number.lock_async()).expect("the lock");
        let mut waiting = Box::pin(changed.wait_async(guard));
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        *number.lock().expect("it is free while one waits") = 2;
        changed.notify_one().expect("it is told");
        assert_eq!(*block_on(waiting).expect("the lock"), 2);
    }

    fn a_lock_that_its_thread_takes_again_is_freed_and_taken_by_a_condition_as_a_whole() {
        let (lock, changed) = (RLock::new().expect("a lock"), Condition::new().expect("a condition"));
        let is_free = |lock: &RLock| {
            let lock = lock.clone();
            std::thread::spawn(move || lock.try_lock().is_ok()).join().expect("no panic")
        };
        let outer = lock.lock().expect("it is free");
        let inner = lock.try_lock().expect("it is this thread's");
        let (inner, notified) = changed.wait_timeout(inner, Duration::ZERO).expect("the lock");
        assert!(!notified && !is_free(&lock));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _guard = lock.lock().expect("it is free while the other waits");
                changed.notify_one().expect("it is told");
            });
            let inner = changed.wait(inner).expect("the lock");
            assert!(!is_free(&lock));
            drop(inner);
        });
        assert!(!is_free(&lock), "there is the other guard");
        drop(outer);
        assert!(is_free(&lock));
        assert!(matches!(lock.lock_timeout(Duration::ZERO).map(drop), Ok(()) | Err(LockError::NotTaken(_))));
    }
}
