//! Limits that the program itself is under are an error that names what was refused, or do no harm: no signal, no
//! hang (F73).

#![allow(unsafe_code, reason = "another user")]

mod support;

use std::time::{Duration, Instant};

use procpool::{Limits, ProcessPoolExecutor, TaskErrorKind, task};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Program, eventually, tagged_pids};

/// Anything that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// Users from this number on, one for each process, have no processes but those of a test.
const NOBODIES: u32 = 1_700_000_000;

#[task]
fn double(n: u64) -> u64 {
    2 * n
}

/// A pool within the pool.
#[task]
fn nested(n: u64) -> String {
    outcome_of(n)
}

fn outcome_of(n: u64) -> String {
    let began = Instant::now();
    let told = match ProcessPoolExecutor::builder().max_workers(2).build() {
        Err(error) => format!("no pool: {error}"),
        Ok(pool) => {
            let futures: Vec<_> = (0..10).map(|_| pool.submit(double, n)).collect();
            let ends = futures.into_iter().map(|future| match future.result() {
                Ok(value) => value.to_string(),
                Err(error) => match error.kind() {
                    TaskErrorKind::PoolBroken(cause) => format!("broken: {cause}"),
                    _ => format!("lost: {error}"),
                },
            });
            // One worker may have started before there was no room for the other.
            let mut ends: Vec<String> = ends.collect();
            ends.sort();
            ends.dedup();
            pool.shutdown(true).wait();
            ends.join(" and ")
        }
    };
    assert!(began.elapsed() < PATIENCE, "{told} after {:?}", began.elapsed());
    told
}

fn limit(resource: Resource, to: u64) {
    let maximum = getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: Some(to), maximum }).expect("a limit may be lowered");
}

support::program! {
    fn a_program_that_may_write_small_files_only() -> i32 {
        limit(Resource::Fsize, std::env::var("LIMIT").expect("a limit").parse().expect("a number"));
        println!("{}", outcome_of(21));
        7
    }

    fn a_program_of_a_user_with_few_processes() -> i32 {
        let nobody = NOBODIES + std::process::id();
        // SAFETY: the calls take numbers only; the C library makes them on all threads.
        let became = unsafe { libc::setgid(nobody) == 0 && libc::setuid(nobody) == 0 };
        assert!(became, "{}", std::io::Error::last_os_error());
        limit(Resource::Nproc, std::env::var("LIMIT").expect("a limit").parse().expect("a number"));
        println!("{}", outcome_of(21));
        // Another thread may still be on its way out of the handler by which the C library has changed its user. A usual
        // exit takes the memory away that this runs on.
        // SAFETY: ends the process, and what was printed has left it with the end of the line.
        unsafe { libc::_exit(7) }
    }
}

fn told_by(name: &str, limit: u64) -> String {
    let mut program = Program::named(name).env("LIMIT", limit.to_string()).env("RUST_BACKTRACE", "0").spawn();
    let told = program.next_line(PATIENCE).unwrap_or_else(|| "no outcome".to_owned());
    let status = program.wait(PATIENCE);
    assert_eq!(status.code(), Some(7), "{name} under {limit}: {told}, {status:?}");
    eventually("nothing is left", Duration::from_secs(2), || tagged_pids().is_empty());
    told
}

support::isolated! {
    timeout = 200;

    fn a_program_that_may_write_no_files_is_told_and_lives() {
        if support::templates_by_default() {
            return println!("SKIPPED: a template that cannot start is the error of build");
        }
        for limit in [0, 1, 4096] {
            let told = told_by("a_program_that_may_write_small_files_only", limit);
            println!("{limit}: {told}");
            assert_eq!(told, "broken: failed to make shared memory: File too large (os error 27)");
        }
        assert_eq!(told_by("a_program_that_may_write_small_files_only", 1 << 20), "42");
    }

    fn so_is_a_task_under_such_a_limit_that_has_a_pool_of_its_own() {
        if support::templates_by_default() {
            return println!("SKIPPED: a template that cannot start is the error of build");
        }
        let pool = ProcessPoolExecutor::builder().max_workers(1).limits(Limits::new().file_size(100)).build().expect("a pool");
        let told = pool.submit(nested, 3).result().expect("the worker lives");
        assert_eq!(told, "broken: failed to make shared memory: File too large (os error 27)");
        let roomy = Limits::new().file_size(1 << 20);
        let pool = ProcessPoolExecutor::builder().max_workers(1).limits(roomy).build().expect("a pool");
        assert_eq!(pool.submit(nested, 3).result().expect("the worker lives"), "6");
    }

    fn a_user_with_few_processes_has_a_pool_or_an_error_and_never_waits_in_vain() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: only root can become another user");
            return;
        }
        let mut works = 0;
        // Threads count as well: two of the program, one of the pool, two of a library, then the workers' own.
        for limit in (1..=16).chain([200]) {
            let told = told_by("a_program_of_a_user_with_few_processes", limit);
            println!("{limit}: {told}");
            works += u32::from(told == "42");
            for end in told.split(" and ") {
                let named = ["no pool: failed to", "broken: failed to", "broken: a worker process did not become ready"];
                assert!(end == "42" || named.iter().any(|name| end.starts_with(name)), "{limit}: {told}");
            }
            assert!(limit < 200 || told == "42", "{limit}: {told}");
        }
        assert!(works > 1 && works < 17, "the limit made no difference");
    }
}
