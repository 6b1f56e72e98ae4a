//! A lock outlives its holder: however a process ends that holds it, the next one gets the lock and is told (F39).

#![allow(unsafe_code, reason = "fork")]

mod support;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use procpool::sync::{LockError, LockGuard, SyncError};
use procpool::{Lock, ProcessPoolExecutor, Value, task};
use support::{Random, Signal, eventually, kill, procfs, rounds};

/// The hard limit of FAULTS 0.2 from a death to what follows from it.
const DETECT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

fn pool(workers: usize) -> ProcessPoolExecutor {
    let pool = ProcessPoolExecutor::builder().max_workers(workers).build().expect("a pool");
    pool.warm_up().wait().expect("workers");
    pool
}

fn died(taken: Result<LockGuard, LockError<LockGuard>>) -> LockGuard {
    match taken {
        Err(LockError::OwnerDied(died)) => died.repaired(),
        other => panic!("its holder is dead: {other:?}"),
    }
}

fn is_taken(lock: &Lock) -> bool {
    matches!(lock.try_lock(), Err(LockError::NotTaken(SyncError::WouldBlock)))
}

/// Takes the lock and ends the process in one of several ways.
#[task]
fn take_and_die(lock: Lock, way: u8) {
    let guard = lock.lock().expect("it is free");
    match way {
        // SAFETY: a signal to the own process.
        0 => drop(unsafe { libc::raise(libc::SIGKILL) }),
        1 => std::process::abort(),
        2 => std::process::exit(0),
        // SAFETY: ends the process.
        3 => unsafe { libc::_exit(0) },
        // SAFETY: it is not, and the kernel says so.
        4 => unsafe { std::ptr::null_mut::<u8>().write_volatile(1) },
        _ => {
            // Another program in this process: its keeper is gone, and the lock with it.
            use std::os::unix::process::CommandExt;
            panic!("{}", std::process::Command::new("true").exec());
        }
    }
    drop(guard);
}

#[task]
fn hold_until_killed(lock: Lock) {
    let _guard = lock.lock();
    loop {
        std::thread::park();
    }
}

/// Waits for the lock, and says whether it was told of a death.
#[task]
fn take_once(lock: Lock, threads: u32) -> Vec<bool> {
    let take = || match lock.lock() {
        Ok(_) => false,
        Err(LockError::OwnerDied(died)) => {
            drop(died.repaired());
            true
        }
        Err(error) => panic!("{error}"),
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(take)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).collect()
    })
}

/// Adds 1 to two words that nobody else may see unequal, and leaves them unequal for a while.
#[task]
fn count(lock: Lock, words: (Value<u64>, Value<u64>), times: u64, dawdle: u32) -> u64 {
    let mut deaths = 0;
    for _ in 0..times {
        let guard = match lock.lock() {
            Err(LockError::OwnerDied(died)) => {
                deaths += 1;
                words.1.store(words.0.load());
                died.repaired()
            }
            other => other.expect("the lock"),
        };
        let seen = words.0.load();
        assert_eq!(seen, words.1.load(), "nobody else is here");
        words.0.store(seen + 1);
        for _ in 0..dawdle {
            std::hint::spin_loop();
        }
        words.1.store(seen + 1);
        drop(guard);
    }
    deaths
}

