//! What `/proc` says about a process. A process that is gone answers `None`, or with an empty list.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rustix::process::Signal;

/// One line of the process table.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent now, which is not its maker once it is an orphan.
    pub parent: u32,
    /// `R`, `S`, `D`, `T`, `t`, `Z` or `X`, as in `ps`.
    pub state: char,
    /// Its name, at most 15 bytes.
    pub comm: String,
    /// Its process group; 0 if the group's leader is of a PID namespace that is not seen from here.
    pub group: u32,
    /// Its session; 0 as with the group.
    pub session: u32,
    /// Clock ticks of processor time that it has used.
    pub ticks: u64,
    /// Clock ticks between the boot and its start; with the pid it names a process for ever.
    pub start: u64,
}

impl Process {
    /// Whether it is one of which workers are copies, and lives.
    pub fn is_template(&self) -> bool {
        self.comm == "procpool:forks" && !"ZX".contains(self.state)
    }
}

/// Reads one line of the process table.
pub fn process(pid: u32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    // The name may hold spaces and parentheses of its own, so it ends at the last one.
    let (head, tail) = stat.rsplit_once(") ")?;
    let (_, comm) = head.split_once(" (")?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    Some(Process {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        state: fields.first()?.chars().next()?,
        comm: comm.to_owned(),
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        ticks: fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

/// The whole process table, zombies included.
pub fn processes() -> Vec<Process> {
    numbers("/proc").into_iter().filter_map(process).collect()
}

/// Whether it exists and still runs; a zombie is not alive.
pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// `R`, `S`, `D`, `T`, `t`, `Z` or `X`, as in `ps`.
pub fn state(pid: u32) -> Option<char> {
    process(pid).map(|process| process.state)
}

/// Clock ticks of processor time that it has used.
pub fn cpu_ticks(pid: u32) -> Option<u64> {
    process(pid).map(|process| process.ticks)
}

/// Its parent now.
pub fn parent_of(pid: u32) -> Option<u32> {
    process(pid).map(|process| process.parent)
}

/// Its children, zombies included.
pub fn children_of(pid: u32) -> Vec<u32> {
    processes().into_iter().filter(|process| process.parent == pid).map(|process| process.pid).collect()
}

/// Every process below it, zombies included and itself not.
pub fn descendants_of(root: u32) -> Vec<Process> {
    let mut rest = processes();
    let mut found: Vec<Process> = Vec::new();
    let mut known = vec![root];
    while let Some(parent) = known.pop() {
        let (below, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|process| process.parent == parent);
        known.extend(below.iter().map(|process| process.pid));
        found.extend(below);
        rest = others;
    }
    found
}

/// Its threads: number and name.
pub fn threads(pid: u32) -> Vec<(u32, String)> {
    numbers(format!("/proc/{pid}/task"))
        .into_iter()
        .filter_map(|tid| Some((tid, line(format!("/proc/{pid}/task/{tid}/comm"))?)))
        .collect()
}

/// The kernel function in which each thread sleeps; `0` for one that runs.
pub fn wchan(pid: u32) -> Vec<(u32, String)> {
    numbers(format!("/proc/{pid}/task"))
        .into_iter()
        .filter_map(|tid| Some((tid, line(format!("/proc/{pid}/task/{tid}/wchan"))?)))
        .collect()
}

/// Whether any thread sleeps in a kernel function whose name contains `part`, such as `unix_stream` or `pipe`.
pub fn sleeps_in(pid: u32, part: &str) -> bool {
    wchan(pid).iter().any(|(_, function)| function.contains(part))
}

/// Its descriptors and what they lead to.
pub fn fds(pid: u32) -> BTreeMap<u32, String> {
    let folder = format!("/proc/{pid}/fd");
    // The descriptor that lists our own is closed again before its link would be read.
    numbers(&folder)
        .into_iter()
        .filter_map(|fd| {
            let target = fs::read_link(format!("{folder}/{fd}")).ok()?;
            Some((fd, target.to_string_lossy().into_owned()))
        })
        .collect()
}

/// Resident memory.
pub fn rss_kib(pid: u32) -> Option<u64> {
    status_field(pid, "VmRSS")?.split_ascii_whitespace().next()?.parse().ok()
}

/// One field of `/proc/PID/status`, such as `SigIgn` or `Threads`.
pub fn status_field(pid: u32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// Whether it ignores this signal.
pub fn ignores(pid: u32, signal: Signal) -> Option<bool> {
    let mask = u64::from_str_radix(&status_field(pid, "SigIgn")?, 16).ok()?;
    Some(mask >> (signal.as_raw() - 1) & 1 == 1)
}

/// Its command line, with spaces between the arguments.
pub fn command_line(pid: u32) -> Option<String> {
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&words).replace('\0', " ").trim_end().to_owned())
}

/// Whether the environment it was started with has this `NAME=value`.
pub fn has_env(pid: u32, assignment: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|block| block.split(|byte| *byte == 0).any(|entry| entry == assignment.as_bytes()))
}

/// The entries of a folder whose names are numbers, in order.
fn numbers(folder: impl AsRef<Path>) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut numbers: Vec<u32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn line(path: String) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}
