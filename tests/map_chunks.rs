//! A chunk of a map travels as one, and each of its items stands for itself: a crash, a slow item or a bad one costs that
//! item and no other, and what nobody wants any more does not begin.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use procpool::{Descriptor, ProcessPoolExecutor, Ran, TaskErrorKind, task};
use support::{Event, Ledger, Signal, eventually, kill};

const ITEMS: u64 = 200;
const SOON: Duration = Duration::from_secs(10);

/// What an item does beside being noted.
const CRASH: u64 = 1;
const PANIC: u64 = 2;
const PARK: u64 = 3;
const GROW: u64 = 4;
const OPEN: u64 = 5;
/// Long enough for what stands behind it to go elsewhere.
const LINGER_AND_CRASH: u64 = 6;

#[derive(serde::Serialize, serde::Deserialize)]
struct Answer {
    id: u64,
    bulk: Vec<u8>,
    file: Option<Descriptor>,
}

#[task]
fn act(ledger: &str, id: u64, what: u64) -> Answer {
    Ledger::record(ledger, id, Event::Started);
    let mut answer = Answer { id, bulk: Vec::new(), file: None };
    match what {
        CRASH => std::process::abort(),
        LINGER_AND_CRASH => {
            std::thread::sleep(Duration::from_millis(20));
            std::process::abort()
        }
        PANIC => panic!("item {id}"),
        PARK => loop {
            std::thread::park();
        },
        GROW => answer.bulk = vec![7; 3 << 20],
        OPEN => {
            let file = std::fs::File::open("/dev/null").expect("a file");
            answer.file = Some(Descriptor::from(std::os::fd::OwnedFd::from(file)));
        }
        _ => {}
    }
    Ledger::record(ledger, id, Event::Finished);
    answer
}

fn pool(workers: usize) -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(workers).max_message_size(2 << 20);
    let pool = builder.build().expect("a pool");
    pool.warm_up().wait().expect("workers");
    pool
}

/// Items in chunks, of which some do something.
fn items<'a>(ledger: &'a str, acts: &'a BTreeMap<u64, u64>) -> impl Iterator<Item = (&'a str, u64, u64)> {
    (0..ITEMS).map(move |id| (ledger, id, acts.get(&id).copied().unwrap_or(0)))
}

#[task]
fn repeat(word: &str, times: usize) -> String {
    word.repeat(times)
}

