//! This process and its descendants, from the process table.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use super::clock::cpu_of_process;

/// A process and all that it and its children started.
#[derive(Clone, Debug)]
pub struct Kin {
    /// Its descendants, without itself.
    pub children: Vec<u32>,
}

impl Kin {
    /// Those of this process, now.
    pub fn now() -> Kin {
        let mut parents = BTreeMap::new();
        for entry in fs::read_dir("/proc").expect("a process table").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            // The name may hold spaces and brackets; what follows its last bracket does not.
            let Some((_, rest)) = stat.rsplit_once(')') else { continue };
            let mut fields = rest.split_whitespace();
            let (state, parent) = (fields.next(), fields.next().and_then(|field| field.parse::<u32>().ok()));
            if let (Some(state), Some(parent)) = (state, parent)
                && state != "Z"
            {
                parents.insert(pid, parent);
            }
        }
        let own = std::process::id();
        let descends = |mut pid: u32| loop {
            match parents.get(&pid) {
                Some(&parent) if parent == own => return true,
                Some(&parent) => pid = parent,
                None => return false,
            }
        };
        Kin { children: parents.keys().copied().filter(|&pid| descends(pid)).collect() }
    }

    /// CPU time that this process and its descendants have used.
    pub fn cpu(&self) -> Duration {
        self.everyone().map(cpu_of_process).sum()
    }

    /// This process first, then its descendants.
    pub fn everyone(&self) -> impl Iterator<Item = u32> {
        std::iter::once(std::process::id()).chain(self.children.iter().copied())
    }
}

/// The threads of a process.
pub fn threads_of(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
