//! Many futures: as they complete, or until enough of them have.

use std::time::Duration;

use procpool::ReturnWhen::{AllCompleted, FirstCompleted, FirstException};
use procpool::{as_completed, wait};

use super::gate::Gate;
use super::tasks::{States, divide, done, echo, pool_of, product, stay, stay_and_fail, values};
use crate::support;

support::isolated! {
    fn as_completed_gives_each_future_once_whatever_became_of_it() {
        let States { pending, running, cancelled, failed, successful, gate, pool } = States::new();
        gate.open();
        let all = [("pending", pending), ("running", running), ("cancelled", cancelled), ("failed", failed)];
        let mut names: Vec<_> = as_completed(all.into_iter().chain([("successful", successful)]))
            .into_iter()
            .map(|(name, result)| (name, result.ok()))
            .collect();
        names.sort_unstable();
        let nothing = [("cancelled", None), ("failed", None)];
        let something = [("pending", Some(7)), ("running", Some(1)), ("successful", Some(42))];
        let expected: Vec<_> = nothing.into_iter().chain(something).collect();
        assert_eq!(names, expected);
        pool.shutdown(true).wait();
    }

    fn as_completed_gives_what_is_done_before_it_is_late() {
        for timeout in [Duration::ZERO, Duration::from_millis(100)] {
            let states = States::new();
            let futures = [states.running, states.cancelled, states.failed, states.successful];
            let all: Vec<_> = as_completed(futures).timeout(timeout).into_iter().collect();
            let [Ok(a), Ok(b), Ok(c), Err(late)] = &all[..] else { panic!("{all:?}") };
            let values: Vec<_> = [a, b, c].into_iter().filter_map(|result| result.as_ref().ok()).collect();
            assert_eq!((values, late.unfinished), (vec![&42], 1));
        }
    }

    fn a_late_as_completed_tells_how_many_of_how_many_are_not_done() {
        let States { pending, running, cancelled, successful, gate: _gate, pool: _pool, .. } = States::new();
        let futures = [cancelled, pending, running, successful];
        let mut items = as_completed(futures).timeout(Duration::ZERO).into_iter();
        let late = items.find_map(Result::err).expect("two are not done");
        assert_eq!(late.to_string(), "2 (of 4) futures unfinished");
    }

    fn the_first_completed_is_enough() {
        let gate = Gate::closed();
        let pool = pool_of(2);
        let slow = pool.submit(stay, (&gate.path(), 1));
        assert_eq!(gate.arrived(), 1);
        let waited = wait([pool.submit(product, (21, 2)), slow], FirstCompleted).wait();
        assert_eq!(values(waited.done), [42]);
        gate.open();
        assert_eq!(values(waited.not_done), [1], "it went on");
        pool.shutdown(true).wait();
    }

    fn all_that_had_completed_before_come_with_the_first() {
        let States { running, cancelled, successful, gate, pool, .. } = States::new();
        let waited = wait([cancelled, successful, running], FirstCompleted).wait();
        let [cancelled, successful] = waited.done.try_into().expect("two");
        assert!(cancelled.cancelled());
        assert_eq!(successful.result().expect("a value"), 42);
        gate.open();
        assert_eq!(values(waited.not_done), [1]);
        pool.shutdown(true).wait();
    }

    fn the_first_error_is_enough() {
        let (first, second) = (Gate::closed(), Gate::closed());
        let pool = pool_of(3);
        let good = pool.submit(product, (2, 21));
        let bad = pool.submit(stay_and_fail, (&first.path(), "this is it"));
        let slow = pool.submit(stay, (&second.path(), 3));
        let [good] = done([good]);
        first.open();
        let waited = wait([good, bad, slow], FirstException).wait();
        let [good, bad] = waited.done.try_into().expect("two");
        assert_eq!(good.result().expect("a value"), 42);
        assert_eq!(bad.result().expect_err("it panicked").panic().expect("a panic").message(), "this is it");
        second.open();
        assert_eq!(values(waited.not_done), [3]);
        pool.shutdown(true).wait();
    }

    fn a_value_is_no_reason_to_stop_waiting_for_an_error() {
        let States { running, successful, gate, pool, .. } = States::new();
        let failing = pool.submit(divide, (21, 0));
        gate.open();
        let waited = wait([successful, running], FirstException).wait();
        assert_eq!(values(waited.done), [42, 1], "the error of a task that is not waited for does not count");
        assert!(failing.result().expect_err("nothing divides by zero").is_panic());
        pool.shutdown(true).wait();
    }

    fn a_cancelled_future_is_no_error() {
        let States { running, cancelled, successful, gate, pool, .. } = States::new();
        gate.open();
        let waited = wait([successful, cancelled, running], FirstException).wait();
        assert!(waited.not_done.is_empty(), "it waits for all, since none failed");
        let [successful, cancelled, running] = waited.done.try_into().expect("three");
        assert_eq!((successful.result().expect("a value"), running.result().expect("a value")), (42, 1));
        assert!(cancelled.cancelled());
        pool.shutdown(true).wait();
    }

    fn an_error_of_before_is_enough() {
        let States { running, failed, gate, pool, .. } = States::new();
        let waited = wait([failed, running], FirstException).wait();
        assert!(waited.done.into_iter().all(|future| future.result().is_err_and(|error| error.is_panic())));
        gate.open();
        assert_eq!(values(waited.not_done), [1]);
        pool.shutdown(true).wait();
    }

    fn all_completed_is_all_of_them_whatever_became_of_them() {
        let States { pending, running, cancelled, failed, successful, gate, pool } = States::new();
        gate.open();
        let waited = wait([successful, cancelled, failed, running, pending], AllCompleted).wait();
        assert!(waited.not_done.is_empty());
        let results: Vec<_> = waited.done.into_iter().map(|future| future.result().ok()).collect();
        assert_eq!(results, [Some(42), None, None, Some(1), Some(7)], "in the order given");
        pool.shutdown(true).wait();
    }

    fn a_wait_that_is_late_gives_what_is_done_and_is_no_error() {
        let States { running, cancelled, failed, successful, gate, pool, .. } = States::new();
        let futures = [cancelled, failed, successful, running];
        let waited = wait(futures, AllCompleted).timeout(Duration::from_millis(50)).wait();
        assert_eq!((waited.done.len(), waited.not_done.len()), (3, 1));
        gate.open();
        assert_eq!(values(waited.not_done), [1]);
        pool.shutdown(true).wait();
    }

    fn several_threads_wait_for_tasks_that_all_end_at_once() {
        let gate = Gate::closed();
        let pool = pool_of(4);
        let path = gate.path();
        let groups = [0, 25, 50, 75].map(|first| {
            (first..first + 25).map(|n| pool.submit(stay, (&path, n))).collect::<Vec<_>>()
        });
        let waiters = groups.map(|group| std::thread::spawn(|| wait(group, AllCompleted).wait()));
        gate.open();
        let mut all = Vec::new();
        for waiter in waiters {
            let waited = waiter.join().expect("no panic");
            assert!(waited.not_done.is_empty());
            all.extend(values(waited.done));
        }
        assert_eq!(all, (0..100).collect::<Vec<_>>());
        assert_eq!(pool.submit(echo, 1).result().expect("a value"), 1);
        pool.shutdown(true).wait();
    }
}
