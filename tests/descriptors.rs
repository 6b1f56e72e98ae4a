//! No descriptor goes where it does not belong: neither the program's into workers, nor the pool's into other
//! programs (F33). What a worker has from the start is also looked at in `worker_state.rs`.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use procpool::{ProcessPoolExecutor, task};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, kill_process};
use support::{Census, Signal, eventually, kill, procfs};

const SOON: Duration = Duration::from_secs(10);

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

/// What a program that a task starts has.
#[task]
fn descriptors_of_a_program() -> BTreeMap<u32, String> {
    let mut child = Command::new("sleep").arg("600").spawn().expect("sleep");
    let found = descriptors(&child);
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    found
}

fn pool(workers: usize) -> ProcessPoolExecutor {
    let pool = ProcessPoolExecutor::builder().max_workers(workers).build().expect("a pool");
    pool.warm_up().wait().expect("workers");
    pool
}

/// The descriptors of a `sleep` that sleeps, and has closed those by which it was loaded.
fn descriptors(sleep: &Child) -> BTreeMap<u32, String> {
    eventually("it sleeps", SOON, || procfs::sleeps_in(sleep.id(), "nanosleep"));
    procfs::fds(sleep.id())
}

/// The process behind a descriptor of another process.
fn process_behind(pid: u32, fd: u32) -> Option<u32> {
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).ok()?;
    info.lines().find_map(|line| line.strip_prefix("Pid:"))?.trim().parse().ok()
}

/// Replaces workers all the time until it is dropped.
struct Churn<'a> {
    enough: &'a AtomicBool,
}

impl<'a> Churn<'a> {
    fn begin<'scope>(scope: &'scope thread::Scope<'scope, 'a>, enough: &'a AtomicBool) -> Churn<'a> {
        scope.spawn(|| {
            let pool = pool(3);
            let mut rounds = 0;
            while !enough.load(Ordering::Relaxed) || rounds < 10 {
                for pid in pool.worker_pids() {
                    // It may have been replaced meanwhile, or be just now: then the next round kills its successor.
                    if procfs::children_of(std::process::id()).contains(&pid) {
                        let _ = kill_process(Pid::from_raw(pid.cast_signed()).expect("not 0"), Signal::KILL);
                    }
                }
                pool.warm_up().wait().expect("workers");
                rounds += 1;
            }
            println!("{rounds} rounds of replacements");
        });
        Churn { enough }
    }
}

impl Drop for Churn<'_> {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
    }
}

support::isolated! {
    timeout = 90;

    fn the_64th_worker_has_what_the_first_one_has_and_nothing_of_the_programs() {
        // Whatever is opened without close-on-exec is inherited by what a program starts.
        let leaky: Vec<_> = (0..5).map(|_| memfd_create("leaky", MemfdFlags::empty()).expect("memory")).collect();
        let mut seen = Command::new("sleep").arg("600").spawn().expect("sleep");
        assert_eq!(descriptors(&seen).values().filter(|target| target.contains("leaky")).count(), leaky.len());
        seen.kill().expect("it is ours");
        seen.wait().expect("it ends");

        let pool = pool(64);
        let workers = pool.worker_pids();
        assert_eq!(workers.len(), 64);
        let mut numbers = BTreeSet::new();
        let mut sockets = BTreeSet::new();
        for worker in workers {
            let found = procfs::fds(worker);
            numbers.insert(found.keys().copied().collect::<Vec<_>>());
            let (mut channels, mut parents) = (0, 0);
            for (&fd, target) in found.range(3..) {
                if target.starts_with("socket:") {
                    channels += 1;
                    assert!(sockets.insert(target.clone()), "{target} is in two workers");
                } else if target == "anon_inode:[pidfd]" {
                    parents += 1;
                    assert_eq!(process_behind(worker, fd), Some(std::process::id()));
                } else {
                    panic!("descriptor {fd} of worker {worker} leads to {target}");
                }
            }
            assert_eq!((channels, parents), (1, 1), "{found:?}");
            assert_eq!(found[&0], "/dev/null");
        }
        assert_eq!(numbers.len(), 1, "all workers have the same numbers: {numbers:?}");
        assert_eq!(numbers.first().expect("one")[..3], [0, 1, 2]);
        assert!(leaky.iter().all(|memory| memory.as_raw_fd() > 2));
    }

    fn replacements_cost_the_program_no_descriptor() {
        support::warmed_up(|| drop(pool(1)));
        let pool = pool(2);
        let before = Census::settled();
        for _ in 0..20 {
            for pid in pool.worker_pids() {
                kill(pid, Signal::KILL);
                eventually("the pool has noticed", SOON, || !pool.worker_pids().contains(&pid));
            }
            pool.warm_up().wait().expect("workers");
        }
        let after = Census::take();
        let targets = |census: &Census| census.fds.len();
        eventually("as many as before", SOON, || targets(&Census::take()) == targets(&before));
        assert_eq!(before.threads.len(), after.threads.len(), "{:?}", after.threads);
    }

    fn programs_that_are_started_meanwhile_have_nothing_of_the_pools() {
        let start = || Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep");
        let mut first = start();
        let expected: Vec<u32> = descriptors(&first).into_keys().collect();
        first.kill().expect("it is ours");
        first.wait().expect("it ends");
        let enough = AtomicBool::new(false);
        thread::scope(|scope| {
            let churn = Churn::begin(scope, &enough);
            for _ in 0..150 {
                let mut sleep = start();
                let found = descriptors(&sleep);
                sleep.kill().expect("it is ours");
                sleep.wait().expect("it ends");
                assert_eq!(found.keys().copied().collect::<Vec<_>>(), expected, "{found:?}");
            }
            drop(churn);
        });
    }

    fn workers_that_are_started_meanwhile_hold_no_pipe_of_another_program() {
        let enough = AtomicBool::new(false);
        thread::scope(|scope| {
            let churn = Churn::begin(scope, &enough);
            for _ in 0..100 {
                let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat");
                cat.stdin.take().expect("a pipe").write_all(b"all").expect("room in the pipe");
                // A worker that held the other end of its input would keep it waiting.
                let mut ended = false;
                eventually("it has seen the end of its input", SOON, || {
                    ended |= cat.try_wait().expect("it is ours").is_some();
                    ended
                });
                assert_eq!(cat.wait_with_output().expect("it has ended").stdout, b"all");
            }
            drop(churn);
        });
    }

    fn programs_of_tasks_have_nothing_of_the_workers() {
        let pool = pool(1);
        let found = pool.submit(descriptors_of_a_program, ()).result().expect("a value");
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), [0, 1, 2], "{found:?}");
        assert_eq!(found[&0], "/dev/null");
        pool.submit(own_pid, ()).result().expect("the worker has lost nothing");
    }
}
