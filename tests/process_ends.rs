//! A process tells how it ended and what came of its task, in every way there is to end, and the same each time.

#![allow(
    unsafe_code,
    reason = "an initialiser that never returns, and descriptors that are not this crate's"
)]

mod support;

use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use procpool::{ExitCause, Phase, Process, ProcessHandle, Ran, StartError, TaskError, TaskErrorKind, task};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use support::{Event, Ledger, Signal, eventually, kill, procfs};

const SOON: Duration = Duration::from_secs(10);
const DETECT: Duration = Duration::from_secs(2);

#[task]
fn end_by(how: &str) -> Result<u64, String> {
    match how {
        "value" => Ok(7),
        "error" => Err("no luck".to_owned()),
        "panic" => panic!("no luck at all"),
        "exit 0" => std::process::exit(0),
        "exit 3" => std::process::exit(3),
        "abort" => std::process::abort(),
        _ => unreachable!("{how}"),
    }
}

#[task]
fn park(ledger: &str) {
    Ledger::record(ledger, 0, Event::Started);
    loop {
        thread::park();
    }
}

#[task]
fn text_of(bytes: &[u8]) -> usize {
    bytes.len()
}

/// Decodes as nothing.
#[derive(Debug, serde::Serialize)]
struct Odd;

impl<'de> serde::Deserialize<'de> for Odd {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Odd, D::Error> {
        Err(serde::de::Error::custom("it is odd"))
    }
}

#[task]
fn take(_odd: Odd) {}

#[task]
fn give() -> Odd {
    Odd
}

/// Writes to its channel what is no frame, and goes on.
#[task]
fn write_nonsense() {
    for number in 500..510 {
        // SAFETY: the number may be nobody's, which is an error of the write; whatever it is, it is not closed here.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
        let _ = rustix::io::write(fd, &[0xff; 64]);
    }
    loop {
        thread::park();
    }
}

/// Closes its channel before it has a result of so many bytes.
#[task]
fn close_the_channel(size: usize) -> Vec<u8> {
    for number in 500..510 {
        // SAFETY: whose numbers they are is the point of the test; nobody uses them after this.
        unsafe { libc::close(number) };
    }
    vec![7; size]
}

/// Keeps the program from coming to its task, if it is asked to.
extern "C" fn linger() {
    // SAFETY: the name is a text of C, and nobody changes the environment at this time.
    while unsafe { !libc::getenv(c"PROCESS_LINGERS".as_ptr()).is_null() } {
        // SAFETY: waits for a signal.
        unsafe { libc::pause() };
    }
}

#[used]
// SAFETY: the section holds pointers to functions that are called before `main`, and may ignore what they are given.
#[unsafe(link_section = ".init_array")]
static LINGER: extern "C" fn() = linger;

/// It is over, tells the same each time, and no signal reaches whoever has its number now.
#[track_caller]
fn assert_ended<R>(process: &ProcessHandle<R>, cause: ExitCause, code: i32) {
    for _ in 0..3 {
        assert_eq!(process.join(), cause);
        assert_eq!(process.join_timeout(Duration::ZERO), Some(cause));
        assert_eq!((process.exit(), process.exitcode()), (Some(cause), Some(code)));
        assert!(!process.is_alive());
        let mut fds = [PollFd::from_borrowed_fd(process.sentinel(), PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(&Timespec::default())), Ok(1), "the sentinel stays readable");
        process.terminate();
        process.interrupt();
        process.kill();
    }
    assert_eq!(procfs::state(process.pid()), None, "it has been waited for");
}

fn signal(number: i32) -> impl Fn(ExitCause) -> bool {
    move |cause| matches!(cause, ExitCause::Signal { number: other, .. } if other == number)
}

fn started(ledger: &Ledger) -> ProcessHandle<()> {
    let process = Process::new(park, ledger.path().as_str()).start().expect("a process");
    eventually("its task runs", SOON, || ledger.starts(0) == 1);
    process
}

