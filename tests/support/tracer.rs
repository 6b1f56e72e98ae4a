//! A program under `strace`, which makes chosen system calls fail.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{Program, family, watchdog};

/// How a traced program ended.
#[derive(Debug)]
pub struct Traced {
    /// The program's own end, which the tracer takes over.
    pub status: ExitStatus,
    /// What it printed, libtest's lines included.
    pub output: String,
    log: String,
}

impl Traced {
    /// How often a call was made to fail.
    pub fn hits(&self, call: &str) -> usize {
        self.log.lines().filter(|line| line.contains(call) && line.contains("INJECTED")).count()
    }
}

/// Runs a program declared with `program!` and all that it starts; `calls` (`"poll,ppoll"`) fail as `how` says
/// (`"error=EINTR:when=2+3"`). `None`, and a line that says so, where there is no tracer or it may not trace.
#[track_caller]
pub fn trace(
    name: &str,
    calls: &str,
    how: &str,
    environment: &[(&str, &str)],
    limit: Duration,
) -> Option<Traced> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let works =
        Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !works.is_ok_and(|status| status.success()) {
        println!("SKIPPED: no strace that may trace, which makes system calls fail");
        return None;
    }
    let tag = family::tag().unwrap_or_else(|| "untagged".to_owned());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let file = |what: &str| env::temp_dir().join(format!("trace-{tag}-{count}-{what}"));
    let (log, output) = (file("log"), file("output"));
    let program = Program::command(name);
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "--seccomp-bpf", "-o"]).arg(&log);
    command.arg(format!("-etrace={calls}")).arg(format!("-einject={calls}:{how}"));
    command.arg(program.get_program()).args(program.get_args());
    command
        .envs(program.get_envs().filter_map(|(name, value)| Some((name.to_owned(), OsString::from(value?)))));
    command.envs(environment.iter().copied());
    command.stdin(Stdio::null()).stdout(fs::File::create(&output).expect("a file for the output"));
    let mut child = command.spawn().expect("a tracer");
    let status = watchdog::wait_within(&mut child, limit);
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let (log_text, output_text) = (read(&log), read(&output));
    for path in [log, output] {
        let _ = fs::remove_file(path);
    }
    let Some(status) = status else {
        family::kill(child.id(), super::Signal::TERM);
        panic!("program {name} did not end within {limit:?} with {calls}:{how}; it printed:\n{output_text}");
    };
    Some(Traced { status, output: output_text, log: log_text })
}
