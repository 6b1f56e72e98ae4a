//! Looks at the world are right about it, and pushes move it.

use std::fs::File;
use std::io::{Read, pipe};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::support::{FdLimit, Signal, eventually, hog, isolated, kill, procfs, tagged_pids};
use crate::{assert_tells, sleeper};

const LIMIT: Duration = Duration::from_secs(10);

isolated! {
    fn a_process_is_alive_then_stopped_then_a_zombie_then_gone() {
        let own = std::process::id();
        let mut child = sleeper();
        let pid = child.id();
        assert!(procfs::is_alive(pid));
        assert_eq!(procfs::parent_of(pid), Some(own));
        assert_eq!(procfs::children_of(own), [pid]);
        assert_eq!(tagged_pids(), [pid]);
        kill(pid, Signal::STOP);
        eventually("the child is stopped", LIMIT, || procfs::state(pid) == Some('T'));
        assert!(procfs::is_alive(pid));
        kill(pid, Signal::KILL);
        eventually("the child is a zombie", LIMIT, || procfs::state(pid) == Some('Z'));
        assert!(!procfs::is_alive(pid));
        assert_eq!(procfs::children_of(own), [pid]);
        child.wait().expect("a child to reap");
        assert!(!procfs::is_alive(pid));
        assert_eq!(procfs::state(pid), None);
        assert!(procfs::children_of(own).is_empty());
        assert!(procfs::threads(pid).is_empty());
    }

    fn a_name_with_spaces_and_parentheses_is_read() {
        std::fs::write("/proc/self/comm", "a) (b) S 1").expect("a process may name itself");
        let (sender, receiver) = mpsc::channel();
        let named = thread::Builder::new().name("x) Z".to_owned()).spawn(move || receiver.recv()).expect("a thread");
        let process = procfs::process(std::process::id()).expect("this process");
        assert_eq!(process.parent, std::os::unix::process::parent_id());
        assert_eq!(process.comm, "a) (b) S 1");
        assert!("RSD".contains(process.state), "{process:?}");
        eventually("the thread has its name", LIMIT, || {
            procfs::threads(std::process::id()).iter().any(|(_, name)| name == "x) Z")
        });
        sender.send(()).expect("the thread waits");
        named.join().expect("a thread that ends").expect("a message");
    }

    fn a_thread_that_sleeps_in_the_kernel_is_seen_there() {
        let own = std::process::id();
        let (mut end, other) = pipe().expect("a pipe");
        assert!(!procfs::sleeps_in(own, "pipe"));
        let reader = thread::spawn(move || end.read(&mut [0]));
        eventually("the reader sleeps in a pipe", LIMIT, || procfs::sleeps_in(own, "pipe"));
        drop(other);
        assert_eq!(reader.join().expect("a thread that ends").expect("the end of a pipe"), 0);
        assert!(!procfs::sleeps_in(own, "pipe"));
    }

    fn status_fields_are_read() {
        let own = std::process::id();
        assert_eq!(procfs::status_field(own, "Tgid"), Some(own.to_string()));
        assert_eq!(procfs::status_field(own, "Tg"), None);
        assert!(procfs::rss_kib(own).is_some_and(|kib| kib > 100));
        assert_eq!(procfs::ignores(own, Signal::PIPE), Some(true));
        let mut child = Command::new("sh").args(["-c", "trap '' USR1; kill -STOP $$"]).spawn().expect("a shell");
        eventually("the shell is stopped", LIMIT, || procfs::state(child.id()) == Some('T'));
        assert_eq!(procfs::ignores(child.id(), Signal::USR1), Some(true));
        assert_eq!(procfs::ignores(child.id(), Signal::USR2), Some(false));
        child.kill().expect("a child to kill");
        child.wait().expect("a child to reap");
        assert_eq!(procfs::ignores(child.id(), Signal::USR1), None);
    }

    fn a_fact_that_comes_true_is_enough() {
        let mut looks = 0;
        eventually("the third look", LIMIT, || {
            looks += 1;
            looks == 3
        });
        assert_eq!(looks, 3);
    }

    fn a_hog_burns_time_until_it_is_dropped() {
        let spent = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).expect("a time");
        let before = spent();
        let hog = hog();
        eventually("the hog burns", LIMIT, || spent() > before + Duration::from_millis(100));
        drop(hog);
        assert!(procfs::threads(std::process::id()).iter().all(|(_, name)| name != "hog"));
    }

    fn a_limit_leaves_exactly_so_many_descriptors() {
        let open = || File::open("/dev/null");
        let before = getrlimit(Resource::Nofile);
        // A hole among the numbers counts as free.
        let files: Vec<File> = (0..5).map(|_| open().expect("no limit yet")).collect();
        let kept: Vec<File> = files.into_iter().enumerate().filter(|(at, _)| at % 2 == 0).map(|(_, f)| f).collect();
        for free in [0, 1, 3, 10] {
            let limit = FdLimit::leaving(free);
            let got: Vec<File> = (0..free).map(|_| open().expect("still one free")).collect();
            let error = open().expect_err("none is free");
            assert_eq!(error.raw_os_error(), Some(Errno::MFILE.raw_os_error()));
            drop(got);
            assert_eq!((0..=free).filter_map(|_| open().ok().map(std::mem::forget)).count(), free);
            drop(limit);
            assert_eq!(getrlimit(Resource::Nofile), before);
            open().expect("no limit any more");
            crate::support::no_census();
        }
        drop(kept);
    }
}

fails! {
    fn a_fact_that_never_comes_true_is_named() {
        eventually("pigs fly", Duration::from_millis(50), || false);
    } and then |failure| {
        assert_tells(&failure.report, &["not within 50ms: pigs fly", "world.rs"]);
    }

    fn a_signal_for_nobody_is_told() {
        let mut child = sleeper();
        child.kill().expect("a child to kill");
        child.wait().expect("a child to reap");
        kill(child.id(), Signal::TERM);
    } and then |failure| {
        assert_tells(&failure.report, &["did not reach process"]);
    }
}
