//! A task that damages the descriptors of its worker costs itself at most (F28). What a worker can say through its
//! channel is tested in `hostile_worker.rs`.

#![allow(unsafe_code, reason = "tasks that close what is not theirs")]

mod support;

use std::io::Read;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::process::Command;
use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, Ran, TaskError, TaskErrorKind, task};
use support::{Event, Ledger, Program, Signal, eventually, kill, procfs, tagged_pids};

const DETECT: Duration = Duration::from_secs(2);
const RESPAWN: Duration = Duration::from_secs(5);
const ORPHAN: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(10);

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

#[task]
fn note(ledger: &str, id: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    Ledger::record(ledger, id, Event::Finished);
    id
}

/// The descriptors of this worker that are meant.
fn meant(which: &str) -> Vec<i32> {
    let is_meant = |fd: u32, target: &str| match which {
        "the channel" => target.starts_with("socket:"),
        "the parent" => target == "anon_inode:[pidfd]",
        "those beyond the standard three" => fd > 2,
        "the standard three" => fd <= 2,
        "all" => true,
        _ => unreachable!("{which}"),
    };
    let all = procfs::fds(std::process::id());
    all.into_iter().filter(|(fd, target)| is_meant(*fd, target)).map(|(fd, _)| fd.cast_signed()).collect()
}

/// Damages some descriptors in one of several ways, and then returns, goes on for ever, or panics.
#[task]
fn damage(which: &str, how: &str, then: &str) -> u32 {
    let meant = meant(which);
    assert!(!meant.is_empty(), "{which}");
    let (socket, other) = std::os::unix::net::UnixStream::pair().expect("a pair");
    // It stays open, so that who reads from the socket waits.
    let _ = other.into_raw_fd();
    let null = std::fs::File::open("/dev/null").expect("null");
    for fd in meant {
        // SAFETY: none. That this process loses its descriptors is what the test is about.
        unsafe {
            match how {
                "close" => libc::close(fd),
                "put /dev/null over" => libc::dup2(null.as_raw_fd(), fd),
                "put a socket over" => libc::dup2(socket.as_raw_fd(), fd),
                _ => unreachable!("{how}"),
            };
        }
    }
    // Closing them a second time would be another's.
    let _ = (null.into_raw_fd(), socket.into_raw_fd());
    match then {
        "return" => std::process::id(),
        "go on" => loop {
            std::thread::park();
        },
        "panic" => panic!("after the damage"),
        _ => unreachable!("{then}"),
    }
}

#[task]
fn fail() {
    panic!("nothing is seen of it");
}

/// Uses all three standard streams, and a program that inherits them.
#[task]
fn use_the_standard_streams() -> (usize, Option<i32>) {
    println!("printed");
    eprintln!("printed");
    let read = std::io::stdin().read(&mut [0; 12]).unwrap_or(0);
    let status = Command::new("sh").args(["-c", "head -c 12; exit 7"]).status().expect("it starts");
    (read, status.code())
}

const HOWS: [&str; 3] = ["close", "put /dev/null over", "put a socket over"];

/// Runs a culprit between innocents, and wants everybody else unharmed. Returns its outcome and the worker it had.
fn alone_is_hurt(which: &str, how: &str, then: &str) -> Result<u32, TaskError> {
    let what = format!("{how} {which}, then {then}");
    let ledger = Ledger::create();
    let path = ledger.path();
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
    pool.warm_up().wait().expect("two workers");
    let began = Instant::now();
    let mut culprit = pool.submit(damage, (which, how, then));
    let innocents: Vec<_> = (0..10).map(|id| pool.submit(note, (path.as_str(), id))).collect();
    // A panic without other damage is no detection: its backtrace takes the time it takes.
    let (detect, respawn) = if which == "the parent" { (SOON, SOON) } else { (DETECT, RESPAWN) };
    let outcome =
        culprit.result_timeout(detect).unwrap_or_else(|_| panic!("{what}: no outcome after {detect:?}"));
    for (id, future) in (0..).zip(innocents) {
        assert_eq!(future.result().unwrap_or_else(|error| panic!("{what}: {error}")), id);
    }
    ledger.assert_ran_exactly_once(0..10);
    pool.warm_up().wait().expect("two workers again");
    assert_eq!(pool.worker_pids().len(), 2, "{what}");
    assert_eq!(pool.submit(note, (path.as_str(), 11)).result().expect("the pool goes on"), 11);
    assert!(began.elapsed() < respawn, "{what}: {:?}", began.elapsed());
    assert!(pool.shutdown(true).wait().leaked.is_empty());
    outcome
}

