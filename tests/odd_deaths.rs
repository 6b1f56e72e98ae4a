//! A death is told as it was, however odd: any signal by its number, any code as the system keeps it, no dump of
//! memory that nobody asked for, and a status that others took as unknown (F59).

#![allow(unsafe_code, reason = "odd ways to die")]

mod support;

use std::fs;
use std::hint::black_box;
use std::time::Duration;

use procpool::{ExitCause, Limits, Phase, ProcessPoolExecutor, Ran, TaskError, task};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use support::{Event, Ledger, Program, procfs};

const PATIENCE: Duration = Duration::from_secs(20);
const DETECT: Duration = Duration::from_secs(2);
/// The memory of a worker that would be worth a long dump, and what of it is filled: giving that back takes the kernel
/// time as well.
const LARGE: usize = 2 << 30;
const FILLED: usize = 32 << 20;

#[task]
fn raise(number: i32) {
    // SAFETY: a call that takes numbers only.
    unsafe { libc::kill(libc::getpid(), number) };
    std::thread::sleep(Duration::from_secs(60));
}

#[task]
fn exit_by(code: i32) {
    // SAFETY: ends the process; nothing of it is used after.
    unsafe { libc::_exit(code) }
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

/// Fills memory and crashes.
#[task]
fn crash_with(ledger: &str, bytes: usize) {
    let memory = (Vec::<u8>::with_capacity(bytes), vec![7_u8; bytes.min(FILLED)]);
    black_box(&memory);
    Ledger::record(ledger, 0, Event::Started);
    std::process::abort();
}

/// Signals that end a process that has no handler for them and does not ignore them.
fn deadly() -> impl Iterator<Item = i32> {
    let harmless = [
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGURG,
        libc::SIGWINCH,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
    ];
    // SIGPIPE is ignored in every Rust program, SIGINT in one that a shell started in the background.
    let ignored = procfs::status_field(std::process::id(), "SigIgn").expect("a field");
    let ignored = u64::from_str_radix(&ignored, 16).expect("a mask");
    // Between the two ranges the C library keeps some for itself.
    (1..=31)
        .chain(libc::SIGRTMIN()..=libc::SIGRTMAX())
        .filter(move |number| !harmless.contains(number) && ignored & (1 << (number - 1)) == 0)
}

#[track_caller]
fn cause_of(error: &TaskError) -> ExitCause {
    let exit = error.exit().unwrap_or_else(|| panic!("not a death: {error}"));
    assert_eq!((exit.phase(), error.ran()), (Phase::Running, Ran::Maybe), "{error}");
    exit.cause()
}

/// Lets a worker of a program die whose children are not waited for by the pool alone.
fn tell_of_a_death() -> i32 {
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
    for _ in 0..5 {
        let error = pool.submit(raise, libc::SIGKILL).result().expect_err("it died");
        println!("{}", error.exit().expect("a death").cause());
        pool.submit(own_pid, ()).result().expect("the pool goes on");
    }
    assert!(pool.shutdown(true).wait().leaked.is_empty());
    7
}

support::program! {
    fn a_program_that_ignores_its_children() -> i32 {
        // SAFETY: ignoring a signal installs no handler. The kernel then keeps no status of any child.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        tell_of_a_death()
    }

    fn a_program_that_waits_for_all_children() -> i32 {
        std::thread::spawn(|| loop {
            // SAFETY: waits for any child, and does not ask for its status.
            if unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } == -1 {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        tell_of_a_death()
    }
}

fn told_by(name: &str) -> Vec<String> {
    let mut program = Program::named(name).spawn();
    let mut told = Vec::new();
    while let Some(line) = program.next_line(PATIENCE) {
        told.push(line);
    }
    assert_eq!(program.wait(PATIENCE).code(), Some(7), "{told:?}");
    support::nothing_left(DETECT);
    assert_eq!(told.len(), 5, "{told:?}");
    told
}

support::isolated! {
    timeout = 60;

    fn every_deadly_signal_is_told_by_its_number() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let mut count = 0;
        for number in deadly() {
            let error = pool.submit(raise, number).result().expect_err("it died");
            match cause_of(&error) {
                ExitCause::Signal { number: told, core_dumped: false, .. } if told == number => {}
                other => panic!("signal {number}: {other:?}"),
            }
            assert!(error.to_string().contains(&format!("killed by signal {number}")), "{error}");
            count += 1;
        }
        println!("{count} signals, {} to {} among them", libc::SIGRTMIN(), libc::SIGRTMAX());
        assert!(count > 45);
        pool.submit(own_pid, ()).result().expect("the pool goes on");
        pool.shutdown(true).wait();
    }

    fn a_code_is_told_as_the_system_keeps_it() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        // Of a code the system keeps the lowest eight bits.
        for (code, kept) in [(255, 255), (256, 0), (256 + 7, 7), (-1, 255), (i32::MAX, 255), (i32::MIN, 0)] {
            let error = pool.submit(exit_by, code).result().expect_err("it ended");
            assert_eq!(cause_of(&error), ExitCause::Code(kept), "{code}");
        }
        pool.shutdown(true).wait();
    }

    fn a_crash_is_not_held_up_by_a_dump_that_the_program_would_make() {
        let before = getrlimit(Resource::Core);
        let endless = Rlimit { current: before.maximum, maximum: before.maximum };
        if before.maximum == Some(0) || setrlimit(Resource::Core, endless).is_err() {
            println!("SKIPPED: this user may make no dumps at all");
            return;
        }
        let folder = std::env::temp_dir().join(format!("cores-{}", std::process::id()));
        fs::create_dir(&folder).expect("a folder");
        let ledger = Ledger::create();
        let path = ledger.path();
        let crash = |limits: Limits, bytes: usize| {
            let pool = ProcessPoolExecutor::builder().max_workers(1).limits(limits).current_dir(&folder);
            let pool = pool.build().expect("a pool");
            let error = pool.submit(crash_with, (path.as_str(), bytes)).result().expect_err("it crashed");
            let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).expect("the clock counts up");
            let told = now - ledger.entries().last().expect("it recorded itself").at;
            pool.shutdown(true).wait();
            match cause_of(&error) {
                ExitCause::Signal { number: libc::SIGABRT, core_dumped, .. } => (core_dumped, told),
                other => panic!("{other:?}"),
            }
        };
        let (dumped, told) = crash(Limits::new(), LARGE);
        println!("T_detect {told:?} without a dump");
        assert!(!dumped && told < DETECT, "told after {told:?}");
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 0);
        // With leave to make one, it does, and says so: the difference is ours.
        let (dumped, told) = crash(Limits::new().core_dumps(true), 1 << 20);
        println!("T_detect {told:?} with a small one, dumped: {dumped}");
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
        assert!(dumped || !pattern.starts_with("core"), "a dump was possible");
        fs::remove_dir_all(&folder).expect("a folder of ours");
    }

    fn a_status_that_nobody_keeps_is_told_as_unknown() {
        for told in told_by("a_program_that_ignores_its_children") {
            assert_eq!(told, "ended in an unknown way (its exit status was taken by others)");
        }
    }

    fn a_status_that_somebody_else_takes_is_told_as_unknown_or_as_it_was() {
        for told in told_by("a_program_that_waits_for_all_children") {
            assert!(told.starts_with("ended in an unknown way") || told == "killed by signal 9 (SIGKILL)", "{told}");
        }
    }
}
