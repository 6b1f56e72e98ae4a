//! A terminal's signals reach the program and not its workers (F23); Ctrl-C is a shutdown if that is asked for.

#![allow(unsafe_code, reason = "a terminal, a session, and signal handlers")]

mod support;

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, TaskFuture, task};
use support::terminal::OnTerminal;
use support::{eventually, nothing_left, tagged_pids};

const ORPHAN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

const INTERRUPT: &[u8] = b"\x03";
const QUIT: &[u8] = b"\x1c";

/// Works as long as a file exists, by a program that it starts.
#[task]
fn work(n: u64, while_exists: &str) -> u64 {
    let mut shell = Command::new("sh");
    shell.args(["-c", "while [ -e \"$0\" ]; do sleep 0.02; done", while_exists]);
    let ended = shell.status().expect("a shell");
    assert!(ended.success(), "the program that the task started was hit: {ended}");
    n
}

/// Is busy for a minute, beside a program that it started.
#[task]
fn never_end() {
    let mut sleep = Command::new("sleep").arg("60").spawn().expect("sleep");
    while sleep.try_wait().expect("nobody else waits for it").is_none() {
        std::hint::spin_loop();
    }
}

/// The dispositions of this process and of a program that it starts.
#[task]
fn dispositions() -> (String, String) {
    let own = std::fs::read_to_string("/proc/self/status").expect("a status");
    let child = Command::new("cat").arg("/proc/self/status").output().expect("cat");
    (own, String::from_utf8(child.stdout).expect("text"))
}

/// The signal that ends a program which a task has started and then interrupted.
#[task]
fn interrupt_a_child() -> Option<i32> {
    let mut sleep = Command::new("sleep").arg("60").spawn().expect("sleep");
    support::kill(sleep.id(), support::Signal::INT);
    sleep.wait().expect("it ends").signal()
}

static CAUGHT: AtomicU32 = AtomicU32::new(0);

extern "C" fn catch(_signal: libc::c_int) {
    CAUGHT.fetch_add(1, Ordering::Relaxed);
}

fn catch_signals() {
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
        // SAFETY: the handler only adds to an atomic.
        unsafe { libc::signal(signal, catch as extern "C" fn(libc::c_int) as libc::sighandler_t) };
    }
}

/// A pool whose workers are both busy until the file that comes with it is removed, with four tasks in line.
fn busy_pool() -> (ProcessPoolExecutor, Vec<TaskFuture<u64>>, PathBuf) {
    let tag = support::tag().expect("the program of a test");
    let file = std::env::temp_dir().join(format!("busy-{tag}-{}", std::process::id()));
    File::create(&file).expect("a file");
    let path = file.to_str().expect("a plain name");
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
    let futures: Vec<_> = (0..6).map(|n| pool.submit(work, (n, path))).collect();
    eventually("two tasks run", PATIENCE, || futures.iter().filter(|future| future.running()).count() == 2);
    (pool, futures, file)
}

