//! Without descriptors, threads or processes to be had, there is a clear error and nothing half-born (F16).

mod support;

use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::time::Duration;

use procpool::{ProcessPoolExecutor, StartError, TaskError, TaskErrorKind, TaskFuture, task};
use rustix::fs::{MemfdFlags, memfd_create};
use support::{Census, FdLimit, Program, Signal, eventually, kill, procfs, tagged_pids};

const RESPAWN: Duration = Duration::from_secs(5);

#[task]
fn double(n: u64) -> u64 {
    2 * n
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

/// A pool's whole life. `Err` is the clear error that it may end with.
fn create_use_drop() -> Result<(), String> {
    let built = ProcessPoolExecutor::builder().max_workers(2).build();
    let pool = match built {
        Ok(pool) => pool,
        Err(error @ StartError::Spawn { .. }) => {
            return Err(error.to_string());
        }
        Err(other) => panic!("an error that does not tell of descriptors: {other:?}"),
    };
    let mut futures: Vec<TaskFuture<u64>> = (0..4).map(|n| pool.submit(double, n)).collect();
    let mut refused = None;
    for (n, future) in (0..).zip(&mut futures) {
        match future.result_timeout(Duration::from_secs(20)).expect("an outcome, soon") {
            Ok(value) => assert_eq!(value, 2 * n),
            Err(error) => refused = Some(clear(&error)),
        }
    }
    refused.map_or(Ok(()), Err)
}

/// The text of an error that says what the system refused.
#[track_caller]
fn clear(error: &TaskError) -> String {
    match error.kind() {
        TaskErrorKind::PoolBroken(StartError::Spawn { .. }) => error.to_string(),
        other => panic!("an error that does not tell of descriptors: {other:?}"),
    }
}

support::isolated! {
    timeout = 120;

    fn every_number_of_free_descriptors_is_enough_or_an_error() {
        support::warmed_up(|| create_use_drop().expect("nothing is short yet"));
        let baseline = Census::take();
        let mut worked = Vec::new();
        for free in 0..=40 {
            let few = FdLimit::leaving(free);
            let outcome = create_use_drop();
            drop(few);
            baseline.assert_clean();
            match outcome {
                Ok(()) => worked.push(free),
                Err(text) => println!("{free} free: {text}"),
            }
        }
        println!("enough: {worked:?}");
        assert!(!worked.contains(&0), "a pool cannot be made of nothing");
        assert!(worked.ends_with(&[37, 38, 39, 40]), "forty are enough for two workers, works with {worked:?}");
    }

    fn the_first_pool_of_a_program_survives_every_shortage_as_well() {
        // What the libraries make once per process is made under the shortage, and must not be spoilt by it.
        for free in 0..=40 {
            let mut program = Program::named("a_first_pool_under_a_shortage").env("FREE", free.to_string()).spawn();
            let first = program.next_line(Duration::from_secs(30)).expect("the outcome of the first pool");
            let second = program.next_line(Duration::from_secs(30));
            assert_eq!(second.as_deref(), Some("Ok(())"), "{free} free: first {first}; then there were enough");
            assert_eq!(program.wait(Duration::from_secs(10)).code(), Some(0));
            println!("{free} free: {first}");
        }
    }

    fn a_running_pool_goes_on_with_the_workers_it_has() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        pool.warm_up().wait().expect("two workers");
        let workers = pool.worker_pids();
        let few = FdLimit::leaving(0);
        kill(workers[0], Signal::KILL);
        // Failed starts in a row do not break a pool in which a worker lives.
        eventually("the dead worker is no longer counted", RESPAWN, || !pool.worker_pids().contains(&workers[0]));
        let futures: Vec<TaskFuture<u32>> = (0..200).map(|_| pool.submit(own_pid, ())).collect();
        for future in futures {
            assert_eq!(future.result().expect("the living worker does it"), workers[1]);
        }
        assert_eq!(pool.worker_pids(), [workers[1]]);
        drop(few);
        pool.warm_up().wait().expect("descriptors are back");
        assert_eq!(pool.worker_pids().len(), 2);
        pool.shutdown(true).wait();
    }

    fn a_pool_that_loses_its_last_worker_under_a_shortage_says_so_to_all() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        pool.warm_up().wait().expect("two workers");
        let few = FdLimit::leaving(0);
        for pid in pool.worker_pids() {
            kill(pid, Signal::KILL);
        }
        let futures: Vec<TaskFuture<u64>> = (0..50).map(|n| pool.submit(double, n)).collect();
        let texts: Vec<String> =
            futures.into_iter().map(|future| clear(&future.result().expect_err("no worker"))).collect();
        assert!(texts.iter().all(|text| *text == texts[0]), "one cause for all: {texts:?}");
        assert!(matches!(
            pool.submit(double, 1).result().expect_err("for good").kind(),
            TaskErrorKind::PoolBroken(StartError::Spawn { .. })
        ));
        drop(few);
        pool.shutdown(true).wait();
    }

    fn a_failed_start_takes_no_child_of_the_program_along() {
        if support::templates_by_default() {
            return println!("SKIPPED: a copy of a template is in its folder already, also when that is gone");
        }
        // A callback runs on the thread that starts workers, and what it starts is a child of that thread.
        let folder = std::env::temp_dir().join(format!("folder-{}", support::tag().expect("a tag")));
        std::fs::create_dir(&folder).expect("a folder");
        let pool = ProcessPoolExecutor::builder().max_workers(1).current_dir(&folder).build().expect("a pool");
        let (sender, receiver) = std::sync::mpsc::channel();
        let future = pool.submit(own_pid, ());
        future.add_done_callback(move |done| {
            let sleep = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep");
            sender.send((sleep, done.result().expect("a value"))).expect("the test waits");
        });
        let (mut sleep, worker) = receiver.recv().expect("the callback sends");
        std::fs::remove_dir(&folder).expect("a folder that is nobody's but the worker's");
        kill(worker, Signal::KILL);
        let error = pool.submit(double, 1).result().expect_err("no worker starts without its folder");
        println!("{}", clear(&error));
        assert!(sleep.try_wait().expect("nobody else waits for it").is_none(), "the program's own child was killed");
        sleep.kill().expect("a child");
        sleep.wait().expect("a child");
        pool.shutdown(true).wait();
    }
}

