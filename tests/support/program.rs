//! A function that runs as a program of its own, for tests in which a parent must die, exit or be signalled.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio, exit};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::role::{self, Assigned, Role};
use super::{family, watchdog};

/// Comes before the program's first line; what libtest prints stands before it.
const BEGIN: &str = "==== the program begins ====";
/// How long [`Program::line`] waits.
const LINE_LIMIT: Duration = Duration::from_secs(10);

/// Turns functions into programs. To libtest each is a test that does nothing and passes; [`Program`] runs it.
///
/// The body returns nothing, an exit code (`-> i32`), or a `Result` of these. A panic ends it with code 101, as it
/// would end any program.
macro_rules! program {
    ($($(#[$attribute:meta])* fn $name:ident() $(-> $output:ty)? $body:block)+) => {$(
        $(#[$attribute])*
        #[test]
        fn $name() {
            fn body() $(-> $output)? $body
            $crate::support::program::run(concat!(module_path!(), "::", stringify!($name)), body);
        }
    )+};
}
pub(crate) use program;

/// What [`program!`] expands to.
pub fn run<C: Code>(path: &'static str, body: impl FnOnce() -> C) {
    let path = role::libtest_path(path);
    match role::assigned(path) {
        Assigned::Role(Role::Program) => {
            // A program whose output nobody wants runs all the same.
            let _ = writeln!(std::io::stdout(), "\n{BEGIN}");
            let code = catch_unwind(AssertUnwindSafe(|| body().code())).unwrap_or(101);
            exit(code);
        }
        Assigned::Nothing | Assigned::Elsewhere => {}
        assigned => {
            panic!("{path} does not run here ({assigned:?}): this process descends from that program")
        }
    }
}

/// What a program may return.
pub trait Code {
    /// The exit code.
    fn code(self) -> i32;
}

impl Code for () {
    fn code(self) -> i32 {
        0
    }
}

impl Code for i32 {
    fn code(self) -> i32 {
        self
    }
}

impl<C: Code, E: Debug> Code for Result<C, E> {
    fn code(self) -> i32 {
        self.map_or_else(
            |error| {
                eprintln!("Error: {error:?}");
                1
            },
            C::code,
        )
    }
}

/// A program that was started. Dropping it kills it.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    stdout: Option<ChildStdout>,
    unread: Vec<u8>,
    begun: bool,
}

/// A program that is about to be started.
#[derive(Debug)]
pub struct Setup {
    name: String,
    command: Command,
}

impl Program {
    /// Names a function declared with [`program!`], by its path without the crate: `"parent"`, `"module::parent"`.
    pub fn named(name: &str) -> Setup {
        Setup { name: name.to_owned(), command: Program::command(name) }
    }

    /// The bare command, for a test that wires the streams itself. The output then begins with libtest's lines.
    pub fn command(name: &str) -> Command {
        role::command(Role::Program, name)
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its standard output, within 10 s.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let line = self.next_line(LINE_LIMIT);
        line.unwrap_or_else(|| panic!("program {} closed its output where a line was expected", self.name))
    }

    /// The next line of its standard output, or `None` when it is closed; fails if neither comes within `limit`.
    #[track_caller]
    pub fn next_line(&mut self, limit: Duration) -> Option<String> {
        let end = Instant::now() + limit;
        while !self.begun {
            let Some(line) = self.raw_line(end) else {
                panic!(
                    "no program {} began: is this its full path, and is it declared with `program!`?",
                    self.name
                )
            };
            self.begun = line == BEGIN;
        }
        self.raw_line(end)
    }

    /// Closes our end of its standard output.
    pub fn close_output(&mut self) {
        self.stdout = None;
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        family::kill(self.pid(), signal);
    }

    /// Kills it, and returns when it is gone.
    pub fn kill(&mut self) -> ExitStatus {
        let _ = self.child.kill();
        self.child.wait().expect("nobody else waits for the program")
    }

    /// Waits for its end; fails if it does not come within `limit`.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let status = watchdog::wait_within(&mut self.child, limit);
        status.unwrap_or_else(|| panic!("program {} did not end within {limit:?}", self.name))
    }

    /// A line, read without a thread: a reader that a surviving worker keeps waiting would count as left over.
    #[track_caller]
    fn raw_line(&mut self, end: Instant) -> Option<String> {
        loop {
            if let Some(length) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=length).collect();
                return Some(String::from_utf8_lossy(&line[..length]).into_owned());
            }
            let Some(stdout) = self.stdout.as_mut() else {
                let last = std::mem::take(&mut self.unread);
                return (!last.is_empty()).then(|| String::from_utf8_lossy(&last).into_owned());
            };
            let left = end.saturating_duration_since(Instant::now());
            if !watchdog::wait_readable(stdout, left) {
                assert!(!left.is_zero(), "program {} printed no line in time", self.name);
                continue;
            }
            let mut buffer = [0; 4096];
            match stdout.read(&mut buffer).expect("a pipe of ours can be read") {
                0 => self.stdout = None,
                count => self.unread.extend(&buffer[..count]),
            }
        }
    }
}

impl Setup {
    /// Adds to its environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Starts it, with nothing to read, its standard output for [`Program::line`], and our standard error.
    pub fn spawn(mut self) -> Program {
        let spawned = self.command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.expect("the test binary starts again");
        let stdout = child.stdout.take();
        Program { name: self.name, child, stdout, unread: Vec::new(), begun: false }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
