//! Tasks print where the program prints, however much, and whoever reads it or does not; or where the pool keeps the last
//! of it, which is always read (F29).

#![allow(unsafe_code, reason = "a program that closes its standard streams")]

mod support;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, thread};

use procpool::{
    ProcessPoolExecutor, Ran, ShutdownOptions, StartMethod, TaskError, TaskErrorKind, TaskOptions,
    WorkerStdio, task,
};
use support::{Program, eventually, procfs, tagged_pids};

const ORPHAN: Duration = Duration::from_secs(2);
const DETECT: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(20);
const GIBIBYTE: usize = 1 << 30;
/// More than any pipe holds unless it was asked to.
const MORE_THAN_A_PIPE: usize = 4 << 20;

#[task]
fn double(n: u64) -> u64 {
    2 * n
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

/// Writes so many bytes, without a new line, straight to one of the two streams.
#[task]
fn print_much(stream: &str, bytes: usize) -> Result<(), String> {
    let chunk = vec![b'#'; 1 << 20];
    for _ in 0..bytes / chunk.len() {
        match stream {
            "stdout" => io::stdout().write_all(&chunk),
            "stderr" => io::stderr().write_all(&chunk),
            _ => unreachable!("{stream}"),
        }
        .map_err(|error| format!("{:?}", error.kind()))?;
    }
    Ok(())
}

#[task]
fn print(text: &str) {
    print!("{text}");
}

#[task]
fn print_line(text: &str) {
    println!("{text}");
}

#[task]
fn print_error_line(text: &str) {
    eprintln!("{text}");
}

#[task]
fn print_error_and_abort(text: &str) {
    eprintln!("{text}");
    std::process::abort()
}

/// Where a descriptor of the worker leads.
#[task]
fn where_it_goes(fd: u32) -> String {
    fs::read_link(format!("/proc/self/fd/{fd}")).expect("it is open").to_string_lossy().into_owned()
}

#[task]
fn fail(text: &str) {
    panic!("{text}");
}

fn pool(workers: usize) -> ProcessPoolExecutor {
    let pool = ProcessPoolExecutor::builder().max_workers(workers).build().expect("a pool");
    pool.warm_up().wait().expect("workers");
    pool
}

/// A gibibyte to each stream, while others go on and this process does not grow.
fn print_very_much(pool: &ProcessPoolExecutor) {
    let own = || procfs::rss_kib(std::process::id()).expect("our own memory");
    let before = own();
    let much = ["stdout", "stderr"].map(|stream| pool.submit(print_much, (stream, GIBIBYTE)));
    for n in 0..100 {
        assert_eq!(pool.submit(double, n).result().expect("others go on"), 2 * n);
    }
    for future in much {
        assert_eq!(future.result().expect("a value"), Ok(()));
    }
    assert!(own() < before + (16 << 10), "{before} KiB, then {} KiB", own());
}

fn message(error: &TaskError) -> &str {
    error.panic().unwrap_or_else(|| panic!("no panic: {error}")).message()
}

/// Reads to the end, and counts.
fn count(mut stream: impl Read + Send + 'static) -> thread::JoinHandle<usize> {
    let mut buffer = vec![0; 1 << 20];
    thread::spawn(move || {
        let mut all = 0;
        loop {
            match stream.read(&mut buffer).expect("a pipe can be read") {
                0 => return all,
                count => all += count,
            }
        }
    })
}

fn wait(child: &mut Child) -> Option<i32> {
    let mut status = None;
    eventually("the program ends", SOON * 3, || {
        status = child.try_wait().expect("it is ours");
        status.is_some()
    });
    status.expect("it has ended").code()
}

support::program! {
    fn a_program_whose_tasks_print_very_much() {
        print_very_much(&pool(3));
    }

    fn a_program_that_nobody_reads() {
        let pool = pool(2);
        let limit = Duration::from_millis(500);
        let impatient = pool.with(TaskOptions::new().timeout(limit));
        let stuck = pool.submit(print_much, ("stdout", MORE_THAN_A_PIPE));
        eventually("it waits for room", SOON, || pool.worker_pids().iter().any(|&pid| procfs::sleeps_in(pid, "pipe_write")));
        for n in 0..100 {
            assert_eq!(pool.submit(double, n).result().expect("others go on"), 2 * n);
        }
        assert!(stuck.kill());
        assert!(stuck.result().expect_err("killed").is_cancelled());
        // The pipe is full from here on.
        let error = impatient.submit(print_much, ("stdout", MORE_THAN_A_PIPE)).result().expect_err("no room");
        assert!(error.is_timeout(), "{error}");
        let error = impatient.submit(print_line, "a line").result().expect_err("no room");
        assert!(error.is_timeout(), "{error}");
        // Here the body has ended, and what it left in the buffer finds no room.
        let began = Instant::now();
        let error = impatient.submit(print, "no line").result().expect_err("no room");
        assert!(matches!(error.kind(), TaskErrorKind::TimedOut { .. }), "{error}");
        assert!(matches!(error.ran(), Ran::Maybe | Ran::Yes) && began.elapsed() < limit + DETECT);
        assert_eq!(pool.submit(double, 21).result().expect("the pool goes on"), 42);
        let _endless = pool.submit(print_much, ("stdout", MORE_THAN_A_PIPE));
        let began = Instant::now();
        pool.shutdown_with(ShutdownOptions::new().within(limit)).wait();
        assert!(began.elapsed() < limit + DETECT, "{:?}", began.elapsed());
    }

    fn a_program_whose_readers_have_left() {
        let pool = pool(1);
        let worker = pool.submit(own_pid, ()).result().expect("a value");
        println!("ready");
        // It is told when there is nobody left to print to.
        io::stdin().read_line(&mut String::new()).expect("a word");
        pool.submit(print, "no line").result().expect("it stays in a buffer, and nobody needs it");
        for _ in 0..3 {
            let error = pool.submit(print_line, "a line").result().expect_err("nobody reads it");
            assert!(message(&error).starts_with("failed printing to stdout: Broken pipe"), "{error}");
            let error = pool.submit(print_error_line, "a line").result().expect_err("nobody reads it");
            assert!(message(&error).starts_with("failed printing to stderr: Broken pipe"), "{error}");
            assert_eq!(error.ran(), Ran::Yes);
            let told = pool.submit(print_much, ("stdout", 1 << 20)).result().expect("a value");
            assert_eq!(told, Err("BrokenPipe".to_owned()));
            let error = pool.submit(fail, "a panic").result().expect_err("a panic");
            assert_eq!(message(&error), "a panic");
            assert_eq!(pool.submit(double, 21).result().expect("the pool goes on"), 42);
        }
        assert_eq!(pool.submit(own_pid, ()).result().expect("a value"), worker, "the worker lives on");
        let report = pool.shutdown(true).wait();
        assert_eq!((report.killed, report.leaked), (0, Vec::new()));
    }

    fn a_program_that_prints_until_nobody_reads() {
        let pool = pool(2);
        for n in 0.. {
            pool.submit(double, n).detach();
            println!("line {n}");
        }
    }

    fn a_program_whose_task_prints_half_a_line() {
        let pool = pool(1);
        for n in 0..3 {
            pool.submit(print, "the task, ").result().expect("a value");
            println!("then the program {n}");
        }
        let items = pool.map(print, ["an item, "; 3]).chunksize(3).into_iter();
        items.for_each(|item| item.expect("a value"));
        println!("then the program");
    }

    fn a_program_without_standard_streams() {
        // Its own failures have to be seen all the same.
        let errors = Mutex::new(fs::File::from(io::stderr().as_fd().try_clone_to_owned().expect("a descriptor")));
        std::panic::set_hook(Box::new(move |info| {
            let _ = writeln!(errors.lock().unwrap_or_else(PoisonError::into_inner), "{info}");
        }));
        for fd in std::env::var("CLOSED").expect("numbers").split(' ') {
            // SAFETY: this program uses none of the three from here on.
            unsafe { libc::close(fd.parse().expect("a number")) };
        }
        // What is opened next takes these numbers.
        let pool = pool(2);
        assert_eq!(message(&pool.submit(fail, "a panic").result().expect_err("a panic")), "a panic");
        pool.submit(print_line, "nobody sees this").result().expect("it goes somewhere");
        assert_eq!(pool.map(double, 0..50).into_iter().map(|value| value.expect("a value")).sum::<u64>(), 2450);
        support::kill(pool.worker_pids()[0], support::Signal::KILL);
        pool.warm_up().wait().expect("two workers again");
        assert_eq!(pool.submit(double, 21).result().expect("the pool goes on"), 42);
        pool.shutdown(true).wait();
    }
}

support::isolated! {
    timeout = 120;

    fn a_gibibyte_to_each_stream_gets_through_and_holds_up_nobody() {
        let mut command = Program::command("a_program_whose_tasks_print_very_much");
        let mut program = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let stdout = count(program.stdout.take().expect("a pipe"));
        let stderr = count(program.stderr.take().expect("a pipe"));
        let began = Instant::now();
        let code = wait(&mut program);
        for counted in [stdout, stderr] {
            let counted = counted.join().expect("a number");
            // A few lines are those of the test runner.
            assert!((GIBIBYTE..GIBIBYTE + 4096).contains(&counted), "{counted}");
        }
        assert_eq!(code, Some(0));
        println!("two gibibytes in {:?}", began.elapsed());
    }

    fn a_gibibyte_to_each_stream_is_read_by_a_pool_that_keeps_the_last_of_it() {
        const KEPT: usize = 100_000;
        let captured = WorkerStdio::Captured { bytes: KEPT };
        let pool = ProcessPoolExecutor::builder().max_workers(3).stdout(captured).stderr(captured).build().expect("a pool");
        pool.warm_up().wait().expect("workers");
        print_very_much(&pool);
        for kept in [pool.stdout(), pool.stderr()] {
            assert!(kept.expect("it is kept") == vec![b'#'; KEPT]);
        }
        // Who is killed while he writes takes nobody along.
        let endless = pool.submit(print_much, ("stdout", 1 << 50));
        eventually("it writes", SOON, || endless.running());
        assert!(endless.kill());
        endless.result().expect_err("it was killed");
        assert_eq!(pool.submit(double, 21).result().expect("the pool goes on"), 42);
        pool.shutdown(true).wait();
    }

    fn what_is_kept_is_there_when_it_is_told_what_came_of_the_task() {
        for method in [StartMethod::Spawn, StartMethod::ForkServer] {
            let captured = WorkerStdio::Captured { bytes: 50 };
            let builder = ProcessPoolExecutor::builder().max_workers(2).start_method(method);
            let pool = builder.stdout(captured).stderr(captured).build().expect("a pool");
            assert_eq!((pool.stdout(), pool.stderr()), (Some(Vec::new()), Some(Vec::new())));
            for n in 0..200 {
                let text = format!("line {n} of many");
                pool.submit(print_line, &text).result().expect("it goes somewhere");
                let kept = pool.stdout().expect("it is kept");
                assert!(kept.len() <= 50 && kept.ends_with(format!("{text}\n").as_bytes()), "{n}: {kept:?}");
            }
            pool.submit(print_error_and_abort, "its last words").result().expect_err("it has aborted");
            assert!(pool.stderr().expect("it is kept").starts_with(b"its last words"), "{:?}", pool.stderr());
            pool.shutdown(true).wait();
            assert!(pool.stdout().expect("it is kept").ends_with(b"line 199 of many\n"));
        }
    }

    fn what_goes_nowhere_is_not_kept_and_what_is_not_captured_is_not_told() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).stdout(WorkerStdio::Null).build().expect("a pool");
        assert_eq!(pool.submit(where_it_goes, 1).result().expect("a path"), "/dev/null");
        let own = fs::read_link("/proc/self/fd/2").expect("a path").to_string_lossy().into_owned();
        assert_eq!(pool.submit(where_it_goes, 2).result().expect("a path"), own);
        assert_eq!((pool.stdout(), pool.stderr()), (None, None));
        pool.shutdown(true).wait();
        let nothing = ProcessPoolExecutor::builder().stderr(WorkerStdio::Captured { bytes: 0 }).build();
        let error = nothing.expect_err("no room").to_string();
        assert!(error.contains("`stderr` keeps 0 bytes: keep at least 1, or say `Null`"), "{error}");
    }

    fn a_full_pipe_holds_up_only_those_who_print_and_deadlines_hold() {
        // Its output is kept and not read.
        let mut program = Program::named("a_program_that_nobody_reads").spawn();
        assert_eq!(program.wait(SOON).code(), Some(0));
        eventually("all workers are gone", ORPHAN, || tagged_pids().is_empty());
    }

    fn a_broken_pipe_is_a_panic_of_the_task_and_nothing_else() {
        let mut command = Program::command("a_program_whose_readers_have_left");
        let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut lines = BufReader::new(program.stdout.take().expect("a pipe")).lines();
        assert!(lines.any(|line| line.expect("text") == "ready"));
        drop((lines, program.stderr.take()));
        program.stdin.take().expect("a pipe").write_all(b"alone\n").expect("room for a word");
        assert_eq!(wait(&mut program), Some(0));
        eventually("all workers are gone", ORPHAN, || tagged_pids().is_empty());
    }

    fn a_program_that_ends_of_a_broken_pipe_leaves_no_workers() {
        // As in `program | head -1`.
        let mut program = Program::named("a_program_that_prints_until_nobody_reads").spawn();
        assert_eq!(program.line(), "line 0");
        program.close_output();
        assert_eq!(program.wait(SOON).code(), Some(101));
        eventually("all workers are gone", ORPHAN, || tagged_pids().is_empty());
    }

    fn what_a_task_printed_is_out_before_its_result_is_in() {
        let mut program = Program::named("a_program_whose_task_prints_half_a_line").spawn();
        for n in 0..3 {
            assert_eq!(program.line(), format!("the task, then the program {n}"));
        }
        assert_eq!(program.line(), "an item, an item, an item, then the program");
        assert_eq!(program.wait(SOON).code(), Some(0));
    }

    fn standard_streams_may_be_closed() {
        for closed in ["0", "1", "2", "0 2", "0 1 2"] {
            let mut program = Program::named("a_program_without_standard_streams").env("CLOSED", closed).spawn();
            assert_eq!(program.wait(SOON).code(), Some(0), "{closed}");
            eventually("all workers are gone", ORPHAN, || tagged_pids().is_empty());
        }
    }
}
