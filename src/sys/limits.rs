//! Bounds that the kernel keeps for a worker, set by the worker itself before anything else runs in it.

use std::io;

use rustix::process::{Resource, Rlimit};
use rustix::thread::CpuSet;
use serde::{Deserialize, Serialize};

/// What is bounded, as a worker is told. Nothing is what the worker inherits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bounds {
    /// Bytes of address space.
    pub(crate) address_space: Option<u64>,
    /// Seconds of CPU time.
    pub(crate) cpu_seconds: Option<u64>,
    pub(crate) open_files: Option<u64>,
    /// Bytes of the largest file it may write.
    pub(crate) file_size: Option<u64>,
    pub(crate) core_dumps: bool,
    pub(crate) nice: Option<i32>,
    /// The CPUs it may run on.
    pub(crate) cpus: Option<Vec<u32>>,
    /// Who dies first when memory runs out.
    pub(crate) oom_score_adj: Option<i32>,
    /// Directories of control groups, to be joined.
    pub(crate) groups: Vec<String>,
}

impl Bounds {
    /// Whether one of them may be one of memory.
    pub(crate) fn are_of_memory(&self) -> bool {
        self.address_space.is_some() || !self.groups.is_empty()
    }
}

/// Puts the calling process under the bounds. The error says which one the system refuses.
pub(crate) fn apply(bounds: &Bounds) -> Result<(), String> {
    for group in &bounds.groups {
        // Zero is whoever writes.
        std::fs::write(format!("{group}/cgroup.procs"), "0")
            .map_err(|error| refused("a control group", &error))?;
    }
    if let Some(nice) = bounds.nice {
        rustix::process::setpriority_process(None, nice).map_err(|errno| refused("nice", &errno.into()))?;
    }
    if let Some(cpus) = &bounds.cpus {
        run_on(cpus).map_err(|error| refused("cpus", &error))?;
    }
    // Lowering it takes rights; where nothing was asked for, what can be had is enough.
    let told = std::fs::write("/proc/self/oom_score_adj", bounds.oom_score_adj.unwrap_or(500).to_string());
    if let (Err(error), Some(_)) = (told, bounds.oom_score_adj) {
        return Err(refused("oom_score_adj", &error));
    }
    dump_cores(bounds.core_dumps);
    // The process is told of the first second over its time by SIGXCPU, and killed at the second.
    let cpu = bounds.cpu_seconds.map(|seconds| (seconds, seconds.saturating_add(1)));
    let same = |bound: Option<u64>| bound.map(|bound| (bound, bound));
    for (name, resource, bound) in [
        ("cpu_time", Resource::Cpu, cpu),
        ("file_size", Resource::Fsize, same(bounds.file_size)),
        ("open_files", Resource::Nofile, same(bounds.open_files)),
        ("address_space", Resource::As, same(bounds.address_space)),
    ] {
        let Some((current, maximum)) = bound else { continue };
        let limit = Rlimit { current: Some(current), maximum: Some(maximum) };
        rustix::process::setrlimit(resource, limit).map_err(|errno| refused(name, &errno.into()))?;
    }
    Ok(())
}

/// The kernel passes over the CPUs that the control group of the process does not have.
fn run_on(cpus: &[u32]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu as usize);
    }
    rustix::thread::sched_setaffinity(None, &set)?;
    if rustix::thread::sched_getaffinity(None)? != set {
        return Err(io::Error::other("this program may not run on some of them"));
    }
    Ok(())
}

/// One byte is too little for any dump, and to a program that takes dumps through a pipe the kernel sends none then;
/// with no bytes at all it would.
fn dump_cores(allowed: bool) {
    let maximum = rustix::process::getrlimit(Resource::Core).maximum;
    let current = if allowed { maximum } else { Some(maximum.map_or(1, |maximum| maximum.min(1))) };
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current, maximum });
}

fn refused(name: &str, error: &io::Error) -> String {
    format!("the system refuses `{name}`: {error}")
}
