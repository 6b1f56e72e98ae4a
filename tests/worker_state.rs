//! What a task finds around it: the environment and the directory it was promised, no descriptor too many, and
//! signals as `main` would have them.

mod fixtures;
mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use procpool::{Builder, ProcessPoolExecutor, StartError, TaskErrorKind, task};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Ledger, Signal, eventually, procfs};

#[task]
fn environment() -> BTreeMap<String, String> {
    std::env::vars().collect()
}

#[task]
fn directory() -> String {
    std::env::current_dir().expect("it exists").display().to_string()
}

/// The descriptors of the worker and what they lead to.
#[task]
fn open_descriptors() -> BTreeMap<u32, String> {
    procfs::fds(std::process::id())
}

/// The same, from so many workers at once: none goes on before all have begun.
#[task]
fn descriptors_of_one_of(register: &str, workers: usize) -> (u32, BTreeMap<u32, String>) {
    let mut file =
        OpenOptions::new().append(true).open(register).expect("the file of a test that still runs");
    file.write_all(b"here\n").expect("room for a line");
    drop(file);
    eventually("the other workers are there", Duration::from_secs(20), || {
        fs::read_to_string(register).is_ok_and(|lines| lines.lines().count() == workers)
    });
    (std::process::id(), open_descriptors())
}

/// Masks of signals that are ignored and blocked: in the worker, and in a command that it starts.
#[task]
fn signals() -> [[String; 2]; 2] {
    let own =
        ["SigIgn", "SigBlk"].map(|field| procfs::status_field(std::process::id(), field).expect("a field"));
    let output = Command::new("cat").arg("/proc/self/status").output().expect("it starts");
    let status = String::from_utf8_lossy(&output.stdout).into_owned();
    let field =
        |name| status.lines().find_map(|line| line.strip_prefix(name)).expect("a field").trim().to_owned();
    [own, [field("SigIgn:"), field("SigBlk:")]]
}

#[task]
fn ignores_broken_pipes() -> bool {
    procfs::ignores(std::process::id(), Signal::PIPE).expect("a running process")
}

fn pool(change: impl FnOnce(Builder) -> Builder) -> ProcessPoolExecutor {
    change(ProcessPoolExecutor::builder().max_workers(1)).build().expect("a pool")
}

/// The numbers of the standard descriptors, and where the others lead to, without what differs from run to run.
fn told(descriptors: BTreeMap<u32, String>) -> (Vec<u32>, Vec<String>) {
    let (standard, more): (Vec<_>, Vec<_>) = descriptors.into_iter().partition(|(fd, _)| *fd <= 2);
    assert_eq!(standard[0].1, "/dev/null", "standard input");
    let mut targets: Vec<String> =
        more.into_iter().map(|(_, target)| target.replace(|c: char| c.is_ascii_digit(), "")).collect();
    targets.sort();
    (standard.into_iter().map(|(fd, _)| fd).collect(), targets)
}

/// The standard streams, the parent's descriptor, the channel.
fn expected() -> (Vec<u32>, Vec<String>) {
    (vec![0, 1, 2], vec!["anon_inode:[pidfd]".to_owned(), "socket:[]".to_owned()])
}

