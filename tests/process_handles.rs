//! Processes leave nothing behind, however their handles are used or dropped, and however many there are (F69).

#![allow(unsafe_code, reason = "a program that ignores SIGCHLD, and one that waits for all children")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use procpool::{
    ExitCause, Process, ProcessStdio, StartError, active_children, cpu_count, current_process,
    parent_process, task,
};
use rustix::process::{WaitOptions, wait};
use support::{Census, Event, FdLimit, Ledger, Signal, eventually, kill, procfs, tagged_pids};

const SOON: Duration = Duration::from_secs(10);
const REAPED: Duration = Duration::from_secs(1);

#[task]
fn square(n: u64) -> u64 {
    n * n
}

#[task]
fn note(ledger: &str, id: u64) {
    Ledger::record(ledger, id, Event::Started);
    thread::sleep(Duration::from_millis(20));
    Ledger::record(ledger, id, Event::Finished);
}

#[task]
fn park() {
    loop {
        thread::park();
    }
}

#[task]
fn nap(milliseconds: u64) {
    thread::sleep(Duration::from_millis(milliseconds));
}

/// What it was born with: descriptors and what they lead to, its group, and whether SIGINT is ignored.
#[task]
fn look() -> (Vec<(u32, String)>, bool, bool, String) {
    let own = std::process::id();
    let group = rustix::process::getpgrp().as_raw_nonzero().get().unsigned_abs();
    let ignores = procfs::ignores(own, Signal::INT).expect("a state");
    let comm = std::fs::read_to_string("/proc/self/comm").expect("a name");
    (procfs::fds(own).into_iter().collect(), group == own, ignores, comm.trim_end().to_owned())
}

/// Writes more than any pipe holds.
#[task]
fn chatter(lines: usize) {
    for line in 0..lines {
        println!("out {line}");
        eprintln!("error {line}");
    }
}

#[task]
fn read_input() -> usize {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::io::stdin(), &mut text).expect("nothing to read")
}

#[task]
fn identity() -> (String, u32, bool, Option<(u32, bool)>) {
    let this = current_process();
    let parent = parent_process().map(|parent| (parent.pid(), parent.is_alive()));
    (this.name(), this.pid(), this.daemon(), parent)
}

