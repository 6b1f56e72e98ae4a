//! When memory runs out the worker dies, not the parent, and the error says why (F09).

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use procpool::{ExitCause, Process, ProcessPoolExecutor, task};

const CGROUP_LIMIT: u64 = 40 << 20;

/// A memory cgroup of the test's own, removed at the end.
struct Group(PathBuf);

impl Group {
    /// `Err` says why there is none.
    fn create() -> Result<Group, String> {
        let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
        let name = format!("memory-test-{}", std::process::id());
        for line in own.lines() {
            let fields: Vec<_> = line.splitn(3, ':').collect();
            let [_, controllers, path] = fields[..] else { continue };
            let (root, limit) = match controllers {
                "" => ("/sys/fs/cgroup", "memory.max"),
                _ if controllers.split(',').any(|one| one == "memory") => {
                    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
                }
                _ => continue,
            };
            let group = Path::new(root).join(path.trim_start_matches('/')).join(&name);
            if fs::create_dir(&group).is_ok() {
                let group = Group(group);
                if fs::write(group.0.join(limit), CGROUP_LIMIT.to_string()).is_ok() {
                    return Ok(group);
                }
            }
        }
        Err("no memory controller in which this user may make a group".to_owned())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Empty once the worker has been reaped.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Moves its worker into the group and uses more than the group may.
#[task]
fn devour(group: &str, bytes: usize) -> usize {
    fs::write(Path::new(group).join("cgroup.procs"), std::process::id().to_string())
        .expect("a move into the group");
    // Swap would only delay the end; pages are touched one by one.
    let mut memory = Vec::new();
    for _ in 0..bytes >> 12 {
        memory.extend_from_slice(&[1_u8; 4096]);
    }
    memory.len()
}

#[task]
fn own_adjustment() -> String {
    fs::read_to_string("/proc/self/oom_score_adj").expect("an adjustment")
}

fn kills_of_the_machine() -> Option<String> {
    let counts = fs::read_to_string("/proc/vmstat").ok()?;
    counts.lines().find(|line| line.starts_with("oom_kill ")).map(str::to_owned)
}

support::isolated! {
    timeout = 60;

    fn the_worker_dies_of_it_and_the_error_names_the_cause() {
        let group = match Group::create() {
            Ok(group) => group,
            Err(reason) => return println!("SKIPPED: {reason}"),
        };
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        let path = group.0.to_str().expect("text");
        let innocent = pool.submit(own_adjustment, ());
        let error = pool.submit(devour, (path, 400 << 20)).result().expect_err("no such memory");
        let exit = error.exit().unwrap_or_else(|| panic!("{error}"));
        assert!(matches!(exit.cause(), ExitCause::Signal { number: libc::SIGKILL, .. }), "{error}");
        assert_eq!(exit.oom(), Some(true), "{error}");
        assert!(error.to_string().contains("out of memory"), "{error}");
        innocent.result().expect("the neighbour");
        pool.submit(own_adjustment, ()).result().expect("the pool goes on");
        pool.shutdown(true).wait();
    }

    fn a_process_of_its_own_dies_of_it_and_its_error_names_the_cause() {
        let group = match Group::create() {
            Ok(group) => group,
            Err(reason) => return println!("SKIPPED: {reason}"),
        };
        let path = group.0.to_str().expect("text");
        let process = Process::new(devour, (path, 400 << 20)).start().expect("a process");
        let error = process.result().expect_err("no such memory");
        assert_eq!(error.exit().unwrap_or_else(|| panic!("{error}")).oom(), Some(true), "{error}");
    }

    fn a_kill_for_another_reason_is_not_called_out_of_memory() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        // Where no group counts, the machine does, and others on it may run out of memory at that moment.
        let told = (0..5).map(|_| {
            let before = kills_of_the_machine();
            let error = pool.submit(kill_itself, ()).result().expect_err("killed");
            (error.exit().expect("a death").oom(), before == kills_of_the_machine())
        });
        let (oom, _) = told.into_iter().find(|&(_, alone)| alone).expect("a kill when nobody ran out of memory");
        assert_ne!(oom, Some(true));
    }

    fn workers_are_chosen_before_their_parent() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let worker: i32 = pool.submit(own_adjustment, ()).result().expect("a value").trim().parse().expect("a number");
        let parent: i32 = fs::read_to_string("/proc/self/oom_score_adj").expect("one").trim().parse().expect("a number");
        assert!(worker > parent, "{worker} > {parent}");
    }
}

#[task]
fn kill_itself() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}
