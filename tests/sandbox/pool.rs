//! A sandboxed pool is a pool.

use std::time::Duration;

use procpool::{ExitCause, ProcessPoolExecutor, Ran, Sandbox, TaskErrorKind, TaskOptions, task};

use super::processes::programs;
use super::{Place, confined};
use crate::support::{Program, eventually, program, tagged_pids};

#[task]
fn double(n: u64) -> u64 {
    2 * n
}

#[task]
fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[task]
fn fail_by(how: &str) {
    match how {
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        "panic" => panic!("on purpose"),
        "overflow" => {
            dive(0);
        }
        _ => unreachable!("{how}"),
    }
}

#[allow(unconditional_recursion, reason = "the stack is to overflow")]
fn dive(depth: u64) -> u64 {
    let room = std::hint::black_box([depth; 64]);
    dive(depth + 1) + room[0]
}

#[task]
fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

#[task]
fn sum_on_threads(count: u64) -> u64 {
    let threads: Vec<_> = (0..count).map(|n| std::thread::spawn(move || n)).collect();
    threads.into_iter().map(|thread| thread.join().expect("a number")).sum()
}

#[task]
async fn wait_a_moment() -> u32 {
    std::thread::sleep(Duration::from_millis(1));
    7
}

#[task]
fn sleep_in_a_program() {
    let _ = std::process::Command::new("sleep").arg("600").status();
}

#[task]
fn set_up(path: &str) -> Result<(), String> {
    std::fs::read(path).map(drop).map_err(|error| error.kind().to_string())
}

program! {
    fn a_parent_of_busy_sandboxed_workers() {
        let sandbox = programs();
        let pool = ProcessPoolExecutor::builder().max_workers(2).sandbox(sandbox).build().expect("a pool");
        let busy = pool.submit(spin, ());
        let sleeping = pool.submit(sleep_in_a_program, ());
        eventually("both run, and a program", Duration::from_secs(10), || {
            busy.running() && sleeping.running() && pool.worker_pids().len() == 2
        });
        println!("{}", std::process::id());
        std::thread::park();
    }
}

crate::support::isolated! {
    timeout = 60;

    fn tasks_run_panic_and_return_large_values() {
        let pool = confined(Sandbox::required());
        let values: Result<Vec<u64>, _> = pool.map(double, 0..1_000).into_iter().collect();
        assert_eq!(values.expect("values"), (0..1_000).map(|n| 2 * n).collect::<Vec<_>>());
        let large = vec![7; 8 << 20];
        assert_eq!(pool.submit(echo, large.clone()).result().expect("the same"), large);
        let error = pool.submit(fail_by, "panic").result().expect_err("a panic");
        assert_eq!(error.panic().expect("its text").message(), "on purpose");
        assert_eq!(pool.submit(sum_on_threads, 20).result().expect("a sum"), 190);
        assert_eq!(pool.submit(wait_a_moment, ()).result().expect("a number"), 7);
    }

    fn a_crash_costs_one_task() {
        let pool = ProcessPoolExecutor::builder()
            .max_workers(2)
            .sandbox(Sandbox::required())
            .build()
            .expect("a pool");
        let before: Vec<_> = (0..50).map(|n| pool.submit(double, n)).collect();
        let abort = pool.submit(fail_by, "abort");
        let overflow = pool.submit(fail_by, "overflow");
        let exit = pool.submit(fail_by, "exit");
        let after: Vec<_> = (50..100).map(|n| pool.submit(double, n)).collect();
        for (n, future) in (0..).zip(before.into_iter().chain(after)) {
            assert_eq!(future.result().expect("a value"), 2 * n);
        }
        for (future, expected) in [(abort, Some(libc::SIGABRT)), (overflow, Some(libc::SIGABRT)), (exit, None)] {
            let error = future.result().expect_err("a death");
            assert_eq!(error.ran(), Ran::Maybe);
            let cause = error.exit().expect("an exit").cause();
            match expected {
                Some(signal) => {
                    assert!(matches!(cause, ExitCause::Signal { number, .. } if number == signal), "{cause:?}");
                }
                None => assert_eq!(cause, ExitCause::Code(3)),
            }
        }
        assert!(pool.shutdown(true).wait().leaked.is_empty());
    }

    fn the_last_words_of_an_overflow_come_out() {
        let pool = confined(Sandbox::required());
        let error = pool.submit(fail_by, "overflow").result().expect_err("a death");
        let exit = error.exit().expect("an exit");
        assert_eq!(exit.panic().expect("last words").message(), "stack overflow");
    }

    fn deadlines_kill_and_what_was_started_dies_as_well() {
        let options = TaskOptions::new().timeout(Duration::from_millis(300));
        let pool = ProcessPoolExecutor::builder()
            .max_workers(1)
            .task_options(options)
            .sandbox(programs())
            .build()
            .expect("a pool");
        assert!(pool.submit(spin, ()).result().expect_err("too long").is_timeout());
        assert!(pool.submit(sleep_in_a_program, ()).result().expect_err("too long").is_timeout());
        assert_eq!(pool.submit(double, 4).result().expect("a value"), 8);
        pool.shutdown(true).wait();
        eventually("the program is gone", Duration::from_secs(2), || tagged_pids().is_empty());
    }

    fn workers_end_with_their_parent() {
        let mut parent = Program::named("pool::a_parent_of_busy_sandboxed_workers").spawn();
        parent.line();
        eventually("the program of a task runs", Duration::from_secs(5), || tagged_pids().len() >= 4);
        parent.kill();
        eventually("all workers are gone", Duration::from_secs(2), || tagged_pids().is_empty());
    }

    fn the_initializer_is_confined_as_well() {
        let started = |sandbox| {
            let pool = ProcessPoolExecutor::builder()
                .max_workers(1)
                .initializer(set_up, "/etc/passwd")
                .sandbox(sandbox)
                .build()
                .expect("a pool");
            pool.warm_up().wait()
        };
        let error = started(Sandbox::required()).expect_err("no file");
        assert_eq!(error.to_string(), "the initializer failed: permission denied");
        started(Sandbox::required().read("/etc/passwd")).expect("the file");
    }

    fn recycled_workers_are_confined_as_well() {
        let pool = ProcessPoolExecutor::builder()
            .max_workers(1)
            .max_tasks_per_child(1)
            .sandbox(Sandbox::required())
            .build()
            .expect("a pool");
        for _ in 0..5 {
            let within = pool.submit(super::network::listen, Place::here()).result().expect("an answer");
            assert_eq!(within, Err(libc::EPERM));
        }
    }

    fn what_kills_a_task_is_named() {
        let pool = confined(Sandbox::required());
        let error = pool.submit(super::kernel::change_the_root, Place::here()).result().expect_err("a death");
        assert!(matches!(error.kind(), TaskErrorKind::WorkerDied(_)));
        assert!(error.to_string().contains("SIGSYS"), "{error}");
        assert_eq!(pool.submit(double, 4).result().expect("a value"), 8);
    }
}
