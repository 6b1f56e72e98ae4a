//! A chunk of a map travels as one, and each of its items stands for itself: a crash, a slow item or a bad one costs that
//! item and no other, and what nobody wants any more does not begin.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use procpool::{Context, Descriptor, ProcessPoolExecutor, Ran, TaskError, TaskErrorKind, task};
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

/// The call that does not end, after many that took no time.
const PARKS: u64 = 4_000;

#[task]
fn park(n: u64) -> u64 {
    if n == PARKS {
        loop {
            std::thread::park();
        }
    }
    std::process::id().into()
}

/// One call keeps its context; the others say whether that is over.
#[task]
fn keep(n: u64) -> u64 {
    static KEPT: Mutex<Option<Context>> = Mutex::new(None);
    let mut kept = KEPT.lock().unwrap();
    if n == 1_000 {
        *kept = Some(procpool::context());
    }
    kept.as_ref().is_some_and(Context::is_cancelled).into()
}

#[task]
fn repeat(word: &str, times: usize) -> String {
    word.repeat(times)
}

/// What few items do among many.
const PANICS: u64 = 100;

fn is_bad(n: u64) -> bool {
    n % PANICS == 7
}

/// A task from each kind of number to it, and a test of it that says which it was and how many results there were.
macro_rules! numbers {
    ($($task:ident $number:ty, $fatal:literal;)*) => {
        $(
            #[task]
            fn $task(n: $number) -> $number {
                if n as i64 == $fatal {
                    std::process::abort();
                }
                assert!(!is_bad(n as u64), "item {n}");
                n
            }
        )*

        fn every_number(chunksize: usize, mut test: impl FnMut(&str, usize)) {
            $({
                let what = stringify!($number);
                // What the smaller ones cannot tell comes round again, but what is fatal is only once there.
                let all = (0..6_000_i64).map(|n| if n == 1_900 { $fatal } else { n });
                let items: Vec<$number> = all
                    .enumerate()
                    .map(|(place, n)| (place, n as $number))
                    .filter(|&(place, n)| n as i64 != $fatal || place == 1_900)
                    .map(|(_, n)| n)
                    .collect();
                let pool = pool(2);
                let results = pool.map($task, items.iter().copied()).chunksize(chunksize).into_iter();
                let mut count = 0;
                for (&item, result) in items.iter().zip(results) {
                    count += 1;
                    let what = format!("{item} of {what} in chunks of {chunksize}");
                    match result {
                        Ok(value) => assert!(value == item && !is_bad(item as u64) && item as i64 != $fatal, "{what}"),
                        Err(error) if item as i64 == $fatal => assert_eq!(error.ran(), Ran::Maybe, "{what}: {error}"),
                        Err(error) => {
                            let panic = error.panic().unwrap_or_else(|| panic!("{what}: {error}"));
                            assert!(is_bad(item as u64) && panic.message() == format!("item {item}"), "{what}");
                        }
                    }
                }
                assert_eq!(count, items.len());
                test(what, count);
                pool.shutdown(true).wait();
            })*
        }
    };
}

numbers! {
    same_u8 u8, 99; same_i8 i8, -3; same_u16 u16, 1_900; same_i32 i32, -1; same_u64 u64, 1_900; same_usize usize, 1_900;
    same_i128 i128, -7; same_f32 f32, 1_900; same_f64 f64, -1_900;
}

/// It does not survive its end elsewhere, in every fifth case.
#[derive(serde::Serialize, serde::Deserialize)]
struct Fragile {
    id: u64,
    home: u32,
}

impl Drop for Fragile {
    fn drop(&mut self) {
        assert!(self.id % 5 != 3 || self.home == std::process::id(), "it breaks");
    }
}

#[task]
fn fragile(id: u64, home: u32) -> Fragile {
    Fragile { id, home }
}

#[task]
fn narrow(n: u64) -> u8 {
    n as u8
}

#[task]
fn as_wide(n: u8) -> u128 {
    n.into()
}

#[task]
fn widen(n: u8) -> u64 {
    assert!(n != 9, "{}", "the text of a panic has room ".repeat(100));
    n.into()
}

