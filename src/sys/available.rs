//! How much memory there can be. To ask the kernel for more is no error where memory is overcommitted, as it usually is:
//! somebody is killed then, and it need not be who asked.

use std::{fs, io};

/// Less than this is not worth the look.
const LITTLE: u64 = 1 << 20;

/// Whether so many bytes of memory can be had, as far as one can know in advance: others may take them first. True where
/// nothing is known.
fn can_have(bytes: u64) -> bool {
    bytes < LITTLE || bytes <= limit().min(free())
}

/// An error where [`can_have`] says no: the kernel would give page after page until there is none left for anybody.
pub(crate) fn check(bytes: usize) -> io::Result<()> {
    if can_have(bytes as u64) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::OutOfMemory, "more bytes than there is memory for"))
}

/// What the machine can give without pushing anybody out.
fn free() -> u64 {
    let Ok(text) = fs::read_to_string("/proc/meminfo") else { return u64::MAX };
    in_meminfo(&text).unwrap_or(u64::MAX)
}

fn in_meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// What the control groups of this process may use.
fn limit() -> u64 {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    files(&groups)
        .filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok())
        .min()
        .unwrap_or(u64::MAX)
}

/// The files that may hold a limit, for the lines of `/proc/self/cgroup`. In a container the group is the topmost one that
/// is mounted, whatever its name is outside.
fn files(groups: &str) -> impl Iterator<Item = String> + '_ {
    groups.lines().flat_map(|line| {
        let path = line.splitn(3, ':').nth(2).unwrap_or("").trim_end_matches('/');
        let inside = [path, ""];
        inside.into_iter().flat_map(move |path| {
            [
                format!("/sys/fs/cgroup{path}/memory.max"),
                format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"),
            ]
        })
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_nobody_has_cannot_be_had() {
        assert!(can_have(0) && can_have(4096) && can_have(LITTLE));
        assert!(!can_have(1 << 62) && !can_have(u64::MAX));
    }

    #[test]
    fn the_kernels_files_are_read() {
        assert_eq!(in_meminfo("MemFree:  1 kB\nMemAvailable:   24114040 kB\n"), Some(24_114_040 << 10));
        assert_eq!(in_meminfo("MemFree: 1 kB\n"), None);
        let files: Vec<_> = files("4:memory:/a/b\n0::/\n").collect();
        assert!(files.contains(&"/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes".to_owned()));
        assert!(files.contains(&"/sys/fs/cgroup/memory.max".to_owned()), "{files:?}");
        assert!(free() > 0 && limit() > 0);
    }
}
