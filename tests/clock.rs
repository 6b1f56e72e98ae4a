//! Deadlines go by a clock that nobody sets, and what was done in time counts, however late the program looks (F57).

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, TaskOptions, task};
use support::{Program, Signal, eventually, procfs};

const PATIENCE: Duration = Duration::from_secs(20);
/// Every limit in these programs.
const LIMIT: Duration = Duration::from_millis(700);
const WORKERS: usize = 4;

#[task]
fn wait_for(path: &str) -> u32 {
    while Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::process::id()
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

fn limited(how: &str) -> TaskOptions {
    match how {
        "timeout" => TaskOptions::new().timeout(LIMIT),
        "deadline" => TaskOptions::new().deadline(Instant::now() + LIMIT),
        "queue timeout" => TaskOptions::new().queue_timeout(LIMIT),
        _ => unreachable!("{how}"),
    }
}

support::program! {
    fn a_program_with_limited_tasks() {
        let file = std::env::var("BUSY").expect("a file");
        let how = std::env::var("HOW").expect("a limit");
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        pool.warm_up().wait().expect("a worker");
        let future = pool.with(limited(&how)).submit(wait_for, file.as_str());
        eventually("it runs", PATIENCE, || future.running());
        println!("{}", pool.worker_pids()[0]);
        match future.result() {
            Ok(pid) => println!("a value of {pid}"),
            Err(error) => println!("timed out: {}", error.is_timeout()),
        }
        println!("next by {}", pool.submit(own_pid, ()).result().expect("the pool goes on"));
        pool.shutdown(true).wait();
    }

    fn a_program_whose_workers_start() {
        let pool = ProcessPoolExecutor::builder()
            .max_workers(WORKERS)
            .start_timeout(LIMIT)
            .initializer(wait_for_start, std::env::var("BUSY").expect("a file").as_str())
            .on_worker_event(|event| println!("{event}"))
            .build()
            .expect("a pool");
        let warm = pool.warm_up();
        eventually("they start", PATIENCE, || pool.worker_pids().len() == WORKERS);
        println!("{:?}", pool.worker_pids());
        println!("ready: {:?}", warm.wait());
        pool.shutdown(true).wait();
    }
}

#[task]
fn wait_for_start(path: &str) {
    wait_for(path);
}

fn stop(program: &Program) {
    program.signal(Signal::STOP);
    eventually("it is stopped", PATIENCE, || procfs::state(program.pid()) == Some('T'));
}

fn busy_file() -> String {
    let file = std::env::temp_dir().join(format!("clock-{}", std::process::id()));
    std::fs::write(&file, "").expect("a file");
    file.to_str().expect("text").to_owned()
}

/// The program is stopped while its task runs, and goes on when the limit is over.
fn stopped_past(how: &str, finishes: bool) -> (String, String, u32) {
    let file = busy_file();
    let mut program =
        Program::named("a_program_with_limited_tasks").env("BUSY", &file).env("HOW", how).spawn();
    let worker: u32 = program.line().parse().expect("a number");
    stop(&program);
    if finishes {
        std::fs::remove_file(&file).expect("a file of ours");
        eventually("the worker has answered and waits", PATIENCE, || procfs::sleeps_in(worker, "futex"));
    }
    // The limit was set before the program said anything.
    std::thread::sleep(LIMIT + Duration::from_millis(100));
    program.signal(Signal::CONT);
    let told = (program.line(), program.line(), worker);
    let _ = std::fs::remove_file(&file);
    assert!(program.wait(PATIENCE).success());
    told
}

support::isolated! {
    timeout = 60;

    fn a_result_that_came_while_the_program_was_stopped_past_the_limit_counts() {
        for how in ["timeout", "deadline", "queue timeout"] {
            let (value, next, worker) = stopped_past(how, true);
            assert_eq!(value, format!("a value of {worker}"), "{how}");
            assert_eq!(next, format!("next by {worker}"), "{how}: nobody was killed for it");
        }
    }

    fn a_task_that_still_runs_is_stopped_when_the_program_goes_on() {
        let (value, next, worker) = stopped_past("timeout", false);
        assert_eq!(value, "timed out: true");
        assert_ne!(next, format!("next by {worker}"));
    }

    fn workers_that_became_ready_while_the_program_was_stopped_past_the_start_timeout_are_ready() {
        let file = busy_file();
        let mut program = Program::named("a_program_whose_workers_start").env("BUSY", &file).spawn();
        let pids = program.line();
        let workers: Vec<u32> =
            pids.trim_matches(['[', ']']).split(", ").map(|pid| pid.parse().expect("a number")).collect();
        assert_eq!(workers.len(), WORKERS);
        stop(&program);
        std::fs::remove_file(&file).expect("a file of ours");
        for &worker in &workers {
            eventually("the worker is ready and waits", PATIENCE, || procfs::sleeps_in(worker, "futex"));
        }
        std::thread::sleep(LIMIT + Duration::from_millis(100));
        program.signal(Signal::CONT);
        let mut told = Vec::new();
        while let Some(line) = program.next_line(PATIENCE) {
            told.push(line);
        }
        assert!(told.contains(&"ready: Ok(())".to_owned()), "{told:#?}");
        for worker in workers {
            let started = told.iter().any(|line| line.contains(&format!("(process {worker}) started")));
            assert!(started, "worker {worker} was not taken: {told:#?}");
        }
    }
}
