//! What a task starts ends with its worker; what leaves the worker's process group lives on, unless the workers have
//! control groups (F34).

mod fixtures;
mod support;

use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use procpool::{
    Escalation, Limits, OnCancel, ProcessPoolExecutor, ShutdownOptions, StartError, TaskFuture, TaskOptions,
    task,
};
use support::{
    Event, Ledger, Program, Signal, eventually, kill, nothing_left, procfs, tagged_pids, tagged_workers,
};

const DETECT: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(10);

/// Starts one program that stays in the worker's process group and one that leaves it. Returns their numbers, or goes
/// on for ever.
#[task]
fn start_two(ledger: &str, id: u64, then: &str) -> (u32, u32) {
    let sleep = |program: &str, words: &[&str]| {
        Command::new(program).args(words).stdout(Stdio::null()).spawn().expect("it starts").id()
    };
    let stays = sleep("sleep", &["600"]);
    let leaves = sleep("setsid", &["sleep", "600"]);
    eventually("it has left", SOON, || procfs::process(leaves).is_some_and(|it| it.session == leaves));
    Ledger::record(ledger, id, Event::Started);
    match then {
        "return" => {}
        "wait" => {
            while std::path::Path::new(ledger).exists() {
                thread::sleep(Duration::from_millis(5));
            }
        }
        _ => loop {
            thread::park();
        },
    }
    (stays, leaves)
}

/// Runs a script in the worker's process group, and records when the script says that it is ready.
#[task]
fn run_script(ledger: &str, script: &str) {
    let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().expect("a shell");
    let mut line = String::new();
    let output = child.stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("a line");
    Ledger::record(ledger, 0, Event::Started);
    child.wait().expect("it ends");
}

#[task]
fn double(n: u64) -> u64 {
    2 * n
}

fn kill_on_cancel() -> TaskOptions {
    TaskOptions::new().on_cancel(OnCancel::Kill)
}

/// The two programs that a task has started: the one in its worker's group, and the one that has left it.
fn started_by(worker: u32) -> (u32, u32) {
    let children = procfs::children_of(worker);
    let (stay, leave): (Vec<u32>, Vec<u32>) =
        children.iter().partition(|&&pid| procfs::process(pid).is_some_and(|it| it.group == worker));
    assert_eq!((stay.len(), leave.len()), (1, 1), "{children:?}");
    (stay[0], leave[0])
}

/// Exactly these programs are left of a test.
#[track_caller]
fn assert_left(what: &str, left: &[u32]) {
    eventually(&format!("{what}: only {left:?} is left"), DETECT, || tagged_pids() == left);
    assert!(left.iter().all(|&pid| procfs::is_alive(pid)));
    for &pid in left {
        kill(pid, Signal::KILL);
    }
    nothing_left(DETECT);
}

/// The ways in which a worker ends that runs a task.
const ENDS: [&str; 7] = ["cancel", "drop", "kill", "deadline", "terminate", "crash", "shutdown"];

/// Ends the worker of a task in one of several ways, and returns the two programs that the task had started, when the
/// pool has ended as well.
fn ended_by(how: &str, limits: Limits) -> (u32, u32) {
    let ledger = Ledger::create();
    let path = ledger.path();
    let mut options = kill_on_cancel();
    match how {
        "deadline" => options = options.timeout(Duration::from_secs(1)),
        "terminate" => options = options.escalation(Escalation::new().terminate(SOON)),
        _ => {}
    }
    let builder = ProcessPoolExecutor::builder().max_workers(1).limits(limits).task_options(options);
    let pool = builder.build().expect("a pool");
    let future = pool.submit(start_two, (path.as_str(), 0, "park"));
    eventually("it runs", SOON, || ledger.starts(0) == 1);
    let worker = ledger.entries()[0].pid;
    let (stays, leaves) = started_by(worker);
    let refused = |future: TaskFuture<(u32, u32)>| drop(future.result().expect_err("it has no end"));
    match how {
        "cancel" | "terminate" => assert!(future.cancel()),
        "drop" => drop(future),
        "kill" => assert!(future.kill()),
        "deadline" => assert!(future.result().expect_err("too long").is_timeout()),
        "crash" => {
            kill(worker, Signal::SEGV);
            refused(future);
        }
        "shutdown" => {
            pool.shutdown_with(ShutdownOptions::new().kill(true)).wait();
            refused(future);
        }
        _ => unreachable!("{how}"),
    }
    eventually(&format!("{how}: what stayed in the group is dead"), DETECT, || !procfs::is_alive(stays));
    if how != "shutdown" {
        assert_eq!(pool.submit(double, 21).result().expect("the pool goes on"), 42, "{how}");
    }
    pool.shutdown(true).wait();
    (stays, leaves)
}

/// Whether workers can have control groups here, or why not.
fn control_groups() -> Result<(), String> {
    match ProcessPoolExecutor::builder().limits(Limits::new().processes(40)).build() {
        Ok(_) => Ok(()),
        Err(StartError::Limits { message, .. }) => Err(message),
        Err(error) => panic!("{error}"),
    }
}

