//! A future that is dropped cancels its task and leaves nothing behind, and one that outlives its pool resolves (F26).

mod support;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures::future::{Either, select};
use procpool::{ProcessPoolExecutor, Ran, ReturnWhen, TaskErrorKind, TaskFuture, task, wait};
use support::{Event, Ledger, Random, eventually, procfs, rounds};

const SOON: Duration = Duration::from_secs(10);

#[task]
fn megabyte(n: u64) -> String {
    let digit = char::from(b'0' + (n % 10) as u8);
    String::from_iter([digit]).repeat(1 << 20)
}

#[task]
fn work(ledger: &str, id: u64, milliseconds: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    if milliseconds > 0 {
        thread::sleep(Duration::from_millis(milliseconds));
    }
    Ledger::record(ledger, id, Event::Finished);
    id
}

/// Counts how often it wakes; its `Arc` counts how many wakers there are.
#[derive(Default)]
struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Arc<Counted>) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(waker))))
}

fn pool(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().expect("a pool")
}

fn wait_for_start<T>(future: &TaskFuture<T>) {
    eventually("it runs", SOON, || future.running());
}

/// The loser of a race does not start if it waits, and finishes if it runs.
async fn lose_two_races(pool: ProcessPoolExecutor, ledger: &str) {
    let running = pool.submit(work, (ledger, 0, 300));
    wait_for_start(&running);
    let waiting = pool.submit(work, (ledger, 1, 0));
    let never_polled = pool.submit(work, (ledger, 2, 0));
    for loser in [running, waiting] {
        match select(loser, std::future::ready(())).await {
            Either::Right(((), loser)) => drop(loser),
            Either::Left((result, _)) => panic!("it was not done: {result:?}"),
        }
    }
    drop(never_polled);
    assert_eq!(pool.submit(work, (ledger, 3, 0)).await.expect("the pool goes on"), 3);
    pool.shutdown(true).await;
}

