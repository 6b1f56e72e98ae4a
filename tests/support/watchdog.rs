//! Waiting with a limit, and the look at hung processes before they are killed.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, pidfd_open};

use super::eventually::holds_within;
use super::procfs::{self, Process};
use super::{family, role};

/// gdb itself can hang, for instance on a process that another debugger holds.
const GDB_LIMIT: Duration = Duration::from_secs(20);
/// What a test printed last matters most, and a test may print gigabytes.
const SHOWN: u64 = 256 * 1024;

/// A test that did not pass.
#[derive(Debug)]
pub struct Failure {
    /// What its processes carried.
    pub tag: String,
    /// What happened, and all that the test printed.
    pub report: String,
}

/// Runs the test function `path` in a process of its own and sees that it ends within `limit`.
pub(super) fn watch(path: &str, limit: Duration, passed: i32) -> Result<(), Failure> {
    let tag = role::fresh_tag();
    let output = Capture::new().expect("memory for the output of the test");
    let mut reaper = role::reaper(path, &tag)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output.writer().expect("a descriptor for the output of the test"))
        .spawn()
        .expect("the test binary starts again");

    let mut report = match wait_within(&mut reaper, limit) {
        Some(status) if status.code() == Some(passed) => {
            tell(path, &output.text());
            return Ok(());
        }
        Some(status) => match status.code() {
            Some(0) => format!("{path} is the path of no test in this binary, so nothing ran\n"),
            Some(1) => format!("{path} failed\n"),
            _ => format!("{path} failed: its reaper ended with {status}\n"),
        },
        None => {
            let family = family::kept_by(reaper.id(), &tag);
            let mut report = format!("{path} did not end within {limit:?}; its processes were:\n");
            family.iter().for_each(|process| report.push_str(&autopsy(process)));
            report
        }
    };
    kill_family(&mut reaper, &tag);
    let _ = write!(report, "---- output of the test ----\n{}---- end of the output ----", output.text());
    Err(Failure { tag, report })
}

/// Passes on what a test that passed has printed. That it has skipped something is seen in any case: libtest does not
/// capture what is written to the stream itself.
fn tell(path: &str, text: &str) {
    print!("{text}");
    for line in text.lines().filter(|line| line.starts_with("SKIPPED")) {
        let _ = writeln!(io::stderr(), "{path}: {line}");
    }
}

/// Waits for a child, at most this long.
pub(super) fn wait_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("nobody else waits for this child") {
            return Some(status);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return None;
        }
        // The child is not reaped yet, so its number is still its own.
        let handle =
            pidfd_open(family::as_pid(child.id()), PidfdFlags::empty()).expect("a pidfd of our child");
        wait_readable(&handle, left);
    }
}

/// Whether there is something to read, or an end to be seen, within `limit`.
pub(super) fn wait_readable(fd: &impl std::os::fd::AsFd, limit: Duration) -> bool {
    let timeout = Timespec::try_from(limit).expect("a limit is seconds, not ages");
    match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)) {
        Ok(count) => count > 0,
        Err(Errno::INTR) => false,
        Err(error) => panic!("poll failed: {error}"),
    }
}

/// Kills all that the reaper keeps. It ends by itself when its test does, and only then is it killed too: it must
/// be there to adopt and reap until the last one is gone.
fn kill_family(reaper: &mut Child, tag: &str) {
    let gone = holds_within(Duration::from_secs(10), || {
        let ended = reaper.try_wait().expect("nobody else waits for the reaper").is_some();
        let family = family::kept_by(reaper.id(), tag);
        family.iter().for_each(family::kill_this_very);
        ended && family.is_empty()
    });
    if !gone {
        let _ = reaper.kill();
        let _ = reaper.wait();
    }
}

/// All that can be learned about a process from outside.
fn autopsy(process: &Process) -> String {
    let Process { pid, parent, state, comm, .. } = process;
    let mut text = format!("==== process {pid} ({comm}), state {state}, child of {parent}\n");
    for file in ["cmdline", "comm", "wchan", "syscall", "stack"] {
        let content = fs::read(format!("/proc/{pid}/{file}"));
        let content = content.map_or_else(
            |error| format!("(not readable: {error})"),
            |bytes| String::from_utf8_lossy(&bytes).replace('\0', " "),
        );
        let _ = writeln!(text, "{file}: {}", content.trim_end());
    }
    let waiting = procfs::wchan(*pid);
    for (tid, name) in procfs::threads(*pid) {
        let place = waiting.iter().find(|(other, _)| *other == tid).map_or("?", |(_, place)| place);
        let _ = writeln!(text, "thread {tid} ({name}): wchan {place}");
    }
    for (fd, target) in procfs::fds(*pid) {
        let _ = writeln!(text, "fd {fd} -> {target}");
    }
    text.push_str(&stacks(*pid));
    text
}

/// The stacks of all threads through gdb, or a line that says why there are none.
fn stacks(pid: u32) -> String {
    let output = match Capture::new() {
        Ok(output) => output,
        Err(error) => return format!("stacks: no memory for them ({error})\n"),
    };
    let spawned = output.writer().and_then(|writer| {
        Command::new("gdb")
            .args(["-nx", "-p", &pid.to_string(), "-batch", "-ex", "thread apply all bt"])
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(output.writer()?)
            .spawn()
    });
    let mut gdb = match spawned {
        Ok(gdb) => gdb,
        Err(error) => return format!("stacks: skipped, gdb cannot be started ({error})\n"),
    };
    let mut text = format!("stacks (gdb -p {pid}):\n");
    if wait_within(&mut gdb, GDB_LIMIT).is_none() {
        let _ = gdb.kill();
        let _ = gdb.wait();
        let _ = writeln!(text, "(gdb did not finish within {GDB_LIMIT:?} and was killed)");
    }
    text + &output.text()
}

/// Takes what processes print, in memory and not in a pipe: nobody has to read it in time, and a grandchild that
/// keeps it open keeps nobody waiting.
struct Capture(File);

impl Capture {
    fn new() -> io::Result<Self> {
        Ok(Self(memfd_create("output", MemfdFlags::CLOEXEC)?.into()))
    }

    /// All writers share one position, so that two streams come out in the order in which they were written.
    fn writer(&self) -> io::Result<Stdio> {
        Ok(self.0.try_clone()?.into())
    }

    /// The last part of what was written so far.
    fn text(&self) -> String {
        let length = self.0.metadata().map_or(0, |data| data.len());
        let from = length.saturating_sub(SHOWN);
        let mut bytes = vec![0; usize::try_from(length - from).expect("a short text")];
        let read = self.0.read_at(&mut bytes, from).unwrap_or(0);
        bytes.truncate(read);
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if from > 0 {
            text.insert_str(0, &format!("({from} bytes before this are not shown)\n"));
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }
}