support::isolated! {
    timeout = 60;

    fn the_next_one_is_told_however_the_holder_ended() {
        let pool = pool(1);
        let lock = Lock::new().expect("a lock");
        for way in 0..6 {
            let end = pool.submit(take_and_die, (lock.clone(), way)).result();
            assert!(end.is_err_and(|error| error.is_worker_died()), "way {way}");
            let since = Instant::now();
            drop(died(lock.lock_timeout(PATIENCE)));
            assert!(since.elapsed() < DETECT, "way {way}: {:?}", since.elapsed());
            drop(lock.lock().expect("it was said to be repaired"));
        }
    }

    fn of_a_hundred_who_wait_in_ten_processes_one_is_told_and_none_hangs() {
        let pool = pool(11);
        let lock = Lock::new().expect("a lock");
        let holder = pool.submit(hold_until_killed, lock.clone());
        eventually("it is held", PATIENCE, || is_taken(&lock));
        let waiting: Vec<_> = (0..10).map(|_| pool.submit(take_once, (lock.clone(), 10))).collect();
        eventually("all hundred sleep", PATIENCE, || {
            let sleeps = |pid: u32| procfs::wchan(pid).iter().filter(|(_, at)| at.contains("futex")).count();
            // The keeper and the vigil of each worker, and the thread that scopes the others, may be in a futex as well.
            pool.worker_pids().into_iter().map(sleeps).sum::<usize>() >= 100 + 10
        });
        holder.kill();
        let told = waiting.into_iter().flat_map(|task| task.result().expect("it ends"));
        assert_eq!(told.filter(|&told| told).count(), 1);
        assert!(lock.try_lock().is_ok());
    }

    fn a_lock_whose_holder_died_is_suspect_until_somebody_says_that_it_is_repaired() {
        let pool = pool(1);
        let lock = Lock::new().expect("a lock");
        pool.submit(take_and_die, (lock.clone(), 0)).result().expect_err("it dies");
        for _ in 0..3 {
            // Whoever passes the error on has repaired nothing.
            assert!(matches!(lock.lock(), Err(LockError::OwnerDied(_))));
        }
        drop(died(lock.try_lock()));
        drop(lock.try_lock().expect("a lock like any other"));
    }

    fn a_panic_under_the_lock_leaves_it_suspect_and_an_unwinding_that_began_before_does_not() {
        struct LocksInDrop(Lock);
        impl Drop for LocksInDrop {
            fn drop(&mut self) {
                drop(self.0.lock().expect("nobody has it"));
            }
        }
        let lock = Lock::new().expect("a lock");
        let panics = |body: &dyn Fn()| {
            let body = std::panic::AssertUnwindSafe(body);
            std::panic::catch_unwind(body).expect_err("it panics");
        };
        panics(&|| {
            let _guard = lock.lock();
            panic!("under the lock")
        });
        drop(died(lock.lock()));
        panics(&|| {
            let _locks = LocksInDrop(lock.clone());
            panic!("before the lock")
        });
        drop(lock.lock().expect("nothing went wrong under it"));
    }

    fn the_holder_and_all_who_wait_are_killed_at_once_and_the_program_gets_the_lock() {
        for round in 0..rounds(20) {
            let pool = pool(6);
            let lock = Lock::new().expect("a lock");
            let holder = pool.submit(hold_until_killed, lock.clone());
            eventually("it is held", PATIENCE, || is_taken(&lock));
            let waiting: Vec<_> = (0..5).map(|_| pool.submit(take_once, (lock.clone(), 3))).collect();
            eventually("they wait", PATIENCE, || waiting.iter().all(|task| task.running()));
            let pids = pool.worker_pids();
            let taken = std::thread::scope(|scope| {
                let taking = scope.spawn(|| lock.lock_timeout(PATIENCE).map(drop));
                for pid in pids {
                    kill(pid, Signal::KILL);
                }
                let since = Instant::now();
                let taken = taking.join().expect("it does not panic");
                assert!(since.elapsed() < DETECT, "round {round}: {:?}", since.elapsed());
                taken
            });
            // If a waiter had it first, for as long as it lived, the program is told of that death instead.
            assert!(matches!(taken, Ok(()) | Err(LockError::OwnerDied(_))), "{taken:?}");
            drop((holder, waiting));
        }
    }

    fn who_waits_may_be_killed_and_the_lock_still_goes_from_hand_to_hand() {
        let pool = pool(3);
        let lock = Lock::new().expect("a lock");
        for _ in 0..rounds(20) {
            let guard = lock.lock().expect("nobody has died with it");
            let doomed = pool.submit(take_once, (lock.clone(), 4));
            let other = pool.submit(take_once, (lock.clone(), 2));
            eventually("they wait", PATIENCE, || doomed.running() && other.running());
            // What comes first, the death of one who waits or the wake-up that is for him, is left to chance.
            doomed.kill();
            drop(guard);
            let mut told = other.result().expect("it gets the lock");
            doomed.result().expect_err("it was killed");
            told.push(match lock.lock_timeout(PATIENCE) {
                Err(LockError::OwnerDied(died)) => {
                    drop(died.repaired());
                    true
                }
                taken => {
                    drop(taken.expect("the lock is free"));
                    false
                }
            });
            // One of the killed threads may have had it, and then one of the others is told.
            assert!(told.iter().filter(|&&told| told).count() <= 1, "{told:?}");
        }
    }

    fn a_storm_of_kills_never_lets_two_in_and_never_leaves_it_locked() {
        let pool = pool(3);
        let lock = Lock::new().expect("a lock");
        let words = (Value::new(0).expect("a value"), Value::new(0).expect("a value"));
        let mut random = Random::new(7);
        let mut deaths = 0;
        for round in 0..rounds(50) {
            let tasks: Vec<_> =
                (0..3).map(|_| pool.submit(count, (lock.clone(), words.clone(), 200, 2_000))).collect();
            eventually("they count", PATIENCE, || tasks.iter().any(|task| task.running() || task.done()));
            let before = words.0.load();
            // A kill may come at any step of any of them.
            for _ in 0..random.below(2000) {
                std::hint::spin_loop();
            }
            tasks[random.below(3) as usize].kill();
            let since = Instant::now();
            match lock.lock_timeout(PATIENCE) {
                Err(LockError::OwnerDied(died)) => {
                    deaths += 1;
                    words.1.store(words.0.load());
                    drop(died.repaired());
                }
                taken => drop(taken.expect("the lock")),
            }
            assert!(since.elapsed() < DETECT, "round {round}: {:?}", since.elapsed());
            for task in tasks {
                match task.result() {
                    Ok(told) => deaths += told,
                    Err(error) => assert!(error.is_cancelled() || error.is_worker_died(), "{error}"),
                }
            }
            assert!(words.0.load() >= before);
            drop(lock.lock().or_else(|error| match error {
                LockError::OwnerDied(died) => {
                    deaths += 1;
                    words.1.store(words.0.load());
                    Ok(died.repaired())
                }
                other => Err(other),
            }).expect("the lock"));
            assert_eq!(words.0.load(), words.1.load());
        }
        println!("{deaths} died with the lock");
        assert!(deaths > 0, "no kill came where it matters");
    }

    fn a_timeout_ends_the_wait_and_takes_nothing() {
        let lock = Lock::new().expect("a lock");
        let guard = lock.lock().expect("it is free");
        assert!(is_taken(&lock));
        let late = lock.lock_timeout(Duration::from_millis(30)).expect_err("it is held");
        assert!(matches!(late, LockError::NotTaken(SyncError::TimedOut)), "{late}");
        assert!(lock.lock_timeout(Duration::ZERO).is_err());
        // The guard is the process's, so any thread of it may give the lock back.
        std::thread::spawn(move || drop(guard)).join().expect("it does not panic");
        drop(lock.lock_timeout(Duration::MAX).expect("it is free"));
    }

    fn a_lock_that_is_awaited_comes_and_one_that_is_no_longer_wanted_goes_on() {
        support::warmed_up(|| {
            let lock = Lock::new().expect("a lock");
            let guard = lock.lock();
            let mut unwanted = Box::pin(lock.lock_async());
            assert!(unwanted.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop(unwanted);
            drop(guard);
        });
        let lock = Lock::new().expect("a lock");
        let guard = lock.lock().expect("it is free");
        let mut context = Context::from_waker(Waker::noop());
        let mut unwanted = Box::pin(lock.lock_async());
        let mut wanted = pin!(lock.lock_async());
        assert!(unwanted.as_mut().poll(&mut context).is_pending() && wanted.as_mut().poll(&mut context).is_pending());
        drop(unwanted);
        drop(guard);
        let guard = futures::executor::block_on(wanted).expect("the lock");
        assert!(is_taken(&lock));
        drop(guard);
        // What the one got that was not wanted any more, if it did, it has given back.
        drop(lock.lock_timeout(PATIENCE).expect("nobody has it"));
    }

    fn a_copy_of_the_process_does_not_hold_what_its_parent_holds_and_takes_locks_of_its_own_accord() {
        let lock = Lock::new().expect("a lock");
        let mut guard = Some(lock.lock().expect("it is free"));
        let fork = |body: &mut dyn FnMut() -> bool| {
            // SAFETY: the copy starts a thread and takes memory; no other thread of this process runs meanwhile that
            // might hold a lock of the C library.
            let copy = unsafe { libc::fork() };
            if copy == 0 {
                let right = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or(false);
                // SAFETY: ends the copy at once.
                unsafe { libc::_exit(i32::from(!right)) };
            }
            let mut status = 0;
            eventually("the copy ends", PATIENCE, || {
                // SAFETY: the child is ours and not yet reaped; the status is a number of ours.
                unsafe { libc::waitpid(copy, &raw mut status, libc::WNOHANG) == copy }
            });
            assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status:#x}");
        };
        fork(&mut || {
            guard = None;
            is_taken(&lock)
        });
        assert!(is_taken(&lock), "the copy's guard was none");
        guard = None;
        fork(&mut || {
            // It ends with the lock.
            std::mem::forget(lock.lock().expect("it is free"));
            is_taken(&lock)
        });
        drop(died(lock.lock_timeout(PATIENCE)));
        assert!(guard.is_none());
    }
}
