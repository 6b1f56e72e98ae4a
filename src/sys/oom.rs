//! Whether the kernel's out-of-memory killer was at work.
//!
//! Memory cgroups count the kills among their processes. Which group a process was in can still be read when it
//! is dead but not reaped, though not from version 1 of cgroups; there, and for a kill without any cgroup, the
//! count of the whole machine is what is left. That makes the answer a hint: another process may have been
//! the victim.

use std::fs::{self, File};
use std::io::Read;
use std::str;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The counts at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OomCounts {
    /// The file that counts for the group of the process, and its count.
    group: Option<(String, u64)>,
    /// The kills on this machine since it started.
    machine: Option<u64>,
}

impl OomCounts {
    /// The counts that concern this process. What kills in its group is a kill on the machine as well: so while there
    /// was none on the machine, its group is asked only once.
    pub(crate) fn own() -> OomCounts {
        static KNOWN: Mutex<(String, OomCounts)> =
            Mutex::new((String::new(), OomCounts { group: None, machine: None }));
        let (groups, machine) = (groups_of("self"), machine());
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if machine.is_none() || known.1.machine != machine || known.0 != groups {
            let group = group_in(&groups);
            *known = (groups, OomCounts { group, machine });
        }
        known.1.clone()
    }

    /// The counts that concern a process which has not been reaped.
    fn of(pid: u32) -> OomCounts {
        OomCounts { group: group_in(&groups_of(&pid.to_string())), machine: machine() }
    }

    /// Whether the killer struck since then; `self` is of the parent soon after the start of a worker, `pid`
    /// the dead worker. `None` where nothing can be read.
    pub(crate) fn struck_since(&self, pid: u32) -> Option<bool> {
        if self.machine.is_some() && self.machine == machine() {
            return Some(false);
        }
        let again = self.group.as_ref().and_then(|(file, _)| Some((file.clone(), count_in(file)?)));
        let mut last = OomCounts::of(pid);
        // Version 1 shows the root as the group of every dead process.
        last.group.take_if(|(file, _)| !file.ends_with("memory.events"));
        self.differ(&[last, OomCounts { group: again, machine: None }])
    }

    fn differ(&self, after: &[OomCounts]) -> Option<bool> {
        let groups = after.iter().filter_map(|after| after.group.as_ref()).map(|(file, kills)| {
            // In a group of its own the worker came later than its first count, so every kill there counts.
            let before =
                self.group.as_ref().filter(|(before, _)| before == file).map_or(0, |&(_, kills)| kills);
            *kills > before
        });
        let machine = after.iter().filter_map(|after| Some(after.machine? > self.machine?));
        groups.chain(machine).reduce(|one, other| one || other)
    }
}

/// The files that may hold the count, for the lines of `/proc/PID/cgroup`.
fn files(groups: &str) -> impl Iterator<Item = String> + '_ {
    groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let path = path.trim_end_matches(" (deleted)").trim_end_matches('/');
        match controllers {
            "" => Some(format!("/sys/fs/cgroup{path}/memory.events")),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                Some(format!("/sys/fs/cgroup/memory{path}/memory.oom_control"))
            }
            _ => None,
        }
    })
}

fn groups_of(process: &str) -> String {
    fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default()
}

fn group_in(groups: &str) -> Option<(String, u64)> {
    files(groups).find_map(|file| {
        let kills = count_in(&file)?;
        Some((file, kills))
    })
}

/// The kills on this machine that this program has seen.
static SEEN: AtomicU64 = AtomicU64::new(0);

/// The kills that were seen by some time, without a look that takes longer than anybody should have to wait who starts a
/// process: there may have been more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen(u64);

impl Seen {
    pub(crate) fn so_far() -> Seen {
        Seen(SEEN.load(Ordering::Relaxed))
    }

    /// Whether the killer has struck since then, as far as can be told: if there were more kills, they may be from before.
    pub(crate) fn struck_since(self) -> Option<bool> {
        (machine()? == self.0).then_some(false)
    }
}

/// The kills on this machine.
fn machine() -> Option<u64> {
    let kills = count_in("/proc/vmstat")?;
    SEEN.fetch_max(kills, Ordering::Relaxed);
    Some(kills)
}

fn count_in(file: &str) -> Option<u64> {
    // Somebody waits for the report of a death meanwhile: for a heap that grows as well, if this were there.
    let mut text = [0; 16 << 10];
    let (mut file, mut len) = (File::open(file).ok()?, 0);
    while len < text.len() {
        match file.read(&mut text[len..]).ok()? {
            0 => break,
            more => len += more,
        }
    }
    kills(str::from_utf8(&text[..len]).ok()?)
}

fn kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_count_is_found_in_both_versions_of_cgroups() {
        let found: Vec<_> = files("4:memory:/a\n1:cpu,cpuacct:/\n0::/b/c (deleted)\n").collect();
        assert_eq!(found, ["/sys/fs/cgroup/memory/a/memory.oom_control", "/sys/fs/cgroup/b/c/memory.events"]);
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(kills("low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(kills("nothing"), None);
    }

    #[test]
    fn what_was_seen_before_tells_that_there_was_no_kill_and_never_that_there_was_one() {
        let Some(mut kills) = machine() else { return };
        loop {
            let told = Seen(kills).struck_since();
            // Somebody may be killed at this very moment.
            let now = machine().unwrap();
            if now == kills {
                assert_eq!(told, Some(false));
                break;
            }
            kills = now;
        }
        assert!(Seen::so_far().0 >= kills);
        assert_eq!(Seen(u64::MAX).struck_since(), None);
    }

    #[test]
    fn a_kill_is_one_that_came_between_two_counts() {
        let at = |group: &str, kills| OomCounts { group: Some((group.to_owned(), kills)), machine: None };
        let machine = |kills| OomCounts { group: None, machine: Some(kills) };
        assert_eq!(at("/a", 1).differ(&[at("/a", 2)]), Some(true));
        assert_eq!(at("/a", 2).differ(&[at("/a", 2)]), Some(false));
        assert_eq!(at("/a", 2).differ(&[at("/b", 1)]), Some(true), "moved into a group of its own");
        assert_eq!(machine(2).differ(&[machine(3)]), Some(true));
        assert_eq!(machine(2).differ(&[machine(2)]), Some(false));
        assert_eq!(OomCounts::default().differ(&[OomCounts::default()]), None);
    }
}
