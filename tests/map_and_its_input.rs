//! Whatever its input does, and whenever its consumer stops, `map` gives what came before and takes no more (F66).

mod support;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use futures::stream;
use procpool::{ProcessPoolExecutor, TaskErrorKind, task};
use serde::{Deserialize, Serialize};
use support::{Event, Ledger, eventually};

const WORKERS: usize = 2;
/// What four chunks for each worker hold, as large as they become by themselves.
const WINDOW: u64 = 4 * 8192 * WORKERS as u64;

#[task]
fn square(n: u64) -> u64 {
    n * n
}

#[task]
fn note(ledger: &str, id: u64, milliseconds: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    std::thread::sleep(Duration::from_millis(milliseconds));
    id
}

#[task]
fn open(item: Item) -> u64 {
    item.number
}

/// An item that does not survive its end, if it is the fatal one and at home.
#[derive(Serialize, Deserialize)]
struct Item {
    number: u64,
    fatal: Option<u32>,
}

impl Drop for Item {
    fn drop(&mut self) {
        assert!(self.fatal != Some(std::process::id()), "the item panics");
    }
}

/// An input that says when it is dropped, and may panic then.
struct Numbers {
    next: u64,
    taken: Rc<Cell<u64>>,
    dropped: Rc<Cell<bool>>,
    explode: bool,
}

impl Iterator for Numbers {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.next += 1;
        self.taken.set(self.next);
        Some(self.next - 1)
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        self.dropped.set(true);
        assert!(!self.explode, "the input panics in its drop");
    }
}

fn endless(explode: bool) -> (Numbers, Rc<Cell<u64>>, Rc<Cell<bool>>) {
    let (taken, dropped) = (Rc::default(), Rc::default());
    (Numbers { next: 0, taken: Rc::clone(&taken), dropped: Rc::clone(&dropped), explode }, taken, dropped)
}

fn pool() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(WORKERS).build().expect("a pool")
}

/// All results before the panic, and the panic's text.
fn until_panic(mut results: impl Iterator<Item = Result<u64, procpool::TaskError>>) -> (Vec<u64>, String) {
    let mut values = Vec::new();
    loop {
        match catch_unwind(AssertUnwindSafe(|| results.next())) {
            Ok(next) => values.push(next.expect("the panic comes before the end").expect("a value")),
            Err(panic) => {
                assert!(results.next().is_none(), "nothing comes after the panic");
                return (values, panic.downcast::<&str>().expect("the input's own panic").to_string());
            }
        }
    }
}