support::isolated! {
    timeout = 120;

    fn numbers_of_every_kind_stand_for_themselves_as_others_do() {
        for chunksize in [1, 50, 4_000] {
            let mut kinds = BTreeSet::new();
            every_number(chunksize, |what, count| {
                assert!(count > 5_000, "{what}");
                kinds.insert(what.to_owned());
            });
            assert_eq!(kinds.len(), 9);
        }
    }

    fn a_result_whose_end_fails_is_told_as_that_among_others() {
        let pool = pool(1);
        let pids = pool.worker_pids();
        let home = std::process::id();
        for chunksize in [1, 7, 2_000] {
            let results = pool.map(fragile, (0..3_000).map(|id| (id, home))).chunksize(chunksize).into_iter();
            let mut count = 0;
            for (id, result) in (0..).zip(results) {
                count += 1;
                match result {
                    Ok(value) => assert!(value.id == id && id % 5 != 3),
                    Err(error) => {
                        let text = error.to_string();
                        assert!(id % 5 == 3 && text.contains("while encoding the result: it breaks"), "{id}: {text}");
                        assert!(matches!(error.kind(), TaskErrorKind::Codec { .. }), "{text}");
                    }
                }
            }
            assert_eq!(count, 3_000);
        }
        assert_eq!(pool.worker_pids(), pids, "nobody had to die for that");
        pool.shutdown(true).wait();
    }

    fn numbers_fit_into_messages_that_are_hardly_larger() {
        for limit in [1, 4, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 39, 100] {
            let builder = ProcessPoolExecutor::builder().max_workers(1).max_message_size(limit);
            let pool = builder.build().expect("a pool");
            pool.warm_up().wait().expect("a worker");
            let pids = pool.worker_pids();
            for chunksize in [1, 2, 1_000] {
                let numbers = 0..600_u64;
                let refused = |error: TaskError| assert!(matches!(error.kind(), TaskErrorKind::TooLarge { .. }), "{error}");
                for (n, result) in numbers.clone().zip(pool.map(narrow, numbers.clone()).chunksize(chunksize)) {
                    match result {
                        Ok(value) => assert!(value == n as u8 && limit >= 8),
                        Err(error) => refused(error),
                    }
                }
                for (n, result) in numbers.clone().zip(pool.map(as_wide, numbers.map(|n| n as u8)).chunksize(chunksize)) {
                    match result {
                        Ok(value) => assert!(value == u128::from(n as u8) && limit >= 16),
                        Err(error) => {
                            assert!(limit < 16, "{limit}");
                            refused(error);
                        }
                    }
                }
            }
            assert_eq!(pool.worker_pids(), pids, "with messages of {limit} nobody had to die");
            pool.shutdown(true).wait();
        }
    }

    fn a_number_that_is_larger_than_a_message_may_be_is_refused_and_a_text_of_a_panic_is_not() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).max_message_size(4).build().expect("a pool");
        pool.warm_up().wait().expect("a worker");
        let pids = pool.worker_pids();
        let check = |n: u8, result: Result<u64, TaskError>| {
            let error = result.expect_err("it has eight bytes");
            match error.kind() {
                TaskErrorKind::TooLarge { size: 8, limit: 4, .. } => assert_ne!(n, 9),
                TaskErrorKind::Panicked(panic) => assert!(n == 9 && panic.message().len() > 1_000, "{n}: {error}"),
                _ => panic!("{n}: {error}"),
            }
        };
        let numbers = (0..2_000).map(|n| n as u8);
        for chunksize in [1, 10, 1_000] {
            let results = pool.map(widen, numbers.clone()).chunksize(chunksize).into_iter();
            let count = numbers.clone().zip(results).map(|(n, result)| check(n, result)).count();
            assert_eq!(count, 2_000);
        }
        for n in [8, 9] {
            check(n, pool.submit(widen, n).result());
        }
        assert_eq!(pool.worker_pids(), pids, "nobody had to die for that");
        pool.shutdown(true).wait();
    }

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

    fn what_stands_behind_a_slow_number_is_done_by_another_worker() {
        let pool = pool(2);
        let mut results = pool.map(park, 0..6_000).chunksize(6_000).unordered().into_iter();
        let pids: BTreeSet<_> = (1..6_000).map(|_| results.next().expect("more").expect("a value")).collect();
        assert_eq!(pids.len(), 2, "both have worked");
        // One of them is parked.
        pids.into_iter().for_each(|pid| kill(pid as u32, Signal::KILL));
        assert!(results.next().expect("the slow one").is_err_and(|error| error.is_worker_died()));
        assert!(results.next().is_none());
        drop(results);
        pool.shutdown(true).wait();
    }

    fn what_a_quick_call_has_kept_is_its_own() {
        let pool = pool(1);
        let over = pool.map(keep, 0..3_000).chunksize(3_000).into_iter();
        for (n, over) in (0..).zip(over) {
            assert_eq!(over.unwrap() == 1, n > 1_000, "whether it is over when {n} runs");
        }
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
