//! Who takes part in a barrier, a condition, a semaphore or an event and dies takes nobody with him (F60).

mod support;

use std::time::{Duration, Instant};

use procpool::sync::{LockError, SyncError};
use procpool::{
    Barrier, BoundedSemaphore, Condition, Event, Lock, ProcessPoolExecutor, RLock, Semaphore, TaskFuture,
    Value, task,
};
use support::{Random, Signal, eventually, kill, procfs, rounds};

/// The hard limit of FAULTS 0.2 from a death to what follows from it.
const DETECT: Duration = Duration::from_secs(2);
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
fn come(barrier: Barrier) -> Result<u32, String> {
    barrier.wait().map_err(text)
}

#[task]
fn have_it_open(barrier: Barrier, opened: Event) -> u32 {
    opened.set();
    loop {
        std::thread::park();
        let _ = &barrier;
    }
}

/// Takes so many permits, some of them for good, and stays.
#[task]
fn hold(semaphore: Semaphore, permits: u32, forgotten: u32, held: Event) {
    let permits: Vec<_> = (0..permits).map(|_| semaphore.acquire().expect("a permit")).collect();
    (0..forgotten).for_each(|_| semaphore.acquire().expect("a permit").forget());
    held.set();
    loop {
        std::thread::park();
        let _ = &permits;
    }
}

#[task]
fn acquire(semaphore: Semaphore) -> Result<(), String> {
    semaphore.acquire().map(drop).map_err(text)
}

#[task]
fn await_notification(condition: Condition, lock: Lock, pid: Value<u32>) -> Result<(), String> {
    let guard = lock.lock().map_err(text)?;
    pid.store(std::process::id());
    condition.wait(guard).map(drop).map_err(text)
}

#[task]
fn await_event(event: Event) -> bool {
    event.wait_timeout(PATIENCE)
}

#[task]
fn set_and_clear(event: Event, pid: Value<u32>) {
    pid.store(std::process::id());
    loop {
        event.set();
        event.clear();
    }
}

#[task]
fn hold_twice(lock: RLock, held: Event) {
    let _outer = lock.lock();
    let _inner = lock.lock();
    held.set();
    loop {
        std::thread::park();
    }
}

fn waits(
    condition: &Condition,
    lock: &Lock,
    pool: &ProcessPoolExecutor,
) -> (TaskFuture<Result<(), String>>, u32) {
    let pid = Value::new(0_u32).expect("a value");
    let task = pool.submit(await_notification, (condition.clone(), lock.clone(), pid.clone()));
    eventually("it waits", PATIENCE, || {
        pid.load() != 0 && lock.try_lock().is_ok() && procfs::sleeps_in(pid.load(), "futex_wait_multiple")
    });
    (task, pid.load())
}

