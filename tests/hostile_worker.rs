//! A worker cannot hurt its parent, whatever it says (F15, F28).

#![allow(unsafe_code, reason = "tasks that reach for the channel of their worker")]

#[path = "hostile_worker/ring.rs"]
mod ring;
mod support;

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, Ran, TaskError, TaskErrorKind, task};
use support::{Event, Ledger, procfs};

const DETECT: Duration = Duration::from_secs(2);
const LIMIT: usize = 1 << 20;

/// The descriptor of the channel: the only socket of a worker.
fn channel() -> i32 {
    std::fs::read_dir("/proc/self/fd")
        .expect("descriptors")
        .filter_map(Result::ok)
        .find(|entry| {
            std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
        })
        .and_then(|entry| entry.file_name().to_str()?.parse().ok())
        .expect("a worker has a channel")
}

fn say(bytes: &[u8]) {
    // SAFETY: the descriptor stays open while the worker lives.
    let channel = unsafe { BorrowedFd::borrow_raw(channel()) };
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::net::send(channel, rest, rustix::net::SendFlags::NOSIGNAL) {
            Ok(sent) => rest = &rest[sent..],
            Err(_) => return,
        }
    }
}

/// Says what no worker says, then returns, hangs or dies.
#[task]
fn lie(bytes: &[u8], then: &str) {
    say(bytes);
    match then {
        "return" => {}
        "hang" => std::thread::sleep(Duration::from_secs(600)),
        "die" => std::process::abort(),
        _ => unreachable!("{then}"),
    }
}

#[task]
fn flood(megabytes: usize) {
    let zeros = vec![0xAB; 1 << 20];
    // A result that is announced within the limit, and then goes on and on.
    say(&frame(6, 1, LIMIT as u64));
    for _ in 0..megabytes {
        say(&zeros);
    }
    std::thread::sleep(Duration::from_secs(600));
}

#[task]
fn close_everything(how: &str) {
    let highest = 4096;
    match how {
        // SAFETY: the worker is to lose its descriptors.
        "close" => unsafe {
            libc::close_range(3, u32::MAX, 0);
        },
        "overwrite" => {
            let null = std::fs::File::open("/dev/null").expect("null");
            for fd in 3..highest {
                // SAFETY: only numbers that are open are replaced.
                unsafe {
                    if libc::fcntl(fd, libc::F_GETFD) != -1 && fd != std::os::fd::AsRawFd::as_raw_fd(&null) {
                        libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&null), fd);
                    }
                }
            }
        }
        _ => unreachable!("{how}"),
    }
    std::thread::sleep(Duration::from_secs(600));
}

#[task]
fn note(ledger: &str, id: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    Ledger::record(ledger, id, Event::Finished);
    id
}

#[task]
fn read_stdin() -> String {
    let output =
        std::process::Command::new("head").args(["-c", "12"]).stdin(std::process::Stdio::inherit()).output();
    String::from_utf8(output.expect("head").stdout).expect("text")
}

/// The header of a frame as a worker would write it.
fn frame(kind: u8, seq: u64, len: u64) -> Vec<u8> {
    let mut header = vec![0; 40];
    header[0] = kind;
    header[8..16].copy_from_slice(&seq.to_le_bytes());
    header[24..32].copy_from_slice(&len.to_le_bytes());
    header
}

/// Runs a culprit between innocents, and wants its error soon and everybody else unharmed. Where it returns a value all the
/// same, its worker is found out later: whom it runs then may suffer, and is told that.
fn alone_is_hurt<T: serde::de::DeserializeOwned>(
    what: &str,
    submit: impl FnOnce(&ProcessPoolExecutor) -> procpool::TaskFuture<T>,
) -> Option<TaskError> {
    let ledger = Ledger::create();
    let path = ledger.path();
    let pool = ProcessPoolExecutor::builder().max_workers(2).max_message_size(LIMIT).build().expect("a pool");
    pool.warm_up().wait().expect("two workers");
    let before = procfs::rss_kib(std::process::id()).expect("our own memory");
    let mut culprit = submit(&pool);
    let innocents: Vec<_> = (0..10).map(|id| pool.submit(note, (path.as_str(), id))).collect();
    let began = Instant::now();
    let outcome =
        culprit.result_timeout(DETECT).unwrap_or_else(|_| panic!("{what}: no outcome after {DETECT:?}"));
    let mut hurt = 0;
    for (id, future) in (0..).zip(innocents) {
        match future.result() {
            Ok(value) => assert_eq!((value, ledger.starts(id), ledger.finishes(id)), (id, 1, 1), "{what}"),
            Err(error) => {
                assert!(outcome.is_ok() && error.ran() != Ran::No, "{what}: {error}");
                assert!(matches!(error.kind(), TaskErrorKind::Protocol { .. }), "{what}: {error}");
                assert!(ledger.starts(id) <= 1, "{what}");
                hurt += 1;
            }
        }
    }
    assert!(hurt <= 1, "{what}: {hurt} who are not the culprit have suffered");
    let grown = procfs::rss_kib(std::process::id()).expect("our own memory").saturating_sub(before);
    assert!(grown < (LIMIT as u64 >> 10) + 4096, "{what}: the parent grew by {grown} KiB");
    assert_eq!(pool.submit(note, (path.as_str(), 11)).result().expect("the pool goes on"), 11);
    println!("{what}: {:?}", began.elapsed());
    pool.shutdown(true).wait();
    outcome.err()
}

