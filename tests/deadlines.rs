//! A deadline stops the work, whatever the work does, and the pool goes on (F20).

#![allow(unsafe_code, reason = "a body that ignores SIGTERM")]

mod support;

use std::time::{Duration, Instant};

use procpool::{OnCancel, ProcessPoolExecutor, Ran, TaskErrorKind, TaskOptions, task};
use support::{Event, Ledger, eventually, procfs, tagged_pids};

const LIMIT: Duration = Duration::from_millis(300);
/// The limit and the hard bound of a detection.
const HARD: Duration = Duration::from_millis(2300);

/// Never ends, in one of several ways.
#[task]
fn never_end(how: &str) {
    match how {
        "loop" => {}
        "read" => {
            let (end, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
            let _ = std::io::Read::read(&mut &end, &mut [0]);
        }
        "ignore SIGTERM" => {
            // SAFETY: ignoring a signal installs no handler.
            unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        }
        "stop" => rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)
            .expect("a signal to itself"),
        "child" => {
            let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
            child.wait().expect("it ends");
        }
        _ => unreachable!("{how}"),
    }
    loop {
        std::thread::park();
    }
}

#[task]
fn work(ledger: &str, id: u64, milliseconds: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    std::thread::sleep(Duration::from_millis(milliseconds));
    Ledger::record(ledger, id, Event::Finished);
    id
}

#[task(timeout = "300ms")]
fn limited(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

support::isolated! {
    timeout = 60;

    fn every_way_of_not_ending_is_ended() {
        for how in ["loop", "read", "ignore SIGTERM", "stop", "child"] {
            let ledger = Ledger::create();
            let path = ledger.path();
            let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
            pool.warm_up().wait().expect("two workers");
            let began = Instant::now();
            let neighbour = pool.submit(work, (path.as_str(), 100, 500));
            let endless = pool.with(TaskOptions::new().timeout(LIMIT)).submit(never_end, how);
            let queued: Vec<_> = (0..10).map(|id| pool.submit(work, (path.as_str(), id, 1))).collect();
            let error = endless.result().expect_err("no end");
            let took = began.elapsed();
            assert!((LIMIT..HARD).contains(&took), "{how}: {took:?}");
            println!("T_detect {how}: {:?} after the limit", took - LIMIT);
            match error.kind() {
                TaskErrorKind::TimedOut { limit, ran_for, .. } => {
                    assert_eq!(*limit, LIMIT);
                    assert!(*ran_for >= LIMIT && *ran_for < HARD, "{ran_for:?}");
                }
                other => panic!("{how}: {other:?}"),
            }
            assert_eq!(error.ran(), Ran::Maybe);
            assert_eq!(neighbour.result().expect("the neighbour"), 100);
            for (id, future) in (0..).zip(queued) {
                assert_eq!(future.result().expect("a queued task"), id);
            }
            ledger.assert_ran_exactly_once((0..10).chain([100]));
            assert_eq!(pool.submit(work, (path.as_str(), 11, 0)).result().expect("the pool goes on"), 11);
            pool.shutdown(true).wait();
            eventually("nothing is left, the body's child neither", Duration::from_secs(2), || tagged_pids().is_empty());
        }
    }

    fn time_in_the_queue_does_not_count() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let ledger = Ledger::create();
        let path = ledger.path();
        let first = pool.submit(work, (path.as_str(), 0, 800));
        let patient = pool.with(TaskOptions::new().timeout(Duration::from_millis(400))).submit(work, (path.as_str(), 1, 50));
        assert_eq!(patient.result().expect("in time"), 1);
        assert_eq!(first.result().expect("no deadline"), 0);
    }

    fn the_attribute_sets_a_deadline_and_options_override_it() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        assert!(pool.submit(limited, 60_000).result().expect_err("too long").is_timeout());
        let patient = pool.with(TaskOptions::new().timeout(Duration::from_secs(20)));
        patient.submit(limited, 500).result().expect("the option goes before the attribute");
        let hurried = ProcessPoolExecutor::builder()
            .max_workers(1)
            .task_options(TaskOptions::new().timeout(Duration::from_millis(50)))
            .build()
            .expect("a pool");
        hurried.submit(limited, 150).result().expect("the attribute goes before the pool's default");
        assert!(hurried.submit(never_end, "loop").result().expect_err("the default holds").is_timeout());
    }

    fn a_timeout_of_zero_ends_what_does_not_end_at_once_and_disturbs_nobody() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let error = pool.with(TaskOptions::new().timeout(Duration::ZERO)).submit(never_end, "loop").result();
        assert!(error.expect_err("no time at all").is_timeout());
        pool.submit(own_pid, ()).result().expect("the pool goes on");
    }

    fn a_timeout_longer_than_any_life_is_none() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let eternal = pool.with(TaskOptions::new().timeout(Duration::MAX));
        eternal.submit(own_pid, ()).result().expect("a value");
        eternal.map(limited, [1, 2]).timeout(Duration::MAX).into_iter().for_each(|end| end.expect("a value"));
    }

    fn cancelling_a_running_task_kills_when_asked_to() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let worker = pool.submit(own_pid, ()).result().expect("a value");
        let running = |future: &procpool::TaskFuture<()>| eventually("it runs", HARD, || future.running());

        let left = pool.submit(limited, 200);
        running(&left);
        assert!(!left.cancel(), "a running task is left to finish by default");
        left.result().expect("it finished");
        assert_eq!(pool.submit(own_pid, ()).result().expect("a value"), worker, "nobody was killed");

        let killed = pool.with(TaskOptions::new().on_cancel(OnCancel::Kill)).submit(never_end, "loop");
        running(&killed);
        assert!(killed.cancel());
        assert!(killed.cancelled() && killed.done() && !killed.running());
        let error = killed.result().expect_err("cancelled");
        assert!(matches!(error.kind(), TaskErrorKind::Cancelled { was_running: true, .. }), "{error}");
        eventually("the worker is dead", HARD, || !procfs::is_alive(worker));
        let next = pool.submit(own_pid, ()).result().expect("a new worker");
        assert_ne!(next, worker);

        let dropped = pool.with(TaskOptions::new().on_cancel(OnCancel::Kill)).submit(never_end, "loop");
        running(&dropped);
        drop(dropped);
        eventually("the drop killed as well", HARD, || !procfs::is_alive(next));

        let endless = pool.submit(never_end, "loop");
        running(&endless);
        assert!(endless.kill(), "`kill` needs no policy");
    }
}
