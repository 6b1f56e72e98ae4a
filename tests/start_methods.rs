//! Workers that are copies of a template are workers like others, share what it has loaded, and outlive it.

#![allow(unsafe_code, reason = "a crash")]

mod support;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use procpool::{
    Builder, ExitCause, LimitHit, Limits, ProcessPoolExecutor, Ran, StartError, StartMethod, TaskErrorKind,
    TaskOptions, current_process, parent_process, task,
};
use support::{Event, Ledger, Program, Signal, eventually, kill, procfs, tagged_pids};

const SOON: Duration = Duration::from_secs(10);
const ORPHAN: Duration = Duration::from_secs(2);
const REAPED: Duration = Duration::from_secs(1);

static LOADED: OnceLock<Vec<u8>> = OnceLock::new();

/// Loads so many bytes, or fails in some way.
#[task]
fn load(how: &str, bytes: usize) -> Result<(), String> {
    match how {
        "loads" => LOADED.set((0..bytes).map(|n| n as u8).collect()).map_err(|_| "twice".to_owned()),
        "refuses" => Err("there is no model".to_owned()),
        "panics" => panic!("no model at all"),
        "exits" => std::process::exit(5),
        "aborts" => std::process::abort(),
        "hangs" => loop {
            thread::park();
        },
        "threads" => {
            thread::spawn(|| {
                loop {
                    thread::park();
                }
            });
            Ok(())
        }
        _ => unreachable!("{how}"),
    }
}

