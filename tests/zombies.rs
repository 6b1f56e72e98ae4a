//! Every worker is waited for, soon, and nobody else is: also where somebody else waits for all children (F30).

#![allow(unsafe_code, reason = "a program that ignores SIGCHLD")]

mod support;

use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use procpool::{ExitCause, Phase, ProcessPoolExecutor, Ran, TaskErrorKind, TaskFuture, task};
use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};
use support::{Event, Ledger, Signal, eventually, kill, procfs};

/// How long a dead worker may stay in the process table.
const REAPED: Duration = Duration::from_secs(1);
const DETECT: Duration = Duration::from_secs(2);
const RESPAWN: Duration = Duration::from_secs(5);
const SOON: Duration = Duration::from_secs(10);

#[task]
fn note(ledger: &str, id: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    Ledger::record(ledger, id, Event::Finished);
    id
}

#[task]
fn nap(milliseconds: u64) -> u64 {
    thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

/// Never ends.
#[task]
fn park(ledger: &str, id: u64) {
    Ledger::record(ledger, id, Event::Started);
    loop {
        thread::park();
    }
}

#[task]
fn leave_with(code: i32) {
    std::process::exit(code);
}

/// Works in a pool of its own, one worker of which dies.
#[task]
fn nest() -> Result<u64, String> {
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().map_err(|error| error.to_string())?;
    let error = pool.submit(leave_with, 3).result().expect_err("it has left");
    if !error.is_worker_died() {
        return Err(error.to_string());
    }
    let value = pool.submit(nap, 1).result().map_err(|error| error.to_string())?;
    pool.shutdown(true).wait();
    Ok(value)
}

fn pool(workers: usize) -> ProcessPoolExecutor {
    let pool = ProcessPoolExecutor::builder().max_workers(workers).build().expect("a pool");
    pool.warm_up().wait().expect("workers");
    pool
}

/// It is not even a zombie.
#[track_caller]
fn assert_reaped(what: &str, pids: &[u32]) {
    eventually(&format!("{what}: {pids:?} are waited for"), REAPED, || {
        pids.iter().all(|&pid| procfs::state(pid).is_none())
    });
}

/// One neighbour that runs all the time, one culprit that is killed, 20 tasks in the queue. Returns what is told of
/// the death.
fn one_death_costs_one_task(pool: &ProcessPoolExecutor) -> ExitCause {
    let ledger = Ledger::create();
    let path = ledger.path();
    pool.warm_up().wait().expect("two workers");
    let culprit = pool.submit(park, (path.as_str(), 100));
    let neighbour = pool.submit(nap, 100);
    let queued: Vec<TaskFuture<u64>> = (0..20).map(|id| pool.submit(note, (path.as_str(), id))).collect();
    eventually("the culprit runs", SOON, || ledger.starts(100) == 1);
    let worker = ledger.worker_of(100);
    let began = Instant::now();
    kill(worker, Signal::KILL);
    let error = culprit.result().expect_err("it was killed");
    assert!(began.elapsed() < DETECT, "told after {:?}", began.elapsed());
    assert_eq!(error.ran(), Ran::Maybe);
    let exit = error.exit().unwrap_or_else(|| panic!("not a death: {error}"));
    assert_eq!((exit.pid(), exit.phase()), (worker, Phase::Running));
    for (id, future) in (0..).zip(queued) {
        assert_eq!(future.result().expect("an innocent task"), id);
    }
    assert_eq!(neighbour.result().expect("the neighbour"), 100);
    ledger.assert_ran_exactly_once(0..20);
    pool.warm_up().wait().expect("all workers again");
    assert_eq!(pool.worker_pids().len(), 2);
    assert!(began.elapsed() < RESPAWN, "back after {:?}", began.elapsed());
    assert_reaped("the dead worker", &[worker]);
    exit.cause()
}

fn is_a_kill(cause: ExitCause) -> bool {
    matches!(cause, ExitCause::Signal { number: libc::SIGKILL, .. })
}

/// Waits for all children of this process, whosever they are, until it is dropped.
struct Thief {
    enough: Arc<AtomicBool>,
    stolen: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Thief {
    fn at_work() -> Thief {
        let (enough, stolen) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (seen, count) = (Arc::clone(&enough), Arc::clone(&stolen));
        let steal = move || {
            while !seen.load(Ordering::Relaxed) {
                match wait(WaitOptions::NOHANG) {
                    Ok(Some(_)) => drop(count.fetch_add(1, Ordering::Relaxed)),
                    Ok(None) | Err(Errno::CHILD | Errno::INTR) => thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            }
        };
        Thief { enough, stolen, thread: Some(thread::spawn(steal)) }
    }
}

impl Drop for Thief {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a thief does not fail");
        }
    }
}

fn ignore_children() {
    // SAFETY: ignoring a signal installs no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

support::isolated! {
    timeout = 60;

    fn a_worker_that_dies_is_soon_waited_for_whatever_it_died_of() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool(2);
        let idle = pool.worker_pids()[0];
        kill(idle, Signal::KILL);
        assert_reaped("an idle worker", &[idle]);

        let busy = pool.submit(park, (path.as_str(), 0));
        eventually("it runs", SOON, || ledger.starts(0) == 1);
        let worker = ledger.worker_of(0);
        kill(worker, Signal::SEGV);
        assert_reaped("a busy worker", &[worker]);
        assert!(busy.result().expect_err("it was killed").is_worker_died());

        let before = pool.worker_pids();
        pool.submit(leave_with, 0).result().expect_err("it has left");
        let gone: Vec<u32> = before.into_iter().filter(|pid| !pool.worker_pids().contains(pid)).collect();
        assert_reaped("a worker that has left", &gone);
    }

    fn workers_that_end_by_themselves_are_waited_for() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(1).build().expect("a pool");
        let mut seen = Vec::new();
        for _ in 0..5 {
            pool.submit(nap, 0).result().expect("a value");
            seen.extend(pool.worker_pids());
        }
        pool.shutdown(true).wait();
        assert_reaped("workers that were recycled", &seen);
        assert!(procfs::children_of(std::process::id()).is_empty(), "a shutdown waits for all of them");
    }

    fn workers_are_waited_for_although_nobody_waits_for_their_pool() {
        for how in ["shutdown", "drop"] {
            let pool = pool(2);
            let pids = pool.worker_pids();
            assert_eq!(pids.len(), 2);
            if how == "shutdown" {
                pool.shutdown(false);
            }
            drop(pool);
            eventually("they end", SOON, || !pids.iter().any(|&pid| procfs::is_alive(pid)));
            assert_reaped(how, &pids);
        }
    }

    fn workers_that_cannot_start_are_waited_for() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).initializer(leave_with, 9).build().expect("a pool");
        let error = pool.submit(nap, 0).result().expect_err("no worker");
        assert!(matches!(error.kind(), TaskErrorKind::PoolBroken(_)), "{error}");
        let template = |pid: &u32| procfs::process(*pid).is_some_and(|process| process.is_template());
        let children: Vec<_> = procfs::children_of(std::process::id()).into_iter().filter(|pid| !template(pid)).collect();
        assert_reaped("failed starts", &children);
        pool.shutdown(true).wait();
    }

    fn one_crash_costs_one_task_where_sigchld_is_ignored() {
        ignore_children();
        let pool = pool(2);
        assert_eq!(one_death_costs_one_task(&pool), ExitCause::Unknown, "the kernel has told nobody");
        // Workers inherit it, and may have pools all the same.
        assert_eq!(pool.submit(nest, ()).result().expect("a value"), Ok(1));
        assert!(pool.shutdown(true).wait().leaked.is_empty());

        let broken = ProcessPoolExecutor::builder().max_workers(1).initializer(leave_with, 9).build().expect("a pool");
        let error = broken.submit(nap, 0).result().expect_err("no worker");
        assert!(matches!(error.kind(), TaskErrorKind::PoolBroken(_)), "{error}");
    }

    fn one_crash_costs_one_task_where_sigchld_comes_to_be_ignored() {
        let pool = pool(2);
        assert!(is_a_kill(one_death_costs_one_task(&pool)));
        ignore_children();
        assert_eq!(one_death_costs_one_task(&pool), ExitCause::Unknown);
        drop(pool);
    }

    fn one_crash_costs_one_task_beside_a_thread_that_waits_for_all_children() {
        let thief = Thief::at_work();
        let pool = pool(2);
        for _ in 0..10 {
            let cause = one_death_costs_one_task(&pool);
            assert!(cause == ExitCause::Unknown || is_a_kill(cause), "{cause:?}");
        }
        assert!(pool.shutdown(true).wait().leaked.is_empty());
        println!("{} of 12 deaths were stolen", thief.stolen.load(Ordering::Relaxed));
        drop(thief);
    }

    fn children_of_the_program_are_left_to_the_program() {
        fn leave(code: i32) -> (i32, Child) {
            (code, Command::new("sh").args(["-c", &format!("exit {code}")]).spawn().expect("sh"))
        }
        let pool = pool(2);
        let (sender, of_callback) = mpsc::channel();
        // A callback runs on the pool's own thread, whose children the workers are.
        let short = pool.submit(nap, 50);
        short.add_done_callback(move |_| {
            assert_eq!(thread::current().name(), Some("procpool"));
            sender.send((0..5).map(leave).collect::<Vec<_>>()).expect("the test waits");
        });
        let mut children = of_callback.recv_timeout(SOON).expect("the callback is called");
        for code in 5..10 {
            children.push(leave(code));
            one_death_costs_one_task(&pool);
        }
        pool.shutdown(true).wait();
        for (code, mut child) in children {
            let status = child.wait().expect("nobody else has waited for it");
            assert_eq!(status.code(), Some(code));
        }
    }
}
