//! A process of its own for every test body.

use std::os::fd::AsFd;
use std::process::{ExitCode, Stdio, Termination, exit};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Signal, WaitOptions, WaitStatus, getpid, set_child_subreaper, set_parent_process_death_signal, wait,
};

use super::role::{self, Assigned, Role};
use super::{census, family, watchdog};

pub use super::watchdog::Failure;

/// How the test's process says that its body ran to the end and the census was clean. It is not 0, because 0
/// is also what a body ends with that leaves through `exit`, and a run in which no test was found.
const PASSED: i32 = 86;

/// Turns functions into tests of which each runs in its own process, within 30 s or `timeout = SECONDS;`.
///
/// The body may return what a test may return. Attributes and doc comments are kept.
macro_rules! isolated {
    (timeout = $seconds:expr; $($(#[$attribute:meta])* fn $name:ident() $(-> $output:ty)? $body:block)+) => {$(
        $(#[$attribute])*
        #[test]
        fn $name() {
            fn body() $(-> $output)? $body
            $crate::support::isolate::run(
                concat!(module_path!(), "::", stringify!($name)),
                std::time::Duration::from_secs($seconds),
                body,
            );
        }
    )+};
    ($($(#[$attribute:meta])* fn $name:ident() $(-> $output:ty)? $body:block)+) => {
        $crate::support::isolated! {
            timeout = 30;
            $($(#[$attribute])* fn $name() $(-> $output)? $body)+
        }
    };
}
pub(crate) use isolated;

/// What [`isolated!`] expands to. `path` is the function's, with the crate's name in front.
#[track_caller]
pub fn run<O: Termination>(path: &'static str, limit: Duration, body: impl FnOnce() -> O) {
    if let Err(failure) = verdict(path, limit, body) {
        panic!("{}", failure.report);
    }
}

/// Runs `body` in a process of its own and tells how it went; for tests that want to see a test fail.
pub fn verdict<O: Termination>(
    path: &'static str,
    limit: Duration,
    body: impl FnOnce() -> O,
) -> Result<(), Failure> {
    let path = role::libtest_path(path);
    match role::assigned(path) {
        Assigned::Nothing => watchdog::watch(path, limit, PASSED),
        Assigned::Role(Role::Reaper) => keep(path),
        Assigned::Role(Role::Test) => perform(body),
        assigned => panic!(
            "{path} does not run here ({assigned:?}): this process descends from a test and was started as a \
             test run. If it should be a worker, it did not recognise itself before `main`"
        ),
    }
}

/// The reaper's life: start the test, reap whatever ends, and leave nothing behind.
fn keep(path: &str) -> ! {
    die_with_parent();
    set_child_subreaper(Some(getpid())).expect("any process may adopt its orphans");
    // One stream for all that the test prints. Our own standard output stays out of it: it has libtest's lines.
    let output = std::io::stderr().as_fd().try_clone_to_owned().expect("a descriptor for the output");
    let test =
        role::test(path).stdin(Stdio::null()).stdout(output).spawn().expect("the test binary starts again");
    let status = loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == family::as_pid(test.id()) => break status,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => panic!("the test's process was lost: {error}"),
        }
    };
    family::kill_all_below_us();
    if status.exit_status() == Some(PASSED) {
        exit(PASSED);
    }
    eprintln!("the process of {path} {}", describe(status));
    exit(1);
}

/// The test's life: baseline, body, census.
fn perform<O: Termination>(body: impl FnOnce() -> O) -> ! {
    die_with_parent();
    heed_interrupts();
    census::begin();
    assert!(body().report() == ExitCode::SUCCESS, "the body of the test returned an error");
    census::end();
    exit(PASSED);
}

/// What runs in the background of a shell may have been told to ignore interrupts; tests begin as if nobody had.
#[allow(unsafe_code, reason = "what to do at a signal")]
fn heed_interrupts() {
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: back to the default, which runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// A killed test run takes its tests along; their workers then follow by the crate's own promise.
fn die_with_parent() {
    set_parent_process_death_signal(Some(Signal::KILL)).expect("a signal that exists");
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => "left with exit code 0 before the body had ended".to_owned(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => format!("ended in an unknown way ({status:?})"),
    }
}
