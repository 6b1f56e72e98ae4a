//! `as_completed` gives each future once, as it completes; `wait` comes back when it was told to (F67).

mod support;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt;
use procpool::{
    CompletedTimeout, ProcessPoolExecutor, Ran, ReturnWhen, StartError, TaskError, TaskErrorKind, TaskFuture,
    as_completed, task, wait,
};
use support::Ledger;

#[task]
fn nap(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

#[task]
fn fail(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    panic!("on purpose")
}

#[task]
fn identity(n: u64) -> u64 {
    n
}

#[task]
fn crash() -> u64 {
    std::process::abort()
}

/// An initializer that lets no worker start any more once this file is there.
#[task]
fn start_unless(stop: &str) -> Result<(), String> {
    if std::path::Path::new(stop).exists() { Err("no more workers".to_owned()) } else { Ok(()) }
}

/// A crash, and five tasks behind it that find no worker after it.
fn in_a_pool_that_breaks(ledger: &Ledger) -> (ProcessPoolExecutor, Vec<TaskFuture<u64>>) {
    let stop = ledger.path() + ".stop";
    let builder = ProcessPoolExecutor::builder().max_workers(1).initializer(start_unless, stop.as_str());
    let pool = builder.build().expect("a pool");
    pool.warm_up().wait().expect("the first worker");
    std::fs::write(&stop, []).expect("a file");
    let mut futures = vec![pool.submit(crash, ())];
    futures.extend((0..5).map(|n| pool.submit(identity, n)));
    (pool, futures)
}

/// How many died of the crash, and how many of the pool.
fn died_and_broken(ends: impl IntoIterator<Item = Result<u64, TaskError>>) -> (usize, usize) {
    ends.into_iter().map(|end| end.expect_err("no value")).fold((0, 0), |(died, broken), error| {
        match error.kind() {
            TaskErrorKind::WorkerDied(_) => (died + 1, broken),
            TaskErrorKind::PoolBroken(StartError::Initializer { .. }) => (died, broken + 1),
            other => panic!("{other:?}"),
        }
    })
}

fn pool() -> ProcessPoolExecutor {
    let pool = ProcessPoolExecutor::builder().max_workers(3).build().expect("a pool");
    pool.warm_up().wait().expect("workers");
    pool
}

support::isolated! {
    timeout = 60;

    fn results_come_as_they_complete_and_not_as_they_were_given() {
        let pool = pool();
        let naps = as_completed([300, 150, 0].map(|n| pool.submit(nap, n)));
        assert_eq!(naps.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 150, 300]);
    }

    fn nothing_gives_nothing() {
        assert_eq!(as_completed(Vec::<TaskFuture<u64>>::new()).into_iter().count(), 0);
        let waited = wait(Vec::<TaskFuture<u64>>::new(), ReturnWhen::FirstCompleted).wait();
        assert!(waited.done.is_empty() && waited.not_done.is_empty());
    }

    fn those_that_are_done_already_come_at_once() {
        let pool = pool();
        let done = pool.submit(identity, 1);
        let slow = pool.submit(nap, 60_000);
        support::eventually("one is done and one runs", Duration::from_secs(10), || done.done() && slow.running());
        let mut completed = as_completed([("slow", slow), ("done", done)]).timeout(Duration::ZERO);
        let ends: Vec<_> = (&mut completed).into_iter().collect();
        assert!(matches!(ends[0], Ok(("done", Ok(1)))));
        assert!(matches!(ends[1], Err(CompletedTimeout { unfinished: 1, total: 2, .. })));
        assert_eq!(ends.len(), 2);
        let unfinished = completed.into_unfinished();
        assert_eq!(unfinished[0].0, "slow");
        assert!(unfinished[0].1.running(), "a timeout leaves the tasks alone");
    }

    fn a_timeout_says_how_many_are_unfinished() {
        let pool = pool();
        let began = Instant::now();
        let naps = as_completed([0, 60_000, 60_000].map(|n| pool.submit(nap, n))).timeout(Duration::from_millis(300));
        let ends: Vec<_> = naps.into_iter().collect();
        assert!(began.elapsed() >= Duration::from_millis(300));
        assert_eq!(ends.len(), 2);
        assert_eq!(ends[1].as_ref().unwrap_err().to_string(), "2 (of 3) futures unfinished");
    }

    fn futures_of_several_pools_mix() {
        let (one, other) = (pool(), pool());
        let both = (0..20).map(|n| if n % 2 == 0 { one.submit(identity, n) } else { other.submit(identity, n) });
        let seen: BTreeSet<u64> = as_completed(both.collect::<Vec<_>>()).into_iter().map(Result::unwrap).collect();
        assert_eq!(seen.len(), 20);
    }

    fn a_pool_that_ends_ends_the_iteration() {
        let (pool, other) = (pool(), pool());
        let mut completed = as_completed((0..4).map(|_| pool.submit(nap, 60_000)).collect::<Vec<_>>());
        completed.push(other.submit(identity, 1));
        drop(pool);
        let ends: Vec<Result<u64, TaskError>> = completed.into_iter().collect();
        assert_eq!(ends.len(), 5);
        assert_eq!(ends.iter().filter(|end| end.as_ref().is_err_and(TaskError::is_cancelled)).count(), 4);
    }

    fn a_pool_that_breaks_meanwhile_ends_the_iteration_and_the_wait() {
        let ledger = Ledger::create();
        let (pool, futures) = in_a_pool_that_breaks(&ledger);
        assert_eq!(died_and_broken(as_completed(futures)), (1, 5));
        let late = as_completed([pool.submit(identity, 1), pool.submit(identity, 2)]);
        assert_eq!(died_and_broken(late), (0, 2), "those of a broken pool are done at once");

        let ledger = Ledger::create();
        let (pool, futures) = in_a_pool_that_breaks(&ledger);
        let waited = wait(futures, ReturnWhen::AllCompleted).wait();
        assert!(waited.not_done.is_empty());
        assert_eq!(died_and_broken(waited.done.into_iter().map(TaskFuture::result)), (1, 5));
        drop(pool);

        let ledger = Ledger::create();
        let (_pool, futures) = in_a_pool_that_breaks(&ledger);
        let first = wait(futures, ReturnWhen::FirstException).wait();
        let rest = wait(first.not_done, ReturnWhen::FirstCompleted).wait();
        let rest = rest.done.into_iter().chain(rest.not_done);
        let all = first.done.into_iter().chain(rest).map(TaskFuture::result);
        assert_eq!(died_and_broken(all), (1, 5));
    }

    fn each_future_comes_once_whatever_became_of_it() {
        let (one, other, closed) = (pool(), pool(), pool());
        closed.shutdown(true).wait();
        let submit = |n: u64| match n % 6 {
            0 => one.submit(identity, n),
            1 => other.submit(identity, n),
            2 => closed.submit(identity, n),
            3 => one.submit(fail, 0),
            4 => {
                let future = other.submit(identity, n);
                future.cancel();
                future
            }
            _ => {
                let waited = wait([one.submit(identity, n)], ReturnWhen::AllCompleted).wait();
                waited.done.into_iter().next().expect("it is done")
            }
        };
        let mut completed = as_completed((0..600).map(|n| (n, submit(n))));
        let mut keys = Vec::new();
        futures::executor::block_on(async {
            while let Some((n, end)) = completed.next().await {
                keys.push(n);
                match (n % 6, end) {
                    (0 | 1 | 4 | 5, Ok(value)) => assert_eq!(value, n),
                    (2..=4, Err(error)) => assert!(n % 6 == 3 || error.ran() == Ran::No, "{error}"),
                    (_, end) => panic!("{n}: {end:?}"),
                }
                // It may be filled up while it is used.
                if n < 600 && n % 3 == 0 {
                    completed.push((n + 600, submit(n + 600)));
                }
            }
            // And when it was at its end.
            completed.push((1_200, submit(1_200)));
            keys.extend(completed.next().await.map(|(n, _)| n));
            assert!(completed.next().await.is_none());
        });
        keys.sort_unstable();
        assert!(keys.iter().copied().eq((0..600).chain((600..1_200).step_by(3)).chain([1_200])));
    }

    fn a_hundred_thousand_futures_complete() {
        let pool = pool();
        let mut completed = as_completed((0..100_000).map(|n| pool.submit(identity, n)).collect::<Vec<_>>());
        let sum: u64 = futures::executor::block_on(async {
            let mut sum = 0;
            while let Some(n) = StreamExt::next(&mut completed).await {
                sum += n.expect("a value");
            }
            sum
        });
        assert_eq!(sum, 99_999 * 100_000 / 2);
        assert!(completed.is_empty());
    }

    fn wait_comes_back_with_the_first_that_completes() {
        let pool = pool();
        let futures = [pool.submit(nap, 60_000), pool.submit(nap, 1)];
        let waited = wait(futures, ReturnWhen::FirstCompleted).wait();
        assert_eq!((waited.done.len(), waited.not_done.len()), (1, 1));
        assert_eq!(waited.done.into_iter().next().unwrap().result().expect("a value"), 1);
    }

    fn wait_comes_back_with_the_first_that_fails() {
        let pool = pool();
        let endless = pool.submit(nap, 60_000);
        support::eventually("one runs", Duration::from_secs(10), || endless.running());
        let futures = [pool.submit(nap, 1), pool.submit(fail, 100), endless];
        let waited = wait(futures, ReturnWhen::FirstException).wait();
        assert_eq!((waited.done.len(), waited.not_done.len()), (2, 1));
        assert!(waited.not_done[0].running());
        // Without a failure it waits for all.
        let waited = wait([pool.submit(nap, 1), pool.submit(nap, 50)], ReturnWhen::FirstException).wait();
        assert_eq!(waited.done.len(), 2);
    }

    fn wait_keeps_the_order_and_a_timeout_is_no_error() {
        let pool = pool();
        let futures = [pool.submit(nap, 200), pool.submit(nap, 60_000), pool.submit(nap, 1)];
        let waited = wait(futures, ReturnWhen::AllCompleted).timeout(Duration::from_millis(600)).wait();
        assert_eq!(waited.done.into_iter().map(|done| done.result().unwrap()).collect::<Vec<_>>(), [200, 1]);
        let again = wait(waited.not_done, ReturnWhen::AllCompleted).timeout(Duration::ZERO).wait();
        assert_eq!((again.done.len(), again.not_done.len()), (0, 1));
        assert!(again.not_done[0].running(), "a timeout leaves the tasks alone");
    }

    fn callbacks_run_in_order_and_a_panic_in_one_is_its_own() {
        let pool = pool();
        let (sender, receiver) = std::sync::mpsc::channel();
        let future = pool.submit(nap, 100);
        for n in 0..5 {
            let sender = sender.clone();
            future.add_done_callback(move |done| {
                sender.send((n, done.result().expect("a value"))).expect("a receiver");
                assert!(n != 2, "a callback that panics");
            });
        }
        assert_eq!(receiver.iter().take(5).map(|(n, _)| n).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        let late = sender.clone();
        future.add_done_callback(move |done| late.send((9, done.result().expect("a value"))).expect("a receiver"));
        assert_eq!(receiver.try_recv(), Ok((9, 100)), "at once, for one that is done");
        assert_eq!(pool.submit(identity, 3).result().expect("the pool goes on"), 3);
    }

    fn waiting_in_a_callback_is_an_error_and_submitting_is_not() {
        let pool = pool();
        let (sender, receiver) = std::sync::mpsc::channel();
        let inner = pool.clone();
        let first = pool.submit(nap, 50);
        first.add_done_callback(move |_| {
            let future = inner.submit(nap, 10);
            let waited = future.result();
            sender.send((waited.map_err(|error| error.to_string()), inner.submit(identity, 5))).expect("a receiver");
        });
        let (waited, submitted) = receiver.recv_timeout(Duration::from_secs(10)).expect("the callback ran");
        assert!(waited.expect_err("it would never end").contains("never end"));
        assert_eq!(submitted.result().expect("a value"), 5);
    }
}