support::program! {
    fn a_parent_of_a_worker_that_has_lost_sight_of_it() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        pool.submit(own_pid, ()).result().expect("a value");
        let how = std::env::var("HOW").expect("HOW");
        let _endless = pool.submit(damage, ("the parent", how.as_str(), "go on"));
        let is_damaged = |pid: &u32| !procfs::fds(*pid).values().any(|target| target == "anon_inode:[pidfd]");
        eventually("the damage is done", SOON, || pool.worker_pids().iter().any(is_damaged));
        println!("{}", pool.worker_pids()[0]);
        std::thread::sleep(Duration::from_secs(600));
    }
}

support::isolated! {
    timeout = 90;

    /// What its task has come to counts, if it still can be told through the memory that is shared with the parent.
    fn a_worker_that_loses_its_channel_is_replaced() {
        for which in ["the channel", "those beyond the standard three", "all"] {
            for how in HOWS {
                for then in ["return", "panic", "go on"] {
                    let what = format!("{how} {which}, then {then}");
                    let error = match alone_is_hurt(which, how, then) {
                        Ok(_) => {
                            assert_eq!(then, "return", "{what}");
                            continue;
                        }
                        Err(error) => error,
                    };
                    let kind = error.kind();
                    if then == "panic" && matches!(kind, TaskErrorKind::Panicked(_)) {
                        continue;
                    }
                    let is_told = matches!(kind, TaskErrorKind::WorkerDied(_) | TaskErrorKind::Protocol { .. });
                    assert!(is_told, "{what}: {error}");
                    // The loss may be found before or after the body has ended, if it does end.
                    let ran = if then == "go on" { &[Ran::Maybe][..] } else { &[Ran::Maybe, Ran::Yes] };
                    assert!(ran.contains(&error.ran()), "{what}: {error}");
                }
            }
        }
    }

    fn a_worker_that_loses_sight_of_its_parent_works_on() {
        for how in HOWS {
            assert!(alone_is_hurt("the parent", how, "return").is_ok(), "{how}");
            let error = alone_is_hurt("the parent", how, "panic").expect_err("a panic");
            assert_eq!(error.panic().expect("a panic").message(), "after the damage");
        }
    }

    fn it_works_on_when_it_is_stopped_and_continued() {
        for how in HOWS {
            let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
            let worker = pool.submit(damage, ("the parent", how, "return")).result().expect("a value");
            for _ in 0..3 {
                kill(worker, Signal::STOP);
                eventually("it is stopped", SOON, || procfs::state(worker) == Some('T'));
                kill(worker, Signal::CONT);
                assert_eq!(pool.submit(own_pid, ()).result().expect("it works on"), worker);
            }
        }
    }

    fn it_ends_with_its_parent_all_the_same() {
        for how in HOWS {
            let mut program = Program::named("a_parent_of_a_worker_that_has_lost_sight_of_it").env("HOW", how).spawn();
            let worker: u32 = program.line().parse().expect("a number");
            assert!(procfs::is_alive(worker));
            program.kill();
            eventually("it is gone", ORPHAN, || tagged_pids().is_empty());
        }
    }

    fn a_worker_that_loses_its_standard_streams_works_on() {
        for how in ["close", "put /dev/null over"] {
            let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
            let worker = pool.submit(damage, ("the standard three", how, "return")).result().expect("a value");
            let error = pool.submit(fail, ()).result().expect_err("a panic");
            assert_eq!(error.panic().expect("a panic").message(), "nothing is seen of it");
            let (read, code) = pool.submit(use_the_standard_streams, ()).result().expect("a value");
            assert_eq!((read, code), (0, Some(7)), "{how}");
            assert_eq!(pool.submit(own_pid, ()).result().expect("a value"), worker, "{how}: the same worker");
            assert_eq!(pool.shutdown(true).wait().killed, 0);
        }
    }
}