support::program! {
    /// Prints nothing after the signal: when the terminal has hung up, nobody could read it.
    fn a_program_that_catches_signals() -> i32 {
        catch_signals();
        let (pool, futures, file) = busy_pool();
        let workers = pool.worker_pids();
        println!("ready");
        eventually("the signal comes", PATIENCE, || CAUGHT.load(Ordering::Relaxed) == 1);
        assert!(!futures.iter().any(TaskFuture::done), "it came while the first tasks ran");
        std::fs::remove_file(file).expect("a file of ours");
        for (n, future) in (0..).zip(futures) {
            assert_eq!(future.result().expect("a value"), n);
        }
        assert_eq!(pool.worker_pids(), workers, "no worker was hit");
        pool.shutdown(true).wait();
        7
    }

    fn a_program_that_waits_for_an_interrupt_with_tokio() -> i32 {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let interrupt = tokio::signal::ctrl_c();
            let mut interrupt = std::pin::pin!(interrupt);
            // The handler is there once the future has been polled.
            assert!(futures::poll!(interrupt.as_mut()).is_pending());
            let (pool, futures, file) = busy_pool();
            println!("ready");
            interrupt.await.expect("a handler");
            std::fs::remove_file(file).expect("a file of ours");
            for (n, future) in (0..).zip(futures) {
                assert_eq!(future.await.expect("a value"), n);
            }
            pool.shutdown(true).await;
        });
        7
    }

    fn a_program_that_shuts_down_at_an_interrupt() -> i32 {
        let (pool, futures, file) = busy_pool();
        let guard = pool.shutdown_on_ctrl_c(Duration::from_secs(60)).expect("a handler");
        println!("ready");
        eventually("it is shutting down", PATIENCE, || pool.try_submit(never_end, ()).is_err());
        std::fs::remove_file(file).expect("a file of ours");
        for (n, future) in (0..).zip(futures) {
            assert_eq!(future.result().expect("what was accepted is done"), n);
        }
        pool.shutdown(true).wait();
        drop(guard);
        7
    }

    fn a_program_that_gives_its_tasks_a_moment() -> i32 {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        let other = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let futures: Vec<_> = (0..4).map(|_| pool.submit(never_end, ())).collect();
        let guards = [&pool, &other].map(|pool| pool.shutdown_on_ctrl_c(Duration::from_millis(200)));
        eventually("two tasks run", PATIENCE, || futures.iter().filter(|future| future.running()).count() == 2);
        println!("ready");
        for future in futures {
            assert!(future.result().expect_err("it never ends").is_cancelled());
        }
        assert!(pool.shutdown(true).wait().leaked.is_empty());
        assert!(other.shutdown(true).wait().leaked.is_empty());
        drop(guards);
        7
    }

    fn a_program_that_waits_for_long_unless_it_is_pressed() -> i32 {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        let futures: Vec<_> = (0..4).map(|_| pool.submit(never_end, ())).collect();
        let guard = pool.shutdown_on_ctrl_c(Duration::from_secs(3600)).expect("a handler");
        eventually("two tasks run", PATIENCE, || futures.iter().filter(|future| future.running()).count() == 2);
        println!("ready");
        eventually("it is shutting down", PATIENCE, || pool.try_submit(never_end, ()).is_err());
        println!("once");
        for future in futures {
            assert!(future.result().expect_err("it never ends").is_cancelled());
        }
        pool.shutdown(true).wait();
        println!("twice");
        drop(guard);
        7
    }

    /// The pool has ended, and the program hangs.
    fn a_program_that_hangs_after_its_pool() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let _guard = pool.shutdown_on_ctrl_c(Duration::from_secs(3600)).expect("a handler");
        pool.shutdown(true).wait();
        println!("ready");
        loop {
            std::thread::park();
        }
    }

    fn a_program_that_has_given_the_interrupt_back() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        drop(pool.shutdown_on_ctrl_c(Duration::from_secs(3600)).expect("a handler"));
        println!("ready");
        loop {
            std::thread::park();
        }
    }

    /// Tokio's handler comes on top of ours, and ours on top of that: each calls the one before.
    fn a_program_whose_handlers_call_each_other() -> i32 {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let first = pool.shutdown_on_ctrl_c(Duration::MAX).expect("a handler");
        let mut interrupt = Box::pin(tokio::signal::ctrl_c());
        runtime.block_on(async { assert!(futures::poll!(interrupt.as_mut()).is_pending()) });
        drop(first);
        let second = pool.shutdown_on_ctrl_c(Duration::MAX).expect("a handler");
        let future = pool.submit(never_end, ());
        eventually("it runs", PATIENCE, || future.running());
        println!("ready");
        runtime.block_on(interrupt).expect("tokio hears it");
        eventually("the pool hears it", PATIENCE, || pool.try_submit(never_end, ()).is_err());
        assert!(!future.done(), "once: there is all time for what runs");
        println!("again");
        assert!(future.result().expect_err("the second press kills").is_cancelled());
        drop((second, pool));
        7
    }

    /// Its own handler counts as well, and is in its place again in the end.
    fn a_program_with_a_handler_of_its_own() -> i32 {
        catch_signals();
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let guard = pool.shutdown_on_ctrl_c(Duration::from_secs(1)).expect("a handler");
        println!("ready");
        eventually("both have heard it", PATIENCE, || {
            CAUGHT.load(Ordering::Relaxed) == 1 && pool.try_submit(never_end, ()).is_err()
        });
        drop((guard, pool));
        println!("again");
        eventually("it is heard", PATIENCE, || CAUGHT.load(Ordering::Relaxed) == 2);
        7
    }

    fn a_program_that_does_not_care() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        let futures: Vec<_> = (0..4).map(|_| pool.submit(never_end, ())).collect();
        eventually("two tasks run", PATIENCE, || futures.iter().filter(|future| future.running()).count() == 2);
        println!("ready");
        loop {
            std::thread::park();
        }
    }

    fn a_program_that_tells_dispositions() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let (worker, child) = pool.submit(dispositions, ()).result().expect("a value");
        for (whose, status) in [("worker", worker), ("child", child)] {
            for line in status.lines().filter(|line| line.starts_with("Sig")) {
                println!("{whose} {}", line.replace('\t', " "));
            }
        }
        println!("interrupted child {:?}", pool.submit(interrupt_a_child, ()).result().expect("a value"));
        pool.shutdown(true).wait();
        println!("told");
    }
}

/// The program goes on, and so do its tasks.
fn survives(name: &str, act: impl FnOnce(&mut OnTerminal)) {
    let mut program = OnTerminal::start(name);
    program.read_until("ready");
    act(&mut program);
    let status = program.wait();
    assert_eq!(status.code(), Some(7), "{status}; on the terminal:\n{}", program.seen);
    nothing_left(ORPHAN);
}