support::isolated! {
    timeout = 120;

    fn a_dropped_future_keeps_no_waker_whatever_its_task_does() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool(1);
        let waker = Arc::new(Counted::default());
        let mut running = pool.submit(work, (path.as_str(), 0, 1000));
        wait_for_start(&running);
        let mut waiting = pool.submit(work, (path.as_str(), 1, 0));
        assert!(poll(&mut running, &waker).is_pending() && poll(&mut waiting, &waker).is_pending());
        drop(waiting);
        assert_eq!(Arc::strong_count(&waker), 2, "the waker of one that waited");
        drop(running);
        assert_eq!(Arc::strong_count(&waker), 1, "the waker of one that runs");
        assert_eq!(pool.pending(), 1, "it runs on");

        let mut done = pool.submit(work, (path.as_str(), 2, 0));
        let woken = waker.0.load(Ordering::Relaxed);
        assert!(poll(&mut done, &waker).is_pending());
        eventually("it is done", SOON, || done.done());
        eventually("it was woken once", SOON, || waker.0.load(Ordering::Relaxed) == woken + 1);
        eventually("what was woken is not kept", SOON, || Arc::strong_count(&waker) == 1);
        drop(done);
        ledger.assert_never_ran(1);
        ledger.assert_ran_exactly_once([0, 2]);
        pool.shutdown(true).wait();
    }

    fn only_the_last_waker_is_kept() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool(1);
        let (first, second) = (Arc::new(Counted::default()), Arc::new(Counted::default()));
        let mut future = pool.submit(work, (path.as_str(), 0, 300));
        for waker in [&first, &second, &second] {
            assert!(poll(&mut future, waker).is_pending());
        }
        assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 2));
        eventually("it is done", SOON, || future.done());
        eventually("the last one is woken", SOON, || second.0.load(Ordering::Relaxed) == 1);
        assert_eq!(first.0.load(Ordering::Relaxed), 0);
        future.result().expect("a value");
    }

    fn dropped_on_another_thread_while_being_completed() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool(2);
        let waker = Arc::new(Counted::default());
        let (sender, receiver) = sync_channel::<TaskFuture<u64>>(4);
        let dropper = thread::spawn(move || {
            let mut random = Random::new(1);
            for future in receiver {
                for _ in 0..random.below(20_000) {
                    std::hint::spin_loop();
                }
                drop(future);
            }
        });
        for id in 0..rounds(5_000) {
            let mut future = pool.submit(work, (path.as_str(), id, 0));
            if id % 3 > 0 && poll(&mut future, &waker).is_ready() {
                continue;
            }
            sender.send(future).expect("the dropper lives");
        }
        drop(sender);
        dropper.join().expect("no panic");
        eventually("nothing is pending", SOON, || pool.pending() == 0);
        eventually("no waker is kept", SOON, || Arc::strong_count(&waker) == 1);
        let entries = ledger.entries();
        let mut starts: Vec<_> = entries.iter().filter(|entry| entry.event == Event::Started).map(|entry| entry.id).collect();
        let count = starts.len();
        starts.sort_unstable();
        starts.dedup();
        assert_eq!((starts.len(), entries.len()), (count, 2 * count), "each ran once and to its end, or not at all");
        pool.shutdown(true).wait();
    }

    fn the_memory_of_results_that_nobody_wants_is_freed() {
        let pool = pool(2);
        let waker = Arc::new(Counted::default());
        // Of a hundred futures, one is dropped while its task runs and one when its result is here.
        let drop_many = |count: u64| {
            for n in 0..count {
                let mut future = pool.submit(megabyte, n);
                match n % 100 {
                    0 => while !future.running() && !future.done() {
                        thread::yield_now();
                    },
                    1 => assert!(wait([future], ReturnWhen::AllCompleted).wait().done[0].done()),
                    2..50 => drop(poll(&mut future, &waker)),
                    _ => drop(future),
                }
            }
            eventually("nothing is pending", SOON, || pool.pending() == 0);
        };
        let rss = || procfs::rss_kib(std::process::id()).expect("this process lives");
        drop_many(2_000);
        let count = rounds(40_000);
        let before = rss();
        drop_many(count);
        let grown = rss().saturating_sub(before);
        println!("{grown} KiB more after {count} dropped futures");
        // A kibibyte each; of few futures, what an allocator keeps of some results in flight.
        assert!(grown <= count.max(16 << 10), "{grown} KiB more after {count} dropped futures");
        eventually("no waker is kept", SOON, || Arc::strong_count(&waker) == 1);
        pool.shutdown(true).wait();
    }

    fn every_runtime_drops_alike() {
        type Run = fn(&str);
        let runtimes: [(&str, Run); 4] = [
            ("none", |path| futures::executor::block_on(lose_two_races(pool(1), path))),
            ("smol", |path| smol::block_on(lose_two_races(pool(1), path))),
            ("tokio with one thread", |path| {
                let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
                runtime.block_on(lose_two_races(pool(1), path));
            }),
            ("tokio with two threads", |path| {
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
                let path = path.to_owned();
                runtime.block_on(runtime.spawn(async move { lose_two_races(pool(1), &path).await })).expect("no panic");
            }),
        ];
        for (name, run) in runtimes {
            let ledger = Ledger::create();
            run(&ledger.path());
            println!("{name}");
            ledger.assert_ran_exactly_once([0, 3]);
            ledger.assert_never_ran(1);
            ledger.assert_never_ran(2);
        }
    }

    fn a_future_that_outlives_its_pool_resolves() {
        let ledger = Ledger::create();
        let path = ledger.path();
        for round in 0..20 {
            let pool = pool(1);
            let base = round * 10;
            let done = pool.submit(work, (path.as_str(), base, 0));
            eventually("it is done", SOON, || done.done());
            let running = pool.submit(work, (path.as_str(), base + 1, 60_000));
            wait_for_start(&running);
            let mut polled = pool.submit(work, (path.as_str(), base + 2, 0));
            let waker = Arc::new(Counted::default());
            assert!(poll(&mut polled, &waker).is_pending());
            let awaited = pool.submit(work, (path.as_str(), base + 3, 0));
            let awaiting = thread::spawn(move || awaited.result());
            drop(pool);
            assert_eq!(done.result().expect("it was done"), base);
            let error = running.result().expect_err("it was killed");
            assert!(matches!(error.kind(), TaskErrorKind::Cancelled { was_running: true, .. }), "{error}");
            eventually("who polled is woken", SOON, || waker.0.load(Ordering::Relaxed) == 1);
            for outcome in [polled.result(), awaiting.join().expect("no panic")] {
                let error = outcome.expect_err("it never started");
                assert!(matches!(error.kind(), TaskErrorKind::Cancelled { was_running: false, .. }), "{error}");
                assert_eq!(error.ran(), Ran::No);
            }
            ledger.assert_never_ran(base + 2);
        }
    }
}
