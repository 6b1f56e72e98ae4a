//! `map` is lazy, bounded and in order, and one bad item never ends the others.

mod support;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use futures::StreamExt;
use procpool::{ProcessPoolExecutor, TaskErrorKind, task};
use support::{Event, Ledger, eventually};

#[task]
fn square(n: u64) -> u64 {
    n * n
}

#[task]
fn power(base: u64, exponent: u32) -> u64 {
    base.pow(exponent)
}

/// Fails for some numbers, in different ways.
#[task]
fn picky(ledger: &str, n: u64) -> u64 {
    Ledger::record(ledger, n, Event::Started);
    match n {
        7 => panic!("seven"),
        13 => std::process::abort(),
        _ => {}
    }
    Ledger::record(ledger, n, Event::Finished);
    n
}

#[task]
fn nap(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

fn pool() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool")
}

support::isolated! {
    timeout = 60;

    fn results_come_in_the_order_of_the_items_whatever_the_chunks() {
        let pool = pool();
        let expected: Vec<u64> = (0..500).map(|n| n * n).collect();
        for chunksize in [1, 2, 7, 100, 499, 500, 501, 5000] {
            let squares: Vec<u64> =
                pool.map(square, 0..500).chunksize(chunksize).into_iter().collect::<Result<_, _>>().expect("values");
            assert_eq!(squares, expected, "chunks of {chunksize}");
        }
        let squares: Vec<u64> = pool.map(square, 0..500).into_iter().collect::<Result<_, _>>().expect("values");
        assert_eq!(squares, expected, "adaptive chunks");
    }

    fn a_burst_of_replies_is_heard_to_its_end() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let slow = pool.submit(square, 0);
        // The pool's own thread is kept busy, so that the replies of a whole bundle come to it at once.
        slow.add_done_callback(|_| std::thread::sleep(Duration::from_millis(300)));
        let squares = pool.map(square, 0..265).chunksize(265).into_iter();
        assert_eq!(squares.filter(Result::is_ok).count(), 265);
    }

    fn without_order_each_result_comes_once() {
        let squares: BTreeSet<u64> =
            pool().map(square, 0..500).unordered().chunksize(3).into_iter().map(|n| n.expect("a value")).collect();
        assert_eq!(squares.len(), 500);
    }

    fn several_iterables_are_zipped_to_several_arguments() {
        let powers = pool().map(power, [2, 3, 5].into_iter().zip([10, 5, 2]));
        assert_eq!(powers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1024, 243, 25]);
    }

    fn no_items_give_no_results() {
        assert_eq!(pool().map(square, []).into_iter().count(), 0);
        assert_eq!(pool().map(square, []).timeout(Duration::ZERO).into_iter().count(), 0);
    }

    fn a_bad_item_is_one_error_and_a_crash_loses_one_item_of_its_chunk() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool();
        for chunksize in [1, 4, 50] {
            let base = 1000 * chunksize as u64;
            let items = (0..50_u64).map(|n| (path.as_str(), if n == 7 || n == 13 { n } else { base + n }));
            let results: Vec<_> = pool.map(picky, items).chunksize(chunksize).into_iter().collect();
            assert_eq!(results.len(), 50);
            for (n, result) in (0..).zip(results) {
                match (n, result) {
                    (7, Err(error)) => assert!(error.is_panic(), "{error}"),
                    (13, Err(error)) => assert!(error.is_worker_died(), "{error}"),
                    (n, Ok(value)) => assert_eq!(value, base + n),
                    (n, Err(error)) => panic!("item {n} with chunks of {chunksize}: {error}"),
                }
            }
            ledger.assert_ran_exactly_once((0..50).filter(|&n| n != 7 && n != 13).map(|n| base + n));
        }
        assert_eq!((ledger.starts(13), ledger.starts(7)), (3, 3), "once for each chunksize");
    }

    fn it_takes_from_an_endless_input_only_what_it_needs() {
        let pool = pool();
        let taken = Cell::new(0);
        let endless = (0_u64..).inspect(|_| taken.set(taken.get() + 1));
        let mut squares = pool.map(square, endless).buffersize(10).into_iter();
        assert_eq!(taken.get(), 0, "nothing before the first result is asked for");
        for n in 0..100 {
            assert_eq!(squares.next().expect("more").expect("a value"), n * n);
            assert!(taken.get() <= n + 11, "{} taken after {}", taken.get(), n + 1);
        }
    }

    fn dropping_it_cancels_what_has_not_started() {
        let pool = pool();
        let mut naps = pool.map(nap, std::iter::repeat_n(100, 1000)).chunksize(1).buffersize(500).into_iter();
        naps.next().expect("one").expect("a value");
        drop(naps);
        eventually("nothing is pending", Duration::from_secs(5), || pool.pending() == 0);
    }

    fn a_timeout_counts_from_the_call_and_ends_the_map_with_one_error() {
        let pool = pool();
        let began = Instant::now();
        let results: Vec<_> =
            pool.map(nap, [0, 0, 60_000, 0]).chunksize(1).timeout(Duration::from_millis(400)).into_iter().collect();
        assert!(began.elapsed() >= Duration::from_millis(400));
        assert_eq!(results.len(), 3);
        let error = results[2].as_ref().expect_err("too late");
        assert!(matches!(error.kind(), TaskErrorKind::MapTimedOut { limit, .. } if *limit == Duration::from_millis(400)));
        assert!(error.is_timeout());
    }

    fn a_chunksize_or_buffersize_of_zero_is_one_clear_error() {
        for map in [pool().map(square, 0..3).chunksize(0), pool().map(square, 0..3).buffersize(0)] {
            let results: Vec<_> = map.into_iter().collect();
            assert_eq!(results.len(), 1);
            let error = results[0].as_ref().expect_err("refused");
            assert!(matches!(error.kind(), TaskErrorKind::Invalid { .. }));
            assert!(error.to_string().contains("must be at least 1"), "{error}");
        }
    }

    fn a_chunksize_of_absurd_size_sends_what_there_is() {
        let squares: Vec<_> = pool().map(square, 0..10).chunksize(usize::MAX).buffersize(usize::MAX).into_iter().collect();
        assert_eq!(squares.len(), 10);
    }

    fn items_before_a_panic_of_the_input_are_delivered() {
        let pool = pool();
        let input = (0..10_u64).inspect(|&n| assert!(n != 7, "the input panics"));
        let mut squares = pool.map(square, input).chunksize(2).into_iter();
        for n in 0..7 {
            assert_eq!(squares.next().expect("more").expect("a value"), n * n);
        }
        assert!(catch_unwind(AssertUnwindSafe(|| squares.next())).is_err());
        assert!(squares.next().is_none(), "nothing comes after the panic");
    }

    fn the_first_error_ends_a_try_collect() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool();
        futures::executor::block_on(async {
            let all: Vec<u64> = pool.map(square, 0..100).try_collect().await.expect("values");
            assert_eq!(all.len(), 100);
            let error = pool.map(picky, (0..100).map(|n| (path.as_str(), n))).try_collect::<Vec<u64>>().await;
            assert!(error.expect_err("seven panics").is_panic());
        });
    }

    fn a_stream_that_pauses_lets_finished_results_through() {
        let pool = pool();
        let (sender, receiver) = futures::channel::mpsc::unbounded::<u64>();
        let mut squares = pool.map_stream(square, receiver);
        futures::executor::block_on(async {
            for n in 0..20 {
                sender.unbounded_send(n).expect("a receiver");
                assert_eq!(squares.next().await.expect("more").expect("a value"), n * n);
            }
            drop(sender);
            assert!(StreamExt::next(&mut squares).await.is_none());
        });
    }

    fn a_pool_that_is_shut_down_refuses_the_items_and_ends() {
        let pool = pool();
        pool.shutdown(true).wait();
        let results: Vec<_> = pool.map(square, 0..3).into_iter().collect();
        assert_eq!(results.len(), 3);
        assert!(results.iter().all(|result| matches!(result.as_ref().unwrap_err().kind(), TaskErrorKind::PoolClosed)));
    }
}
