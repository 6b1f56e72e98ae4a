//! One future: what it tells in each state, and how it is cancelled and waited for.

use std::time::Duration;

use procpool::{ShutdownOptions, TaskError, TaskFuture, WaitTimeout};

use super::gate::Gate;
use super::tasks::{States, done, echo, fail, pool_of, stay, stay_and_fail};
use crate::support;

const LONG: Duration = Duration::from_secs(20);

/// What is there now, without waiting.
fn now(future: &mut TaskFuture<u64>) -> Result<Result<u64, TaskError>, WaitTimeout> {
    future.result_timeout(Duration::ZERO)
}

/// Pending, running, cancelled, failed, successful.
fn each<R>(states: &States, ask: impl Fn(&TaskFuture<u64>) -> R) -> [R; 5] {
    [&states.pending, &states.running, &states.cancelled, &states.failed, &states.successful].map(ask)
}

support::isolated! {
    fn the_debug_text_tells_the_task_and_whether_it_is_done() {
        let states = States::new();
        let texts = each(&states, |future| format!("{future:?}"));
        let tasks = ["echo", "stay", "echo", "fail", "echo"];
        for ((text, task), done) in texts.iter().zip(tasks).zip([false, false, true, true, true]) {
            assert!(text.contains(&format!("{task}\"")), "{text}");
            assert!(text.contains(&format!("done: {done}")), "{text}");
        }
    }

    fn cancel_is_true_for_what_never_starts_and_false_for_what_does() {
        let states = States::new();
        assert_eq!(each(&states, TaskFuture::cancel), [true, false, true, false, false]);
        assert_eq!(each(&states, TaskFuture::cancelled), [true, false, true, false, false]);
        assert_eq!(each(&states, TaskFuture::cancel), [true, false, true, false, false], "the same again");
        let States { pending, running, gate, pool, .. } = states;
        gate.open();
        assert_eq!(running.result().expect("it went on"), 1);
        assert!(pending.result().expect_err("it was cancelled").is_cancelled());
        pool.shutdown(true).wait();
    }

    fn only_a_cancelled_future_is_cancelled() {
        let states = States::new();
        assert_eq!(each(&states, TaskFuture::cancelled), [false, false, true, false, false]);
    }

    fn a_future_is_done_when_it_is_cancelled_failed_or_successful() {
        let states = States::new();
        assert_eq!(each(&states, TaskFuture::done), [false, false, true, true, true]);
    }

    fn only_a_running_task_is_running() {
        let states = States::new();
        assert_eq!(each(&states, TaskFuture::running), [false, true, false, false, false]);
    }

    fn a_wait_of_no_time_gives_what_is_there() {
        let States { mut pending, mut running, mut cancelled, mut failed, mut successful, gate, pool } =
            States::new();
        assert!(now(&mut pending).is_err());
        assert!(now(&mut running).is_err());
        assert!(now(&mut cancelled).expect("done").expect_err("no value").is_cancelled());
        assert!(now(&mut failed).expect("done").expect_err("no value").is_panic());
        assert_eq!(now(&mut successful).expect("done").expect("a value"), 42);
        gate.open();
        assert_eq!(pending.result().expect("the wait changed nothing"), 7);
        assert_eq!(running.result().expect("the wait changed nothing"), 1);
        pool.shutdown(true).wait();
    }

    fn the_error_that_a_wait_of_no_time_gives_is_the_tasks_own() {
        let States { mut pending, mut cancelled, mut failed, mut successful, gate: _gate, pool: _pool, .. } =
            States::new();
        let late = now(&mut pending).expect_err("not done");
        assert_eq!(late.to_string(), "the task is not done yet; it goes on");
        let error = now(&mut cancelled).expect("done").expect_err("no value");
        assert!(error.to_string().contains("cancelled before it started"), "{error}");
        let error = now(&mut failed).expect("done").expect_err("no value");
        assert_eq!(error.panic().expect("it panicked").message(), "on purpose");
        assert_eq!(now(&mut successful).expect("done").err().map(|error| error.to_string()), None);
    }

    fn a_waiter_is_woken_by_the_value() {
        let gate = Gate::closed();
        let pool = pool_of(1);
        let mut future = pool.submit(stay, (&gate.path(), 42));
        let opener = std::thread::spawn(move || {
            gate.arrived();
            gate.open();
            gate
        });
        assert_eq!(future.result_timeout(LONG).expect("in time").expect("a value"), 42);
        opener.join().expect("no panic");
        pool.shutdown(true).wait();
    }

    fn a_waiter_is_woken_by_the_cancelling_of_what_is_pending() {
        let States { mut pending, running, gate, pool, .. } = States::new();
        let other = pool.clone();
        let canceller = std::thread::spawn(move || {
            other.shutdown_with(ShutdownOptions::new().cancel_futures(true).wait(false)).wait();
        });
        assert!(pending.result_timeout(LONG).expect("in time").expect_err("no value").is_cancelled());
        canceller.join().expect("no panic");
        gate.open();
        assert_eq!(running.result().expect("what runs is left to finish"), 1);
        pool.shutdown(true).wait();
    }

    fn a_waiter_is_woken_by_the_error() {
        let gate = Gate::closed();
        let pool = pool_of(1);
        let mut future = pool.submit(stay_and_fail, (&gate.path(), "at last"));
        let opener = std::thread::spawn(move || {
            gate.arrived();
            gate.open();
            gate
        });
        let error = future.result_timeout(LONG).expect("in time").expect_err("no value");
        assert_eq!(error.panic().expect("it panicked").message(), "at last");
        opener.join().expect("no panic");
        pool.shutdown(true).wait();
    }

    fn a_value_stays_whatever_is_asked_of_its_future_later() {
        let pool = pool_of(1);
        let [future] = done([pool.submit(echo, 1)]);
        assert!(!future.cancel() && !future.kill() && future.done() && !future.cancelled());
        pool.shutdown_with(ShutdownOptions::new().kill(true)).wait();
        assert_eq!(future.result().expect("the value"), 1);
    }

    fn an_error_stays_whatever_is_asked_of_its_future_later() {
        let pool = pool_of(1);
        let [future] = done([pool.submit(fail, "first")]);
        assert!(!future.cancel() && !future.kill() && future.done() && !future.cancelled());
        pool.shutdown_with(ShutdownOptions::new().kill(true)).wait();
        let error = future.result().expect_err("no value");
        assert_eq!(error.panic().expect("it panicked").message(), "first");
    }

    fn all_threads_see_the_same_of_a_future() {
        let states = States::new();
        let look = |future: &TaskFuture<u64>| (future.done(), future.cancelled(), future.running());
        let expected = each(&states, look);
        let (no, yes) = (false, true);
        assert_eq!(expected, [(no, no, no), (no, no, yes), (yes, yes, no), (yes, no, no), (yes, no, no)]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| assert_eq!(each(&states, look), expected)));
            }
        });
    }
}
