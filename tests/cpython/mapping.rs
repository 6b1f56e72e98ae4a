//! One task over many items.

use std::cell::Cell;
use std::time::Duration;

use procpool::{Ran, TaskError, TaskErrorKind, TaskOptions};

use super::gate::Gate;
use super::tasks::{divide, echo, note, note_and_stay, pool_of, power, product, stay};
use crate::support::{self, Ledger};

/// All values of a map in which nothing fails.
fn all<T>(results: impl IntoIterator<Item = Result<T, TaskError>>) -> Vec<T> {
    results.into_iter().map(|result| result.expect("a value")).collect()
}

/// As many results as there are, one bad one among them.
fn one_bad_item(chunksize: usize) {
    let pool = pool_of(2);
    let mut results = pool.map(divide, [(5, 2), (5, 0), (5, 3), (5, 5)]).chunksize(chunksize).into_iter();
    assert_eq!(results.next().expect("an item").expect("a value"), (2, 1));
    let error = results.next().expect("an item").expect_err("nothing divides by zero");
    assert!(error.panic().is_some_and(|panic| panic.message().contains("divide by zero")), "{error}");
    assert_eq!(results.next().expect("an item").expect("a value"), (1, 2));
    assert_eq!(results.next().expect("an item").expect("a value"), (1, 0));
    assert!(results.next().is_none());
    assert!(results.next().is_none(), "a map that is over stays over");
    pool.shutdown(true).wait();
}

/// The first result, then no more interest while the second item runs.
fn dropped_after_the_first(chunksize: usize) {
    let (ledger, gate, open) = (Ledger::create(), Gate::closed(), Gate::closed());
    open.open();
    let pool = pool_of(1);
    let (ledger_path, gate_path, open_path) = (ledger.path(), gate.path(), open.path());
    let items = (0..6).map(|n| (ledger_path.as_str(), if n == 0 { &*open_path } else { &*gate_path }, n));
    let mut results = pool.map(note_and_stay, items).chunksize(chunksize).buffersize(6).into_iter();
    assert_eq!(results.next().expect("an item").expect("a value"), 0);
    assert_eq!(gate.arrived(), 1);
    drop(results);
    gate.open();
    pool.shutdown(true).wait();
    ledger.assert_ran_exactly_once(0..2);
    for n in 2..6 {
        ledger.assert_never_ran(n);
    }
}

