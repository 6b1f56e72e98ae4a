//! The whole pool in a model checker: the engine, the supervisor, slots, futures, the gate and the loop of the workers,
//! which are threads here, through schedules that chance picks. A future that is not woken is a deadlock, a thread that
//! does not end an endless run; both fail.
//!
//! Others may also go on before each look at the shared page and before each call of the kernel for a socket, and who is
//! not woken at its bell does not wake.
//!
//! What it does not see: who waits for the kernel looks again and again here, so a call of the supervisor that gets lost
//! is not noticed; threads that wait for a result do not listen themselves; the memory is in order, as on one processor;
//! and time is real, so a schedule that failed need not fail again.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test --lib -- interleavings sync::model queue::model transport::run`; `PROCPOOL_SCHEDULES` is how many each
//! scenario tries.

#![allow(unsafe_code, reason = "`#[task]` puts its entry into a section of the program")]

use std::collections::HashMap;
use std::future::Future;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner, thread};

use crate::luck::Luck;
use crate::sys::socket;
use crate::transport::{Board, Inbound, Outbound, Piece, Received, Speaker};
use crate::wire::frame::{Header, Kind};
use crate::{
    Builder, ProcessPoolExecutor, Ran, ShutdownOptions, TaskErrorKind, TaskFuture, as_completed, task,
};

/// How often the body of each task has run. Tasks are numbered anew in each schedule.
static RUNS: Mutex<Option<HashMap<u64, u32>>> = Mutex::new(None);

fn runs(id: u64) -> u32 {
    let runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
    runs.as_ref().and_then(|runs| runs.get(&id).copied()).unwrap_or(0)
}

#[task]
fn work(id: u64) -> u64 {
    let mut runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
    *runs.get_or_insert_default().entry(id).or_default() += 1;
    drop(runs);
    thread::yield_now();
    id
}

#[task]
fn fail(id: u64) -> u64 {
    work(id);
    std::panic::resume_unwind(Box::new("as it should"))
}

#[task]
fn until_cancelled(id: u64) -> u64 {
    while !crate::context().is_cancelled() {
        thread::yield_now();
    }
    id
}

fn id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn pool(workers: usize) -> Builder {
    ProcessPoolExecutor::builder().inline(true).max_workers(workers)
}

/// Runs a scenario through many schedules, of both kinds.
pub(crate) fn explore(scenario: fn()) {
    let schedules =
        std::env::var("PROCPOOL_SCHEDULES").ok().and_then(|count| count.parse().ok()).unwrap_or(500);
    let config = || {
        let mut config = Config::new();
        config.stack_size = 1 << 20;
        config
    };
    Runner::new(RandomScheduler::new(schedules), config()).run(scenario);
    Runner::new(PctScheduler::new(3, schedules), config()).run(scenario);
}

/// The outcome of a task that may have been cancelled, and what that says of its body.
fn settled(id: u64, future: TaskFuture<u64>) {
    match future.result() {
        Ok(value) => assert_eq!((value, runs(id)), (id, 1)),
        Err(error) => {
            assert!(
                matches!(error.kind(), TaskErrorKind::Cancelled { .. } | TaskErrorKind::PoolClosed),
                "{error}"
            );
            match error.ran() {
                Ran::No => assert_eq!(runs(id), 0),
                _ => assert!(runs(id) <= 1),
            }
        }
    }
}

/// More tasks than the workers have hands: some wait in line, and go to a worker together.
#[test]
fn tasks_that_wait_in_line_are_done_once_or_cancelled() {
    explore(|| {
        let pool = pool(1).build().unwrap();
        let ids = [(); 5].map(|()| id());
        let mut futures = ids.map(|id| Some(pool.submit(work, id)));
        let late = {
            let pool = pool.clone();
            let id = id();
            thread::spawn(move || (id, pool.submit(work, id)))
        };
        let cancelled = [1, 3, 4].map(|at| futures[at].as_ref().unwrap().cancel());
        drop(futures[4].take());
        let (id, late) = late.join().unwrap();
        settled(id, late);
        for (at, (id, future)) in ids.into_iter().zip(futures).enumerate() {
            let Some(future) = future else { continue };
            match [1, 3].iter().position(|&it| it == at) {
                Some(it) => assert_eq!(future.result().is_err(), cancelled[it]),
                None => assert_eq!(future.result().unwrap(), id),
            }
            assert!(runs(id) <= 1);
        }
        assert_eq!(runs(ids[0]), 1);
    });
}

