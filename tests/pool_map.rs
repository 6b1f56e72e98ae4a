//! `Pool::map` and its kin give every item its result, in order, whatever the chunks, the input and single items do.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use procpool::{Pool, Ran, TaskErrorKind, task};
use support::{Event, Ledger, eventually};

#[task]
fn square(n: u64) -> u64 {
    n * n
}

#[task]
fn power(base: u64, exponent: u32) -> u64 {
    base.pow(exponent)
}

/// Panics at one item, dies at another.
#[task]
fn picky(ledger: &str, item: u64, panics_at: u64, dies_at: u64) -> u64 {
    Ledger::record(ledger, item, Event::Started);
    if item == dies_at {
        std::process::abort();
    }
    assert!(item != panics_at, "item {item} is bad");
    Ledger::record(ledger, item, Event::Finished);
    item
}

/// Ends when a file is there.
#[task]
fn wait_for(path: &str) -> u64 {
    while !std::path::Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    7
}

const NEVER: u64 = u64::MAX;

fn pool() -> Pool {
    Pool::builder().processes(2).build().expect("a pool")
}

support::isolated! {
    fn every_chunksize_gives_the_same_list() {
        let pool = pool();
        for count in [0, 1, 2, 7, 100] {
            let expected: Vec<u64> = (0..count).map(|n| n * n).collect();
            assert_eq!(pool.map(square, 0..count).expect("values"), expected);
            for chunksize in [1, 3, 7, 1000, usize::MAX] {
                let pool = pool.chunksize(chunksize);
                assert_eq!(pool.map(square, 0..count).expect("values"), expected, "chunks of {chunksize}");
                assert_eq!(pool.map_async(square, 0..count).get().expect("values"), expected);
                let imap: Result<Vec<_>, _> = pool.imap(square, 0..count).into_iter().collect();
                assert_eq!(imap.expect("values"), expected);
                let unordered: Result<Vec<_>, _> = pool.imap_unordered(square, 0..count).into_iter().collect();
                let mut unordered = unordered.expect("values");
                unordered.sort();
                assert_eq!(unordered, expected);
            }
        }
    }

    fn a_chunksize_of_zero_is_an_error_and_not_a_hang() {
        let pool = pool().chunksize(0);
        let invalid = |error: procpool::TaskError| matches!(error.kind(), TaskErrorKind::Invalid { .. });
        assert!(invalid(pool.map(square, 0..3).expect_err("an error")));
        assert!(invalid(pool.map(square, []).expect_err("an error")));
        assert!(invalid(pool.map_async(square, 0..3).get().expect_err("an error")));
        assert!(invalid(pool.imap(square, 0..3).into_iter().next().expect("one").expect_err("an error")));
    }

    fn tuples_are_the_arguments_of_a_task_that_takes_several() {
        let pool = pool();
        let pairs = [(2, 10), (3, 4), (10, 2)];
        assert_eq!(pool.starmap(power, pairs).expect("values"), [1024, 81, 100]);
        assert_eq!(pool.starmap_async(power, pairs).get().expect("values"), [1024, 81, 100]);
    }

    fn an_error_comes_when_all_items_are_done_and_is_that_of_the_first_bad_one() {
        let pool = pool();
        for chunksize in [1, 4, 20] {
            let pool = pool.chunksize(chunksize);
            for blocking in [true, false] {
                let ledger = Ledger::create();
                let items = (0..20).map(|item| (ledger.path(), item, 11, 5));
                let items: Vec<_> = items.collect();
                let items = items.iter().map(|(path, item, panics, dies)| (path.as_str(), *item, *panics, *dies));
                let error = match blocking {
                    true => pool.map(picky, items).expect_err("two bad items"),
                    false => pool.map_async(picky, items).get().expect_err("two bad items"),
                };
                // Item 5 kills its worker, item 11 panics: earlier or later in time, the first in order is told.
                assert!(error.is_worker_died(), "{error}");
                assert_eq!(error.ran(), Ran::Maybe);
                ledger.assert_ran_exactly_once((0..20).filter(|item| ![5, 11].contains(item)));
                assert_eq!((ledger.starts(5), ledger.starts(11)), (1, 1), "bad items run once, too");
            }
        }
    }

    fn each_item_of_an_imap_has_its_own_result() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let items = (0..12).map(|item| (path.as_str(), item, 3, 8));
        let results: Vec<_> = pool().chunksize(4).imap(picky, items).into_iter().collect();
        for (item, result) in (0..).zip(results) {
            match item {
                3 => assert!(result.expect_err("a panic").is_panic()),
                8 => assert!(result.expect_err("a death").is_worker_died()),
                _ => assert_eq!(result.expect("a value"), item),
            }
        }
        ledger.assert_ran_exactly_once((0..12).filter(|item| ![3, 8].contains(item)));
    }

    fn an_input_that_panics_is_the_callers_panic_and_nothing_of_a_map_was_submitted() {
        let pool = pool();
        let ledger = Ledger::create();
        let path = ledger.path();
        let input = || (0..10).map(|item| {
            assert!(item < 6, "the input is broken");
            (path.as_str(), item, NEVER, NEVER)
        });
        let panicked = catch_unwind(AssertUnwindSafe(|| pool.map(picky, input())));
        assert!(panicked.is_err());
        let panicked = catch_unwind(AssertUnwindSafe(|| pool.map_async(picky, input())));
        assert!(panicked.is_err());
        assert!(ledger.entries().is_empty(), "the input is taken first");
        // An `imap` gives what came before.
        let mut items = pool.imap(picky, input()).into_iter();
        let before: Vec<_> = items.by_ref().take(6).map(|item| item.expect("a value")).collect();
        assert_eq!(before, [0, 1, 2, 3, 4, 5]);
        assert!(catch_unwind(AssertUnwindSafe(|| items.next())).is_err());
        assert_eq!(pool.apply(square, 3).expect("the pool goes on"), 9);
    }

    fn an_imap_takes_its_input_as_its_results_are_taken() {
        let pool = pool();
        let taken = AtomicU32::new(0);
        let endless = (0_u64..).inspect(|_| _ = taken.fetch_add(1, Ordering::Relaxed));
        let mut squares = pool.chunksize(1).imap(square, endless).buffersize(8).into_iter();
        for n in 0..100 {
            assert_eq!(squares.next().expect("endless").expect("a value"), n * n);
            // Those that are held, and the one that was taken.
            assert!(u64::from(taken.load(Ordering::Relaxed)) <= n + 9);
        }
    }

    fn the_next_item_of_an_imap_can_be_late_without_being_lost() {
        let pool = pool();
        let ledger = Ledger::create();
        let gate = format!("{}.gate", ledger.path());
        let mut items = pool.imap(wait_for, [gate.as_str(), gate.as_str()]).into_iter();
        for _ in 0..3 {
            assert!(items.next_timeout(Duration::from_millis(5)).is_err(), "nobody opened the gate");
        }
        std::fs::write(&gate, "").expect("a file");
        eventually("the first item", Duration::from_secs(10), || {
            match items.next_timeout(Duration::from_millis(50)) {
                Ok(item) => item.expect("one of two").expect("a value") == 7,
                Err(_) => false,
            }
        });
        assert_eq!(items.next().expect("the other").expect("a value"), 7);
        assert!(items.next_timeout(Duration::ZERO).expect("in time").is_none());
        std::fs::remove_file(&gate).expect("it is there");
    }

    fn unordered_results_come_as_they_are_done() {
        let pool = pool();
        let ledger = Ledger::create();
        let gate = format!("{}.gate", ledger.path());
        let ready = ledger.path();
        // The first item waits for the gate, the others find their file at once.
        let items = [gate.as_str(), ready.as_str(), ready.as_str()];
        let mut results = pool.chunksize(1).imap_unordered(wait_for, items).into_iter();
        assert_eq!(results.next().expect("one").expect("a value"), 7);
        assert_eq!(results.next().expect("two").expect("a value"), 7);
        assert!(results.next_timeout(Duration::ZERO).is_err(), "the first item is the last one");
        std::fs::write(&gate, "").expect("a file");
        assert_eq!(results.next().expect("three").expect("a value"), 7);
        std::fs::remove_file(&gate).expect("it is there");
    }
}
