//! A program that dies of SIGPIPE, as it does where the signal has its default effect, does not die of a worker's
//! death: whatever is written to a dead worker is an error, not a signal (F51).

#![allow(unsafe_code, reason = "the default effect of a signal")]

mod support;

use std::sync::mpsc::channel;
use std::time::Duration;

use procpool::{ProcessPoolExecutor, task};
use support::{Event, Ledger, Program, Signal, eventually, kill, procfs};

const PATIENCE: Duration = Duration::from_secs(20);
const HUGE: usize = 64 << 20;
/// Writes to workers that are dead already.
const DEATHS: u64 = 5;

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

#[task]
fn wait_for(path: &str) {
    while std::path::Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[task]
fn length(ledger: &str, id: u64, text: &str) -> usize {
    Ledger::record(ledger, id, Event::Started);
    Ledger::record(ledger, id, Event::Finished);
    text.len()
}

/// Whether SIGPIPE is ignored in a worker, as Rust's `main` would have it.
#[task]
fn ignores_broken_pipes() -> bool {
    procfs::ignores(std::process::id(), Signal::PIPE).expect("a running process")
}

/// Writes to a pipe without a reader: it is an error where SIGPIPE is ignored, and the end where it is not.
fn write_to_nobody() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let written = rustix::io::write(&writer, b"x");
    println!("survived: {written:?}");
}

support::program! {
    fn a_program_with_the_default_effect() -> i32 {
        // SAFETY: the default effect is no handler.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let path = std::env::var("LEDGER").expect("a ledger");
        let file = format!("{path}.busy");
        std::fs::write(&file, "").expect("a file");
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let text = "x".repeat(HUGE);

        // A writer that is blocked by a worker that does not read, which then dies.
        let stopped = pool.submit(own_pid, ()).result().expect("a value");
        kill(stopped, Signal::STOP);
        eventually("the worker is stopped", PATIENCE, || procfs::state(stopped) == Some('T'));
        let stuck = pool.submit(length, (path.as_str(), 0, text.as_str()));
        assert!(!stuck.done());
        kill(stopped, Signal::KILL);
        assert_eq!(stuck.result().expect("another worker has it"), HUGE);

        // A worker that is dead before the write, and nobody knows yet: the pool's own thread, which would notice, is
        // kept in a callback, and this one writes.
        for round in 1..=DEATHS {
            let ((hold, held), (go_on, gone_on)) = (channel(), channel());
            let worker = pool.submit(own_pid, ()).result().expect("a value");
            let future = pool.submit(wait_for, file.as_str());
            future.add_done_callback(move |_| {
                hold.send(()).expect("this thread waits for it");
                gone_on.recv().expect("this thread says so");
            });
            std::fs::remove_file(&file).expect("a file of ours");
            held.recv_timeout(PATIENCE).expect("the callback runs");
            kill(worker, Signal::KILL);
            eventually("the worker is dead", PATIENCE, || procfs::state(worker) == Some('Z'));
            let future = pool.submit(length, (path.as_str(), round, "text"));
            std::fs::write(&file, "").expect("a file");
            go_on.send(()).expect("the callback waits for it");
            assert_eq!(future.result().expect("another worker has it"), 4);
        }
        assert!(pool.submit(ignores_broken_pipes, ()).result().expect("a value"));
        pool.shutdown(true).wait();
        std::fs::remove_file(&file).expect("a file of ours");
        println!("all done");
        write_to_nobody();
        0
    }
}

support::isolated! {
    timeout = 60;

    fn writing_to_a_dead_worker_sends_no_signal() {
        let ledger = Ledger::create();
        let mut program = Program::named("a_program_with_the_default_effect").env("LEDGER", ledger.path()).spawn();
        assert_eq!(program.next_line(PATIENCE).as_deref(), Some("all done"));
        let status = program.wait(PATIENCE);
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert_eq!(signal, Some(libc::SIGPIPE), "the signal had its default effect until the end");
        ledger.assert_ran_exactly_once(0..=DEATHS);
    }
}