support::isolated! {
    fn the_environment_is_ours_with_the_changes_of_the_builder() {
        let own: BTreeMap<_, _> = std::env::vars().collect();
        assert!(own.contains_key("PATH") && !own.contains_key("ADDED"), "{own:?}");
        assert_eq!(pool(|builder| builder).submit(environment, ()).result().expect("a value"), own);

        let changed = pool(|builder| builder.env("ADDED", "a=b c").env_remove("PATH").env("HOME", ""));
        let mut wanted = own.clone();
        wanted.remove("PATH");
        wanted.extend([("ADDED", "a=b c"), ("HOME", "")].map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(changed.submit(environment, ()).result().expect("a value"), wanted);

        let cleared = pool(|builder| builder.env("BEFORE", "1").env_clear().env("AFTER", "2"));
        let wanted = BTreeMap::from([("AFTER".to_owned(), "2".to_owned())]);
        assert_eq!(cleared.submit(environment, ()).result().expect("a value"), wanted);
    }

    fn bytes_that_are_no_text_pass_through_the_environment() {
        use std::os::unix::ffi::OsStrExt;
        let pool = pool(|builder| builder.env("BYTES", OsStr::from_bytes(b"\xff\x01")));
        assert_eq!(pool.submit(variable_bytes, "BYTES").result().expect("a value"), Some(b"\xff\x01".to_vec()));
    }

    fn our_marker_cannot_be_set_through_the_builder() {
        let pool = pool(|builder| builder.env("PROCPOOL_WORKER", "mine").env_remove("PROCPOOL_WORKER"));
        assert_eq!(pool.submit(variable_bytes, "PROCPOOL_WORKER").result().expect("a worker all the same"), None);
    }

    fn the_directory_is_ours_or_the_one_of_the_builder() {
        let own = std::env::current_dir().expect("it exists").display().to_string();
        assert_eq!(pool(|builder| builder).submit(directory, ()).result().expect("a value"), own);
        let other = pool(|builder| builder.current_dir("/").env("PWD", "/elsewhere"));
        assert_eq!(other.submit(directory, ()).result().expect("a value"), "/");
        // A relative one counts from where we are.
        assert_eq!(pool(|builder| builder.current_dir("tests")).submit(directory, ()).result().expect("a value"), format!("{own}/tests"));
    }

    fn a_worker_has_its_standard_streams_its_channel_and_nothing_else() {
        // Descriptors that programs of ours inherit: those of C libraries, and what others left to us.
        let open = |_| rustix::fs::open("/etc/passwd", OFlags::RDONLY, Mode::empty()).expect("it is there");
        let inheritable: Vec<OwnedFd> = (0..20).map(open).collect();
        let seen = Command::new("ls").args(["-l", "/proc/self/fd"]).output().expect("it starts");
        assert_eq!(String::from_utf8_lossy(&seen.stdout).matches("/etc/passwd").count(), inheritable.len());

        const WORKERS: usize = 8;
        let ledger = Ledger::create();
        let pool = ProcessPoolExecutor::builder().max_workers(WORKERS).build().expect("a pool");
        let path = ledger.path();
        let submit = |_| pool.submit(descriptors_of_one_of, (path.as_str(), WORKERS));
        let futures: Vec<_> = (0..WORKERS).map(submit).collect();
        let mut workers: Vec<_> = futures.into_iter().map(|future| future.result().expect("a value")).collect();
        workers.sort_by_key(|(pid, _)| *pid);
        workers.dedup_by_key(|(pid, _)| *pid);
        assert_eq!(workers.len(), WORKERS);
        for (pid, descriptors) in workers {
            let all = format!("{descriptors:?}");
            assert_eq!(told(descriptors), expected(), "worker {pid}: {all}");
        }
        assert!(inheritable.iter().all(|fd| fd.as_raw_fd() > 2));
    }

    fn what_a_worker_replaces_is_as_clean() {
        let pool = pool(|builder| builder.max_tasks_per_child(1));
        for _ in 0..3 {
            assert_eq!(told(pool.submit(open_descriptors, ()).result().expect("a value")), expected());
        }
    }

    fn signals_are_as_main_would_have_them() {
        let pool = pool(|builder| builder);
        assert!(pool.submit(ignores_broken_pipes, ()).result().expect("a value"));
        let [own, command] = pool.submit(signals, ()).result().expect("a value");
        let ours = ["SigIgn", "SigBlk"].map(|field| procfs::status_field(std::process::id(), field).expect("a field"));
        assert_eq!(own, ours, "ignored and blocked signals are those of an ordinary process of this program");
        // SIGPIPE and SIGINT are bits 12 and 1.
        let mask = |hex: &str| u64::from_str_radix(hex, 16).expect("a mask");
        // Who runs the tests in the background may have them ignore SIGINT, and so does all that they start.
        let inherited = mask(&ours[0]) & (1 << 1);
        assert_eq!(mask(&command[0]) & (1 << 12 | 1 << 1), inherited, "a command of a task can be interrupted, and ends with its reader");
        assert_eq!(mask(&command[1]), 0, "nothing is blocked in it");
    }
}

#[task]
fn variable_bytes(name: &str) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    std::env::var_os(name).map(OsStringExt::into_vec)
}

/// Descriptors that have to be possible for the test about thousands of them.
const MANY: u64 = 9_000;

#[test]
fn thousands_of_inheritable_descriptors_are_kept_away_or_refused() {
    let path = concat!(module_path!(), "::thousands_of_inheritable_descriptors_are_kept_away_or_refused");
    if getrlimit(Resource::Nofile).maximum.is_some_and(|most| most < MANY) {
        return fixtures::skip(path, "this process may not have so many descriptors");
    }
    support::isolate::run(path, Duration::from_secs(30), thousands);
}

fn thousands() {
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(MANY), ..before }).expect("not above the maximum");
    let open = || rustix::fs::open("/etc/passwd", OFlags::RDONLY, Mode::empty()).expect("a free number");
    let mut inheritable: Vec<OwnedFd> = (0..2_000).map(|_| open()).collect();
    let first = pool(|builder| builder);
    assert_eq!(told(first.submit(open_descriptors, ()).result().expect("a value")), expected());
    inheritable.extend((2_000..8_000).map(|_| open()));
    let error = match ProcessPoolExecutor::builder().max_workers(1).build() {
        Ok(pool) => match pool.submit(open_descriptors, ()).result().expect_err("too many").kind() {
            TaskErrorKind::PoolBroken(error) => error.clone(),
            other => panic!("{other:?}"),
        },
        // A template is started at once.
        Err(error) => error,
    };
    let StartError::Invalid { message, .. } = error else { panic!("{error}") };
    assert!(message.starts_with("80") && message.contains("close-on-exec"), "{message}");
    drop(inheritable);
}
