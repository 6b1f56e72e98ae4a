use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::cgroup::{Group, Version, groups, quota_v1, quota_v2};
use super::*;

/// A directory in which files are made, gone when dropped.
struct Root(PathBuf);

impl Root {
    fn new(files: &[(&str, &str)]) -> Root {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("procpool-cpus-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let root = Root(std::env::temp_dir().join(name));
        fs::create_dir(&root.0).unwrap();
        for (path, content) in files {
            let path = root.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    fn quota(&self) -> Option<usize> {
        quota(&self.0)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const MOUNT_2: &str =
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate\n";
const MOUNT_1: &str = "\
    31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
    32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct\n\
    33 31 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n";

fn paths(mounts: &str, member: &str) -> Vec<String> {
    let groups = groups(mounts.as_bytes(), member.as_bytes());
    groups.iter().map(|group| group.path.display().to_string()).collect()
}

#[test]
fn a_thread_that_may_run_on_one_cpu_only_has_one() {
    let pinned = thread::spawn(|| {
        let allowed = rustix::thread::sched_getaffinity(None).unwrap();
        let mut one = rustix::thread::CpuSet::new();
        one.set((0..).find(|cpu| allowed.is_set(*cpu)).unwrap());
        rustix::thread::sched_setaffinity(None, &one).unwrap();
        available()
    });
    assert_eq!(pinned.join().unwrap(), 1);
    assert!((1..=affinity()).contains(&available()));
}

#[test]
fn the_tightest_group_on_the_way_up_decides() {
    let root = Root::new(&[
        ("proc/self/mountinfo", MOUNT_2),
        ("proc/self/cgroup", "0::/a/b/c\n"),
        ("sys/fs/cgroup/a/cpu.max", "250000 100000\n"),
        ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/a/b/c/cpu.max", "800000 100000\n"),
        ("sys/fs/cgroup/a/b/d/cpu.max", "100000 100000\n"),
    ]);
    assert_eq!(root.quota(), Some(3));
}

#[test]
fn the_first_version_is_read_from_the_cpu_controller() {
    let files = [
        ("proc/self/mountinfo", MOUNT_1),
        ("proc/self/cgroup", "3:cpuset:/other\n2:cpuacct,cpu:/jobs/one\n1:name=systemd:/x\n0::/\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_quota_us", "150000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/jobs/cpu.cfs_period_us", "50000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/jobs/one/cpu.cfs_quota_us", "400000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/jobs/one/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpuset/other/cpu.cfs_quota_us", "1\n"),
        ("sys/fs/cgroup/cpuset/other/cpu.cfs_period_us", "1\n"),
    ];
    assert_eq!(Root::new(&files).quota(), Some(3));
}

#[test]
fn both_versions_beside_each_other_count() {
    let both = format!("{MOUNT_1}38 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    let files = [
        ("proc/self/mountinfo", both.as_str()),
        ("proc/self/cgroup", "2:cpu,cpuacct:/\n0::/user\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "500000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/unified/user/cpu.max", "200000\n"),
    ];
    assert_eq!(Root::new(&files).quota(), Some(2));
    assert_eq!(Root::new(&files[..4]).quota(), Some(5));
}

#[test]
fn a_container_sees_its_group_at_the_mount_point() {
    let mount = "9 8 0:29 /docker/1f /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n";
    let member = "4:cpu:/docker/1f/inner\n";
    assert_eq!(paths(mount, member), ["/sys/fs/cgroup/cpu/inner", "/sys/fs/cgroup/cpu"]);
    assert_eq!(paths(mount, "4:cpu:/docker/1f\n"), ["/sys/fs/cgroup/cpu/"]);

    let root = Root::new(&[
        ("proc/self/mountinfo", mount),
        ("proc/self/cgroup", member),
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000"),
        ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000"),
        ("sys/fs/cgroup/cpu/docker/1f/cpu.cfs_quota_us", "1000000"),
        ("sys/fs/cgroup/cpu/docker/1f/cpu.cfs_period_us", "100000"),
    ]);
    assert_eq!(root.quota(), Some(1));
}

#[test]
fn a_mount_of_a_group_that_is_not_ours_says_nothing() {
    let mount = "9 8 0:29 /docker/1f /m rw - cgroup2 cgroup2 rw\n";
    assert!(paths(mount, "0::/docker/1f2\n").is_empty());
    assert!(paths(mount, "0::/docker\n").is_empty());
    assert!(paths(MOUNT_2, "0::/../sibling\n").is_empty());
}

#[test]
fn a_mount_from_above_our_namespace_holds_as_a_whole() {
    let mount = "9 8 0:29 /../.. /m rw - cgroup2 cgroup2 rw\n";
    assert_eq!(paths(mount, "0::/own\n"), ["/m/"]);
    assert_eq!(paths(mount, "0::/../own\n"), ["/m/"]);
    assert_eq!(paths(mount, "0::/../../own\n"), ["/m/own", "/m"]);
    assert!(paths(mount, "0::/../../../own\n").is_empty());
}

#[test]
fn only_the_topmost_mount_on_a_directory_is_seen() {
    let hidden = format!("{MOUNT_2}40 30 0:50 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n");
    assert!(paths(&hidden, "0::/a\n").is_empty());
    let replaced = format!("{MOUNT_2}40 30 0:26 /a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    assert_eq!(paths(&replaced, "0::/a/b\n"), ["/sys/fs/cgroup/b", "/sys/fs/cgroup"]);
}

#[test]
fn mount_points_with_blanks_and_bytes_that_are_no_text_are_found() {
    let mount = b"9 8 0:29 / /m\\040\\134x\\0 rw - cgroup2 cgroup2 rw\n";
    let expected =
        Group { version: Version::Two, path: PathBuf::from(OsStr::from_bytes(b"/m \\x\\0/\xff:y")) };
    assert_eq!(groups(mount, b"0::/\xff:y\n")[0], expected);
}

#[test]
fn without_files_or_sense_there_is_no_limit() {
    assert_eq!(Root::new(&[]).quota(), None);
    assert_eq!(Root::new(&[("proc/self/mountinfo", MOUNT_2)]).quota(), None);
    assert_eq!(Root::new(&[("proc/self/cgroup", "0::/\n")]).quota(), None);
    assert_eq!(Root::new(&[("proc/self/mountinfo", MOUNT_2), ("proc/self/cgroup", "0::/\n")]).quota(), None);
    let half = [
        ("proc/self/mountinfo", MOUNT_1),
        ("proc/self/cgroup", "2:cpu:/\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "1000\n"),
    ];
    assert_eq!(Root::new(&half).quota(), None);
    for junk in ["", "\n\n", "- - -", "1 2 3", "9 8 0:29 / /m rw - cgroup2", "::::", "0::"] {
        assert!(paths(junk, "0::/\n").is_empty(), "{junk:?}");
        assert!(paths(MOUNT_2, junk).len() <= 1, "{junk:?}");
    }
}

#[test]
fn quotas_are_rounded_up_to_whole_cpus() {
    for (content, expected) in [
        ("100000 100000\n", Some(1)),
        ("100001 100000\n", Some(2)),
        ("1 100000\n", Some(1)),
        ("1600000 100000", Some(16)),
        ("50000", Some(1)),
        ("max 100000\n", None),
        ("max", None),
        ("0 100000", None),
        ("1000 0", None),
        ("-5 100000", None),
        ("a b", None),
        ("99999999999999999999 1", None),
        ("", None),
    ] {
        assert_eq!(quota_v2(content.as_bytes()), expected, "{content:?}");
    }
    assert_eq!(quota_v1(b"-1\n", b"100000\n"), None);
    assert_eq!(quota_v1(b"250000\n", b"100000\n"), Some(3));
    assert_eq!(quota_v1(b"\xff", b"100000\n"), None);
    assert_eq!(quota_v1(b"250000", b""), None);
}

#[test]
fn the_override_is_a_positive_integer_or_an_explanation() {
    assert_eq!(from_override(None), None);
    assert_eq!(from_override(Some(OsStr::new("12"))), Some(Ok(12)));
    for text in ["", "0", "-1", "1.5", "four", " 4", "99999999999999999999999"] {
        let message = from_override(Some(OsStr::new(text))).unwrap().unwrap_err();
        assert!(message.contains(&format!("{text:?}")) && message.contains("positive integer"), "{message}");
    }
    let message = from_override(Some(OsStr::from_bytes(b"\xff"))).unwrap().unwrap_err();
    assert!(message.contains(r#""\xFF""#), "{message}");
}