/// The program dies, and all that it started with it.
fn dies(signal: i32, act: impl FnOnce(&mut OnTerminal)) {
    let mut program = OnTerminal::start("a_program_that_does_not_care");
    program.read_until("ready");
    eventually("two workers and two programs of tasks are there", PATIENCE, || tagged_pids().len() >= 5);
    act(&mut program);
    let status = program.wait();
    let began = Instant::now();
    assert_eq!(status.signal(), Some(signal), "{status}; on the terminal:\n{}", program.seen);
    nothing_left(ORPHAN);
    println!("T_orphan after signal {signal}: {:?}", began.elapsed());
}

fn ends_by_interrupt(name: &str) {
    let mut program = OnTerminal::start(name);
    program.read_until("ready");
    program.press(INTERRUPT);
    let status = program.wait();
    assert_eq!(status.signal(), Some(libc::SIGINT), "{status}; on the terminal:\n{}", program.seen);
    nothing_left(ORPHAN);
}

support::isolated! {
    timeout = 60;

    fn an_interrupt_that_the_program_catches_leaves_its_tasks_alone() {
        survives("a_program_that_catches_signals", |program| program.press(INTERRUPT));
    }

    fn an_interrupt_that_the_program_awaits_leaves_its_tasks_alone() {
        survives("a_program_that_waits_for_an_interrupt_with_tokio", |program| program.press(INTERRUPT));
    }

    fn a_quit_that_the_program_catches_leaves_its_tasks_alone() {
        survives("a_program_that_catches_signals", |program| program.press(QUIT));
    }

    fn a_hang_up_that_the_program_catches_leaves_its_tasks_alone() {
        survives("a_program_that_catches_signals", OnTerminal::hang_up);
    }

    fn an_interrupt_ends_the_program_and_all_that_it_started() {
        dies(libc::SIGINT, |program| program.press(INTERRUPT));
    }

    fn a_quit_ends_the_program_and_all_that_it_started() {
        dies(libc::SIGQUIT, |program| program.press(QUIT));
    }

    fn a_hang_up_ends_the_program_and_all_that_it_started() {
        dies(libc::SIGHUP, OnTerminal::hang_up);
    }

    fn an_interrupt_can_be_a_shutdown_that_finishes_what_was_accepted() {
        survives("a_program_that_shuts_down_at_an_interrupt", |program| program.press(INTERRUPT));
    }

    fn a_shutdown_by_interrupt_is_bounded_for_all_pools() {
        survives("a_program_that_gives_its_tasks_a_moment", |program| program.press(INTERRUPT));
    }

    fn a_second_interrupt_kills() {
        survives("a_program_that_waits_for_long_unless_it_is_pressed", |program| {
            program.press(INTERRUPT);
            program.read_until("once");
            program.press(INTERRUPT);
            program.read_until("twice");
        });
    }

    fn an_interrupt_that_finds_the_pool_ended_ends_the_program() {
        ends_by_interrupt("a_program_that_hangs_after_its_pool");
    }

    fn an_interrupt_that_was_given_back_ends_the_program() {
        ends_by_interrupt("a_program_that_has_given_the_interrupt_back");
    }

    fn a_programs_own_handler_is_called_and_comes_back() {
        survives("a_program_with_a_handler_of_its_own", |program| {
            program.press(INTERRUPT);
            program.read_until("again");
            program.press(INTERRUPT);
        });
    }

    fn handlers_that_call_each_other_hear_an_interrupt_once() {
        survives("a_program_whose_handlers_call_each_other", |program| {
            program.press(INTERRUPT);
            program.read_until("again");
            program.press(INTERRUPT);
        });
    }

    fn tasks_and_what_they_start_have_the_default_dispositions() {
        let mut program = OnTerminal::start("a_program_that_tells_dispositions");
        program.read_until("told");
        let seen = program.seen.clone();
        println!("{seen}");
        // The C library ignores two signals of its own, 32 and 33, in whatever it spawns: only the named ones count.
        let named = (1 << 31) - 1;
        let mask = |whose: &str, field: &str| {
            let prefix = format!("{whose} {field}: ");
            let line = seen.lines().find_map(|line| line.trim_end().strip_prefix(&prefix));
            let mask = line.unwrap_or_else(|| panic!("no {prefix}"));
            u64::from_str_radix(mask, 16).expect("a mask") & named
        };
        let pipe = 1 << (libc::SIGPIPE - 1);
        assert_eq!(mask("worker", "SigIgn"), pipe, "what `main` of any Rust program finds, and nothing else");
        assert_eq!(mask("worker", "SigBlk"), 0);
        for field in ["SigIgn", "SigBlk", "SigCgt"] {
            assert_eq!(mask("child", field), 0, "{field} of a program that a task starts");
        }
        assert!(seen.contains("interrupted child Some(2)"), "SIGINT ends what a task starts");
    }
}
