//! What a process holds, counted before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::eventually::{eventually, holds_within, pause};
use super::{family, procfs};

/// The threads that a process makes once and keeps, and the descriptors that come with each. More than one of
/// a kind is a leak.
const HELPERS: [(&str, &[&str]); 3] = [
    ("async-io", &["anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[timerfd]"]),
    ("async-process", &[]),
    ("procpool-locks", &[]),
];
/// Where a name could outlive its maker.
const NAMED: [&str; 3] = ["/dev/shm", "/tmp", "/run"];
/// How long the end of a process or thread may take to show.
const GRACE: Duration = Duration::from_secs(2);

static BASELINE: Mutex<Option<Census>> = Mutex::new(None);
static OPTED_OUT: AtomicBool = AtomicBool::new(false);

/// What this process holds at one moment.
#[derive(Clone, Debug)]
pub struct Census {
    /// Descriptors and what they lead to.
    pub fds: BTreeMap<u32, String>,
    /// Threads and their names.
    pub threads: BTreeMap<u32, String>,
    /// The other processes of the test by number and start time, zombies included, each with a description.
    pub processes: BTreeMap<(u32, u64), String>,
    /// Paths in `/dev/shm`, `/tmp` and `/run` that are called `procpool…` or contain the test's tag.
    pub names: BTreeSet<PathBuf>,
    /// Resident memory, for the reader of a report and for tests about memory.
    pub rss_kib: u64,
}

impl Census {
    /// Counts now.
    pub fn take() -> Self {
        let own = std::process::id();
        Self {
            fds: procfs::fds(own),
            threads: procfs::threads(own).into_iter().collect(),
            processes: processes(),
            names: names(),
            rss_kib: procfs::rss_kib(own).expect("a running process has memory"),
        }
    }

    /// What is there now and was not there at this census, a line for each thing.
    pub fn leftovers(&self) -> Vec<String> {
        self.compared_with(&Census::take())
    }

    /// Fails with the list of leftovers, unless there are none within 2 s.
    #[track_caller]
    pub fn assert_clean(&self) {
        let mut now = Census::take();
        let clean = holds_within(GRACE, || {
            now = Census::take();
            self.compared_with(&now).is_empty()
        });
        if !clean {
            let lines = self.compared_with(&now).join("\n  ");
            let (before, after) = (self.rss_kib, now.rss_kib);
            panic!(
                "left over after {GRACE:?}:\n  {lines}\n  (resident memory: {before} KiB, then {after} KiB)"
            );
        }
    }

    fn compared_with(&self, now: &Census) -> Vec<String> {
        let mut lines = Vec::new();
        let has = |census: &Census, name: &str| census.threads.values().any(|other| other == name);
        let made_since = |(name, _): &&(&str, &[&str])| has(now, name) && !has(self, name);
        let helpers: Vec<_> = HELPERS.iter().filter(made_since).collect();
        let helper_names = helpers.iter().map(|(name, _)| *name);
        let helper_fds = helpers.iter().flat_map(|(_, targets)| *targets).copied();
        for (fd, target) in surplus(&self.fds, &now.fds, helper_fds) {
            lines.push(format!("fd {fd} -> {target}"));
        }
        // A thread may change its name, and is still the one that was there before.
        let renamed = |(tid, name): (&u32, &String)| (*tid, now.threads.get(tid).unwrap_or(name).clone());
        let threads = self.threads.iter().map(renamed).collect();
        for (tid, name) in surplus(&threads, &now.threads, helper_names) {
            lines.push(format!("thread {tid} ({name})"));
        }
        let new = now.processes.iter().filter(|(key, _)| !self.processes.contains_key(key));
        lines.extend(new.map(|(_, description)| description.clone()));
        lines.extend(now.names.difference(&self.names).map(|path| format!("name {}", path.display())));
        lines
    }

    /// That of a process that has come to rest: a thread that is on its way out, or a file that is read for a moment, counted
    /// as given, would hide a leak later.
    pub fn settled() -> Census {
        let end = Instant::now() + GRACE;
        let mut last = Census::take();
        let mut equal = 0;
        while equal < 3 && Instant::now() < end {
            pause(Duration::from_millis(20));
            let now = Census::take();
            equal = if now.same_as(&last) { equal + 1 } else { 0 };
            last = now;
        }
        last
    }

    /// Whether nothing came or went but memory.
    fn same_as(&self, other: &Census) -> bool {
        self.fds == other.fds && self.threads == other.threads && self.names == other.names
    }
}

/// Runs `warm_up`, waits until its processes are gone, and counts what is there then as given, so that what is
/// made once per process does not count as left over.
#[track_caller]
pub fn warmed_up(warm_up: impl FnOnce()) {
    let before = baseline().expect("`warmed_up` is for the body of an isolated test");
    warm_up();
    eventually("the processes of the warm-up end", Duration::from_secs(10), || {
        processes().keys().all(|key| before.processes.contains_key(key))
    });
    set_baseline(Census::settled());
}

/// Leaves out the census at the end of this test, for a body that leaves something behind on purpose.
pub fn no_census() {
    OPTED_OUT.store(true, Ordering::Relaxed);
}

/// Before the body.
pub(super) fn begin() {
    set_baseline(Census::take());
}

/// After the body.
#[track_caller]
pub(super) fn end() {
    if !OPTED_OUT.load(Ordering::Relaxed) {
        baseline().expect("taken before the body").assert_clean();
    }
}

fn baseline() -> Option<Census> {
    BASELINE.lock().expect("no census panics while it is stored").clone()
}

fn set_baseline(census: Census) {
    *BASELINE.lock().expect("no census panics while it is stored") = Some(census);
}

fn processes() -> BTreeMap<(u32, u64), String> {
    let describe = |process: &procfs::Process| {
        let procfs::Process { pid, parent, state, comm, .. } = process;
        let fate = if *state == 'Z' { " (a zombie: nobody waited for it)" } else { "" };
        let command = procfs::command_line(*pid).unwrap_or_default();
        format!("process {pid} ({comm}), state {state}{fate}, child of {parent}: {command}")
    };
    family::others().iter().map(|process| ((process.pid, process.start), describe(process))).collect()
}

fn names() -> BTreeSet<PathBuf> {
    let tag = family::tag();
    let ours = |name: &str| {
        name.starts_with("procpool") || tag.as_ref().is_some_and(|tag| name.contains(tag.as_str()))
    };
    NAMED
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten())
        .filter(|entry| ours(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect()
}

/// The things of which there are more than before: by text, because a number may be used again and a kind such
/// as `anon_inode:[eventfd]` has no name of its own. Those that also have a new number are the likely ones.
fn surplus<'a>(
    before: &'a BTreeMap<u32, String>,
    now: &'a BTreeMap<u32, String>,
    tolerated: impl Iterator<Item = &'a str>,
) -> Vec<(u32, &'a str)> {
    let mut given: BTreeMap<&str, usize> = BTreeMap::new();
    before
        .values()
        .map(String::as_str)
        .chain(tolerated)
        .for_each(|text| *given.entry(text).or_default() += 1);
    let (known, new): (Vec<_>, Vec<_>) =
        now.iter().partition(|(number, text)| before.get(number) == Some(text));
    let mut found = Vec::new();
    for (number, text) in known.into_iter().chain(new) {
        match given.get_mut(text.as_str()) {
            Some(left) if *left > 0 => *left -= 1,
            _ => found.push((*number, text.as_str())),
        }
    }
    found
}
