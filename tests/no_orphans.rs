//! No orphans: when the program dies, by any cause, all its workers are gone soon (F05).

#![allow(unsafe_code, reason = "a helper that was forked, and a body that ignores SIGTERM")]

mod support;

use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, task};
use support::{Program, Signal, eventually, procfs, tagged_pids};

const ORPHAN: Duration = Duration::from_secs(2);

#[task]
fn be_busy(how: &str) {
    match how {
        "loop" => loop {
            std::hint::spin_loop()
        },
        "sleep" => std::thread::sleep(Duration::from_secs(600)),
        "read" => {
            let (end, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
            let _ = std::io::Read::read(&mut &end, &mut [0]);
        }
        "ignore" => {
            // SAFETY: ignoring signals installs no handler.
            unsafe {
                for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
                    libc::signal(signal, libc::SIG_IGN);
                }
            }
            std::thread::sleep(Duration::from_secs(600));
        }
        "child" => {
            let mut child = std::process::Command::new("sleep").arg("600").spawn().expect("sleep");
            child.wait().expect("it ends");
        }
        "stopped" => rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)
            .expect("a signal to itself"),
        _ => unreachable!("{how}"),
    }
}

#[task]
fn slow_start(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

/// The program that dies: `HOW` says what its workers do at that time.
fn parent() {
    let how = std::env::var("HOW").expect("HOW");
    let builder = ProcessPoolExecutor::builder().max_workers(2);
    let builder = if how == "starting" { builder.initializer(slow_start, 600_000) } else { builder };
    let pool = builder.build().expect("a pool");
    if how == "forked helper" {
        pool.warm_up().wait().expect("two workers");
        // SAFETY: the child only sleeps; it holds every descriptor of the parent.
        unsafe {
            if libc::fork() == 0 {
                libc::sleep(15);
                libc::_exit(0);
            }
        }
    }
    let busy = match how.as_str() {
        "idle" => {
            pool.warm_up().wait().expect("two workers");
            Vec::new()
        }
        "starting" | "forked helper" => vec![pool.submit(be_busy, "sleep")],
        how => {
            let busy: Vec<_> = (0..2).map(|_| pool.submit(be_busy, how)).collect();
            eventually("both run", Duration::from_secs(5), || busy.iter().all(|future| future.running()));
            if how == "stopped" {
                let is_stopped = |pid| procfs::state(pid) == Some('T');
                eventually("both are stopped", Duration::from_secs(5), || {
                    pool.worker_pids().into_iter().all(is_stopped)
                });
            }
            busy
        }
    };
    let pids = || pool.worker_pids();
    eventually("workers exist", Duration::from_secs(5), || !pids().is_empty());
    println!("{}", pids().len());
    std::mem::forget((pool, busy));
    std::thread::sleep(Duration::from_secs(600));
}

support::program! {
    fn the_parent() {
        parent();
    }
}

fn dies_without_orphans(how: &str, signal: Signal) {
    let mut program = Program::named("the_parent").env("HOW", how).spawn();
    program.line();
    let began = Instant::now();
    program.signal(signal);
    program.wait(Duration::from_secs(5));
    let left = if how == "forked helper" { 1 } else { 0 };
    eventually("all workers are gone", ORPHAN, || tagged_pids().len() <= left);
    println!("T_orphan {how}: {:?}", began.elapsed());
    for helper in tagged_pids() {
        support::kill(helper, Signal::KILL);
    }
}

support::isolated! {
    timeout = 60;

    fn idle_workers_end() {
        dies_without_orphans("idle", Signal::KILL);
    }

    fn busy_workers_end_whatever_they_do() {
        for how in ["loop", "sleep", "read", "ignore"] {
            dies_without_orphans(how, Signal::KILL);
        }
    }

    fn stopped_workers_end() {
        dies_without_orphans("stopped", Signal::KILL);
    }

    fn what_a_task_started_ends_with_it() {
        dies_without_orphans("child", Signal::KILL);
    }

    fn workers_that_are_starting_end() {
        dies_without_orphans("starting", Signal::KILL);
    }

    fn workers_end_although_a_forked_helper_holds_the_programs_descriptors() {
        dies_without_orphans("forked helper", Signal::KILL);
    }

    fn they_end_after_a_polite_death_too() {
        dies_without_orphans("sleep", Signal::TERM);
    }

    fn a_program_that_dies_at_any_moment_of_a_start_leaves_nothing() {
        for delay in 0..60 {
            let mut program = Program::named("a_program_that_starts_a_pool").spawn();
            program.line();
            let until = Instant::now() + Duration::from_micros(50 * delay);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            program.kill();
            eventually("all workers are gone", ORPHAN, || tagged_pids().is_empty());
        }
    }
}

support::program! {
    fn a_program_that_starts_a_pool() {
        println!("now");
        let pool = ProcessPoolExecutor::builder().max_workers(4).build().expect("a pool");
        pool.warm_up().wait().expect("workers");
        std::thread::sleep(Duration::from_secs(600));
    }
}
