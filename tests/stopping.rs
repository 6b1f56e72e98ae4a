//! A task that must stop is stopped, by the steps that were asked for, and one that waits too long never runs.

#![allow(unsafe_code)]

mod support;

use std::time::{Duration, Instant};

use procpool::{Escalation, ExitCause, OnCancel, ProcessPoolExecutor, Ran, TaskErrorKind, TaskOptions, task};
use support::{Event, Ledger, eventually};

const SOON: Duration = Duration::from_secs(2);

#[task]
fn count() -> u64 {
    let context = procpool::context();
    let mut rounds = 0;
    loop {
        std::thread::yield_now();
        rounds += 1;
        if context.is_cancelled() {
            return rounds;
        }
    }
}

#[task]
fn deaf(ledger: &str, id: u64) {
    Ledger::record(ledger, id, Event::Started);
    loop {
        std::thread::park()
    }
}

/// Leaves a mark when it is asked to end by SIGTERM, and ends.
#[task]
fn tidies_up(ledger: &str, id: u64) {
    let mut set: libc::sigset_t = unsafe {
        // SAFETY: a signal set is plain data, and is filled before it is read.
        std::mem::zeroed()
    };
    // SAFETY: the pointer is of a live local.
    unsafe {
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
    // From here on the signal can only be waited for.
    Ledger::record(ledger, id, Event::Started);
    let mut signal = 0;
    // SAFETY: both pointers are of live locals; the signal is blocked in this thread.
    unsafe { libc::sigwait(&raw const set, &raw mut signal) };
    Ledger::record(ledger, id, Event::Finished);
    std::process::exit(0)
}

fn pool(options: TaskOptions) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(1).task_options(options).build().expect("a pool")
}