support::isolated! {
    fn what_the_task_does_is_what_the_exit_code_and_the_result_say() {
        let run = |how: &str| {
            let process = Process::new(end_by, how).start().expect("a process");
            let cause = process.join();
            let code = process.exitcode().expect("it has ended");
            assert_ended(&process, cause, code);
            (code, process.result())
        };
        assert_eq!(run("value").1.expect("a value"), Ok(7));
        assert_eq!(run("value").0, 0);
        let (code, result) = run("error");
        assert_eq!((code, result.expect("a value")), (1, Err("no luck".to_owned())));
        let (code, result) = run("panic");
        let error = result.expect_err("a panic");
        assert_eq!((code, error.panic().expect("a panic").message()), (101, "no luck at all"));
        assert_eq!(error.ran(), Ran::Yes);
        for status in [0, 3] {
            let (code, result) = run(&format!("exit {status}"));
            let error = result.expect_err("no result");
            let exit = error.exit().expect("an exit");
            assert_eq!((code, exit.cause(), exit.phase()), (status, ExitCause::Code(status), Phase::Running));
            assert_eq!(error.ran(), Ran::Maybe);
        }
        let (code, result) = run("abort");
        assert_eq!(code, -6);
        assert!(signal(6)(result.expect_err("no result").exit().expect("an exit").cause()));
    }

    fn each_signal_ends_it_and_is_told() {
        type Send = fn(&ProcessHandle<()>);
        let ways: [(Send, i32); 4] = [
            (|process| process.terminate(), 15),
            (|process| process.kill(), 9),
            (|process| process.interrupt(), 2),
            (|process| kill(process.pid(), Signal::SEGV), 11),
        ];
        for (send, number) in ways {
            let ledger = Ledger::create();
            let process = started(&ledger);
            assert!(process.is_alive() && process.exitcode().is_none());
            assert_eq!(process.join_timeout(Duration::from_millis(5)), None);
            let process = process.close().expect_err("it runs");
            send(&process);
            let cause = process.join_timeout(DETECT).expect("it ends soon");
            assert!(signal(number)(cause), "{cause}");
            assert_ended(&process, cause, -number);
            let error = process.result().expect_err("no result");
            assert_eq!((error.exit().expect("an exit").cause(), error.ran()), (cause, Ran::Maybe));
        }
    }

    fn one_that_is_killed_before_it_is_ready_has_not_run() {
        let ledger = Ledger::create();
        for _ in 0..20 {
            let process = Process::new(park, ledger.path().as_str()).env("PROCESS_LINGERS", "").start();
            let process = process.expect("a process");
            process.kill();
            let cause = process.join_timeout(DETECT).expect("it ends soon");
            assert!(signal(9)(cause));
            let error = process.result().expect_err("no result");
            assert_eq!((error.ran(), error.exit().expect("an exit").phase()), (Ran::No, Phase::Sent));
        }
        assert!(ledger.entries().is_empty());
    }

    fn one_that_never_becomes_ready_is_killed_and_the_reason_is_told() {
        let limit = Duration::from_millis(200);
        let process = Process::new(end_by, "value").env("PROCESS_LINGERS", "").start_timeout(limit).start();
        let process = process.expect("a process");
        let cause = process.join_timeout(SOON).expect("it is killed");
        assert!(signal(9)(cause));
        let error: TaskError = process.result().expect_err("no result");
        assert!(matches!(error.kind(), TaskErrorKind::NotStarted(StartError::Handshake(_))), "{error}");
        assert_eq!(error.ran(), Ran::No);
    }

    fn one_that_runs_for_longer_than_it_may_take_to_start_goes_on() {
        let limit = Duration::from_secs(3);
        let ledger = Ledger::create();
        let process = Process::new(park, ledger.path().as_str()).start_timeout(limit).start().expect("a process");
        assert_eq!(process.join_timeout(limit + limit / 2), None, "it goes on");
        process.kill();
        let error = process.result().expect_err("no result");
        assert_eq!((error.ran(), error.exit().expect("an exit").phase()), (Ran::Maybe, Phase::Running));
    }

    fn values_that_cannot_cross_are_told_with_the_side_that_failed() {
        let process = Process::new(take, Odd).start().expect("a process");
        assert_eq!(process.join(), ExitCause::Code(1));
        let error = process.result().expect_err("it cannot be decoded");
        assert!(error.to_string().contains("the arguments could not be decoded: it is odd"), "{error}");
        assert_eq!(error.ran(), Ran::No);
        let process = Process::new(give, ()).start().expect("a process");
        assert_eq!(process.join(), ExitCause::Code(0));
        let error = process.result().expect_err("it cannot be decoded");
        assert!(error.to_string().contains("the result could not be decoded: it is odd"), "{error}");
        assert_eq!(error.ran(), Ran::Yes);
    }

    fn one_that_speaks_nonsense_is_killed_and_one_that_is_silent_is_not() {
        let process = Process::new(write_nonsense, ()).start().expect("a process");
        let cause = process.join_timeout(SOON).expect("it is killed");
        assert!(signal(9)(cause));
        let error = process.result().expect_err("no result");
        assert!(matches!(error.kind(), TaskErrorKind::Protocol { .. }), "{error}");
        // A small result does not need the channel.
        for len in [100, 10_000] {
            let small = Process::new(close_the_channel, len).start().expect("a process");
            assert_eq!(small.join_timeout(SOON), Some(ExitCause::Code(0)));
            assert!(small.result().expect("a value") == vec![7; len]);
        }
        let large = Process::new(close_the_channel, 1_000_000).start().expect("a process");
        assert_eq!(large.join_timeout(SOON), Some(ExitCause::Code(0)));
        let error = large.result().expect_err("its result is lost");
        assert_eq!((error.ran(), error.exit().expect("an exit").phase()), (Ran::Yes, Phase::Replying));
    }

    fn all_who_wait_are_told() {
        let ledger = Ledger::create();
        let process = started(&ledger);
        let clone = (*process).clone();
        thread::scope(|scope| {
            let waits: Vec<_> = (0..8)
                .map(|n| {
                    let process = &clone;
                    scope.spawn(move || match n % 3 {
                        0 => Some(process.join()),
                        1 => process.join_timeout(SOON),
                        _ => Some(smol::block_on(process.joined())),
                    })
                })
                .collect();
            thread::sleep(Duration::from_millis(20));
            process.kill();
            for wait in waits {
                assert!(signal(9)(wait.join().expect("no panic").expect("in time")));
            }
        });
        assert!(smol::block_on(process).expect_err("no result").is_worker_died());
        assert_eq!(clone.exitcode(), Some(-9), "what is left of it knows");
    }

    fn the_sentinel_can_be_polled_beside_others() {
        let ledgers = [Ledger::create(), Ledger::create()];
        let [first, second] = [&ledgers[0], &ledgers[1]].map(started);
        second.kill();
        let mut fds = [&*first, &*second].map(|process| PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN));
        assert_eq!(poll(&mut fds, None), Ok(1));
        assert!(fds[0].revents().is_empty() && !fds[1].revents().is_empty());
        first.kill();
        first.join();
    }

    fn large_arguments_and_results_cross() {
        let bytes: Vec<u8> = (0..40_000_000_u32).map(|n| n as u8).collect();
        let process = Process::new(text_of, bytes.as_slice()).start().expect("a process");
        assert_eq!(process.result().expect("a value"), bytes.len());
        let process = Process::new(echo, bytes.clone()).start().expect("a process");
        // Nobody takes the result before the end, and that is no reason to wait for ever.
        assert_eq!(process.join_timeout(Duration::from_secs(20)), Some(ExitCause::Code(0)));
        assert!(process.result().expect("a value") == bytes);
    }
}

#[task]
fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}
