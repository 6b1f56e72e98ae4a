//! Callbacks of a `Pool` are called once, before the result is ready and before `join` returns, and hurt nobody.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procpool::{Pool, task};

const SOON: Duration = Duration::from_secs(10);

#[task]
fn cube(n: i64) -> i64 {
    n.pow(3)
}

#[task]
fn invert(n: i64) -> i64 {
    100 / n
}

#[task]
fn checked(n: i64) -> Result<i64, String> {
    if n < 0 { Err(format!("{n} is negative")) } else { Ok(n) }
}

#[task]
fn park() {
    loop {
        std::thread::park();
    }
}

fn pool(processes: usize) -> Pool {
    Pool::builder().processes(processes).build().expect("a pool")
}

support::isolated! {
    fn of_two_callbacks_the_right_one_is_called_once() {
        let pool = pool(2);
        let (sender, told) = channel();
        for n in [5, 0] {
            let (values, errors) = (sender.clone(), sender.clone());
            let mut result = pool
                .apply_async(invert, n)
                .callback(move |value| values.send(Ok(value)).expect("somebody listens"))
                .error_callback(move |error| errors.send(Err(error.is_panic())).expect("somebody listens"));
            result.wait();
            // It was called before the result was ready.
            let told_now = told.try_recv().expect("the callback was called");
            assert_eq!(told_now, if n == 0 { Err(true) } else { Ok(20) });
        }
        pool.close();
        pool.join().wait().expect("closed");
        assert!(told.try_recv().is_err(), "each is called once");
    }

    fn a_map_has_one_callback_with_all_values_or_the_first_error() {
        let pool = pool(2);
        let (sender, told) = channel();
        let call = |items: Vec<i64>| {
            let (values, errors) = (sender.clone(), sender.clone());
            let message = |error: procpool::TaskError| error.panic().expect("a panic").message().to_owned();
            pool.map_async(invert, items)
                .callback(move |value| values.send(Ok(value)).expect("somebody listens"))
                .error_callback(move |error| errors.send(Err(message(error))).expect("somebody listens"))
                .wait();
            told.try_recv().expect("the callback was called")
        };
        assert_eq!(call(vec![1, 2, 5]), Ok(vec![100, 50, 20]));
        assert_eq!(call(vec![]), Ok(vec![]));
        assert_eq!(call(vec![1, 0, 5]), Err("attempt to divide by zero".to_owned()));
        assert!(told.try_recv().is_err(), "one call each");
    }

    fn an_error_that_a_function_returns_is_its_value() {
        let (sender, told) = channel();
        let result = pool(1)
            .apply_async(checked, -3)
            .callback(move |value| sender.send(value).expect("somebody listens"))
            .error_callback(|_| unreachable!("the task has a value"));
        assert_eq!(result.get().expect("a value"), Err("-3 is negative".to_owned()));
        assert_eq!(told.recv_timeout(SOON), Ok(Err("-3 is negative".to_owned())));
    }

    fn a_result_is_ready_and_a_pool_has_ended_after_the_callbacks_whoever_calls_them() {
        for round in 0..10 {
            let pool = pool(2);
            std::thread::scope(|scope| {
                // Threads that wait for results of their own call callbacks of others as well.
                for _ in 0..2 {
                    scope.spawn(|| while pool.apply(cube, 2).is_ok() {});
                }
                let slow = |_: i64| {
                    let called = Arc::new(AtomicBool::new(false));
                    let flag = Arc::clone(&called);
                    let result = pool.apply_async(cube, 3).callback(move |_| {
                        std::thread::sleep(Duration::from_millis(2));
                        flag.store(true, Ordering::Relaxed);
                    });
                    (called, result)
                };
                for (called, result) in (0..10).map(slow).collect::<Vec<_>>() {
                    assert_eq!(smol::block_on(result).expect("a value"), 27);
                    assert!(called.load(Ordering::Relaxed), "the result was there first, in round {round}");
                }
                let left = (0..10).map(slow).map(|(called, _)| called).collect::<Vec<_>>();
                pool.close();
                pool.join().wait().expect("closed");
                let called = left.iter().filter(|called| called.load(Ordering::Relaxed)).count();
                assert_eq!(called, 10, "the pool had ended first, in round {round}");
            });
        }
    }

    fn a_callback_that_panics_hurts_nobody() {
        let pool = pool(1);
        let (sender, told) = channel();
        let result = pool
            .apply_async(cube, 3)
            .callback(|_| panic!("in a callback, on purpose"))
            .callback(move |value| sender.send(value).expect("somebody listens"));
        assert_eq!(result.get().expect("a value"), 27);
        assert_eq!(told.recv_timeout(SOON), Ok(27), "the next one is called");
        let all = pool.map_async(invert, [0, 1]).error_callback(|_| panic!("in a callback, on purpose"));
        assert!(all.get().expect_err("an error").is_panic());
        assert_eq!(pool.apply(cube, 4).expect("the pool goes on"), 64);
        pool.close();
        pool.join().wait().expect("closed");
    }

    fn callbacks_come_without_anybody_keeping_the_result() {
        let pool = pool(2);
        let values = Arc::new(Mutex::new(Vec::new()));
        for n in 0..20 {
            let values = Arc::clone(&values);
            drop(pool.apply_async(cube, n).callback(move |value| values.lock().expect("a list").push(value)));
        }
        let all = Arc::clone(&values);
        drop(pool.map_async(cube, 20..40).callback(move |cubes| all.lock().expect("a list").extend(cubes)));
        pool.close();
        pool.join().wait().expect("closed");
        let mut values = values.lock().expect("a list");
        values.sort();
        assert_eq!(*values, (0..40).map(|n: i64| n.pow(3)).collect::<Vec<_>>());
    }

    fn a_pool_that_is_terminated_tells_the_error_callbacks() {
        let pool = pool(1);
        let (sender, told) = channel();
        for _ in 0..3 {
            let sender = sender.clone();
            let cancelled = move |error: procpool::TaskError| sender.send(error.is_cancelled()).expect("open");
            pool.apply_async(park, ()).error_callback(cancelled);
        }
        pool.terminate();
        pool.join().wait().expect("terminated");
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [true; 3]);
    }

    fn a_callback_may_use_the_pool_and_end_it() {
        let pool = pool(1);
        let (sender, told) = channel();
        let handle = pool.clone();
        pool.apply_async(cube, 2).callback(move |eight| {
            let again = sender.clone();
            handle.apply_async(cube, eight).callback(move |value| again.send(value).expect("open"));
            // Waiting for the end of the pool on its own thread would never end: it does not wait.
            handle.close();
            let _ = handle.join().wait();
        });
        assert_eq!(told.recv_timeout(SOON), Ok(512));
        pool.join().wait().expect("closed");
    }

    fn join_in_async_code_waits_for_callbacks_too() {
        let pool = pool(1);
        let called = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&called);
        pool.apply_async(cube, 2).callback(move |_| {
            std::thread::sleep(Duration::from_millis(50));
            flag.store(true, Ordering::Relaxed);
        });
        pool.close();
        let report = smol::block_on(async { pool.join().await }).expect("closed");
        assert!(called.load(Ordering::Relaxed));
        assert_eq!(report.leaked, Vec::<u32>::new());
    }
}
