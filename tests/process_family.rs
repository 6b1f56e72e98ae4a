//! A daemon ends with its parent, whatever that dies of; a process that is none finishes its task; and what ends in the
//! middle of a family takes all below along.

mod support;

use std::time::Duration;

use procpool::{
    Process, ProcessPoolExecutor, StartError, TaskOptions, active_children, current_process, parent_process,
    task,
};
use support::{Event, Ledger, Program, Signal, eventually, kill, procfs, tagged_pids};

const ORPHAN: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(10);

/// Says that it is there, and stays.
#[task]
fn stay(ledger: &str, id: u64) {
    Ledger::record(ledger, id, Event::Started);
    loop {
        std::thread::park();
    }
}

/// Works for a while.
#[task]
fn work(ledger: &str, id: u64, milliseconds: u64) {
    Ledger::record(ledger, id, Event::Started);
    std::thread::sleep(Duration::from_millis(milliseconds));
    Ledger::record(ledger, id, Event::Finished);
}

/// Works, and says whether its parent was there all the time.
#[task]
fn outlive(ledger: &str) {
    Ledger::record(ledger, 0, Event::Started);
    let parent = parent_process().expect("it was started by another");
    eventually("the parent ends", SOON, || !parent.is_alive());
    assert!(parent.sentinel().is_err(), "its number may be somebody else's");
    Ledger::record(ledger, 0, Event::Finished);
}

/// Works for a while, with arguments that no socket holds, and a result that nobody takes.
#[task]
fn work_on(ledger: &str, id: u64, load: &[u8]) -> Vec<u8> {
    Ledger::record(ledger, id, Event::Started);
    assert!(load.iter().all(|&byte| byte == 7));
    Ledger::record(ledger, id, Event::Finished);
    load.to_vec()
}

/// A family of so many generations below this one, all of which stay.
#[task]
fn beget(ledger: &str, generations: u64) -> Result<String, String> {
    let pid = u64::from(std::process::id());
    if generations == 0 {
        Ledger::record(ledger, pid, Event::Started);
        loop {
            std::thread::park();
        }
    }
    let child = Process::new(beget, (ledger, generations - 1)).start().map_err(|error| error.to_string())?;
    Ledger::record(ledger, pid, Event::Started);
    child.join();
    child.result().map_err(|error| error.to_string())?
}

/// How deep processes can be nested below this one.
#[task]
fn depth_below() -> Result<u32, String> {
    match Process::new(depth_below, ()).start() {
        Ok(child) => child.result().map_err(|error| error.to_string())?.map(|below| below + 1),
        Err(StartError::TooDeep { limit: 10, .. }) => Ok(0),
        Err(error) => Err(error.to_string()),
    }
}

#[task]
fn name_of_a_child() -> Result<(String, bool, String), String> {
    let child = Process::new(own_name, ()).start().map_err(|error| error.to_string())?;
    let refused = Process::new(own_name, ()).daemon(false).start();
    let refused = refused.map_or_else(|error| error.to_string(), |_| "a process".to_owned());
    let daemon = child.daemon();
    Ok((child.result().map_err(|error| error.to_string())?, daemon, refused))
}

#[task]
fn own_name() -> String {
    current_process().name()
}

/// A process in a task, and a pool in a process.
#[task]
fn pool_of_its_own() -> Result<String, String> {
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().map_err(|error| error.to_string())?;
    pool.submit(own_name, ()).result().map_err(|error| error.to_string())
}

/// The program that ends: `HOW` says of what, `DAEMON` what it has started.
fn parent() {
    let ledger = std::env::var("LEDGER").expect("a ledger");
    let daemon = std::env::var("DAEMON").expect("true or false") == "true";
    let process = match daemon {
        true => Process::new(stay, (ledger.as_str(), 0)).daemon(true).start(),
        false => Process::new(outlive, ledger.as_str()).start(),
    };
    println!("{}", process.expect("a process").pid());
    let started = || std::fs::read(&ledger).is_ok_and(|notes| !notes.is_empty());
    eventually("its task runs", SOON, started);
    println!("runs");
    match std::env::var("HOW").expect("a way to end").as_str() {
        "returns" => {}
        "aborts" => std::process::abort(),
        "waits" => loop {
            std::thread::park();
        },
        other => unreachable!("{other}"),
    }
}

support::program! {
    fn a_program_that_ends() {
        parent();
    }

    fn a_program_that_ends_at_once() {
        let ledger = std::env::var("LEDGER").expect("a ledger");
        for (id, size) in (0..).zip([0, 5_000, 50_000, 3_000_000]) {
            drop(Process::new(work_on, (ledger.as_str(), id, &vec![7; size])).start().expect("a process"));
        }
    }
}

/// Starts the program, waits until its process runs, and lets the program end. Gives the pid of the process.
fn ended_program(how: &str, daemon: bool, ledger: &Ledger) -> u32 {
    let program = Program::named("a_program_that_ends").env("LEDGER", ledger.path());
    let mut program = program.env("DAEMON", daemon.to_string()).env("HOW", how).spawn();
    let pid = program.line().parse().expect("a pid");
    assert_eq!(program.line(), "runs");
    if how == "waits" {
        program.kill();
    } else {
        program.wait(SOON);
    }
    pid
}

