//! One crash, one task: however a worker dies, only the task it was running is lost (F01, F02, F06, F08, F10).

#![allow(unsafe_code, reason = "the crashes themselves")]

mod support;

use std::time::{Duration, Instant};

use procpool::{ExitCause, Phase, ProcessPoolExecutor, Ran, TaskError, TaskFuture, task};
use support::{Event, Ledger, Signal, eventually, kill, procfs};

const DETECT: Duration = Duration::from_secs(2);
const RESPAWN: Duration = Duration::from_secs(5);

#[task]
fn note(ledger: &str, id: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    Ledger::record(ledger, id, Event::Finished);
    id
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

#[task]
fn nap(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

/// The ways in which a body ends its process.
#[task]
fn die(how: &str, number: i32) {
    match how {
        "signal" => {
            // The signal to itself, as `kill` from outside would send it.
            let signal = rustix::process::Signal::from_named_raw(number).expect("a named signal");
            rustix::process::kill_process(rustix::process::getpid(), signal).expect("a signal to itself");
            std::thread::sleep(Duration::from_secs(60));
        }
        "exit" => std::process::exit(number),
        "exit on a thread" => {
            let _ = std::thread::spawn(move || std::process::exit(number)).join();
        }
        "_exit" => quick_exit(number),
        "overflow" => {
            std::hint::black_box(recurse(0));
        }
        "allocation" => {
            // More than the address space has: refused, whatever the machine.
            let layout = std::alloc::Layout::from_size_align(1 << 62, 8).expect("a layout");
            std::alloc::handle_alloc_error(layout);
        }
        "segfault" => rustix_segfault(),
        _ => unreachable!("{how}"),
    }
}

fn quick_exit(code: i32) -> ! {
    // SAFETY: ends the process; nothing of it is used after.
    unsafe { libc::_exit(code) }
}

fn rustix_segfault() {
    let nowhere: *mut u32 = std::ptr::without_provenance_mut(8);
    // SAFETY: none. This is the crash that the test is about.
    unsafe { nowhere.write_volatile(1) };
}

#[allow(unconditional_recursion)]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    recurse(depth + 1) + frame[7]
}

/// One neighbour that runs all the time, one culprit, 20 tasks in the queue.
fn costs_one_task(how: &str, number: i32) -> TaskError {
    let ledger = Ledger::create();
    let path = ledger.path();
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
    pool.warm_up().wait().expect("two workers");
    let neighbour = pool.submit(nap, 300);
    let culprit = pool.submit(die, (how, number));
    let began = Instant::now();
    let queued: Vec<TaskFuture<u64>> = (0..20).map(|id| pool.submit(note, (path.as_str(), id))).collect();
    let error = culprit.result().expect_err("the culprit died");
    assert!(began.elapsed() < DETECT, "told after {:?}", began.elapsed());
    for (id, future) in (0..).zip(queued) {
        assert_eq!(future.result().expect("an innocent task"), id);
    }
    assert_eq!(neighbour.result().expect("the neighbour"), 300);
    ledger.assert_ran_exactly_once(0..20);
    assert_eq!(pool.submit(nap, 0).result().expect("a new task"), 0);
    assert!(began.elapsed() < RESPAWN, "back after {:?}", began.elapsed());
    pool.warm_up().wait().expect("all workers again");
    assert_eq!(pool.worker_pids().len(), 2);
    println!("{how} {number}: told and replaced after {:?}", began.elapsed());
    pool.shutdown(true).wait();
    error
}

#[track_caller]
fn assert_died(error: &TaskError, cause: ExitCause) {
    let exit = error.exit().unwrap_or_else(|| panic!("not a death: {error}"));
    assert_eq!(exit.cause(), cause, "{error}");
    assert_eq!(exit.phase(), Phase::Running);
    assert_eq!(error.ran(), Ran::Maybe);
    assert!(exit.pid() > 1);
}

fn assert_signal(how: &str, number: i32, expected: i32) {
    let error = costs_one_task(how, number);
    match error.exit().map(|exit| exit.cause()) {
        Some(ExitCause::Signal { number, .. }) if number == expected => {}
        other => panic!("{how}: {other:?}, not signal {expected}: {error}"),
    }
    assert_eq!((error.exit().unwrap().phase(), error.ran()), (Phase::Running, Ran::Maybe));
}

support::isolated! {
    timeout = 60;

    fn a_killed_worker_fails_only_its_own_task() {
        assert_signal("signal", libc::SIGKILL, libc::SIGKILL);
    }

    fn every_deadly_signal_is_told_by_its_number() {
        for number in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGTERM] {
            assert_signal("signal", number, number);
        }
        assert_signal("segfault", 0, libc::SIGSEGV);
    }

    fn stack_overflow_and_failed_allocation_end_in_an_abort() {
        assert_signal("allocation", 0, libc::SIGABRT);
        let error = costs_one_task("overflow", 0);
        match error.exit().map(|exit| exit.cause()) {
            Some(ExitCause::Signal { number: libc::SIGABRT, .. }) => {}
            other => panic!("{other:?}: {error}"),
        }
        assert_eq!(error.panic().expect("last words").message(), "stack overflow");
    }

    fn an_exit_is_told_by_its_code_whatever_it_is() {
        for code in [0, 1, 3, 101, 255] {
            for how in ["exit", "_exit", "exit on a thread"] {
                assert_died(&costs_one_task(how, code), ExitCause::Code(code));
            }
        }
    }

    fn idle_workers_that_are_killed_cost_nothing() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        for pause in [Duration::ZERO, Duration::from_secs(1)] {
            pool.warm_up().wait().expect("two workers");
            for pid in pool.worker_pids() {
                kill(pid, Signal::KILL);
            }
            std::thread::sleep(pause);
            let first = if pause.is_zero() { 0 } else { 100 };
            let futures: Vec<_> = (first..first + 20).map(|id| pool.submit(note, (path.as_str(), id))).collect();
            for (id, future) in (first..).zip(futures) {
                assert_eq!(future.result().expect("no task fails"), id);
            }
            ledger.assert_ran_exactly_once(first..first + 20);
        }
        pool.shutdown(true).wait();
    }

    fn a_death_is_told_although_a_daemon_holds_the_workers_descriptors() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let began = Instant::now();
        let error = pool.submit(leave_a_daemon, ()).result().expect_err("the worker died");
        assert!(began.elapsed() < DETECT, "told after {:?}", began.elapsed());
        assert_died(&error, ExitCause::Code(5));
        assert_eq!(pool.submit(nap, 1).result().expect("the pool goes on"), 1);
        pool.shutdown(true).wait();
        let daemons = support::tagged_pids();
        assert_eq!(daemons.len(), 1, "a daemon that left the group lives on");
        kill(daemons[0], Signal::KILL);
        eventually("the daemon is gone", DETECT, || support::tagged_pids().is_empty());
    }

    fn a_reply_that_was_sent_before_the_death_counts_also_beside_a_daemon() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        assert_eq!(pool.submit(nap, 0).result().expect("a value"), 0);
        let worker = pool.submit(own_pid, ()).result().expect("a value");
        assert_eq!(pool.submit(daemon_and_late_death, ()).result().expect("the reply counts"), worker);
        eventually("the worker is gone", DETECT, || !procfs::is_alive(worker));
        assert_ne!(pool.submit(own_pid, ()).result().expect("a new worker"), worker);
        pool.shutdown(true).wait();
        for pid in support::tagged_pids() {
            kill(pid, Signal::KILL);
        }
    }
}

/// Leaves a process of its own session that holds everything the worker has, and dies.
#[task]
fn leave_a_daemon() {
    daemonise();
    quick_exit(5);
}

#[task]
fn daemon_and_late_death() -> u32 {
    daemonise();
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(100));
        quick_exit(5);
    });
    std::process::id()
}

/// Comes back when the daemon has left the worker's process group.
fn daemonise() {
    // SAFETY: the child only calls functions that are safe after `fork`; the parent only asks for its session.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::setsid();
            libc::sleep(20);
            libc::_exit(0);
        }
        while libc::getsid(child) != child {
            std::hint::spin_loop();
        }
    }
}