support::isolated! {
    fn a_task_that_cooperates_keeps_its_worker_and_its_value() {
        let limit = Duration::from_millis(30);
        let pool = pool(TaskOptions::new().timeout(limit).escalation(Escalation::new().ask(Duration::from_secs(20))));
        let pid = || pool.worker_pids();
        assert!(pool.submit(count, ()).result().expect("what it has counted") > 0);
        let before = pid();
        let began = Instant::now();
        assert!(pool.submit(count, ()).result().expect("what it has counted") > 0);
        assert!(began.elapsed() >= limit && began.elapsed() < limit + SOON, "{:?}", began.elapsed());
        assert_eq!(pid(), before, "nobody was killed");
    }

    fn a_task_that_does_not_listen_is_killed_after_its_grace() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let (limit, grace) = (Duration::from_millis(50), Duration::from_millis(100));
        let pool = pool(TaskOptions::new().timeout(limit).escalation(Escalation::new().ask(grace)));
        pool.warm_up().wait().expect("a worker");
        let submitted = Instant::now();
        let error = pool.submit(deaf, (path.as_str(), 1)).result().expect_err("too long");
        assert!(submitted.elapsed() >= limit + grace, "{:?}", submitted.elapsed());
        let ran = ledger.entries()[0].at;
        assert!(matches!(error.kind(), TaskErrorKind::TimedOut { limit: told, .. } if *told == limit), "{error}");
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let since = Duration::new(now.tv_sec as u64, now.tv_nsec as u32) - ran;
        assert!(since < limit + grace + SOON, "{since:?}");
    }

    fn sigterm_comes_before_the_kill_and_can_be_used_to_tidy_up() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let steps = Escalation::new().terminate(Duration::from_secs(20));
        let pool = pool(TaskOptions::new().on_cancel(OnCancel::Kill).escalation(steps));
        let future = pool.submit(tidies_up, (path.as_str(), 1));
        eventually("it runs", SOON, || ledger.starts(1) == 1);
        assert!(future.cancel(), "it is told at once");
        eventually("it has tidied up", SOON, || ledger.finishes(1) == 1);
        assert!(pool.submit(count, ()).cancel());
        pool.shutdown(true).wait();
    }

    fn a_cancelled_task_that_cooperates_may_still_return() {
        let steps = Escalation::new().ask(Duration::from_secs(20));
        let pool = pool(TaskOptions::new().on_cancel(OnCancel::Kill).escalation(steps));
        let future = pool.submit(count, ());
        eventually("it runs", SOON, || future.running());
        assert!(!future.cancel(), "it decides");
        assert!(future.result().expect("a value") > 0);
    }

    fn a_kill_takes_no_steps() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let hour = Duration::from_secs(3600);
        let pool = pool(TaskOptions::new().escalation(Escalation::new().ask(hour).terminate(hour)));
        let future = pool.submit(deaf, (path.as_str(), 1));
        eventually("it runs", SOON, || ledger.starts(1) == 1);
        assert!(future.kill());
        assert!(future.result().expect_err("killed").is_cancelled());
        let endless = pool.submit(deaf, (path.as_str(), 2));
        eventually("it runs", SOON, || ledger.starts(2) == 1);
        let began = Instant::now();
        pool.shutdown_with(procpool::ShutdownOptions::new().kill(true)).wait();
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        assert!(endless.result().expect_err("killed").is_cancelled());
    }

    fn a_task_that_waits_too_long_never_runs() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool(TaskOptions::new());
        let busy = pool.submit(deaf, (path.as_str(), 1));
        eventually("it runs", SOON, || ledger.starts(1) == 1);
        let hasty = pool.with(TaskOptions::new().queue_timeout(Duration::from_millis(50)));
        let late: Vec<_> = (2..50).map(|id| hasty.submit(deaf, (path.as_str(), id))).collect();
        for future in late {
            let error = future.result().expect_err("too late");
            assert!(matches!(error.kind(), TaskErrorKind::QueueTimedOut { .. }), "{error}");
            assert!(error.ran() == Ran::No && error.is_timeout());
        }
        assert!(busy.kill());
        pool.shutdown(true).wait();
        assert_eq!(ledger.entries().len(), 1, "nothing else has run");
    }

    fn a_deadline_bounds_waiting_and_running_together() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool(TaskOptions::new());
        pool.warm_up().wait().expect("a worker");
        let end = Instant::now() + Duration::from_millis(500);
        let pool = pool.with(TaskOptions::new().deadline(end));
        let running = pool.submit(deaf, (path.as_str(), 1));
        let waiting = pool.submit(deaf, (path.as_str(), 2));
        let (running, waiting) = (running.result().expect_err("stopped"), waiting.result().expect_err("never"));
        assert!(Instant::now() >= end && Instant::now() < end + SOON);
        assert!(matches!(running.kind(), TaskErrorKind::TimedOut { .. }), "{running}");
        assert!(matches!(waiting.kind(), TaskErrorKind::QueueTimedOut { .. }), "{waiting}");
        ledger.assert_never_ran(2);
    }

    fn a_worker_that_ends_at_sigterm_is_told_as_what_it_was_stopped_for() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let (sender, events) = std::sync::mpsc::channel();
        let steps = Escalation::new().terminate(Duration::from_secs(20));
        let pool = ProcessPoolExecutor::builder()
            .max_workers(1)
            .task_options(TaskOptions::new().timeout(Duration::from_millis(50)).escalation(steps))
            .on_worker_event(move |event| drop(sender.send(event.clone())))
            .build()
            .expect("a pool");
        let error = pool.submit(deaf, (path.as_str(), 1)).result().expect_err("too long");
        assert!(error.is_timeout(), "{error}");
        let ended = events.iter().find_map(|event| match event {
            procpool::WorkerEvent::Ended { cause, reason, .. } => Some((cause, reason)),
            _ => None,
        });
        let (cause, reason) = ended.expect("an end");
        assert!(matches!(cause, ExitCause::Signal { number: libc::SIGTERM, .. }), "{cause}");
        assert_eq!(reason, procpool::WorkerEndReason::TimedOut);
    }
}