support::isolated! {
    fn a_daemon_ends_with_its_parent_whatever_that_dies_of() {
        for how in ["returns", "aborts", "waits"] {
            let ledger = Ledger::create();
            let pid = ended_program(how, true, &ledger);
            eventually(how, ORPHAN, || !procfs::is_alive(pid) && tagged_pids().is_empty());
        }
    }

    fn a_process_that_is_no_daemon_finishes_its_task_without_its_parent() {
        for how in ["returns", "aborts", "waits"] {
            let ledger = Ledger::create();
            let pid = ended_program(how, false, &ledger);
            eventually("it has done its work", SOON, || ledger.finishes(0) == 1);
            eventually("then it ends", ORPHAN, || !procfs::is_alive(pid) && tagged_pids().is_empty());
            ledger.assert_ran_exactly_once([0]);
        }
    }

    fn what_was_started_runs_although_its_parent_ends_before_it_is_there() {
        for _ in 0..5 {
            let ledger = Ledger::create();
            let mut program = Program::named("a_program_that_ends_at_once").env("LEDGER", ledger.path()).spawn();
            program.wait(SOON);
            eventually("all have done their work", SOON, || (0..4).all(|id| ledger.finishes(id) == 1));
            eventually("then they end", ORPHAN, || tagged_pids().is_empty());
            ledger.assert_ran_exactly_once(0..4);
        }
    }

    fn what_ends_in_the_middle_of_a_family_of_daemons_takes_all_below_along() {
        let ledger = Ledger::create();
        let top = Process::new(beget, (ledger.path().as_str(), 4)).daemon(true).start().expect("a process");
        eventually("five generations are there", SOON, || ledger.entries().len() == 5);
        assert_eq!(tagged_pids().len(), 5);
        let second = procfs::children_of(top.pid())[0];
        kill(second, Signal::KILL);
        // The top one goes on: it is told that its child has died, and returns that.
        let told = top.result().expect("a value").expect_err("its child was killed");
        assert!(told.contains("killed by signal 9"), "{told}");
        eventually("all below are gone", ORPHAN, || tagged_pids().is_empty());
    }

    fn a_process_in_a_task_ends_with_its_worker() {
        let ledger = Ledger::create();
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        pool.warm_up().wait().expect("a worker");
        // With the template that it is a copy of, if there is one.
        let before = tagged_pids();
        let impatient = pool.with(TaskOptions::new().timeout(Duration::from_millis(500)));
        let path = ledger.path();
        let late = impatient.submit(beget, (path.as_str(), 2)).result();
        assert!(late.expect_err("it stays").is_timeout());
        let worker_only = || {
            let workers = pool.worker_pids();
            tagged_pids().iter().all(|pid| before.contains(pid) || workers.contains(pid))
        };
        eventually("all that the task has started are gone", ORPHAN, worker_only);
        assert!(active_children().is_empty(), "workers are no children of this kind");
        pool.shutdown(true).wait();
    }

    fn processes_nest_to_a_depth_of_ten_and_not_deeper() {
        let below = Process::new(depth_below, ()).start().expect("a process").result().expect("a value");
        assert_eq!(below, Ok(9));
    }

    fn below_a_daemon_and_a_worker_all_are_daemons_and_names_tell_the_way() {
        let told = |daemon: bool| {
            let process = Process::new(name_of_a_child, ()).daemon(daemon).start().expect("a process");
            process.result().expect("a value").expect("a child")
        };
        let (name, daemon, refused) = told(false);
        assert_eq!((name.as_str(), daemon, refused.as_str()), ("Process-1:1", false, "a process"));
        let (name, daemon, refused) = told(true);
        assert_eq!((name.as_str(), daemon), ("Process-2:1", true));
        assert!(refused.contains("ends with its parent"), "{refused}");
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let (name, daemon, refused) = pool.submit(name_of_a_child, ()).result().expect("a value").expect("a child");
        assert_eq!((name.as_str(), daemon), ("Process-1:1", true));
        assert!(refused.contains("ends with its parent"), "{refused}");
        let inner = Process::new(pool_of_its_own, ()).start().expect("a process").result().expect("a value");
        assert_eq!(inner.expect("a pool"), "PoolWorker-1");
        pool.shutdown(true).wait();
    }

    fn a_stopped_daemon_ends_with_its_parent_as_well() {
        let ledger = Ledger::create();
        let program = Program::named("a_program_that_ends").env("LEDGER", ledger.path());
        let mut program = program.env("DAEMON", "true").env("HOW", "waits").spawn();
        let pid: u32 = program.line().parse().expect("a pid");
        assert_eq!(program.line(), "runs");
        kill(pid, Signal::STOP);
        eventually("it is stopped", SOON, || procfs::state(pid) == Some('T'));
        program.kill();
        eventually("it is gone", ORPHAN, || tagged_pids().is_empty());
    }

    fn a_program_that_goes_on_keeps_its_processes_apart() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let doomed = Process::new(stay, (path.as_str(), 0)).start().expect("a process");
        let others: Vec<_> =
            (1..4).map(|id| Process::new(work, (path.as_str(), id, 200)).start().expect("a process")).collect();
        eventually("it runs", SOON, || ledger.starts(0) == 1);
        kill(doomed.pid(), Signal::KILL);
        assert!(doomed.result().expect_err("killed").is_worker_died());
        for process in others {
            process.result().expect("nothing happened to it");
        }
        ledger.assert_ran_exactly_once(1..4);
    }
}
