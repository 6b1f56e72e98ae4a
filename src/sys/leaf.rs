//! Control groups of a worker's own, for bounds of memory and of the number of processes: one leaf in each
//! hierarchy that has the controller, made by the parent, joined by the worker, removed when it is reaped.
//!
//! Version 2 where it has the controllers and lets us make groups, else version 1. A leaf is named after its parent
//! process, so that the next pool can remove those of a parent that was killed.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::process;

/// What a leaf bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Bytes of memory.
    pub(crate) memory: Option<u64>,
    /// Processes and threads.
    pub(crate) processes: Option<u64>,
}

const NAME: &str = "procpool-";

/// Where leaves are made, and what is written into each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ground {
    /// Directories in which to make a leaf, and what to fill there.
    places: Vec<(PathBuf, Vec<Setting>)>,
}

/// A file of a leaf, what to write into it, and whether it need not exist.
type Setting = (&'static str, String, bool);

impl Ground {
    /// Finds where leaves can be made, by making one.
    pub(crate) fn find(shares: Shares) -> Result<Ground, String> {
        let groups =
            fs::read_to_string("/proc/self/cgroup").map_err(|error| format!("no control groups: {error}"))?;
        let mut reasons = Vec::new();
        for ground in candidates(Path::new("/sys/fs/cgroup"), &groups, shares) {
            ground.clear();
            ground.enable();
            match ground.grow("probe") {
                Ok(leaf) => {
                    leaf.remove();
                    return Ok(ground);
                }
                Err(error) => reasons.push(error),
            }
        }
        let why = reasons.pop().unwrap_or_else(|| "none with these controllers is mounted".to_owned());
        Err(format!("no control group can be made for a worker: {why}"))
    }

    /// Makes a leaf that nobody is in.
    pub(crate) fn grow(&self, name: &str) -> Result<Leaf, String> {
        let mut leaf = Leaf { folders: Vec::new() };
        for (place, files) in &self.places {
            let folder = place.join(format!("{NAME}{}-{name}", std::process::id()));
            let told = |error: io::Error| format!("{}: {error}", folder.display());
            fs::create_dir(&folder).map_err(told)?;
            leaf.folders.push(folder.clone());
            for (file, content, optional) in files {
                let path = folder.join(file);
                // Swap that cannot be bounded is swap that is not counted.
                if *optional && !path.exists() {
                    continue;
                }
                fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        Ok(leaf)
    }

    /// Asks for the controllers in the children of a group of version 2. Refused where processes live in it.
    fn enable(&self) {
        for (place, files) in &self.places {
            if files.iter().any(|(file, ..)| *file == "memory.max" || *file == "pids.max") {
                for controller in ["+memory", "+pids"] {
                    let _ = fs::write(place.join("cgroup.subtree_control"), controller);
                }
            }
        }
    }

    /// Removes the leaves of parents that are dead.
    fn clear(&self) {
        for (place, _) in &self.places {
            for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let parent =
                    name.to_str().and_then(|name| name.strip_prefix(NAME)?.split('-').next()?.parse().ok());
                if parent.is_some_and(|parent: u32| !Path::new(&format!("/proc/{parent}")).exists()) {
                    let _ = fs::remove_dir(entry.path());
                }
            }
        }
    }
}

/// The places to try, best first, for the lines of `/proc/self/cgroup`.
fn candidates(root: &Path, groups: &str, shares: Shares) -> Vec<Ground> {
    let own = |controller: &str| {
        groups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            (controllers.split(',').any(|name| name == controller))
                .then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let mut grounds = Vec::new();
    let unified = [root.to_owned(), root.join("unified")]
        .into_iter()
        .find(|root| root.join("cgroup.controllers").exists());
    if let (Some(root), Some(path)) = (unified, own("")) {
        let mut files = Vec::new();
        if let Some(bytes) = shares.memory {
            files.push(("memory.max", bytes.to_string(), false));
            files.push(("memory.swap.max", "0".to_owned(), true));
            files.push(("memory.oom.group", "1".to_owned(), true));
        }
        files.extend(shares.processes.map(|count| ("pids.max", count.to_string(), false)));
        let own = root.join(path);
        let above = own.parent().filter(|above| above.starts_with(&root)).map(Path::to_owned);
        // Below our own group, which works at the root and in a delegated group without processes; else beside it.
        grounds.extend(
            [Some(own), above]
                .into_iter()
                .flatten()
                .map(|place| Ground { places: vec![(place, files.clone())] }),
        );
    }
    let one = |controller: &str, files: Vec<Setting>| {
        let place = root.join(controller).join(own(controller)?);
        place.exists().then_some((place, files))
    };
    let memory = shares.memory.map(|bytes| {
        let bytes = bytes.to_string();
        one(
            "memory",
            vec![
                ("memory.limit_in_bytes", bytes.clone(), false),
                ("memory.memsw.limit_in_bytes", bytes, true),
            ],
        )
    });
    let processes = shares.processes.map(|count| one("pids", vec![("pids.max", count.to_string(), false)]));
    if let Some(places) = [memory, processes].into_iter().flatten().collect::<Option<Vec<_>>>() {
        grounds.push(Ground { places });
    }
    grounds
}

/// The groups of one worker.
#[derive(Debug)]
pub(crate) struct Leaf {
    folders: Vec<PathBuf>,
}

impl Leaf {
    /// The directories, for the worker to join.
    pub(crate) fn folders(&self) -> Vec<String> {
        self.folders.iter().map(|folder| folder.display().to_string()).collect()
    }

    /// Whether the kernel has killed for want of memory in here.
    pub(crate) fn ran_out_of_memory(&self) -> Option<bool> {
        let count = self.folders.iter().find_map(|folder| {
            let text = ["memory.events", "memory.oom_control"]
                .iter()
                .find_map(|file| fs::read_to_string(folder.join(file)).ok());
            text?.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse::<u64>().ok())
        })?;
        Some(count > 0)
    }

    /// Kills whoever is left in it and removes it.
    pub(crate) fn remove(&self) {
        /// Who is killed may have started others meanwhile, but not for ever.
        const ROUNDS: usize = 10;
        for folder in &self.folders {
            let mut rounds = 0..ROUNDS;
            while fs::remove_dir(folder).is_err() && rounds.next().is_some() && kill_members(folder) {}
        }
    }
}

/// Kills the processes of a control group, and tells whether they have ended.
fn kill_members(folder: &Path) -> bool {
    let members = || -> Vec<u32> {
        let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|pid| pid.parse().ok()).collect()
    };
    let mut found: Vec<_> =
        members().into_iter().filter_map(|pid| Some((pid, process::pidfd(pid).ok()?))).collect();
    // A number that is in the list no more may have been a stranger's when its descriptor was opened.
    let members = members();
    found.retain(|(pid, _)| members.contains(pid));
    found.iter().for_each(|(_, pidfd)| process::kill(pidfd.as_fd()));
    found.iter().all(|(_, pidfd)| process::is_ending(pidfd.as_fd()))
}

impl Drop for Leaf {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn tree(files: &[&str]) -> PathBuf {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("procpool-groups-{}-{number}", std::process::id()));
        for file in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, "").expect("a file");
        }
        root
    }

    const BOTH: Shares = Shares { memory: Some(1000), processes: Some(7) };

    #[test]
    fn version_two_comes_first_below_our_group_then_beside_it() {
        let root = tree(&["cgroup.controllers", "a/b/cgroup.procs"]);
        let found = candidates(&root, "0::/a/b\n", BOTH);
        let places: Vec<_> = found.iter().map(|ground| ground.places[0].0.clone()).collect();
        assert_eq!(places, [root.join("a/b"), root.join("a")]);
        let files: Vec<_> =
            found[0].places[0].1.iter().map(|(file, content, _)| format!("{file}={content}")).collect();
        assert_eq!(files, ["memory.max=1000", "memory.swap.max=0", "memory.oom.group=1", "pids.max=7"]);
        fs::remove_dir_all(root).expect("removed");
    }

    #[test]
    fn version_one_has_a_place_per_controller_and_needs_all_of_them() {
        let root = tree(&["memory/x/cgroup.procs", "pids/y/cgroup.procs"]);
        let groups = "4:memory:/x\n8:pids:/y\n";
        let found = candidates(&root, groups, BOTH);
        assert_eq!(found.len(), 1);
        let places: Vec<_> = found[0].places.iter().map(|(place, _)| place.clone()).collect();
        assert_eq!(places, [root.join("memory/x"), root.join("pids/y")]);
        assert!(candidates(&root, "8:pids:/y\n", BOTH).is_empty(), "no memory controller");
        assert_eq!(candidates(&root, "8:pids:/y\n", Shares { memory: None, processes: Some(1) }).len(), 1);
        fs::remove_dir_all(root).expect("removed");
    }

    #[test]
    fn a_leaf_is_made_filled_and_removed_and_those_of_the_dead_are_cleared() {
        let root = tree(&["memory/x/cgroup.procs"]);
        let place = root.join("memory/x");
        fs::create_dir(place.join("procpool-4294967294-0-1")).expect("a leaf of a dead parent");
        let ground =
            Ground { places: vec![(place.clone(), vec![("memory.swap.max", "0".to_owned(), true)])] };
        ground.clear();
        let leaf = ground.grow("0-1").expect("a leaf");
        assert!(Path::new(&leaf.folders()[0]).exists());
        assert!(ground.grow("0-1").is_err(), "there is one of this name");
        drop(leaf);
        let left: Vec<_> =
            fs::read_dir(&place).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["cgroup.procs"]);
        let missing = Ground { places: vec![(place, vec![("memory.max", "1".to_owned(), false)])] };
        let leaf = missing.grow("0-2").expect("an ordinary folder takes every file");
        fs::remove_file(Path::new(&leaf.folders()[0]).join("memory.max")).expect("removed");
        drop(leaf);
        fs::remove_dir_all(root).expect("removed");
    }
}