/// The sum of what was loaded, and how many bytes of memory are this process's own.
#[task]
fn use_what_was_loaded() -> (u64, u64) {
    let sum = LOADED.get().expect("it was loaded").iter().map(|&byte| u64::from(byte)).sum();
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("the kernel tells");
    let own = text.lines().filter(|line| line.starts_with("Private_"));
    let kib =
        own.map(|line| line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number"));
    (sum, kib.sum::<u64>() << 10)
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

#[task]
fn fail(how: &str) {
    match how {
        "panic" => panic!("no luck"),
        "exit" => std::process::exit(3),
        "abort" => std::process::abort(),
        // SAFETY: not at all, and that is the point.
        "crash" => unsafe { std::ptr::null_mut::<u8>().write_volatile(1) },
        "spin" => loop {
            std::hint::spin_loop();
        },
        _ => unreachable!("{how}"),
    }
}

#[task]
fn park(ledger: &str, id: u64) {
    Ledger::record(ledger, id, Event::Started);
    loop {
        thread::park();
    }
}

/// What a worker finds itself in.
#[task]
fn look() -> (Vec<u32>, bool, bool, String, String, Option<u32>, usize) {
    let own = std::process::id();
    let fds = procfs::fds(own).into_iter().filter(|(_, to)| !to.starts_with("/proc")).map(|(fd, _)| fd);
    let group = rustix::process::getpgrp().as_raw_nonzero().get().unsigned_abs();
    let ignores = procfs::ignores(own, Signal::INT).expect("a state");
    let comm = std::fs::read_to_string("/proc/self/comm").expect("a name").trim_end().to_owned();
    let parent = parent_process().filter(|parent| parent.is_alive()).map(|parent| parent.pid());
    let thread_of_c = thread::spawn(|| 7).join().expect("threads can be had");
    (fds.collect(), group == own, ignores, comm, current_process().name(), parent, thread_of_c)
}

fn forks() -> Builder {
    ProcessPoolExecutor::builder().max_workers(2).start_method(StartMethod::ForkServer)
}

fn failure(how: &str) -> StartError {
    let pool = forks().preload(load, (how, 0)).start_timeout(Duration::from_millis(500)).build();
    pool.expect_err("the template cannot be had")
}

/// The processes of this test that are no workers of the pool.
fn others(pool: &ProcessPoolExecutor) -> Vec<u32> {
    let workers = pool.worker_pids();
    tagged_pids().into_iter().filter(|pid| !workers.contains(pid)).collect()
}

support::program! {
    fn a_program_with_a_template() {
        let ledger = std::env::var("LEDGER").expect("a ledger");
        if std::env::var_os("LOADS_FOR_EVER").is_some() {
            let builder = forks().preload(load, ("hangs", 0)).start_timeout(Duration::from_secs(600));
            thread::spawn(move || builder.build());
            eventually("the template is there", SOON, || procfs::children_of(std::process::id()).len() == 1);
        } else {
            let pool = forks().preload(load, ("loads", 1000)).build().expect("a pool");
            // One is busy, one is idle.
            pool.warm_up().wait().expect("workers");
            pool.submit(park, (ledger.as_str(), 0)).detach();
            std::mem::forget(pool);
        }
        println!("ready");
        loop {
            thread::park();
        }
    }
}

support::program! {
    fn says_how_its_workers_are_made() {
        let builder = || ProcessPoolExecutor::builder().max_workers(1);
        let told = |pool: Result<ProcessPoolExecutor, StartError>| match pool {
            Ok(pool) => {
                let worker = pool.submit(own_pid, ()).result().expect("a value");
                let children = procfs::children_of(std::process::id());
                if worker == std::process::id() {
                    return "inline".to_owned();
                }
                if children == [worker] { "no template".to_owned() } else { "template".to_owned() }
            }
            Err(error) => error.to_string(),
        };
        println!("{}", told(builder().build()));
        eventually("the first pool has ended", SOON, || procfs::children_of(std::process::id()).is_empty());
        println!("{}", told(builder().start_method(StartMethod::Spawn).build()));
        println!("{}", told(builder().inline(true).build()));
    }
}

support::isolated! {
    fn a_copy_is_a_worker_like_others() {
        for method in [StartMethod::Spawn, StartMethod::ForkServer] {
            let pool = ProcessPoolExecutor::builder().max_workers(1).start_method(method).build().expect("a pool");
            let (fds, leads, ignores, comm, name, parent, seven) = pool.submit(look, ()).result().expect("a value");
            assert_eq!(fds, [0, 1, 2, 500, 501], "{method:?}");
            assert!(leads && !ignores, "{method:?}");
            assert_eq!((comm.as_str(), name.as_str(), seven), ("procpool:0", "PoolWorker-1", 7), "{method:?}");
            assert_eq!(parent, Some(std::process::id()), "{method:?}");
            let worker = pool.worker_pids()[0];
            assert!(procfs::children_of(std::process::id()).contains(&worker), "it is ours to wait for");
            pool.shutdown(true).wait();
        }
    }

    fn each_way_to_fail_is_told_and_costs_one_task() {
        for method in [StartMethod::Spawn, StartMethod::ForkServer] {
            let pool = ProcessPoolExecutor::builder().max_workers(2).start_method(method).build().expect("a pool");
            for _ in 0..3 {
                let error = pool.submit(fail, "panic").result().expect_err("a panic");
                assert_eq!(error.panic().expect("a panic").message(), "no luck");
                let ends = [("exit", 0, 3), ("abort", 6, 0), ("crash", 11, 0)];
                let ends: Vec<_> = ends.into_iter().map(|end| (end, pool.submit(fail, end.0))).collect();
                for ((how, signal, code), future) in ends {
                    let error = future.result().expect_err("a death");
                    assert_eq!(error.ran(), Ran::Maybe);
                    match error.exit().expect("an exit").cause() {
                        ExitCause::Signal { number, .. } => assert_eq!(number, signal, "{method:?}, {how}"),
                        other => assert_eq!(other, ExitCause::Code(code), "{method:?}, {how}"),
                    }
                }
                let late = pool.with(TaskOptions::new().timeout(Duration::from_millis(100))).submit(fail, "spin");
                assert!(late.result().expect_err("too long").is_timeout());
                assert_ne!(pool.submit(own_pid, ()).result().expect("the pool goes on"), std::process::id());
            }
            pool.shutdown(true).wait();
            eventually("nobody is left", REAPED, || tagged_pids().is_empty());
        }
    }

    fn what_was_loaded_is_shared_by_all_workers() {
        const BYTES: usize = 32 << 20;
        let pool = forks().max_workers(4).preload(load, ("loads", BYTES)).build().expect("a pool");
        pool.warm_up().wait().expect("workers");
        let expected = (0..BYTES).map(|n| u64::from(n as u8)).sum::<u64>();
        for result in (0..16).map(|_| pool.submit(use_what_was_loaded, ())).collect::<Vec<_>>() {
            let (sum, own) = result.result().expect("a value");
            assert_eq!(sum, expected);
            assert!(own < BYTES as u64 / 2, "{own} bytes are its own");
        }
        pool.shutdown(true).wait();
    }

    fn a_template_that_cannot_load_is_the_error_of_build() {
        let initializer = |how: &str| match failure(how) {
            StartError::Initializer { message, .. } => message,
            other => panic!("{how}: {other:?}"),
        };
        assert_eq!(initializer("refuses"), "there is no model");
        assert!(initializer("panics").starts_with("it panicked: no model at all"));
        let handshake = |how: &str| match failure(how) {
            StartError::Handshake(error) => error.to_string(),
            other => panic!("{how}: {other:?}"),
        };
        assert!(handshake("exits").contains("exited with code 5"));
        assert!(handshake("aborts").contains("signal 6"));
        assert!(handshake("hangs").contains("no sign of life"));
        eventually("nobody is left", REAPED, || tagged_pids().is_empty());
    }

    fn a_template_with_threads_is_not_copied_and_the_reason_is_told() {
        let pool = forks().preload(load, ("threads", 0)).build().expect("a pool");
        let error = pool.submit(own_pid, ()).result().expect_err("no worker");
        match error.kind() {
            TaskErrorKind::PoolBroken(cause) => assert!(cause.to_string().contains("has 2 threads"), "{cause}"),
            other => panic!("{other:?}"),
        }
        pool.shutdown(true).wait();
    }

    fn a_template_that_dies_takes_no_worker_along_and_is_replaced() {
        let ledger = Ledger::create();
        let pool = forks().preload(load, ("loads", 1000)).build().expect("a pool");
        for round in 0..5 {
            let (template, path) = (others(&pool), ledger.path());
            assert_eq!(template.len(), 1, "in round {round}");
            let busy = pool.submit(park, (path.as_str(), round));
            eventually("it runs", SOON, || ledger.starts(round) == 1);
            kill(template[0], Signal::KILL);
            eventually("it is waited for", REAPED, || procfs::state(template[0]).is_none());
            assert!(!busy.done(), "the worker goes on");
            assert!(busy.kill());
            // The next worker needs another template.
            let (sum, _) = pool.submit(use_what_was_loaded, ()).result().expect("a value");
            assert!(sum > 0);
            pool.warm_up().wait().expect("workers");
        }
        pool.shutdown(true).wait();
        eventually("nobody is left", REAPED, || tagged_pids().is_empty());
    }

    fn a_template_that_dies_while_it_is_copied_leaves_nobody_behind() {
        let pool = forks().max_tasks_per_child(1).build().expect("a pool");
        let enough = AtomicBool::new(false);
        let done = thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = support::Random::new(7);
                while !enough.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_micros(random.below(40_000)));
                    let is_template = |pid: &u32| procfs::process(*pid).is_some_and(|it| it.comm == "procpool:forks");
                    // A worker that has just been made may still look like it: that one loses its task.
                    for pid in others(&pool).into_iter().filter(is_template) {
                        let _ = rustix::process::kill_process(
                            rustix::process::Pid::from_raw(pid.cast_signed()).expect("not 0"),
                            Signal::KILL,
                        );
                    }
                }
            });
            let results: Vec<_> = (0..100).map(|_| pool.submit(own_pid, ())).collect();
            let done = results.into_iter().filter_map(|result| result.result().ok()).count();
            enough.store(true, Ordering::Relaxed);
            done
        });
        assert!(done > 0, "some come between");
        pool.shutdown(true).wait();
        eventually("nobody is left", REAPED, || tagged_pids().is_empty());
    }

    fn a_template_that_is_stopped_is_replaced_when_it_does_not_answer() {
        let pool = forks().start_timeout(Duration::from_millis(300)).build().expect("a pool");
        let template = others(&pool);
        kill(template[0], Signal::STOP);
        // The first attempt runs out of time.
        let value = pool.submit(own_pid, ()).result();
        assert_ne!(value.expect("another template answers"), std::process::id());
        assert_eq!(procfs::state(template[0]), None);
        pool.shutdown(true).wait();
    }

    fn all_is_gone_when_the_program_dies() {
        for loads_for_ever in [false, true] {
            let ledger = Ledger::create();
            let mut program = Program::named("a_program_with_a_template").env("LEDGER", ledger.path());
            if loads_for_ever {
                program = program.env("LOADS_FOR_EVER", "1");
            }
            let mut program = program.spawn();
            assert_eq!(program.line(), "ready");
            let there = if loads_for_ever { 1 } else { 3 };
            eventually("all are there", SOON, || tagged_pids().len() == there + 1);
            program.kill();
            eventually("all are gone", ORPHAN, || tagged_pids().is_empty());
        }
    }

    fn limits_and_recycling_hold_for_copies() {
        let limits = Limits::new().cpu_time(Duration::from_secs(1));
        let pool = forks().max_workers(1).limits(limits).max_tasks_per_child(1).build().expect("a pool");
        let first = pool.submit(own_pid, ()).result().expect("a value");
        assert_ne!(pool.submit(own_pid, ()).result().expect("a value"), first);
        let error = pool.submit(fail, "spin").result().expect_err("it has used up its time");
        assert_eq!(error.exit().expect("an exit").limit(), Some(LimitHit::CpuTime), "{error}");
        pool.shutdown(true).wait();
    }

    fn settings_that_contradict_each_other_are_errors() {
        let spawn = ProcessPoolExecutor::builder().start_method(StartMethod::Spawn);
        let spawn = spawn.preload(load, ("loads", 1)).build();
        assert!(matches!(spawn, Err(StartError::Invalid { .. })));
        assert!(matches!(forks().inline(true).build(), Err(StartError::Invalid { .. })));
    }

    fn the_environment_says_how_workers_are_made_where_the_program_does_not() {
        let told = |value| {
            let mut program = Program::named("says_how_its_workers_are_made").env("PROCPOOL_START_METHOD", value).spawn();
            let told: [String; 3] = std::array::from_fn(|_| program.line());
            assert!(program.wait(SOON).success());
            told
        };
        assert_eq!(told("forkserver"), ["template", "no template", "inline"]);
        assert_eq!(told("spawn"), ["no template", "no template", "inline"]);
        assert_eq!(told(""), ["no template", "no template", "inline"]);
        let mistake = "PROCPOOL_START_METHOD is \"server\": it must be `spawn`, `forkserver` or `fork`";
        assert_eq!(told("server"), [mistake, "no template", "inline"]);
        assert!(told("fork")[0].starts_with("this program has 2 threads"));
    }

    fn a_dropped_pool_leaves_no_template() {
        for _ in 0..5 {
            let pool = forks().build().expect("a pool");
            pool.submit(own_pid, ()).result().expect("a value");
            drop(pool);
        }
        eventually("nobody is left", SOON, || tagged_pids().is_empty());
    }
}