support::isolated! {
    timeout = 60;

    fn a_barrier_is_broken_for_those_who_wait_and_those_who_come_when_one_of_five_dies() {
        let pool = pool(5);
        let barrier = Barrier::new(5).expect("a barrier");
        for victim in 0..4 {
            let tasks: Vec<_> = (0..4).map(|_| pool.submit(come, barrier.clone())).collect();
            eventually("four wait", PATIENCE, || barrier.n_waiting().is_ok_and(|waiting| waiting == 4));
            let since = Instant::now();
            tasks[victim].kill();
            for (index, task) in tasks.into_iter().enumerate() {
                match task.result() {
                    Ok(came) => assert!(came.is_err_and(|error| error.contains("broken")), "{index}"),
                    Err(error) => assert!(index == victim, "{error}"),
                }
            }
            assert!(since.elapsed() < DETECT, "{:?}", since.elapsed());
            assert!(matches!(barrier.wait(), Err(SyncError::Broken)), "and for those who come");
            assert!(barrier.is_broken().expect("it can be asked"));
            barrier.reset().expect("it begins anew");
            assert_eq!(barrier.n_waiting().expect("it can be asked"), 0);
        }
        let tasks: Vec<_> = (0..4).map(|_| pool.submit(come, barrier.clone())).collect();
        let mut places = vec![barrier.wait().expect("nobody dies")];
        places.extend(tasks.into_iter().map(|task| task.result().expect("it ends").expect("all came")));
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2, 3, 4]);
    }

    fn a_barrier_is_broken_by_the_death_of_one_who_has_not_come_yet_and_not_by_one_who_left() {
        let pool = pool(3);
        let barrier = Barrier::new(3).expect("a barrier");
        // It had the barrier open, and its task is over.
        let (left, came) = (pool.submit(come, barrier.clone()), pool.submit(come, barrier.clone()));
        barrier.wait().expect("all came");
        left.result().expect("it ends").expect("all came");
        came.result().expect("it ends").expect("all came");
        pool.worker_pids().into_iter().for_each(|pid| kill(pid, Signal::KILL));
        pool.warm_up().wait().expect("new workers");
        assert!(!barrier.is_broken().expect("it can be asked"));

        let opened = Event::new().expect("an event");
        let idle = pool.submit(have_it_open, (barrier.clone(), opened.clone()));
        assert!(opened.wait_timeout(PATIENCE));
        let waiting = pool.submit(come, barrier.clone());
        eventually("it waits", PATIENCE, || barrier.n_waiting().is_ok_and(|waiting| waiting == 1));
        let since = Instant::now();
        idle.kill();
        assert!(waiting.result().expect("it ends").is_err_and(|error| error.contains("broken")));
        assert!(since.elapsed() < DETECT, "{:?}", since.elapsed());
    }

    fn the_permits_of_a_killed_process_come_back_and_wake_those_who_wait() {
        let pool = pool(4);
        for forgotten in 0..3 {
            let semaphore = Semaphore::new(4).expect("a semaphore");
            let held = Event::new().expect("an event");
            let holder = pool.submit(hold, (semaphore.clone(), 4 - forgotten, forgotten, held.clone()));
            assert!(held.wait_timeout(PATIENCE));
            assert_eq!(semaphore.value().expect("it can be asked"), 0);
            let waiting: Vec<_> = (0..3).map(|_| pool.submit(acquire, semaphore.clone())).collect();
            eventually("they wait", PATIENCE, || waiting.iter().all(|task| task.running()));
            let since = Instant::now();
            holder.kill();
            for task in waiting {
                assert_eq!(task.result().expect("it ends"), Ok(()));
            }
            assert!(since.elapsed() < DETECT, "{:?}", since.elapsed());
            // Those that it had taken for good are gone with it.
            assert_eq!(semaphore.value().expect("it can be asked"), 4 - forgotten);
            semaphore.release(forgotten).expect("somebody gives them back");
            assert_eq!(semaphore.value().expect("it can be asked"), 4);
        }
    }

    fn a_bounded_semaphore_is_as_full_as_before_after_any_number_of_deaths() {
        let pool = pool(2);
        let bounded = BoundedSemaphore::new(2).expect("a semaphore");
        for _ in 0..rounds(10) {
            let dies = pool.submit(acquire_and_die, bounded.clone());
            let permit = bounded.acquire_timeout(PATIENCE).expect("a permit");
            dies.result().expect_err("it dies");
            drop(permit);
            let both = [bounded.acquire_timeout(PATIENCE), bounded.acquire_timeout(PATIENCE)];
            assert!(both.iter().all(|permit| permit.is_ok()), "{both:?}");
            assert!(matches!(bounded.try_acquire(), Err(SyncError::WouldBlock)));
            assert!(matches!(bounded.release(1), Err(SyncError::TooManyReleases)));
        }
    }

    fn a_notification_for_one_who_was_killed_before_it_ran_again_goes_to_another() {
        let pool = pool(3);
        let (condition, lock) = (Condition::new().expect("a condition"), Lock::new().expect("a lock"));
        for _ in 0..rounds(5) {
            let (first, pid) = waits(&condition, &lock, &pool);
            let (second, _) = waits(&condition, &lock, &pool);
            // The first in line is woken, and cannot run before it is killed.
            kill(pid, Signal::STOP);
            eventually("it is stopped", PATIENCE, || procfs::state(pid) == Some('T'));
            condition.notify_one().expect("it is told");
            let since = Instant::now();
            kill(pid, Signal::KILL);
            first.result().expect_err("it was killed");
            assert_eq!(second.result().expect("it ends"), Ok(()));
            assert!(since.elapsed() < DETECT, "{:?}", since.elapsed());

            // It was one notification: it wakes no third one, nor one who comes later.
            let guard = lock.lock().expect("nobody died with it");
            let (guard, notified) = condition.wait_timeout(guard, Duration::from_millis(20)).expect("the lock");
            assert!(!notified);
            drop(guard);
        }
    }

    fn who_waits_for_a_condition_is_told_if_the_lock_comes_from_a_dead_process() {
        let pool = pool(2);
        let (condition, lock) = (Condition::new().expect("a condition"), Lock::new().expect("a lock"));
        let guard = lock.lock().expect("it is free");
        let notifies = pool.submit(notify_and_die, (condition.clone(), lock.clone()));
        let died = condition.wait(guard).expect_err("it died with the lock");
        assert!(matches!(died, LockError::OwnerDied(_)), "{died}");
        notifies.result().expect_err("it died");
    }

    fn an_event_stays_what_it_is_when_the_one_who_sets_it_is_killed() {
        let pool = pool(3);
        let event = Event::new().expect("an event");
        for _ in 0..rounds(20) {
            let pid = Value::new(0).expect("a value");
            let flips = pool.submit(set_and_clear, (event.clone(), pid.clone()));
            eventually("it flips", PATIENCE, || pid.load() != 0);
            let waits = [pool.submit(await_event, event.clone()), pool.submit(await_event, event.clone())];
            flips.kill();
            flips.result().expect_err("it was killed");
            eventually("it is dead", PATIENCE, || !procfs::is_alive(pid.load()));
            event.set();
            for task in waits {
                assert!(task.result().expect("it ends"), "it was set");
            }
            event.clear();
            assert!(!event.is_set() && !event.wait_timeout(Duration::from_millis(1)));
        }
    }

    fn a_lock_that_was_held_twice_is_free_when_its_process_was_killed() {
        let pool = pool(1);
        let (lock, held) = (RLock::new().expect("a lock"), Event::new().expect("an event"));
        let holder = pool.submit(hold_twice, (lock.clone(), held.clone()));
        assert!(held.wait_timeout(PATIENCE));
        assert!(matches!(lock.try_lock(), Err(LockError::NotTaken(SyncError::WouldBlock))));
        holder.kill();
        let since = Instant::now();
        let guard = match lock.lock_timeout(PATIENCE) {
            Err(LockError::OwnerDied(died)) => died.repaired(),
            other => panic!("its holder is dead: {other:?}"),
        };
        assert!(since.elapsed() < DETECT, "{:?}", since.elapsed());
        let again = lock.lock().expect("it is this thread's");
        drop((guard, again));
        drop(lock.lock().expect("it is free, and in order"));
    }
}

