//! Every body in its own process; failures, ends and hangs are told; nothing survives.

use std::io::Error;
use std::process::{Command, exit};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Signal, eventually, isolated, kill, procfs, tag, tagged_pids, tagged_with};
use crate::{abandoned_sleeper, assert_tells, support};

static TOUCHED: AtomicU32 = AtomicU32::new(0);

isolated! {
    fn a_body_runs_in_a_process_of_its_own() {
        assert_eq!(TOUCHED.fetch_add(1, Ordering::Relaxed), 0);
        assert!(tag().is_some());
        assert!(tagged_pids().is_empty());
    }

    /// The same static: a second body in the same process would see the first.
    fn and_so_does_the_next_one() -> Result<(), Error> {
        assert_eq!(TOUCHED.fetch_add(1, Ordering::Relaxed), 0);
        Ok(())
    }

    #[should_panic(expected = "as it should")]
    fn attributes_are_kept() {
        panic!("as it should");
    }

    fn standard_input_is_empty() {
        assert_eq!(std::io::read_to_string(std::io::stdin()).expect("an empty text"), "");
    }

    fn an_orphan_is_still_seen_and_is_reaped_when_it_ends() {
        // The shell ends at once and leaves its child behind, without the tag and in a session of its own.
        let script = "env -i setsid sleep 600 >/dev/null 2>&1 & echo $!";
        let output = Command::new("sh").args(["-c", script]).output().expect("a shell");
        let orphan: u32 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a process number");
        eventually("the orphan is a daemon", Duration::from_secs(5), || {
            procfs::process(orphan).is_some_and(|process| process.comm == "sleep")
        });
        assert_eq!(tagged_pids(), [orphan]);
        assert_ne!(procfs::parent_of(orphan), Some(std::process::id()));
        kill(orphan, Signal::KILL);
        eventually("the orphan is reaped", Duration::from_secs(5), || procfs::state(orphan).is_none());
    }
}

isolated! {
    timeout = 60;
    fn a_limit_of_its_own_is_accepted() {}
}

/// Modules inside modules have their own paths for libtest.
mod inner {
    crate::support::isolated!(
        fn a_body_in_a_module_is_found() {
            assert!(crate::support::tag().is_some());
        }
    );
}

#[test]
fn a_path_that_names_no_test_is_not_a_pass() {
    let limit = Duration::from_secs(30);
    let verdict = support::isolate::verdict("support_itself::no_such_test", limit, || ());
    let report = verdict.expect_err("there is no such test").report;
    assert_tells(&report, &["no_such_test is the path of no test"]);
}

fails! {
    fn a_failure_is_told_with_both_streams() {
        println!("a line on stdout");
        eprintln!("a line on stderr");
        panic!("the reason");
    } and then |failure| {
        let parts = ["a_failure_is_told_with_both_streams", "a line on stdout", "a line on stderr", "the reason"];
        assert_tells(&failure.report, &parts);
        assert_tells(&failure.report, &["ended with exit code 101"]);
    }

    fn an_error_is_a_failure() {
        Err::<(), _>("the error itself")
    } and then |failure| {
        assert_tells(&failure.report, &["the error itself", "returned an error"]);
    }

    fn leaving_through_exit_is_a_failure() {
        exit(0)
    } and then |failure| {
        assert_tells(&failure.report, &["left with exit code 0 before the body had ended"]);
    }

    fn a_deadly_signal_is_told() {
        kill(std::process::id(), Signal::KILL);
    } and then |failure| {
        assert_tells(&failure.report, &["was killed by signal 9"]);
    }

    within 3 s: fn a_hang_is_described_and_ended() {
        abandoned_sleeper();
        std::fs::File::open("/proc/self/stat").map(std::mem::forget).expect("a file");
        println!("before the hang");
        loop {
            std::thread::park();
        }
    } and then |failure| {
        let parts = ["did not end within 3s", "(sleep)", "wchan: ", "syscall: ", "stack: ", "fd 0 -> /dev/null"];
        assert_tells(&failure.report, &parts);
        assert_tells(&failure.report, &["/stat", "before the hang"]);
        let traced = failure.report.contains("\nThread ");
        let skipped = failure.report.contains("stacks: skipped");
        assert!(traced || skipped, "neither stacks nor a reason:\n{}", failure.report);
        assert!(tagged_with(&failure.tag).is_empty());
    }

    within 3 s: fn a_hang_with_stopped_and_stubborn_processes_ends_too() {
        let script = "trap '' TERM INT HUP; setsid sleep 600 & kill -STOP $$";
        let mut shell = Command::new("sh").args(["-c", script]).spawn().expect("a shell");
        shell.wait().expect("it does not end");
    } and then |failure| {
        assert_tells(&failure.report, &["state T", "(sleep)"]);
        assert!(tagged_with(&failure.tag).is_empty());
    }

    fn nothing_survives_a_failure() {
        let child = abandoned_sleeper();
        assert_eq!(tagged_pids(), [child]);
        panic!("with a child");
    } and then |failure| {
        assert_tells(&failure.report, &["with a child"]);
        assert!(tagged_with(&failure.tag).is_empty());
    }

    fn a_process_that_does_not_know_that_it_is_a_worker_starts_no_test() {
        // What a worker would do that fails to recognise itself before `main`.
        let path = "isolation::a_process_that_does_not_know_that_it_is_a_worker_starts_no_test";
        let myself = std::env::current_exe().expect("a path");
        let worker = Command::new(myself).args(["--exact", path, "--nocapture"]).status();
        panic!("{}", worker.expect("an end"));
    } and then |failure| {
        assert_tells(&failure.report, &["does not run here (Strayed)", "exit status: 101"]);
    }
}

/// The grandchild keeps the test's standard output open for ten minutes; nobody waits for it.
#[test]
fn a_grandchild_that_holds_the_output_keeps_nobody_waiting() {
    let started = Instant::now();
    let path = concat!(module_path!(), "::a_grandchild_that_holds_the_output_keeps_nobody_waiting");
    let verdict = support::isolate::verdict(path, Duration::from_secs(30), || {
        support::no_census();
        abandoned_sleeper();
    });
    verdict.expect("a body that opted out may leave a child");
    assert!(started.elapsed() < Duration::from_secs(60));
}