support::program! {
    fn a_first_pool_under_a_shortage() {
        let free = std::env::var("FREE").expect("set by the test").parse().expect("a number");
        let few = FdLimit::leaving(free);
        let first = create_use_drop();
        drop(few);
        println!("{first:?}");
        // The second line comes only when the first pool has left nothing.
        eventually("no child is left", Duration::from_secs(5), || procfs::children_of(std::process::id()).is_empty());
        println!("{:?}", create_use_drop());
    }
}

support::program! {
    /// Ends with its verdict whatever the system refuses: 0 for a value, 3 for an error that it was told.
    fn a_small_program() -> i32 {
        let told = |error: &dyn std::fmt::Display| {
            println!("verdict: {error}");
            3
        };
        let pool = match ProcessPoolExecutor::builder().max_workers(1).build() {
            Ok(pool) => pool,
            Err(error) => return told(&error),
        };
        for n in 0..2 {
            match pool.submit(double, n).result() {
                Ok(value) => assert_eq!(value, 2 * n),
                Err(error) => return told(&error),
            }
        }
        pool.shutdown(true).wait();
        println!("verdict: two values");
        0
    }
}

support::isolated! {
    timeout = 120;

    fn processes_and_threads_that_cannot_be_made() {
        refuse("clone,clone3,vfork", "EAGAIN");
    }

    fn process_descriptors_that_cannot_be_opened() {
        refuse("pidfd_open", "EMFILE");
    }

    fn sockets_and_shared_memory_that_cannot_be_made() {
        refuse("socketpair", "EMFILE");
        refuse("memfd_create", "ENFILE");
        refuse("fallocate", "ENOSPC");
    }

    fn pollers_that_cannot_be_made() {
        refuse("epoll_create1", "EMFILE");
        refuse("eventfd2", "EMFILE");
        refuse("epoll_ctl", "ENOSPC");
    }
}

/// Runs the small program, in which the K-th of these system calls of every thread fails, its workers' threads
/// included, for K from 1 to 8 or as far as it makes any.
fn refuse(calls: &str, error: &str) {
    let traced = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    if !traced.is_ok_and(|status| status.success()) {
        println!("SKIPPED: {error} from {calls} needs strace, which is not installed or not allowed here");
        return;
    }
    for nth in 1..=8 {
        let (code, output) = run_under_strace(calls, error, nth);
        let injected = output.contains("(INJECTED)");
        let verdict = output.lines().find(|line| line.starts_with("verdict: "));
        println!("{error} from {calls} number {nth}: code {code:?}, {verdict:?}, injected: {injected}");
        // What the test's own frame makes before the program begins may fail as well, and ends it by code 101.
        let begun = output.contains("the program begins");
        assert!(!begun || matches!(code, Some(0 | 3)), "no verdict:\n{output}");
        assert!(begun || injected, "it did not begin, for no reason:\n{output}");
        assert!(injected || code == Some(0), "it failed for no reason:\n{output}");
        eventually("nothing is left of it", Duration::from_secs(2), || tagged_pids().is_empty());
        if !injected {
            break;
        }
    }
}

fn run_under_strace(calls: &str, error: &str, nth: u32) -> (Option<i32>, String) {
    let program = Program::command("a_small_program");
    let mut output = std::fs::File::from(memfd_create("strace", MemfdFlags::CLOEXEC).expect("memory"));
    let writer = || Stdio::from(output.try_clone().expect("a descriptor"));
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-qq",
        "-e",
        &format!("trace={calls}"),
        "-e",
        &format!("inject={calls}:error={error}:when={nth}"),
    ]);
    strace.arg(program.get_program()).args(program.get_args());
    strace.envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))));
    // Without a backtrace, which opens files of its own.
    strace.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).stdout(writer()).stderr(writer());
    let mut child = strace.spawn().expect("strace");
    let mut status = None;
    eventually("the program ends", Duration::from_secs(30), || {
        status = child.try_wait().expect("nobody else waits for strace");
        status.is_some()
    });
    let mut text = String::new();
    output.rewind().expect("a file");
    output.read_to_string(&mut text).expect("text");
    (status.and_then(|status| status.code()), text)
}
