//! A shutdown resolves what was accepted and leaves nothing, whatever happens at the same moment (F19).
//!
//! 200 moments for each way to end; `PROCPOOL_ROUNDS` sets another number.

#[path = "shutdown_races/storm.rs"]
mod storm;
mod support;

use std::sync::Barrier;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, Refusal, ShutdownOptions, ShutdownReport, TaskFuture, task};
use support::{Signal, eventually, kill, procfs, tagged_pids};

/// The hard bound of an end that kills.
const STOP: Duration = Duration::from_secs(2);

#[task]
fn double(n: u64) -> u64 {
    2 * n
}

#[task]
fn never_end(how: &str) {
    match how {
        "loop" => loop {
            std::hint::spin_loop();
        },
        "stop" => rustix::process::kill_process(rustix::process::getpid(), Signal::STOP)
            .expect("a signal to itself"),
        "panic and sleep" => drop(std::panic::catch_unwind(|| panic!("on purpose"))),
        "sleep" => {}
        _ => unreachable!("{how}"),
    }
    loop {
        thread::park();
    }
}

/// An initializer that never ends.
#[task]
fn hang() {
    loop {
        thread::park();
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Wait,
    Cancel,
    Kill,
}

impl Way {
    fn options(self) -> ShutdownOptions {
        ShutdownOptions::new().cancel_futures(self == Way::Cancel).kill(self == Way::Kill)
    }
}

/// A pool of two workers that never end their tasks, with four more tasks in line.
fn endless(how: &str) -> (ProcessPoolExecutor, Vec<TaskFuture<()>>) {
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
    let futures: Vec<_> = (0..6).map(|_| pool.submit(never_end, how)).collect();
    eventually("two tasks run", Duration::from_secs(5), || {
        futures.iter().filter(|f| f.running()).count() == 2
    });
    (pool, futures)
}

fn assert_all_cancelled(futures: Vec<TaskFuture<()>>) {
    for future in futures {
        assert!(future.done());
        assert!(future.result().expect_err("no value").is_cancelled());
    }
}

support::isolated! {
    fn two_threads_that_shut_down_both_return() {
        for (one, two) in [(Way::Wait, Way::Wait), (Way::Wait, Way::Cancel), (Way::Cancel, Way::Kill), (Way::Kill, Way::Kill)] {
            let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
            let futures: Vec<TaskFuture<u64>> = (0..100).map(|n| pool.submit(double, n)).collect();
            let begin = Barrier::new(2);
            let end = |way: Way| {
                begin.wait();
                pool.shutdown_with(way.options()).wait()
            };
            let reports: [ShutdownReport; 2] = thread::scope(|scope| {
                let other = scope.spawn(|| end(one));
                [end(two), other.join().expect("no panic")]
            });
            assert_eq!(reports[0], reports[1]);
            assert!(futures.iter().all(TaskFuture::done));
            assert_eq!(procfs::children_of(std::process::id()), [0; 0]);
        }
    }

    fn a_stricter_call_overrides_one_that_waits() {
        let (pool, futures) = endless("loop");
        let report = thread::scope(|scope| {
            let patient = scope.spawn(|| pool.shutdown(true).wait());
            eventually("the first call has closed the pool", STOP, || pool.try_reserve().is_err());
            let began = Instant::now();
            let report = pool.shutdown_with(Way::Kill.options()).wait();
            assert!(began.elapsed() < STOP, "{:?}", began.elapsed());
            assert_eq!(patient.join().expect("no panic"), report);
            report
        });
        assert_eq!((report.cancelled, report.killed), (6, 2));
        assert_all_cancelled(futures);
    }

    fn a_callback_may_shut_its_own_pool_down() {
        for way in [Way::Wait, Way::Cancel, Way::Kill] {
            let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
            let first = pool.submit(double, 1);
            let rest: Vec<TaskFuture<u64>> = (0..50).map(|n| pool.submit(double, n)).collect();
            let (sender, receiver) = mpsc::channel();
            let inner = pool.clone();
            first.add_done_callback(move |done| {
                let refused = inner.shutdown_with(way.options().wait(false)).wait();
                sender.send((done.is_ok(), refused.leaked)).expect("the test waits");
            });
            assert_eq!(receiver.recv().expect("the callback runs"), (true, Vec::new()));
            pool.shutdown(true).wait();
            assert!(rest.iter().all(TaskFuture::done));
            if way == Way::Wait {
                assert!(rest.into_iter().all(|future| future.result().is_ok()), "what was accepted is finished");
            }
        }
    }

    fn a_callback_that_waits_for_the_end_of_its_own_pool_does_not_hang_it() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let future = pool.submit(double, 1);
        let (sender, receiver) = mpsc::channel();
        let inner = pool.clone();
        future.add_done_callback(move |_| {
            // Only the thread that this runs on could end what is waited for.
            inner.shutdown(true).wait();
            sender.send(()).expect("the test waits");
        });
        receiver.recv_timeout(STOP).expect("the callback returns");
        pool.shutdown(true).wait();
        assert_eq!(procfs::children_of(std::process::id()), [0; 0]);
    }

    fn those_who_wait_for_room_are_told() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).max_pending(1).build().expect("a pool");
        let running = pool.submit(never_end, "sleep");
        eventually("it runs", Duration::from_secs(5), || running.running());
        let (sender, receiver) = mpsc::channel();
        let waiters: Vec<_> = (0..4)
            .map(|_| {
                let (pool, sender) = (pool.clone(), sender.clone());
                thread::spawn(move || {
                    sender.send(None).expect("the test waits");
                    let answer = pool.reserve().wait().map(drop);
                    sender.send(Some(answer)).expect("the test waits");
                })
            })
            .collect();
        for _ in 0..4 {
            assert!(receiver.recv().expect("a waiter begins").is_none());
        }
        assert!(!running.done());
        // The task that takes the only place goes on; nobody waits for it in vain.
        pool.shutdown(false).wait();
        for _ in 0..4 {
            let answer = receiver.recv_timeout(STOP).expect("told").expect("an answer");
            assert!(matches!(answer.expect_err("closed").reason(), Refusal::PoolClosed));
        }
        assert!(matches!(pool.reserve().wait().expect_err("closed").reason(), Refusal::PoolClosed));
        assert!(!running.done());
        waiters.into_iter().for_each(|waiter| waiter.join().expect("no panic"));
        pool.shutdown_with(Way::Kill.options()).wait();
        assert!(running.result().expect_err("killed").is_cancelled());
    }

    fn those_who_wait_for_workers_are_told() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).initializer(hang, ()).build().expect("a pool");
        let warm = pool.warm_up();
        let waiting = pool.submit(double, 1);
        let waiter = thread::spawn(move || warm.wait());
        eventually("two processes start", Duration::from_secs(5), || pool.worker_pids().len() == 2);
        let began = Instant::now();
        pool.shutdown_with(Way::Cancel.options()).wait();
        assert!(began.elapsed() < STOP, "{:?}", began.elapsed());
        waiter.join().expect("no panic").expect_err("the workers never came");
        assert!(waiting.result().expect_err("no worker").is_cancelled());
    }

    fn an_end_within_a_time_is_bounded_whatever_the_tasks_do() {
        const WITHIN: Duration = Duration::from_millis(200);
        for how in ["loop", "stop", "sleep", "panic and sleep"] {
            let (pool, futures) = endless(how);
            let began = Instant::now();
            let report = pool.shutdown_with(ShutdownOptions::new().within(WITHIN)).wait();
            let took = began.elapsed();
            assert!(took >= WITHIN && took < WITHIN + STOP, "{how}: {took:?}");
            println!("{how}: {:?} after the limit", took - WITHIN);
            assert_eq!((report.cancelled, report.killed), (6, 2), "{how}");
            assert_all_cancelled(futures);
            assert_eq!(procfs::children_of(std::process::id()), [0; 0]);
        }
    }

    fn an_end_within_a_time_is_bounded_when_idle_workers_do_not_answer() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        pool.warm_up().wait().expect("two workers");
        for pid in pool.worker_pids() {
            kill(pid, Signal::STOP);
        }
        let began = Instant::now();
        pool.shutdown_with(ShutdownOptions::new().within(Duration::from_millis(100))).wait();
        assert!(began.elapsed() < STOP, "{:?}", began.elapsed());
        assert_eq!(tagged_pids(), [0; 0]);
    }

    fn a_stopped_idle_worker_is_killed_after_the_time_it_has_to_stop() {
        let stop = Duration::from_millis(300);
        let pool = ProcessPoolExecutor::builder().max_workers(1).stop_timeout(stop).build().expect("a pool");
        pool.warm_up().wait().expect("a worker");
        kill(pool.worker_pids()[0], Signal::STOP);
        let began = Instant::now();
        pool.shutdown(true).wait();
        assert!(began.elapsed() >= stop && began.elapsed() < stop + STOP, "{:?}", began.elapsed());
    }
}
