//! A program without standard streams has its pool all the same: their numbers are not taken by the pool, so what
//! anybody prints harms nothing (F72).

#![allow(unsafe_code, reason = "closing what belongs to everybody")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use procpool::{ProcessPoolExecutor, task};
use support::{Program, Signal, eventually, kill, procfs};

/// When the streams are closed.
const WHEN: [&str; 2] = ["before the pool", "after it"];
const PATIENCE: Duration = Duration::from_secs(20);

/// Prints, reads what there is to read, and tells of its streams.
#[task]
fn chat() -> BTreeMap<u32, String> {
    for _ in 0..20 {
        println!("{}", "words ".repeat(10));
        eprintln!("{}", "words ".repeat(10));
    }
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("nothing to read");
    assert_eq!(line, "");
    let mut streams = procfs::fds(std::process::id());
    streams.retain(|fd, _| *fd <= 2);
    streams
}

#[task]
fn die() {
    std::process::abort();
}

fn close(streams: &[u32]) {
    for fd in streams {
        // SAFETY: nobody uses this stream of this program from here on.
        unsafe { libc::close(*fd as i32) };
    }
}

/// Uses a pool, and writes to the three numbers as a program does that does not know better.
fn use_a_pool(closed: &[u32], before: bool, told: &mut String) {
    if before {
        close(closed);
    }
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
    if !before {
        // Everything that is made once has its number; the workers that follow find the streams closed.
        pool.warm_up().wait().expect("two workers");
        close(closed);
        let first = pool.worker_pids();
        first.iter().for_each(|worker| kill(*worker, Signal::KILL));
        eventually("the pool knows that they are dead", PATIENCE, || {
            first.iter().all(|worker| !pool.worker_pids().contains(worker))
        });
    }
    for round in 0..20 {
        pool.warm_up().wait().expect("two workers");
        let workers = pool.worker_pids();
        for fd in 0..=2 {
            // SAFETY: whoever has the number now is to be disturbed, if it is the pool.
            unsafe { libc::write(fd, b"garbage garbage garbage garbage garbage!".as_ptr().cast(), 40) };
        }
        let futures: Vec<_> = (0..4).map(|_| pool.submit(chat, ())).collect();
        for future in futures {
            let streams = future.result().expect("a value");
            assert_eq!(streams.keys().copied().collect::<Vec<_>>(), [0, 1, 2], "{streams:?}");
            for (fd, target) in streams {
                assert!(target == "/dev/null" || !closed.contains(&fd), "{fd} is {target}");
            }
        }
        assert_eq!(pool.worker_pids(), workers, "nobody has died of what was printed");
        if round % 5 == 0 {
            assert!(pool.submit(die, ()).result().expect_err("it died").exit().is_some());
        }
    }
    let own = procfs::fds(std::process::id());
    told.push_str(&format!("fine: {:?}", own.range(..=2).collect::<Vec<_>>()));
    pool.shutdown(true).wait();
}

support::program! {
    fn a_program_that_closes_its_streams() -> i32 {
        let report = std::env::var("REPORT").expect("a file");
        let numbers = std::env::var("CLOSE").expect("numbers");
        let closed: Vec<u32> = numbers.split(' ').map(|fd| fd.parse().expect("a number")).collect();
        let before = std::env::var("WHEN").expect("a moment") == "before the pool";
        let mut told = String::new();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| use_a_pool(&closed, before, &mut told)));
        if let Err(payload) = outcome {
            told = payload.downcast_ref::<String>().cloned().unwrap_or_else(|| "a panic".to_owned());
        }
        fs::write(report, told).expect("a file");
        7
    }
}

support::isolated! {
    timeout = 60;

    fn streams_that_are_closed_are_not_taken_by_the_pool() {
        for (close, when) in ["0", "1", "2", "0 1 2"].into_iter().flat_map(|close| WHEN.map(|when| (close, when))) {
            if when == "after it" && support::templates_by_default() {
                println!("SKIPPED: without {close}, {when}: copies have the streams that the template began with");
                continue;
            }
            let report = std::env::temp_dir().join(format!("streams-{}", std::process::id()));
            let mut program =
                Program::named("a_program_that_closes_its_streams").env("REPORT", &report).env("CLOSE", close).env("WHEN", when).spawn();
            // What comes through a stream that was left open is read, or the workers would wait.
            while program.next_line(PATIENCE).is_some() {}
            assert_eq!(program.wait(PATIENCE).code(), Some(7));
            let told = fs::read_to_string(&report).expect("a report");
            fs::remove_file(&report).expect("a file of ours");
            println!("without {close}, {when}: {told}");
            assert!(told.starts_with("fine"), "without {close}, {when}: {told}");
        }
    }
}
