//! A copy of the program, made by `fork`, has no part in the pool: whatever it does with its copy, it says nothing to
//! the workers, kills nobody and waits for nobody (F50).

#![allow(unsafe_code, reason = "fork")]

mod support;

use std::time::Duration;

use procpool::{OnCancel, ProcessPoolExecutor, ShutdownOptions, TaskFuture, TaskOptions, task};
use support::{Event, Ledger, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

#[task]
fn note(ledger: &str, id: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    Ledger::record(ledger, id, Event::Finished);
    id
}

#[task]
fn wait_for(path: &str) -> u32 {
    while std::path::Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::process::id()
}

/// What a copy does before it is gone.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Copy {
    DropsAll,
    /// The way in which a program ends that calls its destructors.
    Exits,
    /// The way in which it ends without.
    ExitsAtOnce,
    CancelsAndKills,
    ShutsDown,
}

const FORKS: usize = 60;

/// Forks; the child acts on its copies and ends with code 7, within the time that a wait would take much longer than.
fn fork<T>(how: Copy, pool: &mut Option<ProcessPoolExecutor>, futures: &mut Vec<TaskFuture<T>>) {
    // SAFETY: the child runs code that takes no lock that another thread may hold at this moment, which is what the
    // test is about: if the pool takes one all the same, the child hangs, and the test fails for that.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "one more process");
    if child == 0 {
        match how {
            Copy::DropsAll => {
                futures.clear();
                *pool = None;
            }
            // SAFETY: as above.
            Copy::Exits => unsafe { libc::exit(7) },
            Copy::ExitsAtOnce => {}
            Copy::CancelsAndKills => {
                for future in futures.iter() {
                    future.cancel();
                    future.kill();
                }
            }
            Copy::ShutsDown => {
                let pool = pool.take().expect("a pool");
                drop(pool.shutdown_with(ShutdownOptions::new().kill(true).wait(false)));
            }
        }
        // SAFETY: ends the copy; nothing of it is used after.
        unsafe { libc::_exit(7) };
    }
    let mut status = 0;
    eventually("the copy ends", PATIENCE, || {
        // SAFETY: the child is ours and not yet reaped; the status is a number of ours.
        unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) == child }
    });
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "{how:?}: status {status:#x}");
}

fn the_pool_is_unharmed_by(how: Copy) {
    let ledger = Ledger::create();
    let path = ledger.path();
    let file = format!("{path}.busy");
    std::fs::write(&file, "").expect("a file");
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
    pool.warm_up().wait().expect("two workers");
    let mut workers = pool.worker_pids();
    workers.sort_unstable();
    // One worker is busy, both with tasks in line, and every drop is one that kills if it counts.
    let options = TaskOptions::new().on_cancel(OnCancel::Kill);
    let mut running = vec![pool.with(options).submit(wait_for, file.as_str())];
    eventually("it runs", PATIENCE, || running[0].running());

    let mut copied = Some(pool);
    fork(how, &mut copied, &mut running);
    let pool = copied.expect("only the copy has lost it");

    let futures: Vec<_> = (0..100).map(|id| pool.submit(note, (path.as_str(), id))).collect();
    for (id, future) in (0..).zip(futures) {
        assert_eq!(future.result().expect("a value"), id, "{how:?}");
    }
    ledger.assert_ran_exactly_once(0..100);
    assert!(running[0].running(), "{how:?}: nobody has cancelled it");
    std::fs::remove_file(&file).expect("a file of ours");
    let worker = running.remove(0).result().expect("its own end");
    assert!(workers.contains(&worker));
    let mut now = pool.worker_pids();
    now.sort_unstable();
    assert_eq!(now, workers, "{how:?}: the same workers");
    let report = pool.shutdown(true).wait();
    assert_eq!((report.cancelled, report.killed, report.leaked), (0, 0, Vec::new()), "{how:?}");
}

support::isolated! {
    timeout = 60;

    fn a_copy_that_drops_everything_is_nobody() {
        the_pool_is_unharmed_by(Copy::DropsAll);
    }

    fn a_copy_that_exits_is_nobody() {
        the_pool_is_unharmed_by(Copy::Exits);
        the_pool_is_unharmed_by(Copy::ExitsAtOnce);
    }

    fn a_copy_that_cancels_kills_and_shuts_down_is_nobody() {
        the_pool_is_unharmed_by(Copy::CancelsAndKills);
        the_pool_is_unharmed_by(Copy::ShutsDown);
    }

    fn copies_made_while_tasks_end_all_the_time_end_as_well() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        let ledger = Ledger::create();
        let path = ledger.path();
        let mut tasks = 0;
        for round in 0..FORKS {
            // Most of these end while the copy is made and drops its own futures of them.
            let mut futures: Vec<_> = (tasks..tasks + 100).map(|id| pool.submit(note, (path.as_str(), id))).collect();
            let how = [Copy::DropsAll, Copy::CancelsAndKills][round % 2];
            fork(how, &mut Some(pool.clone()), &mut futures);
            for (id, future) in (tasks..).zip(futures) {
                assert_eq!(future.result().expect("a value"), id);
            }
            tasks += 100;
        }
        ledger.assert_ran_exactly_once(0..tasks);
        pool.shutdown(true).wait();
    }
}