support::isolated! {
    fn a_handle_that_is_dropped_leaves_its_process_alone_and_no_zombie() {
        let ledger = Ledger::create();
        for id in 0..10 {
            drop(Process::new(note, (ledger.path().as_str(), id)).start().expect("a process"));
        }
        eventually("all have done their work", SOON, || (0..10).all(|id| ledger.finishes(id) == 1));
        eventually("all have been waited for", REAPED, || tagged_pids().is_empty());
        ledger.assert_ran_exactly_once(0..10);
    }

    fn one_hundred_at_once() {
        let processes: Vec<_> =
            (0..100).map(|n| Process::new(square, n).start().expect("a process")).collect();
        for (n, process) in (0..).zip(processes) {
            assert_eq!(process.result().expect("a value"), n * n);
        }
        assert!(active_children().is_empty());
    }

    fn one_hundred_at_once_killed_by_others() {
        let processes: Vec<_> = (0..100).map(|_| Process::new(park, ()).start().expect("a process")).collect();
        assert_eq!(active_children().len(), 100);
        thread::scope(|scope| {
            // All of them are told to end by three threads, while they start.
            for _ in 0..3 {
                scope.spawn(|| processes.iter().for_each(|process| process.terminate()));
            }
        });
        for process in &processes {
            assert!(process.join_timeout(SOON).is_some(), "{process:?}");
            assert_eq!(process.exitcode(), Some(-15));
        }
        assert!(active_children().is_empty());
    }

    fn the_thread_that_keeps_them_comes_and_goes_with_them() {
        support::warmed_up(|| drop(Process::new(square, 1).start().expect("a process").result()));
        let before = Census::take();
        for n in 0..30 {
            assert_eq!(Process::new(square, n).start().expect("a process").result().expect("a value"), n * n);
        }
        before.assert_clean();
    }

    fn a_process_lives_on_when_the_thread_that_started_it_has_ended() {
        let process = thread::spawn(|| Process::new(nap, 500).daemon(true).start().expect("a process"));
        let process = process.join().expect("no panic");
        assert_eq!(process.join(), ExitCause::Code(0));
        process.result().expect("a value");
    }

    fn a_process_has_what_a_worker_has_and_no_more() {
        let leak = rustix::fs::memfd_create("leak", rustix::fs::MemfdFlags::empty()).expect("a descriptor");
        for daemon in [false, true] {
            let process = Process::new(look, ()).name("a-name-of-some-length").daemon(daemon);
            let seen = process.start().expect("a process").result().expect("a value");
            let (fds, leads, ignores, comm) = seen;
            // Those of reading the list do not count: they are gone when it is read.
            let numbers: Vec<_> = fds.iter().filter(|(_, to)| !to.starts_with("/proc")).map(|(fd, _)| *fd).collect();
            let expected = if daemon { &[0, 1, 2, 500, 501][..] } else { &[0, 1, 2, 500][..] };
            assert_eq!(numbers, expected, "{fds:?}");
            assert!(leads, "it has a group of its own");
            assert!(!ignores, "Ctrl-C does what it always does");
            assert_eq!(comm, "a-name-of-some-");
        }
        drop(leak);
    }

    fn captured_output_needs_no_reader_and_is_all_there() {
        let process = Process::new(chatter, 200_000)
            .stdout(ProcessStdio::Captured)
            .stderr(ProcessStdio::Captured)
            .start()
            .expect("a process");
        let alive_with_output = || process.stdout().is_some_and(|text| !text.is_empty());
        eventually("it can be read while it runs", SOON, alive_with_output);
        assert_eq!(process.join(), ExitCause::Code(0));
        for (text, word) in [(process.stdout(), "out"), (process.stderr(), "error")] {
            let text = String::from_utf8(text.expect("captured")).expect("text");
            let expected: String = (0..200_000).map(|line| format!("{word} {line}\n")).collect();
            assert!(text == expected, "{} bytes of {}", text.len(), expected.len());
        }
        let silent = Process::new(chatter, 3).stdout(ProcessStdio::Null).stderr(ProcessStdio::Null).start();
        let silent = silent.expect("a process");
        assert_eq!((silent.join(), silent.stdout(), silent.stderr()), (ExitCause::Code(0), None, None));
    }

    fn there_is_nothing_to_read_from_the_standard_input() {
        assert_eq!(Process::new(read_input, ()).start().expect("a process").result().expect("a value"), 0);
    }

    fn names_and_parents_are_known_on_both_sides() {
        assert_eq!((current_process().name(), current_process().daemon()), ("MainProcess".to_owned(), false));
        assert!(parent_process().is_none());
        assert!(cpu_count() >= procpool::default_max_workers());
        let first = Process::new(identity, ()).start().expect("a process");
        let second = Process::new(identity, ()).name("second").daemon(true).start().expect("a process");
        assert_eq!((first.name(), second.name()), ("Process-1", "second"));
        let parent = Some((std::process::id(), true));
        for process in [first, second] {
            let told = (process.name().to_owned(), process.pid(), process.daemon(), parent);
            assert_eq!(process.result().expect("a value"), told);
        }
    }

    fn settings_that_make_no_sense_are_errors() {
        let process = || Process::new(square, 1);
        let long = "x".repeat(256);
        for bad in [
            process().name(""),
            process().name("a\0b"),
            process().name(long),
            process().env("A=B", "c"),
            process().env("", "c"),
            process().current_dir("/no/such/place"),
        ] {
            assert!(matches!(bad.start(), Err(StartError::Invalid { .. })));
        }
        assert!(active_children().is_empty());
    }

    fn a_want_of_descriptors_is_an_error_and_leaves_nothing() {
        support::warmed_up(|| drop(Process::new(square, 1).start().expect("a process").result()));
        let before = Census::take();
        let mut started = 0;
        for spare in 0..30 {
            let few = FdLimit::leaving(spare);
            match Process::new(square, 2).stdout(ProcessStdio::Captured).start() {
                Ok(process) => {
                    drop(few);
                    assert_eq!(process.result().expect("a value"), 4);
                    started += 1;
                }
                Err(error) => assert!(matches!(error, StartError::Spawn { .. }), "{error}"),
            }
        }
        assert!(started > 0, "30 are enough");
        before.assert_clean();
    }

    fn a_status_that_somebody_else_has_taken_is_unknown_and_no_hang() {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let process = Process::new(square, 3).start().expect("a process");
        assert_eq!(process.join_timeout(SOON), Some(ExitCause::Unknown));
        assert_eq!(process.exitcode(), Some(255));
        assert_eq!(process.result().expect("the result is its own"), 9);
        // SAFETY: as before.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        // A thread that waits for all children takes some.
        let stolen = Arc::new(AtomicUsize::new(0));
        let enough = Arc::new(AtomicBool::new(false));
        let thief = {
            let (stolen, enough) = (Arc::clone(&stolen), Arc::clone(&enough));
            thread::spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    match wait(WaitOptions::NOHANG) {
                        Ok(Some(_)) => _ = stolen.fetch_add(1, Ordering::Relaxed),
                        _ => thread::yield_now(),
                    }
                }
            })
        };
        let mut unknown = 0;
        eventually("some are stolen", SOON, || {
            let process = Process::new(park, ()).start().expect("a process");
            kill(process.pid(), Signal::KILL);
            let cause = process.join_timeout(SOON).expect("no hang");
            assert!(matches!(cause, ExitCause::Unknown | ExitCause::Signal { number: 9, .. }), "{cause}");
            unknown += usize::from(cause == ExitCause::Unknown);
            process.kill();
            process.terminate();
            unknown >= 3
        });
        enough.store(true, Ordering::Relaxed);
        thief.join().expect("no panic");
        assert!(stolen.load(Ordering::Relaxed) >= unknown);
    }

    fn many_threads_start_processes() {
        thread::scope(|scope| {
            for n in 0..8 {
                scope.spawn(move || {
                    for m in 0..5 {
                        let process = Process::new(square, 10 * n + m).start().expect("a process");
                        assert_eq!(process.result().expect("a value"), (10 * n + m) * (10 * n + m));
                    }
                });
            }
        });
    }
}
