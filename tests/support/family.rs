//! The processes that belong to a test: those that carry its tag, and those below its reaper.

use std::env;
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, pidfd_send_signal, wait,
};

use super::eventually::holds_within;
use super::procfs::{self, Process};
use super::role::{self, Role, TAG};

/// The tag of the test that this process belongs to.
pub fn tag() -> Option<String> {
    env::var(TAG).ok()
}

/// The processes that carry this test's tag or are below its reaper, zombies included, other than the test's own
/// process and this one.
pub fn tagged_pids() -> Vec<u32> {
    others().into_iter().map(|process| process.pid).collect()
}

/// The same without the processes of which workers are copies, if that is how they are made.
pub fn tagged_workers() -> Vec<u32> {
    others().into_iter().filter(|process| !process.is_template()).map(|process| process.pid).collect()
}

/// Whether pools that do not say how their workers are made have templates: by the environment of the whole run.
pub fn templates_by_default() -> bool {
    env::var("PROCPOOL_START_METHOD").is_ok_and(|method| method == "forkserver")
}

/// Fails if [`tagged_pids`] names anything after so long.
#[track_caller]
pub fn nothing_left(limit: Duration) {
    let gone = holds_within(limit, || tagged_pids().is_empty());
    assert!(gone, "left after {limit:?}: {:#?}", others());
}

/// The processes that carry the tag of any one test.
pub fn tagged_with(tag: &str) -> Vec<u32> {
    with_tag(tag).into_iter().map(|process| process.pid).collect()
}

/// Sends a signal, and fails if there is no such process.
#[track_caller]
pub fn kill(pid: u32, signal: Signal) {
    if let Err(error) = kill_process(as_pid(pid), signal) {
        panic!("{signal:?} did not reach process {pid}: {error}");
    }
}

/// As [`tagged_pids`], with what the process table says of them.
pub(super) fn others() -> Vec<Process> {
    let own = std::process::id();
    let is_test = Role::of_this_process() == Some(Role::Test);
    let reaper = role::maker().filter(|_| is_test);
    let mut others = procfs::descendants_of(reaper.unwrap_or(own));
    if let Some(tag) = tag() {
        join(&mut others, with_tag(&tag));
    }
    // A program is below its test, which therefore is not one of the program's processes.
    let test = role::maker().filter(|_| !is_test);
    others.retain(|process| process.pid != own && Some(process.pid) != test);
    others.sort_by_key(|process| process.pid);
    others
}

/// All processes of the test that `reaper` keeps, the test's own included.
pub(super) fn kept_by(reaper: u32, tag: &str) -> Vec<Process> {
    let mut all = procfs::descendants_of(reaper);
    join(&mut all, with_tag(tag));
    all.sort_by_key(|process| process.pid);
    all
}

/// Kills everything below this process and reaps it.
pub(super) fn kill_all_below_us() {
    let own = std::process::id();
    let gone = holds_within(Duration::from_secs(10), || {
        let below = procfs::descendants_of(own);
        below.iter().for_each(kill_this_very);
        while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        below.is_empty()
    });
    assert!(gone, "processes of the test cannot be killed: {:?}", procfs::descendants_of(own));
}

/// SIGKILL for the process that was seen, never for a stranger who got its number since.
pub(super) fn kill_this_very(process: &Process) {
    let Ok(handle) = pidfd_open(as_pid(process.pid), PidfdFlags::empty()) else { return };
    if procfs::process(process.pid).is_some_and(|now| now.start == process.start) {
        // It may have ended meanwhile, which is what was wanted.
        let _ = pidfd_send_signal(&handle, Signal::KILL);
    }
}

pub(super) fn as_pid(pid: u32) -> Pid {
    i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process number is above 0 and fits an i32")
}

fn with_tag(tag: &str) -> Vec<Process> {
    let assignment = format!("{TAG}={tag}");
    procfs::processes().into_iter().filter(|process| procfs::has_env(process.pid, &assignment)).collect()
}

fn join(all: &mut Vec<Process>, more: Vec<Process>) {
    for process in more {
        if all.iter().all(|known| known.pid != process.pid) {
            all.push(process);
        }
    }
}