support::isolated! {
    timeout = 120;

    fn what_a_message_may_hold_decides_of_each_item_for_itself() {
        for limit in [64, 127, 300, 5_000] {
            let builder = ProcessPoolExecutor::builder().max_workers(2).max_message_size(limit);
            let pool = builder.build().expect("a pool");
            let length = if limit < 128 { 1 } else { 2 };
            let sizes: Vec<_> = (0..40).chain(limit - 20..limit + 20).collect();
            for chunksize in [1, 7, 100] {
                let items = sizes.iter().map(|&size| ("x", size));
                let results = pool.map(repeat, items).chunksize(chunksize).into_iter();
                let mut count = 0;
                for (&size, result) in sizes.iter().zip(results) {
                    count += 1;
                    match result {
                        Ok(value) => assert!(value.len() == size && size + length <= limit, "{size} of {limit}"),
                        Err(error) => {
                            assert!(matches!(error.kind(), TaskErrorKind::TooLarge { .. }), "{size} of {limit}: {error}");
                            assert!(size + length > limit, "{size} of {limit}");
                        }
                    }
                }
                assert_eq!(count, sizes.len());
            }
        }
    }

    fn last_words_are_those_of_the_item_that_died() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let acts = BTreeMap::from([(3, PANIC), (4, CRASH)]);
        let pool = pool(1);
        let mut results = pool.map(act, items(&path, &acts)).chunksize(50).into_iter().skip(3);
        assert!(results.next().expect("more").is_err_and(|error| error.is_panic()));
        let Some(Err(error)) = results.next() else { panic!("it aborted") };
        let TaskErrorKind::WorkerDied(exit) = error.kind() else { panic!("{error}") };
        assert!(exit.panic().is_none(), "{error}");
    }

    fn crashes_cost_their_items_and_everything_else_runs_once_in_order() {
        for chunksize in [2, 7, 50, 200] {
            for workers in [1, 2] {
                let ledger = Ledger::create();
                let path = ledger.path();
                let crashes = BTreeMap::from([(0, CRASH), (3, CRASH), (4, CRASH), (57, LINGER_AND_CRASH), (199, CRASH)]);
                let pool = pool(workers);
                let results = pool.map(act, items(&path, &crashes)).chunksize(chunksize).into_iter();
                for (id, result) in (0..).zip(results) {
                    match result {
                        Ok(answer) => assert_eq!((answer.id, crashes.get(&id)), (id, None)),
                        Err(error) => {
                            assert!(crashes.contains_key(&id), "item {id} in chunks of {chunksize}: {error}");
                            assert!(error.is_worker_died() && error.ran() == Ran::Maybe, "{error}");
                        }
                    }
                    assert_eq!(ledger.starts(id), 1, "item {id} in chunks of {chunksize}");
                }
                ledger.assert_ran_exactly_once((0..ITEMS).filter(|id| !crashes.contains_key(id)));
                assert_eq!(ledger.entries().len() as u64, 2 * ITEMS - crashes.len() as u64);
                pool.shutdown(true).wait();
            }
        }
    }

    fn what_fails_in_another_way_costs_its_item_and_no_worker() {
        for chunksize in [1, 50] {
            let ledger = Ledger::create();
            let path = ledger.path();
            let acts = BTreeMap::from([(3, PANIC), (5, GROW), (6, OPEN), (7, OPEN), (49, PANIC), (120, GROW)]);
            let pool = pool(1);
            let pids = pool.worker_pids();
            let results = pool.map(act, items(&path, &acts)).chunksize(chunksize).into_iter();
            let mut count = 0;
            for (id, result) in (0..).zip(results) {
                count += 1;
                match (acts.get(&id), result) {
                    (Some(&PANIC), Err(error)) => {
                        assert_eq!(error.panic().expect("a panic").message(), format!("item {id}"));
                    }
                    (Some(&GROW), Err(error)) => {
                        assert!(matches!(error.kind(), TaskErrorKind::TooLarge { size, .. } if *size > 3 << 20), "{error}");
                    }
                    (Some(&OPEN), Ok(answer)) => assert!(answer.id == id && answer.file.is_some()),
                    (None, Ok(answer)) => assert!(answer.id == id && answer.file.is_none()),
                    (what, result) => panic!("item {id}, which does {what:?}: {:?}", result.map(|answer| answer.id)),
                }
            }
            assert_eq!((count, pool.worker_pids()), (ITEMS, pids));
            pool.shutdown(true).wait();
        }
    }

    fn what_stands_behind_a_slow_item_is_done_by_another_worker() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let slow = BTreeMap::from([(10, PARK)]);
        let pool = pool(2);
        let mut results = pool.map(act, items(&path, &slow)).chunksize(ITEMS as usize).unordered().into_iter();
        let mut ids: Vec<_> = (1..ITEMS).map(|_| results.next().expect("more").expect("a value").id).collect();
        ids.sort_unstable();
        assert!(ids.into_iter().eq((0..ITEMS).filter(|&id| id != 10)));
        // The slow one still runs, and its end is told.
        kill(ledger.worker_of(10), Signal::KILL);
        assert!(results.next().expect("the slow one").is_err_and(|error| error.is_worker_died()));
        assert!(results.next().is_none());
        drop(results);
        pool.shutdown(true).wait();
    }

    fn what_nobody_wants_any_more_does_not_begin() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let slow = BTreeMap::from([(10, PARK)]);
        let pool = pool(1);
        let mut results = pool.map(act, items(&path, &slow)).chunksize(50).into_iter();
        assert_eq!(results.next().expect("the first").expect("a value").id, 0);
        eventually("the slow one runs", SOON, || ledger.starts(10) == 1);
        drop(results);
        kill(ledger.worker_of(10), Signal::KILL);
        eventually("nothing is pending", SOON, || pool.pending() == 0);
        pool.shutdown(true).wait();
        (11..ITEMS).for_each(|id| ledger.assert_never_ran(id));
    }

    fn a_pool_that_ends_does_what_it_has_accepted_although_workers_die() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let acts = BTreeMap::from([(2, PARK), (5, CRASH), (100, CRASH)]);
        let pool = pool(1);
        let mut results = pool.map(act, items(&path, &acts)).chunksize(ITEMS as usize).into_iter();
        assert_eq!(results.next().expect("the first").expect("a value").id, 0);
        eventually("the slow one runs", SOON, || ledger.starts(2) == 1);
        let end = pool.shutdown(true);
        kill(ledger.worker_of(2), Signal::KILL);
        let failed: Vec<_> = (1..).zip(results).filter_map(|(id, result)| result.is_err().then_some(id)).collect();
        assert_eq!(failed, [2, 5, 100]);
        end.wait();
        assert_eq!((0..ITEMS).filter(|&id| ledger.starts(id) == 1).count() as u64, ITEMS);
    }
}
