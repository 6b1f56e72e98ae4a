//! What a process of the test binary is to be, told through its environment.

use std::env;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::getppid;
use rustix::time::{ClockId, clock_gettime};

use super::procfs;

/// Carried by the test's process and all that comes from it, so a look at `/proc/*/environ` finds them.
pub(super) const TAG: &str = "FAULT_TAG";
/// The same for the reaper, which must not carry the tag: it is no process of the test.
const TAG_FOR_TEST: &str = "SUPPORT_TAG";
const ROLE: &str = "SUPPORT_ROLE";
const PATH: &str = "SUPPORT_PATH";
const FROM: &str = "SUPPORT_FROM";

/// Why a process of this binary was started by another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Role {
    /// Adopts and reaps what escapes from the test.
    Reaper,
    /// Runs the body of an isolated test.
    Test,
    /// Runs the body of a program.
    Program,
}

/// What the environment asks of one test function.
#[derive(Debug, PartialEq)]
pub(super) enum Assigned {
    /// Nothing: this is a plain run of the test binary.
    Nothing,
    /// To play this role.
    Role(Role),
    /// Another function of this binary has the role.
    Elsewhere,
    /// The role was given to an ancestor, and this process only inherited the environment.
    Strayed,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::Reaper => "reaper",
            Role::Test => "test",
            Role::Program => "program",
        }
    }

    /// The role of this process, whichever function has it.
    pub(super) fn of_this_process() -> Option<Self> {
        let word = env::var(ROLE).ok()?;
        [Role::Reaper, Role::Test, Role::Program].into_iter().find(|role| role.word() == word)
    }
}

/// What this process is to do when it comes to the test function `path`.
pub(super) fn assigned(path: &str) -> Assigned {
    let Some(role) = Role::of_this_process() else { return Assigned::Nothing };
    if env::var(PATH).as_deref() != Ok(path) {
        Assigned::Elsewhere
    } else if maker().is_some_and(made_us) {
        Assigned::Role(role)
    } else {
        Assigned::Strayed
    }
}

/// The process that gave us our role.
pub(super) fn maker() -> Option<u32> {
    env::var(FROM).ok()?.parse().ok()
}

/// A command that runs this binary again, to play `role` in the test function `path`.
pub(super) fn command(role: Role, path: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("the test binary knows its own path"));
    // To name the functions of a backtrace takes longer on a busy machine than a promise may.
    command.env("RUST_BACKTRACE", "0");
    command.args(["--exact", path, "--nocapture", "--test-threads=1", "--include-ignored", "--quiet"]);
    command.env(ROLE, role.word()).env(PATH, path).env(FROM, std::process::id().to_string());
    command
}

/// A command for the reaper of a test whose processes shall carry `tag`.
pub(super) fn reaper(path: &str, tag: &str) -> Command {
    let mut command = command(Role::Reaper, path);
    command.env(TAG_FOR_TEST, tag);
    command
}

/// A command for the test's own process, made by its reaper.
pub(super) fn test(path: &str) -> Command {
    let mut command = command(Role::Test, path);
    command.env(TAG, env::var(TAG_FOR_TEST).expect("the watchdog chose a tag"));
    command
}

/// A tag that no other test has, in this run or another.
pub(super) fn fresh_tag() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = clock_gettime(ClockId::Realtime);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{count}-{:x}{:08x}", std::process::id(), now.tv_sec, now.tv_nsec)
}

/// The name by which libtest knows a function, which has no crate name in front.
pub(super) fn libtest_path(path: &'static str) -> &'static str {
    path.split_once("::").map_or(path, |(_, rest)| rest)
}

/// Whether we come from `maker` through other programs at most (a shell, a tracer). A process of this binary in
/// between means that it was the one that got the role.
fn made_us(maker: u32) -> bool {
    let own = fs::read_link("/proc/self/exe").ok();
    let mut ancestor = getppid().map(|pid| pid.as_raw_pid().unsigned_abs());
    while let Some(pid) = ancestor {
        if pid == maker {
            return true;
        }
        if fs::read_link(format!("/proc/{pid}/exe")).ok() == own {
            return false;
        }
        ancestor = procfs::parent_of(pid);
    }
    false
}
