//! A program that is stopped, at any moment, loses nothing: its workers are not of its group and go on, and when it
//! continues, each task has run once (F58), and what workers have said comes before what is due (F57).

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use procpool::{ProcessPoolExecutor, WorkerEvent, task};
use support::{Event, Ledger, Program, Signal, eventually, kill, procfs, tagged_pids};

const PATIENCE: Duration = Duration::from_secs(20);
const TASKS: u64 = 400;
const START: Duration = Duration::from_secs(4);

#[task]
fn work(ledger: &str, id: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    Ledger::record(ledger, id, Event::Finished);
    id
}

/// Says who it is in a file beside that one, and waits until that one is gone.
#[task]
fn hold(path: &str) {
    std::fs::write(format!("{path}.pid"), std::process::id().to_string()).expect("a file");
    wait_for(path);
}

#[task]
fn wait_for(path: &str) {
    while std::path::Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

support::program! {
    /// Each task has a process of its own, so that there is a start at almost any moment.
    fn a_program_that_starts_many_workers() -> i32 {
        let ledger = std::env::var("LEDGER").expect("a ledger");
        let pool = ProcessPoolExecutor::builder().max_workers(2).max_tasks_per_child(1).build().expect("a pool");
        println!("ready");
        let futures: Vec<_> = (0..TASKS).map(|id| pool.submit(work, (ledger.as_str(), id))).collect();
        for (id, future) in (0..).zip(futures) {
            assert_eq!(future.result().expect("a value"), id);
        }
        assert!(pool.shutdown(true).wait().leaked.is_empty());
        println!("all done");
        7
    }

    fn a_program_whose_worker_starts() -> i32 {
        let file = std::env::var("BUSY").expect("a file");
        let failed = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&failed);
        let pool = ProcessPoolExecutor::builder()
            .max_workers(1)
            .start_timeout(START)
            .initializer(hold, file.as_str())
            .on_worker_event(move |event| {
                counted.fetch_add(usize::from(matches!(event, WorkerEvent::StartFailed { .. })), Ordering::Relaxed);
            })
            .build()
            .expect("a pool");
        pool.warm_up().wait().expect("a worker");
        pool.shutdown(true).wait();
        failed.load(Ordering::Relaxed) as i32
    }

    fn a_program_with_a_busy_worker() -> i32 {
        let file = std::env::var("BUSY").expect("a file");
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let future = pool.submit(wait_for, file.as_str());
        eventually("it runs", PATIENCE, || future.running());
        println!("{}", pool.worker_pids()[0]);
        future.result().expect("it ends while the program is stopped");
        pool.shutdown(true).wait();
        7
    }
}

fn is_stopped(pid: u32) -> bool {
    procfs::state(pid) == Some('T')
}

support::isolated! {
    timeout = 100;

    fn a_stop_at_any_moment_loses_nothing() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let mut program = Program::named("a_program_that_starts_many_workers").env("LEDGER", &path).spawn();
        assert_eq!(program.line(), "ready");
        let pid = program.pid();
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut stops = 0;
        while ledger.entries().len() < 2 * TASKS as usize {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            std::thread::sleep(Duration::from_micros(random % 20_000));
            program.signal(Signal::STOP);
            eventually("it is stopped, or done", PATIENCE, || is_stopped(pid) || !procfs::is_alive(pid));
            std::thread::sleep(Duration::from_micros(random % 5_000));
            program.signal(Signal::CONT);
            eventually("it goes on", PATIENCE, || !is_stopped(pid));
            stops += 1;
        }
        assert_eq!(program.line(), "all done");
        assert_eq!(program.wait(PATIENCE).code(), Some(7));
        ledger.assert_ran_exactly_once(0..TASKS);
        println!("stopped {stops} times during {TASKS} starts of workers");
        assert!(stops > 3, "stopped {stops} times");
        eventually("nothing is left", Duration::from_secs(2), || tagged_pids().is_empty());
    }

    fn workers_go_on_while_the_program_is_stopped() {
        let file = std::env::temp_dir().join(format!("scratch-busy-{}", std::process::id()));
        std::fs::write(&file, "").expect("a file");
        let path = file.to_str().expect("text").to_owned();
        let mut program = Program::named("a_program_with_a_busy_worker").env("BUSY", &path).spawn();
        let worker: u32 = program.line().parse().expect("a number");
        let group = |pid| procfs::process(pid).expect("a process").group;
        assert_ne!(group(program.pid()), group(worker), "what the terminal sends to the program's group passes it by");
        kill(program.pid(), Signal::STOP);
        eventually("the program is stopped", PATIENCE, || is_stopped(program.pid()));
        assert!(procfs::is_alive(worker) && !is_stopped(worker), "its worker is not");
        std::fs::remove_file(&file).expect("a file of ours");
        eventually("the worker has answered and waits", PATIENCE, || procfs::sleeps_in(worker, "futex"));
        kill(program.pid(), Signal::CONT);
        assert_eq!(program.wait(PATIENCE).code(), Some(7));
    }

    fn what_a_worker_said_while_the_program_was_stopped_comes_before_its_time_is_up() {
        let file = std::env::temp_dir().join(format!("a-start-{}", std::process::id()));
        std::fs::write(&file, "").expect("a file");
        let path = file.to_str().expect("text").to_owned();
        let mut program = Program::named("a_program_whose_worker_starts").env("BUSY", &path).spawn();
        let said = format!("{path}.pid");
        let who = || std::fs::read_to_string(&said).ok()?.parse::<u32>().ok();
        eventually("its worker is in the initializer", PATIENCE, || who().is_some());
        let worker = who().expect("a number");
        kill(program.pid(), Signal::STOP);
        eventually("the program is stopped", PATIENCE, || is_stopped(program.pid()));
        std::fs::remove_file(&file).expect("a file of ours");
        eventually("the worker has answered and waits", PATIENCE, || procfs::sleeps_in(worker, "futex"));
        // What is waited for is that its time is up.
        std::thread::sleep(START);
        kill(program.pid(), Signal::CONT);
        assert_eq!(program.wait(PATIENCE).code(), Some(0), "so many starts have failed");
        std::fs::remove_file(&said).expect("a file of ours");
    }
}
