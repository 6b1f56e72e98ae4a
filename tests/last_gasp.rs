//! A reply that left its worker counts, and the task behind it runs once, elsewhere (F18).
//!
//! 2 000 deaths each; `PROCPOOL_ROUNDS` sets another number.

#![allow(unsafe_code, reason = "a system call filter")]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use procpool::{Phase, ProcessPoolExecutor, Ran, TaskError, task};
use support::{Event, Ledger, Signal};

/// More than a worker takes out of its socket at once: what comes behind it stays there until it is asked for. And more
/// than two items of a map may have that travel in one message.
const LONG: usize = 150_000;

fn rounds() -> u64 {
    std::env::var("PROCPOOL_ROUNDS").map_or(2_000, |rounds| rounds.parse().expect("a number of rounds"))
}

/// Seconds for the watchdog: a round is one start of a process, on a machine that may be busy.
fn patience() -> u64 {
    60 + rounds() / 5
}

/// Records itself, arms the end of its process and returns.
#[task]
fn work(ledger: &str, id: u64, death: &str, nanos: u64, _padding: &str) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    match death {
        "none" => {}
        "at the next read" => die_at_the_next_read(),
        "later" => {
            let at = Instant::now() + Duration::from_nanos(nanos);
            std::thread::spawn(move || {
                while Instant::now() < at {
                    std::hint::spin_loop();
                }
                rustix::process::kill_process(rustix::process::getpid(), Signal::KILL)
            });
        }
        _ => unreachable!("{death}"),
    }
    Ledger::record(ledger, id, Event::Finished);
    id
}

/// Makes the kernel kill this process when this thread, which is the one that serves, next reads from a socket:
/// its reply has left then, and the task behind it has not been read.
fn die_at_the_next_read() {
    let jump = |number: libc::c_long, over: u8| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: over,
        jf: 0,
        k: u32::try_from(number).expect("numbers of system calls are small"),
    };
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        jump(libc::SYS_recvfrom, 2),
        jump(libc::SYS_recvmsg, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_KILL_PROCESS),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel copies the program, whose length is that of the array, before the call returns.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) != 0
    };
    assert!(!refused, "a filter: {}", std::io::Error::last_os_error());
}

/// Two tasks that go to one worker together, and how they ended.
fn two_together(
    pool: &ProcessPoolExecutor,
    ledger: &str,
    first: u64,
    death: (&str, u64),
    padding: &str,
) -> [Result<u64, TaskError>; 2] {
    let items = [(ledger, first, death.0, death.1, padding), (ledger, first + 1, "none", 0, padding)];
    let both: Vec<_> = pool.map(work, items).chunksize(2).into_iter().collect();
    both.try_into().expect("two results")
}

/// Starts and finishes of every task, and where it started.
fn account(ledger: &Ledger) -> BTreeMap<u64, (usize, usize, u32)> {
    let mut account = BTreeMap::new();
    for entry in ledger.entries() {
        let (starts, finishes, pid) = account.entry(entry.id).or_insert((0, 0, entry.pid));
        match entry.event {
            Event::Started => {
                *starts += 1;
                *pid = entry.pid;
            }
            Event::Finished => *finishes += 1,
        }
    }
    account
}

support::isolated! {
    timeout = patience();

    fn a_worker_that_dies_between_its_reply_and_the_next_task_loses_neither() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let padding = "x".repeat(LONG);
        let began = Instant::now();
        for first in (0..2 * rounds()).step_by(2) {
            let [one, two] = two_together(&pool, &path, first, ("at the next read", 0), &padding);
            assert_eq!(one.expect("a reply that was sent"), first);
            assert_eq!(two.expect("a task that had not been read"), first + 1);
        }
        println!("{} deaths in {:?}", rounds(), began.elapsed());
        let account = account(&ledger);
        for first in (0..2 * rounds()).step_by(2) {
            let ((starts, finishes, pid), (starts_2, finishes_2, pid_2)) = (account[&first], account[&(first + 1)]);
            assert_eq!((starts, finishes, starts_2, finishes_2), (1, 1, 1, 1), "tasks {first} and {}", first + 1);
            assert_ne!(pid, pid_2, "the first worker was to die before it read task {}", first + 1);
        }
        pool.shutdown(true).wait();
    }

    fn a_worker_that_dies_at_any_moment_around_its_reply_runs_nothing_twice() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        let long = "x".repeat(LONG);
        let mut outcomes = Vec::new();
        for round in 0..rounds() {
            let dice = mixed(round);
            let padding = if dice & 1 == 0 { "" } else { &long };
            // A pause in the list of moments is as good as any other: up to 0.3 ms after the body's start.
            let nanos = (dice >> 8) % 300_000;
            outcomes.extend(two_together(&pool, &path, 2 * round, ("later", nanos), padding));
        }
        let account = account(&ledger);
        let mut counts = BTreeMap::new();
        for (id, outcome) in (0..).zip(&outcomes) {
            let (starts, finishes, _) = account.get(&id).copied().unwrap_or_default();
            let told = match outcome {
                Ok(value) => {
                    assert_eq!((*value, starts, finishes), (id, 1, 1), "task {id}");
                    "Ok".to_owned()
                }
                Err(error) => {
                    let exit = error.exit().unwrap_or_else(|| panic!("task {id}: {error}"));
                    match error.ran() {
                        Ran::Maybe => assert!(starts <= 1, "task {id}: {starts} starts, {error}"),
                        Ran::Yes => assert_eq!((starts, finishes), (1, 1), "task {id}: {error}"),
                        Ran::No => panic!("task {id} was given up after one death: {error}"),
                    }
                    assert_ne!(exit.phase(), Phase::Sent, "task {id}: {error}");
                    format!("{:?}", exit.phase())
                }
            };
            *counts.entry((if id % 2 == 0 { "the dying task" } else { "the next task" }, told)).or_insert(0) += 1;
        }
        println!("{counts:?}");
        let delivered = counts.get(&("the dying task", "Ok".to_owned())).copied().unwrap_or(0);
        assert!(delivered > 0, "no reply was ever faster than the death behind it: {counts:?}");
        pool.shutdown(true).wait();
    }
}

/// A number that looks random, the same for the same round.
fn mixed(round: u64) -> u64 {
    let mut z = round.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