support::isolated! {
    fn a_map_gives_what_a_local_map_gives_in_order() {
        let pool = pool_of(4);
        let expected: Vec<u64> = (0..10).map(|n| u64::pow(n, n as u32)).collect();
        let whole = pool.map(power, (0..10).zip(0..10));
        assert_eq!(all(whole), expected);
        let chunks = pool.map(power, (0..10).zip(0..10)).chunksize(3);
        assert_eq!(all(chunks), expected);
        pool.shutdown(true).wait();
    }

    fn the_size_of_the_chunks_does_not_show_in_the_results() {
        let pool = pool_of(4);
        let expected: Vec<u64> = (0..12).map(|n| u64::pow(n, n as u32)).collect();
        for chunksize in [1, 5, 12, 13, usize::MAX] {
            let map = pool.map(power, (0..12).zip(0..12)).chunksize(chunksize);
            assert_eq!(all(map), expected, "chunks of {chunksize}");
        }
        pool.shutdown(true).wait();
    }

    fn a_bad_item_is_one_error_and_the_others_go_on() {
        one_bad_item(1);
    }

    fn a_bad_item_costs_nothing_of_its_chunk() {
        one_bad_item(3);
    }

    fn the_timeout_of_an_item_is_not_the_timeout_of_the_map() {
        let (open, closed) = (Gate::closed(), Gate::closed());
        open.open();
        let (open, closed) = (open.path(), closed.path());
        let pool = pool_of(2);
        let impatient = pool.with(TaskOptions::new().timeout(Duration::from_secs(1)));
        pool.warm_up().wait().expect("two workers");
        for limit in [None, Some(Duration::from_secs(20))] {
            let items = (0..4).map(|n| (if n == 1 { &*closed } else { &*open }, n));
            let mut map = impatient.map(stay, items);
            if let Some(limit) = limit {
                map = map.timeout(limit);
            }
            let results: Vec<_> = map.into_iter().collect();
            assert_eq!(results.len(), 4);
            for (n, result) in (0..).zip(results) {
                match result {
                    Ok(value) => assert_eq!(value, n),
                    Err(error) => {
                        assert_eq!(n, 1, "{error}");
                        assert!(matches!(error.kind(), TaskErrorKind::TimedOut { .. }), "{error}");
                    }
                }
            }
        }
        pool.shutdown(true).wait();
    }

    fn a_map_that_runs_out_of_time_says_so_once_and_ends() {
        let (open, closed) = (Gate::closed(), Gate::closed());
        open.open();
        let (open_path, closed_path) = (open.path(), closed.path());
        let pool = pool_of(2);
        pool.warm_up().wait().expect("two workers");
        let items = [(&*open_path, 0), (&*open_path, 1), (&*closed_path, 2)];
        let mut results = pool.map(stay, items).timeout(Duration::from_secs(1)).into_iter();
        let mut values = Vec::new();
        let error = loop {
            match results.next().expect("the map tells that it is late") {
                Ok(value) => values.push(value),
                Err(error) => break error,
            }
        };
        // A machine that is busy may be late with the first two as well.
        assert!([0, 1].starts_with(&values), "{values:?}");
        assert!(matches!(error.kind(), TaskErrorKind::MapTimedOut { .. }), "{error}");
        assert_eq!(error.ran(), Ran::No);
        assert!(results.next().is_none() && results.next().is_none());
        closed.open();
        pool.shutdown(true).wait();
    }

    fn a_map_that_is_late_cancels_what_it_had_in_line() {
        let (ledger, gate) = (Ledger::create(), Gate::closed());
        let pool = pool_of(1);
        let first = pool.submit(stay, (&gate.path(), 1));
        assert_eq!(gate.arrived(), 1);
        let (ledger_path, gate_path) = (ledger.path(), gate.path());
        let items = [2, 3].map(|n| (&*ledger_path, &*gate_path, n));
        let mut results = pool.map(note_and_stay, items).timeout(Duration::ZERO).into_iter();
        assert!(results.next().expect("the timeout").expect_err("nothing ran").is_timeout());
        gate.open();
        assert_eq!(first.result().expect("a value"), 1);
        pool.shutdown(true).wait();
        assert_eq!(ledger.entries(), []);
    }

    fn a_dropped_map_starts_nothing_more() {
        dropped_after_the_first(1);
    }

    fn a_dropped_map_starts_nothing_more_of_its_chunks() {
        dropped_after_the_first(3);
    }

    fn a_buffer_or_a_chunk_of_nothing_is_one_error_and_the_end() {
        let pool = pool_of(1);
        for map in [pool.map(echo, 0..4).buffersize(0), pool.map(echo, 0..4).chunksize(0)] {
            let results: Vec<_> = map.into_iter().collect();
            let [Err(error)] = &results[..] else { panic!("{results:?}") };
            assert!(matches!(error.kind(), TaskErrorKind::Invalid { .. }), "{error}");
            assert!(error.to_string().contains("at least 1"), "{error}");
        }
        pool.shutdown(true).wait();
    }

    fn the_size_of_the_buffer_does_not_show_in_the_results() {
        let pool = pool_of(2);
        for buffersize in [1, 2, 4, 8, usize::MAX] {
            let results = pool.map(echo, 0..4).buffersize(buffersize);
            assert_eq!(all(results), [0, 1, 2, 3], "a buffer of {buffersize}");
        }
        pool.shutdown(true).wait();
    }

    fn the_size_of_the_buffer_does_not_show_with_several_inputs() {
        let pool = pool_of(2);
        for buffersize in [1, 2, 4, 8] {
            let map = pool.map(product, (0..4).zip(0..4)).buffersize(buffersize);
            assert_eq!(all(map), [0, 1, 4, 9], "a buffer of {buffersize}");
        }
        pool.shutdown(true).wait();
    }

    fn a_map_takes_an_endless_input() {
        let pool = pool_of(2);
        let results = pool.map(echo, 0..).buffersize(2).into_iter().take(3);
        assert_eq!(all(results), [0, 1, 2]);
        let results = pool.map(echo, 0..).into_iter().take(3);
        assert_eq!(all(results), [0, 1, 2]);
        pool.shutdown(true).wait();
    }

    fn a_map_takes_several_endless_inputs() {
        let pool = pool_of(2);
        let map = pool.map(product, (0..).zip(0..)).buffersize(2);
        assert_eq!(all(map.into_iter().take(3)), [0, 1, 4]);
        pool.shutdown(true).wait();
    }

    fn a_map_over_nothing_is_over_at_once() {
        let pool = pool_of(2);
        assert!(pool.map(echo, []).buffersize(2).into_iter().next().is_none());
        assert_eq!(pool.worker_pids(), [], "nobody was needed");
        pool.shutdown(true).wait();
    }

    fn a_map_takes_no_more_from_its_input_than_its_buffer_holds() {
        let pool = pool_of(2);
        for buffersize in [1, 2, 5] {
            let taken = Cell::new(0);
            let input = (0..20).inspect(|_| taken.set(taken.get() + 1));
            let mut results = pool.map(echo, input).buffersize(buffersize).into_iter();
            assert_eq!(taken.get(), 0, "nothing was asked for yet");
            for given in 0..20 {
                assert_eq!(results.next().expect("an item").expect("a value"), given as u64);
                assert!(taken.get() <= given + buffersize, "{} taken, {given} given before", taken.get());
            }
        }
        pool.shutdown(true).wait();
    }

    fn a_map_that_nobody_iterates_runs_nothing() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool_of(2);
        drop(pool.map(note, (0..10).map(|n| (&*path, n))));
        pool.shutdown(true).wait();
        assert_eq!(ledger.entries(), []);
    }
}