#[task]
fn acquire_and_die(bounded: BoundedSemaphore) {
    let _permit = bounded.acquire();
    std::process::abort();
}

/// Dies while it holds the lock under which it has notified.
#[task]
fn notify_and_die(condition: Condition, lock: Lock) {
    let _guard = lock.lock();
    let _ = condition.notify_one();
    std::process::abort();
}

/// Takes permits and gives them back, again and again.
#[task]
fn come_and_go(semaphore: Semaphore, seed: u64) {
    let mut random = Random::new(seed);
    loop {
        match random.below(3) {
            0 => drop(semaphore.try_acquire()),
            1 => drop(semaphore.acquire_timeout(Duration::from_millis(1))),
            _ => drop((semaphore.acquire(), semaphore.try_acquire())),
        }
    }
}

#[task]
fn meet_again_and_again(barrier: Barrier) -> String {
    loop {
        if let Err(error) = barrier.wait() {
            return error.to_string();
        }
    }
}

#[task]
fn notify_again_and_again(condition: Condition, value: Value<u64>) {
    while let Ok(mut value) = value.lock() {
        *value += 1;
        drop(value);
        let _ = condition.notify_all();
    }
}

support::isolated! {
    timeout = 120;

    fn a_storm_of_kills_leaves_no_permit_behind_and_nobody_waits_for_the_dead() {
        let pool = pool(3);
        let mut random = Random::new(11);
        let semaphore = Semaphore::new(2).expect("a semaphore");
        for round in 0..rounds(40) {
            let tasks: Vec<_> =
                (0..3).map(|task| pool.submit(come_and_go, (semaphore.clone(), 3 * round + task))).collect();
            eventually("they come and go", PATIENCE, || tasks.iter().all(|task| task.running()));
            // Time for any of their steps.
            for _ in 0..random.below(300) {
                std::thread::yield_now();
            }
            // Two of them, so that what the one left behind is found by another that dies as well.
            let since = Instant::now();
            tasks[0].kill();
            tasks[1].kill();
            drop(semaphore.acquire_timeout(PATIENCE).expect("a permit"));
            assert!(since.elapsed() < DETECT, "round {round}: {:?}", since.elapsed());
            tasks[2].kill();
            drop(tasks);
            let since = Instant::now();
            eventually("all permits are back", DETECT, || semaphore.value().expect("it can be asked") == 2);
            assert!(since.elapsed() < DETECT, "round {round}: {:?}", since.elapsed());
        }
    }

    fn a_storm_of_kills_breaks_a_barrier_for_all_the_others_each_time() {
        let pool = pool(3);
        let mut random = Random::new(12);
        for round in 0..rounds(40) {
            let barrier = Barrier::new(3).expect("a barrier");
            let mut tasks: Vec<_> =
                (0..3).map(|_| pool.submit(meet_again_and_again, barrier.clone())).collect();
            eventually("they meet", PATIENCE, || tasks.iter().all(|task| task.running()));
            for _ in 0..random.below(300) {
                std::thread::yield_now();
            }
            let victim = tasks.swap_remove(random.below(3) as usize);
            let since = Instant::now();
            victim.kill();
            for task in tasks {
                let told = task.result().expect("it ends");
                assert!(told.contains("broken"), "{told}");
            }
            assert!(since.elapsed() < DETECT, "round {round}: {:?}", since.elapsed());
        }
    }

    fn a_storm_of_kills_loses_no_change_for_those_who_wait_for_it() {
        let pool = pool(2);
        let condition = Condition::new().expect("a condition");
        for _ in 0..rounds(40) {
            // A lock that a dead process left suspect is another test's affair.
            let value = Value::new(0_u64).expect("a value");
            let tasks =
                [(); 2].map(|()| pool.submit(notify_again_and_again, (condition.clone(), value.clone())));
            let guard = value.lock().expect("nobody has died");
            let (guard, came) =
                condition.wait_for_timeout(guard, PATIENCE, |value| **value > 10).expect("nobody has died");
            assert!(came, "{}", *guard);
            drop(guard);
            tasks[0].kill();
            let before = value.load();
            // The other one goes on, or was told of the death.
            eventually("it goes on", PATIENCE, || tasks[1].done() || value.load() > before);
            tasks[1].kill();
        }
    }
}
