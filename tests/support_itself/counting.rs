//! The census finds what is left over, and only that.

use std::fs::{self, File};
use std::io::pipe;
use std::mem::forget;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use crate::support::{
    Census, Signal, eventually, isolated, kill, no_census, procfs, tag, tagged_pids, warmed_up,
};
use crate::{assert_tells, sleeper};

const LIMIT: Duration = Duration::from_secs(10);

/// A thread that stays until the process ends.
fn staying(name: &str) {
    let (ready, started) = mpsc::channel();
    let stay = move || {
        ready.send(()).expect("the test waits");
        loop {
            thread::park();
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(stay).expect("a thread");
    started.recv().expect("a thread that starts");
}

fn leak_an_eventfd() {
    forget(eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd"));
}

/// Asserts that one thing is left over, described by these parts.
#[track_caller]
fn assert_left_over(baseline: &Census, parts: &[&str]) {
    let leftovers = baseline.leftovers();
    assert_eq!(leftovers.len(), 1, "{leftovers:?}");
    assert_tells(&leftovers[0], parts);
}

isolated! {
    fn a_process_that_gives_everything_back_is_clean() {
        let baseline = Census::take();
        let file = File::open("/proc/self/stat").expect("a file");
        let pipe = pipe().expect("a pipe");
        let mut child = sleeper();
        let thread = thread::spawn(thread::park);
        assert_eq!(baseline.leftovers().len(), 5, "{:?}", baseline.leftovers());
        child.kill().expect("a child to kill");
        child.wait().expect("a child to reap");
        thread.thread().unpark();
        thread.join().expect("a thread that ends");
        drop((file, pipe));
        baseline.assert_clean();
    }

    fn what_ends_a_little_later_is_no_leftover() {
        let baseline = Census::take();
        let mut child = sleeper();
        thread::scope(|scope| {
            scope.spawn(|| {
                eventually("the census has begun", LIMIT, || {
                    baseline.leftovers().iter().any(|line| line.contains("(sleep)"))
                });
                child.kill().expect("a child to kill");
                child.wait().expect("a child to reap");
            });
            baseline.assert_clean();
        });
    }

    fn a_replacement_under_the_same_number_is_seen() {
        no_census();
        let first = pipe().expect("a pipe");
        let baseline = Census::take();
        drop(first);
        let second = pipe().expect("a pipe");
        assert_eq!(baseline.leftovers().len(), 2, "{:?}", baseline.leftovers());
        drop(second);
        assert!(baseline.leftovers().is_empty());
    }

    fn a_helper_thread_is_tolerated_once() {
        staying("async-io");
        staying("async-process");
        leak_an_eventfd();
    }

    fn what_the_warm_up_leaves_is_given() {
        warmed_up(|| {
            staying("driver");
            leak_an_eventfd();
            let mut child = sleeper();
            child.kill().expect("a child to kill");
            child.wait().expect("a child to reap");
        });
    }

    fn the_warm_up_waits_for_its_processes() {
        let mut children = Vec::new();
        warmed_up(|| {
            let mut child = sleeper();
            let pid = child.id();
            children.push(pid);
            kill(pid, Signal::STOP);
            thread::spawn(move || {
                eventually("the child is stopped", LIMIT, || procfs::state(pid) == Some('T'));
                child.kill().expect("a child to kill");
                child.wait().expect("a child to reap");
            });
        });
        assert!(!procfs::is_alive(children[0]));
        assert!(tagged_pids().is_empty());
    }

    fn memory_is_counted() {
        let before = Census::take().rss_kib;
        let block = vec![1_u8; 64 << 20];
        assert!(Census::take().rss_kib >= before + (60 << 10));
        assert_eq!(block.len(), 64 << 20);
    }
}

isolated! {
    fn a_thread_left_over_is_found() {
        no_census();
        let baseline = Census::take();
        staying("straggler");
        assert_left_over(&baseline, &["thread ", "(straggler)"]);
    }

    fn a_child_left_over_is_found_alive_and_as_a_zombie() {
        let baseline = Census::take();
        let mut child = sleeper();
        assert_left_over(&baseline, &["(sleep), state ", "sleep 600"]);
        child.kill().expect("a child to kill");
        eventually("the child is a zombie", LIMIT, || procfs::state(child.id()) == Some('Z'));
        assert_left_over(&baseline, &["a zombie: nobody waited for it"]);
        child.wait().expect("a child to reap");
        baseline.assert_clean();
    }

    fn a_daemon_without_the_tag_is_found() {
        let baseline = Census::take();
        let script = "env -i setsid sleep 600 & kill -STOP $$";
        let mut shell = Command::new("sh").args(["-c", script]).spawn().expect("a shell");
        let named = |name: &'static str| baseline.leftovers().into_iter().find(move |line| line.contains(name));
        eventually("the daemon runs", LIMIT, || named("(sleep)").is_some());
        shell.kill().expect("a shell to kill");
        shell.wait().expect("a shell to reap");
        assert_left_over(&baseline, &["(sleep)"]);
        tagged_pids().into_iter().for_each(|pid| kill(pid, Signal::KILL));
        baseline.assert_clean();
    }

    fn names_left_over_are_found() {
        let baseline = Census::take();
        let tag = tag().expect("an isolated test has a tag");
        let folder = format!("/tmp/folder-{tag}");
        fs::create_dir(&folder).expect("a name in the temporary folder");
        assert_left_over(&baseline, &[&format!("name {folder}")]);
        fs::remove_dir(&folder).expect("the name exists");
        // Other tests see this one too, for less long than their census is patient.
        let file = format!("/dev/shm/procpool-from-a-test-{}", std::process::id());
        fs::write(&file, "").expect("a name in shared memory");
        let seen = baseline.leftovers();
        fs::remove_file(&file).expect("the name exists");
        assert!(seen.contains(&format!("name {file}")), "{seen:?}");
    }

    fn a_second_helper_thread_is_found() {
        no_census();
        let baseline = Census::take();
        staying("async-io");
        assert!(baseline.leftovers().is_empty());
        staying("async-io");
        assert_left_over(&baseline, &["(async-io)"]);
    }

    fn a_descriptor_of_a_helper_without_the_helper_is_found() {
        no_census();
        let baseline = Census::take();
        leak_an_eventfd();
        assert_left_over(&baseline, &["-> anon_inode:[eventfd]"]);
    }

    fn a_thread_that_changes_its_name_is_no_new_one() {
        fs::write("/proc/self/comm", "renamed").expect("a process may name itself");
    }
}

fails! {
    fn a_descriptor_left_over_is_found_at_the_end() {
        forget(File::open("/proc/self/stat").expect("a file"));
    } and then |failure| {
        assert_tells(&failure.report, &["left over after 2s", "fd ", "/stat\n"]);
    }

    fn more_than_the_warm_up_left_is_found_at_the_end() {
        let grow = || {
            staying("driver");
            leak_an_eventfd();
        };
        warmed_up(grow);
        grow();
    } and then |failure| {
        assert_eq!(failure.report.matches("(driver)").count(), 1, "{}", failure.report);
        assert_eq!(failure.report.matches("[eventfd]").count(), 1, "{}", failure.report);
    }
}
