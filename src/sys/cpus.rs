//! How many CPUs this process may really use: those it may run on, and the share of time that its control groups
//! leave it. The number of CPUs of the machine is neither.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::thread;

mod cgroup;

/// The number of CPUs that this process can keep busy, at least 1.
pub(crate) fn available() -> usize {
    affinity().min(quota(Path::new("/")).unwrap_or(usize::MAX)).max(1)
}

/// The number of CPUs of the machine that are online, at least 1.
pub(crate) fn online() -> usize {
    // SAFETY: asks for a number and reads no memory.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(online).unwrap_or(1).max(1)
}

/// Whether the machine has a CPU of this number, as far as it tells.
pub(crate) fn exists(cpu: u32) -> bool {
    let folder = Path::new("/sys/devices/system/cpu");
    folder.join(format!("cpu{cpu}")).exists() || !folder.exists()
}

/// What `PROCPOOL_MAX_WORKERS` asks for, if it is set: a positive number, or why it is none.
pub(crate) fn from_override(text: Option<&OsStr>) -> Option<Result<usize, String>> {
    let text = text?;
    Some(match text.to_str().map(str::parse) {
        Some(Ok(workers)) if workers > 0 => Ok(workers),
        _ => Err(format!(
            "PROCPOOL_MAX_WORKERS is {text:?}, which is not a number of workers; set it to a positive integer or unset it"
        )),
    })
}

/// The CPUs that the calling thread may run on, which is what a child of it inherits. Quicker than [`available`].
pub(crate) fn affinity() -> usize {
    match rustix::thread::sched_getaffinity(None) {
        Ok(set) => set.count() as usize,
        // The kernel refuses on machines with more CPUs than the set has room for; the standard library copes.
        Err(_) => thread::available_parallelism().map_or(1, usize::from),
    }
}

/// The tightest CPU quota on any control group from this process's own up to the topmost visible one, in whole CPUs.
/// All files are looked up below `root`. One that is missing or makes no sense limits nothing.
fn quota(root: &Path) -> Option<usize> {
    let read = |path: &Path| fs::read(root.join(path.strip_prefix("/").unwrap_or(path))).ok();
    let mounts = read(Path::new("/proc/self/mountinfo"))?;
    let member = read(Path::new("/proc/self/cgroup"))?;
    cgroup::groups(&mounts, &member)
        .iter()
        .filter_map(|group| match group.version {
            cgroup::Version::One => cgroup::quota_v1(
                &read(&group.path.join("cpu.cfs_quota_us"))?,
                &read(&group.path.join("cpu.cfs_period_us"))?,
            ),
            cgroup::Version::Two => cgroup::quota_v2(&read(&group.path.join("cpu.max"))?),
        })
        .min()
}

#[cfg(test)]
mod test;