fn lies(what: &str, bytes: &[u8]) {
    for then in ["return", "hang", "die"] {
        let error = alone_is_hurt(&format!("{what}, then {then}"), |pool| pool.submit(lie, (bytes, then)));
        // What it returns goes another way than its lie, and may count before that is heard.
        if error.is_none() && then == "return" {
            continue;
        }
        // A lie that is cut short by the death is a death; everything else breaks the protocol.
        let error = error.unwrap_or_else(|| panic!("{what}, then {then}: no error"));
        assert_ne!(error.ran(), Ran::No, "{error}");
    }
}

support::isolated! {
    timeout = 120;

    fn garbage_of_any_length_costs_the_liar_alone() {
        for len in [1, 3, 9, 16, 39, 40, 41, 100, 5000] {
            let garbage: Vec<u8> = (0..len).map(|i| (i * 37 + 200) as u8).collect();
            // Less than a header is no frame yet: it becomes one with what the worker says next, or is cut off
            // by its death. A liar that hangs after less than a header is merely slow.
            if len >= 40 {
                lies(&format!("{len} bytes of garbage"), &garbage);
            } else {
                alone_is_hurt("less than a header", |pool| pool.submit(lie, (&garbage, "return")));
                let error = alone_is_hurt("less than a header", |pool| pool.submit(lie, (&garbage, "die")));
                assert_ne!(error.expect("an error").ran(), Ran::No);
            }
        }
    }

    fn impossible_lengths_are_refused_before_they_are_allocated() {
        for len in [LIMIT as u64 + 1, 1 << 31, 1 << 32, 1 << 63, u64::MAX] {
            lies(&format!("a result of {len} bytes"), &frame(6, 1, len));
        }
    }

    fn frames_out_of_turn_are_refused() {
        lies("an unknown kind", &frame(77, 1, 0));
        lies("a second ready", &frame(5, 1, 0));
        lies("a frame for workers", &frame(3, 1, 0));
        lies("a result for a task of nobody", &frame(6, 99, 0));
        lies("a result for task 0", &frame(6, 0, 0));
        lies("passing over a task that runs", &frame(11, 1, 0));
    }

    fn a_forged_result_is_at_most_the_liars_own_result() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        // It says that its own task is done, and then says so again by returning.
        pool.submit(lie, (&frame(6, 1, 0), "return")).result().expect("the first reply is believed");
        // The worker is found out by its second reply. What it was given meanwhile may suffer, and says so.
        for id in 0..20 {
            match pool.submit(note, (path.as_str(), id)).result() {
                Ok(value) => assert_eq!((value, ledger.starts(id), ledger.finishes(id)), (id, 1, 1)),
                Err(error) => assert!(matches!(error.ran(), Ran::Maybe | Ran::Yes), "{error}"),
            }
            assert!(ledger.starts(id) <= 1);
        }
    }

    fn a_valid_header_and_then_silence_or_death_is_no_result() {
        let announced = frame(6, 1, 1000);
        let error = alone_is_hurt("a header, then death", |pool| pool.submit(lie, (&announced, "die")));
        assert!(error.expect("no result").is_worker_died());
    }

    fn a_flood_is_cut_off_at_the_limit() {
        let error = alone_is_hurt("a flood", |pool| pool.submit(flood, 64));
        println!("{error:?}");
    }

    fn a_worker_that_loses_its_channel_is_told_and_replaced() {
        for how in ["close", "overwrite"] {
            let error = alone_is_hurt(how, |pool| pool.submit(close_everything, how)).expect("no result");
            assert_eq!(error.ran(), Ran::Maybe, "{error}");
        }
    }

    fn a_program_that_a_task_starts_sees_nothing_of_the_channel() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let first = pool.submit(read_stdin, ());
        let second = pool.submit(read_stdin, ());
        assert_eq!(first.result().expect("a value"), "");
        assert_eq!(second.result().expect("a value"), "");
    }
}
