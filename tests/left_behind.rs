//! What a task leaves behind in its worker stays there, until the worker is replaced; it never keeps a worker or the
//! pool from ending (F56).

#![allow(unsafe_code, reason = "umask, signal masks and dispositions")]

mod support;

use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, ShutdownOptions, task};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use support::{Program, eventually, nothing_left, procfs, tagged_pids};

const PATIENCE: Duration = Duration::from_secs(20);
/// How long a worker may take to end by itself.
const STOP: Duration = Duration::from_secs(5);
const HARD: Duration = Duration::from_secs(2);

/// What a task finds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    directory: String,
    variable: Option<String>,
    umask: u32,
    blocked: String,
    ignored: String,
    open_files: Option<u64>,
    threads: usize,
}

#[task]
fn look() -> (u32, State) {
    let own = std::process::id();
    // SAFETY: a number; it is put back at once.
    let umask = unsafe {
        let umask = libc::umask(0);
        libc::umask(umask);
        umask
    };
    let field = |name| procfs::status_field(own, name).expect("a field");
    let state = State {
        directory: std::env::current_dir().expect("it exists").display().to_string(),
        variable: std::env::var("LEFT_BEHIND").ok(),
        umask,
        blocked: field("SigBlk"),
        ignored: field("SigIgn"),
        open_files: getrlimit(Resource::Nofile).current,
        threads: procfs::threads(own).len(),
    };
    (own, state)
}

/// Leaves behind what a task can.
#[task]
fn leave_everything() -> u32 {
    std::env::set_current_dir("/").expect("it exists");
    // SAFETY: no other thread of this worker reads the environment now.
    unsafe { std::env::set_var("LEFT_BEHIND", "yes") };
    // SAFETY: a number.
    unsafe { libc::umask(0o777) };
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(40), ..before }).expect("a limit may be lowered");
    leave_signals_and_a_thread();
    std::process::id()
}

/// Blocks all signals, ignores those that can be, and leaves a thread that never rests.
fn leave_signals_and_a_thread() {
    // SAFETY: all-zero is a valid set to be filled; ignoring a signal installs no handler.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
    std::thread::spawn(|| {
        loop {
            std::thread::yield_now();
        }
    });
}

#[task]
fn leave_signals() -> u32 {
    leave_signals_and_a_thread();
    std::process::id()
}

support::program! {
    fn a_program_whose_workers_hear_no_signals() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        pool.warm_up().wait().expect("two workers");
        let left: Vec<_> = (0..20).map(|_| pool.submit(leave_signals, ())).collect();
        for future in left {
            future.result().expect("a value");
        }
        println!("{}", pool.worker_pids().len());
        loop {
            std::thread::park();
        }
    }
}

support::isolated! {
    timeout = 60;

    fn a_task_finds_what_the_one_before_it_left() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let (worker, before) = pool.submit(look, ()).result().expect("a value");
        assert_eq!(pool.submit(leave_everything, ()).result().expect("a value"), worker);
        let (same, after) = pool.submit(look, ()).result().expect("a value");
        assert_eq!(same, worker);
        assert_eq!((after.directory.as_str(), after.variable.as_deref(), after.umask), ("/", Some("yes"), 0o777));
        assert_eq!(after.open_files, Some(40));
        assert_ne!(after.blocked, before.blocked);
        assert_ne!(after.ignored, before.ignored);
        assert_eq!(after.threads, before.threads + 1);
    }

    fn a_worker_for_each_task_is_full_isolation() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(1).build().expect("a pool");
        let (first, before) = pool.submit(look, ()).result().expect("a value");
        for _ in 0..5 {
            let left = pool.submit(leave_everything, ()).result().expect("a value");
            let (next, after) = pool.submit(look, ()).result().expect("a value");
            assert!(next != left && next != first);
            assert_eq!(after, before);
        }
        pool.shutdown(true).wait();
    }

    fn a_worker_that_hears_no_signals_is_replaced_and_ends_in_time() {
        let began = Instant::now();
        let pool = ProcessPoolExecutor::builder().max_workers(1).max_tasks_per_child(2).build().expect("a pool");
        for _ in 0..5 {
            let first = pool.submit(leave_signals, ()).result().expect("a value");
            let second = pool.submit(leave_signals, ()).result().expect("a value");
            assert_eq!(first, second);
            eventually("it is replaced", STOP, || !procfs::is_alive(first));
        }
        assert!(began.elapsed() < STOP, "none had to be waited for until it was killed: {:?}", began.elapsed());
        pool.submit(leave_signals, ()).result().expect("a value");
        let began = Instant::now();
        assert!(pool.shutdown(true).wait().leaked.is_empty());
        assert!(began.elapsed() < STOP, "{:?}", began.elapsed());
        assert!(tagged_pids().is_empty());
    }

    fn a_worker_that_hears_no_signals_is_killed_as_any_other() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        let left: Vec<_> = (0..20).map(|_| pool.submit(leave_signals, ())).collect();
        for future in left {
            future.result().expect("a value");
        }
        let began = Instant::now();
        assert!(pool.shutdown_with(ShutdownOptions::new().kill(true)).wait().leaked.is_empty());
        assert!(began.elapsed() < HARD, "{:?}", began.elapsed());
        assert!(tagged_pids().is_empty());
    }

    fn a_worker_that_hears_no_signals_ends_with_its_program() {
        let mut program = Program::named("a_program_whose_workers_hear_no_signals").spawn();
        assert_eq!(program.line(), "2");
        program.kill();
        eventually("all workers are gone", HARD, || tagged_pids().is_empty());
    }

    fn dropping_the_pool_ends_it_too() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        pool.submit(leave_everything, ()).result().expect("a value");
        drop(pool);
        nothing_left(PATIENCE);
    }
}
