//! Whether the kernel's out-of-memory killer was at work.

use std::fs;

/// The number of OOM kills that the memory cgroup of a process has counted, where that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OomCount {
    group: String,
    kills: u64,
}

/// Reads the count for a process that has not been reaped.
pub(crate) fn count(pid: u32) -> Option<OomCount> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    candidates(&groups).find_map(|(group, file)| {
        let kills = kills(&fs::read_to_string(file).ok()?)?;
        Some(OomCount { group, kills })
    })
}

/// Whether the killer struck between two counts. Two different groups: the process moved, and every kill in
/// its last group counts.
pub(crate) fn struck(before: Option<&OomCount>, after: Option<&OomCount>) -> Option<bool> {
    let after = after?;
    let before = before.filter(|before| before.group == after.group);
    Some(after.kills > before.map_or(0, |before| before.kills))
}

/// The files that may hold the count, for the lines of `/proc/PID/cgroup`.
fn candidates(groups: &str) -> impl Iterator<Item = (String, String)> + '_ {
    groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let path = path.trim_end_matches(" (deleted)").trim_end_matches('/');
        let file = match controllers {
            "" => format!("/sys/fs/cgroup{path}/memory.events"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                format!("/sys/fs/cgroup/memory{path}/memory.oom_control")
            }
            _ => return None,
        };
        Some((path.to_owned(), file))
    })
}

fn kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_count_is_found_in_both_versions_of_cgroups() {
        let files: Vec<_> = candidates("4:memory:/a\n1:cpu,cpuacct:/\n0::/b/c\n").map(|(_, file)| file).collect();
        assert_eq!(files, ["/sys/fs/cgroup/memory/a/memory.oom_control", "/sys/fs/cgroup/b/c/memory.events"]);
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(kills("low 0\nhigh 0\nmax 9\noom 2\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(kills("nothing"), None);
    }

    #[test]
    fn a_kill_is_one_that_came_between_two_counts_of_one_group() {
        let at = |group: &str, kills| OomCount { group: group.to_owned(), kills };
        assert_eq!(struck(Some(&at("/a", 1)), Some(&at("/a", 2))), Some(true));
        assert_eq!(struck(Some(&at("/a", 2)), Some(&at("/a", 2))), Some(false));
        assert_eq!(struck(Some(&at("/a", 2)), Some(&at("/b", 1))), Some(true), "moved into a group of its own");
        assert_eq!(struck(Some(&at("/a", 2)), None), None);
    }
}