support::program! {
    fn a_parent_whose_task_has_started_programs() {
        let ledger = Ledger::create();
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let future = pool.submit(start_two, (ledger.path().as_str(), 0, "park"));
        eventually("it runs", SOON, || ledger.starts(0) == 1);
        let worker = ledger.entries()[0].pid;
        drop(ledger);
        println!("{worker}");
        future.result().expect_err("this program is killed");
    }
}

support::isolated! {
    timeout = 90;

    fn they_end_with_their_worker_however_it_ends_but_for_those_that_left_its_group() {
        for how in ENDS {
            let (_, leaves) = ended_by(how, Limits::new());
            assert_left(how, &[leaves]);
        }
    }

    fn they_outlive_their_task_and_end_with_a_worker_that_ends_by_itself() {
        let ledger = Ledger::create();
        let path = ledger.path();
        for recycled in [false, true] {
            let builder = ProcessPoolExecutor::builder().max_workers(1);
            let builder = if recycled { builder.max_tasks_per_child(2) } else { builder };
            let pool = builder.build().expect("a pool");
            let (stays, leaves) = pool.submit(start_two, (path.as_str(), 0, "return")).result().expect("a value");
            assert!(procfs::is_alive(stays) && procfs::is_alive(leaves), "the worker lives on, and they do");
            pool.submit(double, 1).result().expect("a value");
            if recycled {
                eventually("it ended with the worker that was replaced", DETECT, || !procfs::is_alive(stays));
            } else {
                assert!(procfs::is_alive(stays));
            }
            assert_eq!(pool.shutdown(true).wait().killed, 0);
            assert_left("a worker that was asked to end", &[leaves]);
        }
    }

    fn they_end_with_the_program() {
        let mut program = Program::named("a_parent_whose_task_has_started_programs").spawn();
        let worker: u32 = program.line().parse().expect("a number");
        let (_, leaves) = started_by(worker);
        program.kill();
        assert_left("the program was killed", &[leaves]);
    }

    fn whatever_they_do_they_end() {
        for script in [
            // Deaf to what asks politely.
            "trap '' TERM INT HUP QUIT; echo ready; while :; do sleep 600; done",
            // Stopped.
            "sleep 600 & kill -STOP $!; echo ready; wait",
            // Orphans.
            "(sleep 600 & sleep 600 &) ; echo ready; wait; sleep 600",
            // Deep.
            "sh -c 'sh -c \"sleep 600; :\"; :' & echo ready; wait",
            // Growing in number all the time.
            "echo ready; while :; do sleep 600 & sleep 0.002; done",
        ] {
            let ledger = Ledger::create();
            let pool = ProcessPoolExecutor::builder().max_workers(1).task_options(kill_on_cancel()).build().expect("a pool");
            let future = pool.submit(run_script, (ledger.path().as_str(), script));
            eventually("it runs", SOON, || ledger.starts(0) == 1);
            assert!(future.cancel());
            let worker = ledger.entries()[0].pid;
            eventually(script, DETECT, || {
                let replaced = tagged_workers().iter().all(|pid| pool.worker_pids().contains(pid));
                replaced && !procfs::is_alive(worker)
            });
            pool.shutdown(true).wait();
            assert_left(script, &[]);
        }
    }

    fn those_of_another_worker_are_left_alone() {
        let (first, second) = (Ledger::create(), Ledger::create());
        let pool = ProcessPoolExecutor::builder().max_workers(2).task_options(kill_on_cancel()).build().expect("a pool");
        let culprit = pool.submit(start_two, (first.path().as_str(), 0, "park"));
        let neighbour = pool.submit(start_two, (second.path().as_str(), 0, "wait"));
        eventually("both run", SOON, || first.starts(0) == 1 && second.starts(0) == 1);
        let (stays, leaves) = started_by(first.entries()[0].pid);
        assert!(culprit.cancel());
        eventually("what the culprit started is dead", DETECT, || !procfs::is_alive(stays));
        pool.warm_up().wait().expect("two workers again");
        drop(second);
        let (others, other_that_left) = neighbour.result().expect("it was not disturbed");
        assert!(procfs::is_alive(others) && procfs::is_alive(other_that_left));
        pool.shutdown(true).wait();
        let mut left = [leaves, other_that_left];
        left.sort_unstable();
        assert_left("two that left their groups", &left);
    }
}

#[test]
fn with_control_groups_nothing_escapes() {
    let path = concat!(module_path!(), "::with_control_groups_nothing_escapes");
    if let Err(reason) = control_groups() {
        return fixtures::skip(path, &reason);
    }
    support::isolate::run(path, Duration::from_secs(90), || {
        for how in ENDS {
            ended_by(how, Limits::new().processes(40));
            assert_left(how, &[]);
        }
        // One that has left and starts others all the time.
        let ledger = Ledger::create();
        let script = "setsid sh -c 'while :; do sleep 0.002; done' & echo ready; wait";
        let limits = Limits::new().processes(40);
        let builder = ProcessPoolExecutor::builder().max_workers(1).limits(limits);
        let pool = builder.task_options(kill_on_cancel()).build().expect("a pool");
        for run in 1..=10 {
            let future = pool.submit(run_script, (ledger.path().as_str(), script));
            eventually("it runs", SOON, || ledger.starts(0) == run);
            assert!(future.cancel());
        }
        pool.shutdown(true).wait();
        assert_left("one that starts others", &[]);
    });
}
