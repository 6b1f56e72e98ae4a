//! A million tasks may wait: no deadlock, first come first served, a kibibyte each, and cancelled in no time (F36).

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use procpool::{Builder, ProcessPoolExecutor, Refusal, ShutdownOptions, TaskFuture, task};
use rustix::time::{ClockId, clock_gettime};
use support::{Ledger, Random, procfs, rounds};

/// How long the hand-shake takes at least.
const LATE: Duration = Duration::from_secs(2);
/// How long cancelling all may take.
const HARD: Duration = Duration::from_secs(2);

static SERVED: AtomicU64 = AtomicU64::new(0);

/// An initializer that keeps the hand-shake waiting until this file is there.
#[task]
fn wait_for(gate: &str) {
    while !std::path::Path::new(gate).exists() {
        thread::sleep(Duration::from_millis(5));
    }
}

/// How many tasks this worker ran before, and what it was given.
#[task]
fn place(id: u64) -> (u64, u64) {
    (SERVED.fetch_add(1, Ordering::Relaxed), id)
}

/// A pool whose workers are not ready before they are let in.
struct Held {
    pool: ProcessPoolExecutor,
    /// Its folder has the gate, and goes with it.
    folder: Ledger,
    began: Instant,
}

impl Held {
    fn new(builder: Builder) -> Held {
        let folder = Ledger::create();
        let builder = builder.initializer(wait_for, Held::gate(&folder).as_str()).start_timeout(60 * LATE);
        Held { pool: builder.build().expect("a pool"), folder, began: Instant::now() }
    }

    fn gate(folder: &Ledger) -> String {
        folder.path() + ".gate"
    }

    /// Lets the workers be ready, not before the hand-shake has taken long.
    fn let_in(&self) {
        thread::sleep(LATE.saturating_sub(self.began.elapsed()));
        std::fs::write(Held::gate(&self.folder), []).expect("a file");
    }
}

fn workers(count: usize) -> Builder {
    ProcessPoolExecutor::builder().max_workers(count)
}

/// What the calling thread has used of a processor. On a busy machine that says more than the clock.
fn used() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    used.try_into().expect("a time that was used is not negative")
}

fn rss_kib() -> u64 {
    procfs::rss_kib(std::process::id()).expect("this process lives")
}

support::isolated! {
    timeout = 600;

    fn a_million_tasks_take_a_kibibyte_each_and_are_served_in_their_order() {
        let held = Held::new(workers(1));
        let pool = &held.pool;
        let count = rounds(250_000);
        let before = rss_kib();
        let mut futures: Vec<_> = (0..count).map(|id| pool.submit(place, id)).collect();
        let each = (rss_kib() - before) * 1024 / count;
        println!("{count} submitted in {:?}, {each} bytes each", held.began.elapsed());
        assert!(each <= 1024, "{each} bytes a task");
        assert_eq!(pool.pending() as u64, count, "all of them wait");
        held.let_in();
        let served = (count / 50).max(1) as usize;
        for (id, future) in (0..).zip(futures.drain(..served)) {
            assert_eq!(future.result().expect("a value"), (id, id), "first come, first served");
        }
        let (began, before) = (Instant::now(), used());
        let end = pool.shutdown_with(ShutdownOptions::new().cancel_futures(true));
        let (took, work) = (began.elapsed(), used() - before);
        let cancelled = futures.iter().filter(|future| future.cancelled()).count();
        println!("{cancelled} cancelled in {took:?}, of which {work:?} at work");
        assert!(work <= HARD, "{cancelled} cancelled in {took:?}, of which {work:?} at work");
        assert!(cancelled > 0 && cancelled == end.wait().cancelled);
        // What was running or done by then was served in its order as well, and nothing after it was served.
        for (id, future) in (served as u64..).zip(futures) {
            match future.result() {
                Ok(served) => assert_eq!(served, (id, id)),
                Err(error) => assert!(error.is_cancelled(), "{error}"),
            }
        }
    }

    fn tasks_of_many_threads_that_wait_for_the_first_worker_all_run_and_keep_their_order() {
        let held = Held::new(workers(1));
        let each = rounds(250_000) / 10;
        let threads = 4;
        let served: Vec<Vec<u64>> = thread::scope(|scope| {
            let pool = &held.pool;
            let submit = move || {
                let futures: Vec<TaskFuture<(u64, u64)>> = (0..each).map(|id| pool.submit(place, id)).collect();
                futures.into_iter().map(|future| future.result().expect("a value").0).collect()
            };
            let submitters: Vec<_> = (0..threads).map(|_| scope.spawn(submit)).collect();
            held.let_in();
            submitters.into_iter().map(|submitter| submitter.join().expect("no panic")).collect()
        });
        assert!(served.iter().all(|places| places.is_sorted()), "each thread's tasks in their order");
        let mut all: Vec<u64> = served.into_iter().flatten().collect();
        all.sort_unstable();
        assert!((0..threads * each).eq(all), "each task once");
        held.pool.shutdown(true).wait();
    }

    fn cancelling_one_by_one_takes_as_long_in_any_order() {
        let count = (rounds(250_000) / 5) as usize;
        let mut random = Random::new(3);
        for order in ["oldest first", "newest first", "at random"] {
            let held = Held::new(workers(2));
            let pool = &held.pool;
            let mut futures: Vec<_> = (0..count as u64).map(|id| pool.submit(place, id)).collect();
            match order {
                "oldest first" => futures.reverse(),
                "newest first" => {}
                _ => (1..count).for_each(|at| futures.swap(at, random.below(at as u64 + 1) as usize)),
            }
            let (began, before) = (Instant::now(), used());
            while let Some(future) = futures.pop() {
                drop(future);
            }
            let (took, work) = (began.elapsed(), used() - before);
            println!("{count} dropped {order} in {took:?}, of which {work:?} at work");
            assert_eq!(pool.pending(), 0);
            assert!(work <= HARD, "{count} dropped {order} in {took:?}, of which {work:?} at work");
            held.let_in();
            assert_eq!(pool.submit(place, 7).result().expect("the pool goes on"), (0, 7), "none of them ran");
            pool.shutdown(true).wait();
        }
    }

    fn a_bounded_pool_gives_the_arguments_back_and_serves_who_waits_for_room() {
        let held = Held::new(workers(1).max_pending(1_000));
        let pool = &held.pool;
        let mut futures: Vec<_> = (0..1_000).map(|id| pool.try_submit(place, id).expect("room")).collect();
        for id in 1_000..1_100 {
            let refused = pool.try_submit(place, id).expect_err("no room");
            assert!(matches!(refused.reason(), Refusal::Full { max_pending: 1_000, .. }), "{refused}");
            assert_eq!(refused.into_args(), id);
        }
        thread::scope(|scope| {
            // Who waits for room waits for the first worker, and is let in when a task is done.
            let patient = scope.spawn(|| {
                let late = (1_000..3_000).map(|id| pool.reserve().wait().expect("room in the end").submit(place, id));
                late.inspect(|_| assert!(pool.pending() <= 1_000)).collect::<Vec<_>>()
            });
            held.let_in();
            futures.extend(patient.join().expect("no panic"));
        });
        for (id, future) in (0..).zip(futures) {
            assert_eq!(future.result().expect("a value"), (id, id));
        }
        pool.shutdown(true).wait();
    }
}
