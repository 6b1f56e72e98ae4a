//! Workers that are copies of the program have what it had loaded and nothing else of it, and are workers like others.

#![allow(unsafe_code, reason = "signals, exit handlers, crashes and threads as the system has them")]

#[path = "fork_start/programs.rs"]
mod programs;
mod support;
#[path = "fork_start/tasks.rs"]
mod tasks;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use procpool::{Process, ProcessPoolExecutor, StartError, StartMethod, task};
use support::{Signal, eventually, kill, procfs, tagged_pids};

use tasks::{PROGRAM, forks, look};

const SOON: Duration = Duration::from_secs(10);
const ORPHAN: Duration = Duration::from_secs(2);

/// A program with one thread, of `fork_start/programs.rs`.
fn program(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test knows its path"));
    command.env(PROGRAM, name).env("RUST_BACKTRACE", "0").stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Runs it to its end, which must be a good one, with this to read.
#[track_caller]
fn run_with(name: &str, variable: impl AsRef<OsStr>, input: &str) -> String {
    let mut child = program(name).env("VARIABLE", variable).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("room in the pipe");
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name}: {}: {said}", output.status);
    assert_eq!(tagged_pids(), Vec::<u32>::new(), "{name}: it has left them");
    said
}

#[track_caller]
fn run(name: &str) -> String {
    run_with(name, "", "")
}

/// A program that runs until it is killed, and the line that it says when it is ready.
struct Running {
    child: Child,
    line: String,
}

impl Running {
    #[track_caller]
    fn of(name: &str) -> Running {
        let mut child = program(name).spawn().expect("it starts");
        let (mut line, mut byte) = (Vec::new(), [0]);
        let stdout = child.stdout.as_mut().expect("a pipe");
        while stdout.read(&mut byte).expect("a pipe can be read") == 1 && byte != *b"\n" {
            line.extend(byte);
        }
        Running { child, line: String::from_utf8(line).expect("text") }
    }

    fn pids(&self) -> Vec<u32> {
        self.line.split_whitespace().map(|pid| pid.parse().expect("a number")).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process of its own finds that builds such a pool.
#[task]
fn build_below() -> (String, u32, String) {
    let pool = forks().max_workers(1).build().expect("a process that is no daemon has one thread");
    let found = pool.submit(look, ()).result().expect("a value");
    let error = pool.submit(tasks::fail, "double panic").result().expect_err("a death");
    pool.shutdown(true).wait();
    (found.name, found.parent.expect("it lives"), error.to_string())
}

#[task]
fn refused() -> String {
    forks().build().expect_err("a worker of a pool keeps a vigil").to_string()
}

support::isolated! {
    fn what_was_loaded_before_is_there_and_what_came_after_is_not() {
        run("globals");
    }

    fn memory_that_was_filled_before_is_shared_by_all_workers() {
        run("memory");
    }

    fn a_worker_has_the_surroundings_of_a_worker() {
        // The program's own input is not for its workers, nor what it registered for its exit.
        let said = run_with("surroundings", "of the program", "for main only\n");
        assert_eq!(said, "begun, ended, exit handler\n", "what was printed before is printed once");
    }

    fn what_workers_write_is_kept_apart_from_what_the_program_writes() {
        let said = run("output");
        assert!(said.contains("begun, of the program") && !said.contains("worker"), "{said}");
    }

    fn the_programs_files_are_closed_for_its_workers_and_their_numbers_stay_taken() {
        run("files");
    }

    fn shared_memory_of_the_program_is_there_in_its_workers() {
        run("shared");
    }

    fn each_way_to_fail_is_told_costs_one_task_and_the_worker_is_replaced() {
        run("failures");
    }

    fn a_signal_that_comes_while_the_copy_is_made_is_the_programs() {
        run("signals");
    }

    fn after_one_pool_there_can_be_another() {
        run("one after another");
    }

    fn a_pool_outlives_the_thread_that_has_built_it() {
        run("main thread ends");
    }

    fn a_template_that_dies_takes_no_worker_along_and_is_not_replaced() {
        run("template dies");
    }

    fn a_template_that_is_stopped_for_long_owes_no_worker_afterwards() {
        run("template stops");
    }

    fn what_cannot_be_loaded_is_the_error_of_build() {
        run("preload");
    }

    fn all_is_gone_when_the_program_dies() {
        for (name, there) in [("busy and idle", 3), ("stopped", 3), ("loads for ever", 1)] {
            let mut program = Running::of(name);
            let family = tagged_pids();
            assert_eq!(family.len(), there + 1, "{name}: the program, the template and the workers");
            for pid in program.pids() {
                kill(pid, Signal::STOP);
                eventually("it is stopped", SOON, || procfs::state(pid) == Some('T'));
            }
            program.child.kill().expect("it runs");
            program.child.wait().expect("it ends");
            eventually("all are gone", ORPHAN, || tagged_pids().is_empty());
        }
    }

    fn a_process_with_more_threads_is_refused_and_told_why() {
        // A test runs on a thread of its own.
        let threads = procfs::threads(std::process::id());
        let error = forks().build().expect_err("a copy would be of one thread only");
        let StartError::Invalid { message, .. } = &error else { panic!("{error:?}") };
        assert!(message.starts_with(&format!("this program has {} threads (", threads.len())), "{message}");
        assert!(threads.iter().all(|(_, name)| message.contains(name.as_str())), "{message}");
        for way in ["before any other thread", "StartMethod::ForkServer", "preload"] {
            assert!(message.contains(way), "{message}");
        }
        assert_eq!(tagged_pids(), Vec::<u32>::new());
    }

    fn a_worker_of_a_pool_cannot_build_one_and_a_process_of_its_own_can() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let message = pool.submit(refused, ()).result().expect("a value");
        assert!(message.contains("2 threads") && message.contains("procpool-vigil"), "{message}");
        pool.shutdown(true).wait();

        let process = Process::new(build_below, ()).daemon(false).start().expect("a process");
        let pid = process.pid();
        let (name, parent, error) = process.result().expect("a value");
        // It is a worker, and none of the things that the process was of which it is a copy.
        assert_eq!((name.as_str(), parent), ("PoolWorker-1", pid));
        assert!(error.contains("and once more"), "last words are the worker's own: {error}");
    }

    fn the_start_method_does_not_go_with_others() {
        assert!(matches!(forks().inline(true).build(), Err(StartError::Invalid { .. })));
        let spawn = ProcessPoolExecutor::builder().start_method(StartMethod::Spawn);
        assert!(matches!(spawn.preload(tasks::load, "loads").build(), Err(StartError::Invalid { .. })));
    }
}