support::isolated! {
    timeout = 60;

    fn numbers_before_a_panic_or_a_pause_of_the_input_are_all_there() {
        let pool = ProcessPoolExecutor::builder().max_workers(WORKERS).build().expect("a pool");
        for (at, chunksize) in [0, 1, 31, 32, 33, 64, 1000].into_iter().flat_map(|at| [(at, 1), (at, 10), (at, 100)]) {
            let input = (0..2000).inspect(|&n| assert!(n != at, "the input panics"));
            let mut results = pool.map(square, input).chunksize(chunksize).into_iter();
            let mut given = Vec::new();
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                results.by_ref().for_each(|result| given.push(result.expect("a square")));
            }));
            assert!(panicked.is_err() && results.next().is_none(), "the panic comes once, and nothing after it");
            assert!(given.into_iter().eq((0..at).map(|n| n * n)), "at {at}, chunks of {chunksize}");

            let mut pauses = at;
            let mut next = 0..1100;
            let paused = stream::poll_fn(|context| {
                if next.start >= pauses {
                    pauses += 41;
                    context.waker().wake_by_ref();
                    return std::task::Poll::Pending;
                }
                std::task::Poll::Ready(next.next())
            });
            let results = pool.map_stream(square, paused).chunksize(chunksize).try_collect::<Vec<_>>();
            let results = smol::block_on(results).expect("all of them");
            assert!(results.into_iter().eq((0..1100).map(|n| n * n)), "pauses at {at}, chunks of {chunksize}");
        }
        let many = pool.map(square, 0..250_000).chunksize(100_000).into_iter().map(|result| result.expect("a square"));
        assert!(many.eq((0..250_000).map(|n| n * n)), "a chunk is more than one message");
    }

    fn the_items_before_a_panic_of_the_input_are_delivered_whatever_the_chunks() {
        let pool = pool();
        for at in [0, 3, 7, 300] {
            let expected: Vec<u64> = (0..at).map(|n| n * n).collect();
            let input = || (0_u64..).inspect(move |&n| if n == at { panic!("the input panics") });
            for chunksize in [1, 2, 5, 100] {
                let (values, why) = until_panic(pool.map(square, input()).chunksize(chunksize).into_iter());
                assert_eq!((values, why.as_str()), (expected.clone(), "the input panics"), "chunks of {chunksize}");
            }
            let (values, _) = until_panic(pool.map(square, input()).into_iter());
            assert_eq!(values, expected, "adaptive chunks");
            let (values, _) = until_panic(pool.map_stream(square, stream::iter(input())).into_iter());
            assert_eq!(values, expected, "a stream");
            let (values, _) = until_panic(pool.map(square, input()).unordered().chunksize(2).into_iter());
            assert_eq!(values.into_iter().collect::<BTreeSet<_>>(), expected.into_iter().collect(), "without order");
        }
        // The end of a chunk comes after its results, and nobody has waited for it.
        eventually("nothing is pending", Duration::from_secs(5), || pool.pending() == 0);
        pool.shutdown(true).wait();
    }

    fn a_panic_in_the_drop_of_an_item_loses_no_item() {
        let pool = pool();
        for chunksize in [1, 2, 5, 100] {
            let fatal = |number| (number == 7).then(std::process::id);
            let items = (0..20).map(|number| Item { number, fatal: fatal(number) });
            let (values, why) = until_panic(pool.map(open, items).chunksize(chunksize).into_iter());
            assert_eq!((values, why.contains("the item panics")), ((0..=7).collect(), true));
        }
        pool.shutdown(true).wait();
    }

    fn an_endless_input_is_taken_no_further_than_the_window() {
        let pool = pool();
        for chunksize in [1, 3, 50] {
            let (numbers, taken, dropped) = endless(false);
            let mut squares = pool.map(square, numbers).chunksize(chunksize as usize).into_iter();
            assert_eq!(taken.get(), 0);
            for n in 0..200 {
                assert_eq!(squares.next().expect("more").expect("a value"), n * n);
                assert!(taken.get() <= n + 1 + WINDOW, "{} taken after {}", taken.get(), n + 1);
                assert!(pool.pending() as u64 <= WINDOW, "{} pending", pool.pending());
            }
            drop(squares);
            assert!(dropped.get(), "the input goes with the map");
        }
        let (numbers, taken, _) = endless(false);
        let mut squares = pool.map(square, numbers).into_iter();
        for n in 0..200_000 {
            assert_eq!(squares.next().expect("more").expect("a value"), n * n);
            assert!(taken.get() <= n + 1 + WINDOW, "{} taken after {}", taken.get(), n + 1);
        }
        drop(squares);
        pool.shutdown(true).wait();
    }

    fn who_stops_after_five_cancels_the_rest() {
        for (round, ordered) in (0..).zip([true, false, true, false]) {
            let ledger = Ledger::create();
            let path = ledger.path();
            let pool = pool();
            let (numbers, taken, dropped) = endless(false);
            let items = numbers.map(|n| (path.as_str(), n, 5));
            let map = pool.map(note, items).chunksize(1).buffersize(100);
            let mut notes = if ordered { map.into_iter() } else { map.unordered().into_iter() };
            for _ in 0..5 {
                notes.next().expect("more").expect("a value");
            }
            drop(notes);
            assert!(dropped.get() && taken.get() <= 106, "{} taken", taken.get());
            let before = ledger.entries().len();
            eventually("nothing is pending", Duration::from_secs(5), || pool.pending() == 0);
            // What runs is left to finish, though it may not have said yet that it runs; of what waits nothing starts.
            let started = ledger.entries().len();
            assert!(started <= before + WORKERS, "{before} and then {started} of 100 started although all are cancelled");
            pool.submit(note, (path.as_str(), u64::MAX, 0)).result().expect("the pool goes on");
            pool.shutdown(true).wait();
            assert_eq!(ledger.entries().len(), started + 1, "round {round}");
        }
    }

    fn an_input_that_panics_in_its_drop_leaves_nothing_pending() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool();
        let (numbers, _, dropped) = endless(true);
        let items = numbers.map(|n| (path.as_str(), n, 5));
        let mut notes = pool.map(note, items).chunksize(1).buffersize(50).into_iter();
        notes.next().expect("more").expect("a value");
        assert!(catch_unwind(AssertUnwindSafe(|| drop(notes))).is_err());
        assert!(dropped.get());
        eventually("nothing is pending", Duration::from_secs(5), || pool.pending() == 0);
        assert_eq!(pool.submit(square, 3).result().expect("the pool goes on"), 9);
        pool.shutdown(true).wait();
    }

    fn a_slow_input_is_asked_for_one_item_at_a_time_if_one_is_held() {
        let pool = pool();
        let (numbers, taken, _) = endless(false);
        let slow = numbers.inspect(|_| std::thread::sleep(Duration::from_millis(20)));
        let mut squares = pool.map(square, slow).buffersize(1).into_iter();
        for n in 0..10 {
            assert_eq!(squares.next().expect("more").expect("a value"), n * n);
            assert_eq!(taken.get(), n + 1);
        }
        drop(squares);
        pool.shutdown(true).wait();
    }

    fn an_input_that_never_has_an_item_ends_with_the_timeout() {
        let pool = pool();
        let nothing = stream::pending::<u64>();
        let results: Vec<_> = pool.map_stream(square, nothing).timeout(Duration::from_millis(50)).into_iter().collect();
        assert_eq!(results.len(), 1);
        assert!(matches!(results[0].as_ref().expect_err("too late").kind(), TaskErrorKind::MapTimedOut { .. }));
        pool.shutdown(true).wait();
    }
}