/// The line is let go and held again while others submit, and closed in the end.
#[test]
fn a_line_that_is_closed_leaves_nobody_behind() {
    explore(|| {
        let pool = pool(1).build().unwrap();
        let submitter = {
            let pool = pool.clone();
            thread::spawn(move || {
                let ids = [(); 5].map(|()| id());
                ids.map(|id| (id, pool.submit(work, id)))
            })
        };
        pool.shutdown_with(ShutdownOptions::new().cancel_futures(true)).wait();
        for (id, future) in submitter.join().unwrap() {
            settled(id, future);
        }
        assert_eq!(pool.pending(), 0);
    });
}

#[test]
fn tasks_of_several_threads_are_all_done_once() {
    explore(|| {
        let pool = pool(2).build().unwrap();
        let threads = [(); 2].map(|()| {
            let pool = pool.clone();
            thread::spawn(move || {
                let ids = [id(), id()];
                let futures = ids.map(|id| pool.submit(work, id));
                for (id, future) in ids.into_iter().zip(futures) {
                    assert_eq!((future.result().unwrap(), runs(id)), (id, 1));
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        pool.shutdown(true).wait();
    });
}

/// A parent says small and large things, a worker that sleeps in between answers each, and the parent sleeps at its bell
/// until it has the answers, as a thread that waits for a result does.
#[test]
fn both_sides_of_a_link_are_woken_for_all_that_they_are_told() {
    explore(|| {
        let (board, _fd) = Board::create().unwrap();
        let (ours, theirs) = socket::pair().unwrap();
        let sizes = [0, 5000, 1, 0, 4097];
        let mut outbound = Outbound::new(Some(board.requests_writer()), board.requests_bell());
        let mut answers =
            Inbound::with_ring(1 << 20, board.replies_reader(), board.replies_bell(), Luck::default());
        let worker = thread::spawn(move || {
            let mut requests =
                Inbound::with_ring(1 << 20, board.requests_reader(), board.requests_bell(), Luck::default());
            let mut speaker = Speaker::new(theirs, board.replies_writer(), board.replies_bell());
            for _ in sizes {
                let Received::Frame(frame) = requests.next(speaker.socket(), true).unwrap() else { panic!() };
                speaker
                    .say(Header { seq: frame.header.seq, ..Header::new(Kind::Done) }, &frame.body)
                    .unwrap();
            }
        });
        for (seq, size) in (1..).zip(sizes) {
            let header = Header { seq, ..Header::new(Kind::Run) };
            outbound.push(Piece { header, body: Arc::new(vec![7; size]) });
            while !outbound.flush(ours.as_fd()).unwrap() {
                thread::yield_now();
            }
        }
        for (seq, size) in (1..).zip(sizes) {
            match answers.next(ours.as_fd(), true).unwrap() {
                Received::Frame(frame) => assert_eq!((frame.header.seq, frame.body.len()), (seq, size)),
                other => panic!("{other:?}"),
            }
        }
        worker.join().unwrap();
    });
}

#[test]
fn a_cancellation_that_races_with_the_start_has_one_winner() {
    explore(|| {
        let pool = pool(1).build().unwrap();
        let ids = [id(), id(), id()];
        let futures = ids.map(|id| pool.submit(work, id));
        let [first, raced, last] = futures;
        let canceller = thread::spawn(move || {
            raced.cancel();
            raced
        });
        // Nobody has cancelled these.
        assert_eq!((first.result().unwrap(), runs(ids[0])), (ids[0], 1));
        assert_eq!((last.result().unwrap(), runs(ids[2])), (ids[2], 1));
        settled(ids[1], canceller.join().unwrap());
        pool.shutdown(true).wait();
    });
}

#[test]
fn a_future_is_completed_polled_and_dropped_at_the_same_time() {
    explore(|| {
        let pool = pool(1).build().unwrap();
        let id = id();
        let (called, callback) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut future = pool.submit(work, id);
        let counts = Arc::clone(&callback);
        future.add_done_callback(move |_| {
            counts.fetch_add(1, Ordering::SeqCst);
        });
        struct Count(Arc<AtomicU64>);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let waker = Waker::from(Arc::new(Count(Arc::clone(&called))));
        let poller = thread::spawn(move || {
            let polled = Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
            thread::yield_now();
            let done = future.done();
            drop(future);
            (polled.is_ready(), done)
        });
        let (ready, done) = poller.join().unwrap();
        pool.shutdown(true).wait();
        drop(pool);
        assert_eq!(callback.load(Ordering::SeqCst), 1, "it is called once, whatever became of the future");
        assert!(called.load(Ordering::SeqCst) <= 1 && (!ready || called.load(Ordering::SeqCst) == 0));
        assert!(!done || runs(id) == 1, "it was done, so it ran");
        assert_eq!(Arc::strong_count(&called), 1, "no waker is kept");
    });
}

#[test]
fn a_kill_ends_the_task_and_the_next_one_runs() {
    explore(|| {
        let pool = pool(1).build().unwrap();
        let endless = pool.submit(until_cancelled, id());
        let next = id();
        let after = pool.submit(work, next);
        let killer = thread::spawn(move || {
            endless.kill();
            assert!(endless.result().unwrap_err().is_cancelled());
        });
        assert_eq!((after.result().unwrap(), runs(next)), (next, 1));
        killer.join().unwrap();
        pool.shutdown(true).wait();
    });
}

#[test]
fn a_shutdown_that_races_with_submissions_leaves_none_without_an_outcome() {
    explore(|| {
        let pool = pool(2).build().unwrap();
        let submitter = {
            let pool = pool.clone();
            thread::spawn(move || [id(), id(), id()].map(|id| (id, pool.submit(work, id))))
        };
        let ended = pool.shutdown_with(ShutdownOptions::new().cancel_futures(true));
        for (id, future) in submitter.join().unwrap() {
            settled(id, future);
        }
        ended.wait();
        drop(pool);
    });
}

#[test]
fn a_dropped_pool_settles_all_and_its_threads_end() {
    explore(|| {
        let pool = pool(2).build().unwrap();
        let ids = [id(), id(), id()];
        let futures = ids.map(|id| pool.submit(work, id));
        let dropper = thread::spawn(move || drop(pool));
        for (id, future) in ids.into_iter().zip(futures) {
            settled(id, future);
        }
        dropper.join().unwrap();
    });
}

#[test]
fn the_gate_has_room_again_after_each_task() {
    explore(|| {
        let pool = pool(1).max_pending(1).build().unwrap();
        let threads = [(); 3].map(|()| {
            let pool = pool.clone();
            thread::spawn(move || {
                let id = id();
                // How those are woken who wait for room is the affair of a library, with locks that the model checker
                // does not know: they look again and again here.
                let permit = loop {
                    match pool.try_reserve() {
                        Ok(permit) => break permit,
                        Err(_) => thread::yield_now(),
                    }
                };
                let future = permit.submit(work, id);
                assert_eq!((future.result().unwrap(), runs(id)), (id, 1));
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        pool.shutdown(true).wait();
    });
}

#[test]
fn workers_that_are_replaced_after_each_task_lose_none() {
    explore(|| {
        let pool = pool(2).max_tasks_per_child(1).build().unwrap();
        let ids = [id(), id(), id()];
        let futures = ids.map(|id| pool.submit(work, id));
        let failed = id();
        let failure = pool.submit(fail, failed);
        assert!(failure.result().unwrap_err().is_panic());
        let mut seen = as_completed(futures).into_iter().map(|done| done.unwrap()).collect::<Vec<_>>();
        seen.sort_unstable();
        assert_eq!(seen, ids);
        assert!(ids.iter().all(|&id| runs(id) == 1) && runs(failed) == 1);
        pool.shutdown(true).wait();
    });
}

#[test]
fn chunks_give_each_result_once_and_what_nobody_wants_ends() {
    explore(|| {
        let pool = pool(2).build().unwrap();
        let ids: Vec<_> = (0..5).map(|_| id()).collect();
        let in_order = pool.map(work, ids.clone()).chunksize(3).into_iter();
        assert!(in_order.map(Result::unwrap).eq(ids.iter().copied()));
        let others: Vec<_> = (0..5).map(|_| id()).collect();
        let mut as_done = pool.map(work, others.clone()).chunksize(3).unordered().into_iter();
        assert!(others.contains(&as_done.next().unwrap().unwrap()));
        drop(as_done);
        pool.shutdown(true).wait();
        assert!(ids.into_iter().all(|id| runs(id) == 1) && others.into_iter().all(|id| runs(id) <= 1));
    });
}

#[test]
fn a_resize_while_tasks_come_in_loses_none() {
    explore(|| {
        let pool = pool(2).build().unwrap();
        let resizer = {
            let pool = pool.clone();
            thread::spawn(move || {
                pool.resize(1).unwrap();
                pool.resize(3).unwrap();
            })
        };
        let ids = [id(), id(), id()];
        let futures = ids.map(|id| pool.submit(work, id));
        for (id, future) in ids.into_iter().zip(futures) {
            assert_eq!((future.result().unwrap(), runs(id)), (id, 1));
        }
        resizer.join().unwrap();
        pool.shutdown(true).wait();
    });
}
