//! A worker that is stopped, by a signal or a debugger, is waited for: it goes on where it was, its neighbours never
//! notice, and whoever does not want to wait can kill it (F45).

mod support;

use std::time::{Duration, Instant};

use procpool::{OnCancel, ProcessPoolExecutor, ShutdownOptions, TaskFuture, TaskOptions, task};
use support::{Event, Ledger, Signal, eventually, kill, nothing_left, procfs};

const PATIENCE: Duration = Duration::from_secs(20);
const HARD: Duration = Duration::from_secs(2);
/// The id of the task that is stopped.
const LONG: u64 = u64::MAX;
const MANY: u64 = 1000;
/// How long a worker stands still.
const STOP: Duration = Duration::from_secs(3);

#[task]
fn note(ledger: &str, id: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    Ledger::record(ledger, id, Event::Finished);
    id
}

/// Runs while the file is there, then gives the number of its worker.
#[task]
fn wait_for(ledger: &str, id: u64, path: &str) -> u32 {
    Ledger::record(ledger, id, Event::Started);
    while std::path::Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ledger::record(ledger, id, Event::Finished);
    std::process::id()
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

fn stop(worker: u32) {
    kill(worker, Signal::STOP);
    eventually("the worker is stopped", PATIENCE, || procfs::state(worker) == Some('T'));
}

/// A pool whose first worker runs a task, with the file that keeps the task there.
struct Busy {
    ledger: Ledger,
    file: String,
    pool: ProcessPoolExecutor,
    future: TaskFuture<u32>,
    worker: u32,
}

fn busy(workers: usize, options: TaskOptions) -> Busy {
    let ledger = Ledger::create();
    let file = format!("{}.busy", ledger.path());
    std::fs::write(&file, "").expect("a file");
    let pool = ProcessPoolExecutor::builder().max_workers(workers).build().expect("a pool");
    pool.warm_up().wait().expect("all workers");
    let future = pool.with(options).submit(wait_for, (ledger.path().as_str(), LONG, file.as_str()));
    eventually("it runs", PATIENCE, || ledger.starts(LONG) == 1);
    let worker = ledger.entries()[0].pid;
    Busy { ledger, file, pool, future, worker }
}

support::isolated! {
    timeout = 60;

    fn a_worker_that_stood_still_goes_on_and_its_result_counts() {
        let Busy { ledger, file, pool, mut future, worker } = busy(2, TaskOptions::new());
        stop(worker);
        std::fs::remove_file(&file).expect("a file of ours");
        let began = Instant::now();
        let mut id = 0;
        while began.elapsed() < STOP {
            assert_eq!(pool.submit(note, (ledger.path().as_str(), id)).result().expect("the neighbour works"), id);
            id += 1;
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(future.running() && future.result_timeout(Duration::ZERO).is_err(), "it is waited for");
        kill(worker, Signal::CONT);
        assert_eq!(future.result().expect("a value"), worker);
        ledger.assert_ran_exactly_once((0..id).chain([LONG]));
        assert!(pool.worker_pids().contains(&worker), "nobody was replaced");
        assert_eq!(pool.shutdown(true).wait().killed, 0);
    }

    fn what_waits_for_the_only_worker_runs_once_when_it_goes_on() {
        let Busy { ledger, file, pool, future, worker } = busy(1, TaskOptions::new());
        let path = ledger.path();
        let queued: Vec<_> = (0..100).map(|id| pool.submit(note, (path.as_str(), id))).collect();
        stop(worker);
        std::fs::remove_file(&file).expect("a file of ours");
        let later: Vec<_> = (100..200).map(|id| pool.submit(note, (path.as_str(), id))).collect();
        std::thread::sleep(STOP / 2);
        assert!(queued.iter().chain(&later).all(|future| !future.done()));
        kill(worker, Signal::CONT);
        assert_eq!(future.result().expect("a value"), worker);
        for (id, future) in (0..).zip(queued.into_iter().chain(later)) {
            assert_eq!(future.result().expect("a value"), id);
        }
        ledger.assert_ran_exactly_once((0..200).chain([LONG]));
        pool.shutdown(true).wait();
    }

    fn an_idle_worker_that_is_stopped_takes_its_task_up_when_it_goes_on() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let worker = pool.submit(own_pid, ()).result().expect("a value");
        stop(worker);
        let futures: Vec<_> = (0..20).map(|id| pool.submit(note, (path.as_str(), id))).collect();
        std::thread::sleep(STOP / 2);
        assert!(futures.iter().all(|future| !future.done()));
        kill(worker, Signal::CONT);
        for (id, future) in (0..).zip(futures) {
            assert_eq!(future.result().expect("a value"), id);
        }
        ledger.assert_ran_exactly_once(0..20);
        assert_eq!(pool.submit(own_pid, ()).result().expect("a value"), worker);
    }

    fn what_it_has_not_begun_of_many_is_done_by_its_neighbour() {
        for map in [true, false] {
            let ledger = Ledger::create();
            let path = ledger.path();
            let path = path.as_str();
            let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
            pool.warm_up().wait().expect("all workers");
            let workers = pool.worker_pids();
            for _ in 0..4 {
                let many: Vec<_> = (0..500).map(|_| pool.submit(own_pid, ())).collect();
                many.into_iter().for_each(|future| assert!(workers.contains(&future.result().expect("a value"))));
            }
            stop(workers[0]);
            if map {
                let results = pool.map(note, (0..MANY).map(|id| (path, id))).chunksize(50).into_iter();
                assert!(results.map(|result| result.expect("a value")).eq(0..MANY));
                kill(workers[0], Signal::CONT);
            } else {
                let futures: Vec<_> = (0..MANY).map(|id| pool.submit(note, (path, id))).collect();
                let open = || futures.iter().filter(|future| !future.done()).count();
                eventually("all are done but one", PATIENCE, || open() <= 1);
                kill(workers[0], Signal::CONT);
                for (id, future) in (0..).zip(futures) {
                    assert_eq!(future.result().expect("a value"), id);
                }
            }
            ledger.assert_ran_exactly_once(0..MANY);
            assert_eq!((pool.worker_pids(), pool.shutdown(true).wait().killed), (workers, 0));
        }
    }

    fn a_shutdown_that_kills_does_not_wait_for_it() {
        let Busy { ledger: _ledger, file, pool, future, worker } = busy(2, TaskOptions::new());
        stop(worker);
        let began = Instant::now();
        let report = pool.shutdown_with(ShutdownOptions::new().kill(true)).wait();
        assert!(began.elapsed() < HARD, "{:?}", began.elapsed());
        assert_eq!((report.killed, report.leaked), (1, Vec::new()));
        assert!(future.result().expect_err("it was killed").is_cancelled());
        nothing_left(HARD);
        std::fs::remove_file(&file).expect("a file of ours");
    }

    fn a_kill_a_cancellation_and_a_drop_do_not_wait_for_it() {
        for how in ["kill", "cancel", "drop", "drop the pool"] {
            let options = TaskOptions::new().on_cancel(OnCancel::Kill);
            let Busy { ledger, file, pool, future, worker } = busy(1, options);
            stop(worker);
            let began = Instant::now();
            match how {
                "kill" => assert!(future.kill()),
                "cancel" => assert!(future.cancel()),
                "drop" => drop(future),
                _ => drop((pool.clone(), future)),
            }
            if how == "drop the pool" {
                drop(pool);
            } else {
                assert_eq!(pool.submit(note, (ledger.path().as_str(), 1)).result().expect("the pool goes on"), 1);
            }
            eventually("the worker is gone", HARD, || !procfs::is_alive(worker));
            assert!(began.elapsed() < PATIENCE, "{how}: {:?}", began.elapsed());
            std::fs::remove_file(&file).expect("a file of ours");
        }
    }
}
