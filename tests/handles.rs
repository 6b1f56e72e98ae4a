//! A descriptor in an argument or a result arrives with its task and is closed with it; nobody else is hurt by
//! descriptors that are too many, missing or not announced (F28, F33, F61).

#![allow(unsafe_code, reason = "tasks that reach for the channel of their worker")]

mod support;

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::time::Duration;

use procpool::{
    CodecSide, Descriptor, ProcessPoolExecutor, Ran, Refusal, Retry, ShutdownOptions, TaskErrorKind,
    TaskFuture, TaskOptions, What, task,
};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use support::{FdLimit, Signal, eventually, kill, procfs};

/// Writes to each of them that it is there, after a value that may be large.
#[task]
fn greet(padding: &[u8], streams: Vec<Descriptor>) -> usize {
    for (place, stream) in streams.into_iter().enumerate() {
        let mut stream = UnixStream::from(stream.into_fd().expect("no clones, no duplicate"));
        write!(stream, "{place}").expect("somebody reads");
    }
    padding.len()
}

#[task]
fn double(n: u64) -> u64 {
    2 * n
}

/// Opens so many.
#[task]
fn open(count: usize) -> Vec<Descriptor> {
    (0..count).map(|_| Descriptor::new(null())).collect()
}

/// What it was given, with the file that a name is of.
#[task]
fn both(path: &str, first: Descriptor) -> (Descriptor, u64, Descriptor, Descriptor) {
    (first.clone(), 7, Descriptor::new(File::open(path).expect("it is there")), first)
}

#[task]
fn hold(_streams: Vec<Descriptor>) {
    std::thread::sleep(Duration::from_secs(600));
}

#[task]
fn list_open() -> Vec<String> {
    procfs::fds(std::process::id()).into_values().filter(|to| !to.starts_with("/proc/")).collect()
}

/// From now on its process can open so many more.
#[task]
fn lower_limit(left: usize) {
    std::mem::forget(FdLimit::leaving(left));
}

#[task]
fn crash_at_first(stream: Descriptor) -> u32 {
    if procpool::context().attempt() == 1 {
        std::process::abort();
    }
    greet(&[], vec![stream]);
    procpool::context().attempt()
}

#[task]
fn die() {
    std::process::abort();
}

/// Says to the parent what its worker does not say: bytes, in so many pieces, each with so many descriptors.
#[task]
fn lie(bytes: &[u8], pieces: usize, count: usize, then: &str) -> u32 {
    let channel = procfs::fds(std::process::id()).into_iter().find(|(_, to)| to.starts_with("socket:"));
    let (number, _) = channel.expect("a worker has a channel");
    // SAFETY: the descriptor stays open while the worker lives.
    let channel = unsafe { BorrowedFd::borrow_raw(number.cast_signed()) };
    let null = null();
    let attached = vec![null.as_fd(); count];
    for piece in bytes.chunks(bytes.len().div_ceil(pieces).max(1)) {
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(count == 0 || ancillary.push(SendAncillaryMessage::ScmRights(&attached)));
        let sent = rustix::net::sendmsg(channel, &[IoSlice::new(piece)], &mut ancillary, SendFlags::NOSIGNAL);
        assert_eq!(sent, Ok(piece.len()));
    }
    match then {
        "return" => 5,
        "die" => std::process::abort(),
        "hang" => {
            hold(Vec::new());
            5
        }
        _ => unreachable!("{then}"),
    }
}

/// Says that its result is there, and waits to be found out, or ends.
#[task]
fn lie_about_a_result(bytes: &[u8], wait: bool) -> Descriptor {
    lie(bytes, 1, 0, "return");
    if wait {
        hold(Vec::new());
    }
    std::process::abort()
}

#[task]
fn how_many(descriptors: Vec<Descriptor>) -> usize {
    descriptors.len()
}

static KEPT: OnceLock<Descriptor> = OnceLock::new();

#[task]
fn keep(stream: Descriptor) {
    KEPT.set(stream).expect("once");
}

#[task]
fn use_kept() {
    let kept = KEPT.get().expect("the initializer ran").clone();
    let mut stream = UnixStream::from(kept.into_fd().expect("room for a duplicate"));
    stream.write_all(b"x").expect("somebody reads");
}

fn null() -> OwnedFd {
    File::open("/dev/null").expect("null").into()
}

/// The header of a frame as a worker would write it.
fn frame(kind: u8, handles: u8, seq: u64, len: u64) -> Vec<u8> {
    let mut header = vec![0; 40];
    header[0] = kind;
    header[7] = handles;
    header[8..16].copy_from_slice(&seq.to_le_bytes());
    header[24..32].copy_from_slice(&len.to_le_bytes());
    header
}

const DONE: u8 = 6;
const SKIPPED: u8 = 11;

/// Waits for what `greet` writes, and for the end of it.
fn greeting(mut stream: UnixStream) -> String {
    let mut text = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    stream.read_to_string(&mut text).expect("the end, once all others are closed");
    text
}

fn stream() -> (UnixStream, Descriptor) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    (ours, Descriptor::new(theirs))
}

fn one_worker() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool")
}

/// Pools of both kinds.
fn pools() -> [ProcessPoolExecutor; 2] {
    [false, true]
        .map(|inline| ProcessPoolExecutor::builder().max_workers(2).inline(inline).build().expect("a pool"))
}

support::isolated! {
    timeout = 120;

    fn descriptors_arrive_with_their_own_task_among_frames_of_all_sizes() {
        for pool in pools() {
            let mut greetings = Vec::new();
            let mut numbers = Vec::new();
            for round in 0..200 {
                let size = [0, 3, 4000, 5000, 300_000][round % 5];
                let (ours, theirs): (Vec<_>, Vec<_>) = (0..round % 4).map(|_| stream()).unzip();
                greetings.push((ours, size, pool.submit(greet, (&vec![1; size], theirs))));
                numbers.push(pool.submit(double, round as u64));
            }
            for (ours, size, future) in greetings {
                assert_eq!(future.result().expect("a value"), size);
                for (place, stream) in ours.into_iter().enumerate() {
                    assert_eq!(greeting(stream), place.to_string());
                }
            }
            for (number, future) in (0..).zip(numbers) {
                assert_eq!(future.result().expect("a value"), 2 * number);
            }
            pool.shutdown(true).wait();
        }
    }

    fn results_bring_descriptors_and_one_that_is_there_twice_is_one() {
        for pool in pools() {
            let path = std::env::current_exe().expect("this program");
            let expected = std::fs::metadata(&path).expect("it is there").len();
            let (ours, theirs) = stream();
            let path = path.to_str().expect("text");
            let (first, seven, file, again) = pool.submit(both, (path, theirs)).result().expect("a value");
            assert_eq!(File::from(file.into_fd().expect("its own")).metadata().expect("open").len(), expected);
            assert_eq!((seven, first.as_raw_fd()), (7, again.as_raw_fd()), "one descriptor, two values");
            drop(first);
            let mut stream = UnixStream::from(again.into_fd().expect("the last one is the descriptor itself"));
            stream.write_all(b"back").expect("somebody reads");
            drop(stream);
            assert_eq!(greeting(ours), "back");
            let many: Vec<_> = (1..=50).map(|count| pool.submit(open, count)).collect();
            for (count, future) in (1..).zip(many) {
                assert_eq!(future.result().expect("a value").len(), count);
            }
            pool.shutdown(true).wait();
        }
    }

    fn as_many_travel_as_the_kernel_carries_and_more_are_refused_where_they_are() {
        let pool = one_worker();
        let null = null();
        let many = |count| -> Vec<Descriptor> {
            (0..count).map(|_| Descriptor::new(null.try_clone().expect("room"))).collect()
        };
        let refused = pool.try_submit(greet, (&[], many(254))).expect_err("too many");
        match refused.reason() {
            Refusal::Encode { message, .. } => assert!(message.contains("253"), "{message}"),
            other => panic!("{other}"),
        }
        drop(refused);
        let error = pool.submit(open, 254).result().expect_err("too many");
        assert_eq!(error.ran(), Ran::Yes);
        match error.kind() {
            TaskErrorKind::Codec { what: What::Result, side: CodecSide::Encode, message, .. } => {
                assert!(message.contains("253"), "{message}");
            }
            other => panic!("{other}"),
        }
        assert_eq!(pool.submit(open, 253).result().expect("a value").len(), 253);
        // The same one counts once.
        let same = vec![Descriptor::new(null.try_clone().expect("room")); 1000];
        let (ours, theirs) = stream();
        pool.submit(hold, [same, vec![theirs]].concat()).kill();
        assert_eq!(greeting(ours), "");
    }

    fn nothing_of_a_message_stays_open_in_the_worker_or_in_the_program() {
        let pool = one_worker();
        let before = pool.submit(list_open, ()).result().expect("a list");
        let own = procfs::fds(std::process::id());
        for round in 0..50 {
            let (_ours, theirs) = stream();
            // Sent and kept, sent and ignored, sent to be cancelled.
            let back = pool.submit(open, round % 7).result().expect("a value");
            pool.submit(greet, (&[], vec![theirs])).result().expect("a value");
            drop(pool.submit(open, 3));
            pool.submit(how_many, back.clone()).cancel();
        }
        assert_eq!(pool.submit(list_open, ()).result().expect("a list"), before);
        eventually("what was not taken is closed", Duration::from_secs(2), || {
            procfs::fds(std::process::id()) == own
        });
    }

    fn a_task_that_is_cancelled_or_refused_lets_go_of_its_descriptors() {
        let pool = one_worker();
        let busy = pool.submit(hold, vec![]);
        eventually("it runs", Duration::from_secs(5), || busy.running());
        let (ours, theirs): (Vec<_>, Vec<_>) = (0..40).map(|_| stream()).unzip();
        let waiting: Vec<_> = theirs.into_iter().map(|one| pool.submit(hold, vec![one])).collect();
        for (place, future) in waiting.into_iter().enumerate() {
            if place % 2 == 0 { assert!(future.cancel(), "it had not begun") } else { drop(future) }
        }
        busy.kill();
        // Those that were on their way to the worker are gone with it.
        for ours in ours {
            assert_eq!(greeting(ours), "");
        }
        let (ours, theirs) = stream();
        let running = pool.submit(hold, vec![theirs]);
        eventually("it runs", Duration::from_secs(5), || running.running());
        running.kill();
        assert_eq!(greeting(ours), "");
        let (ours, theirs) = stream();
        let unwanted = pool.submit(hold, vec![theirs]);
        pool.shutdown_with(ShutdownOptions::new().cancel_futures(true).kill(true)).wait();
        assert_eq!(greeting(ours), "");
        drop(unwanted);
        let (ours, theirs) = stream();
        pool.submit(hold, vec![theirs]).result().expect_err("the pool is closed");
        assert_eq!(greeting(ours), "");
    }

    fn a_task_that_is_sent_again_has_its_descriptors_again() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        for _ in 0..5 {
            let (ours, theirs) = stream();
            let options = TaskOptions::new().retry(Retry::new(2).on_crash(true).backoff(Duration::ZERO));
            let retried = pool.with(options).submit(crash_at_first, theirs);
            // Those that were sent ahead to a worker that dies, too.
            let fallen = pool.submit(die, ());
            let (others, sent): (Vec<_>, Vec<_>) = (0..8).map(|_| stream()).unzip();
            let sent: Vec<_> = sent.into_iter().map(|one| pool.submit(greet, (&[], vec![one]))).collect();
            assert_eq!(retried.result().expect("at the second attempt"), 2);
            assert_eq!(greeting(ours), "0");
            fallen.result().expect_err("it dies");
            for (ours, future) in others.into_iter().zip(sent) {
                match future.result() {
                    Ok(_) => assert_eq!(greeting(ours), "0"),
                    Err(error) => panic!("it had not started: {error}"),
                }
            }
        }
    }

    fn a_worker_without_room_for_descriptors_fails_the_task_and_lives() {
        let pool = one_worker();
        pool.submit(lower_limit, 3).result().expect("a value");
        let pids = pool.worker_pids();
        let (ours, theirs): (Vec<_>, Vec<_>) = (0..8).map(|_| stream()).unzip();
        let error = pool.submit(greet, (&[], theirs)).result().expect_err("there is no room");
        assert_eq!(error.ran(), Ran::No);
        match error.kind() {
            TaskErrorKind::Codec { what: What::Args, side: CodecSide::Decode, message, .. } => {
                assert!(message.contains("5 of the 8") && message.contains("RLIMIT_NOFILE"), "{message}");
            }
            other => panic!("{other}"),
        }
        for ours in ours {
            assert_eq!(greeting(ours), "", "those that came are closed");
        }
        let (ours, theirs) = stream();
        pool.submit(greet, (&[], vec![theirs])).result().expect("there is room for one");
        assert_eq!(greeting(ours), "0");
        assert_eq!(pool.worker_pids(), pids, "it is the same worker");
    }

    fn a_program_without_room_for_descriptors_loses_one_result_and_no_worker() {
        let pool = one_worker();
        pool.submit(double, 1).result().expect("a value");
        let pids = pool.worker_pids();
        for left in 0..4 {
            let few = FdLimit::leaving(left);
            let error = pool.submit(open, 8).result().expect_err("there is no room");
            assert_eq!(error.ran(), Ran::Yes);
            match error.kind() {
                TaskErrorKind::Codec { what: What::Result, side: CodecSide::Decode, message, .. } => {
                    assert!(message.contains(&format!("{} of the 8", 8 - left)), "{message}");
                }
                other => panic!("{other}"),
            }
            assert_eq!(pool.submit(double, 4).result().expect("a value"), 8);
            drop(few);
            assert_eq!(pool.submit(open, 8).result().expect("a value").len(), 8);
        }
        assert_eq!(pool.worker_pids(), pids);
    }

    fn descriptors_that_nobody_announced_are_closed() {
        // A header a byte at a time, a header at once, and a result with more in its body.
        let frames = [
            (frame(SKIPPED, 0, 2, 0), 40),
            (frame(DONE, 0, 2, 0), 1),
            ([frame(DONE, 0, 2, 200), vec![0; 200]].concat(), 60),
        ];
        for then in ["return", "die", "hang"] {
            for ((bytes, pieces), count) in frames.iter().zip([1, 253, 100]) {
                let pool = one_worker();
                pool.submit(double, 1).result().expect("a value");
                let own = procfs::fds(std::process::id()).len();
                let lying = pool.submit(lie, (bytes, *pieces, count, then));
                let outcome = lying.result();
                println!("{then}, {count} in {pieces} pieces: {outcome:?}");
                // A liar that lives on keeps none of them open either.
                eventually("what it sent is closed", Duration::from_secs(5), || {
                    procfs::fds(std::process::id()).len() <= own
                });
                if then == "hang" {
                    outcome.expect_err("its lie is what it said");
                    for pid in pool.worker_pids() {
                        // It may be dead already: the pool kills those that it finds out.
                        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a worker");
                        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                    }
                }
                // Its lie may cost what came to that worker before it was found out.
                let _ = pool.submit(double, 4).result();
                assert_eq!(pool.submit(open, 4).result().expect("the pool goes on").len(), 4);
                pool.shutdown(true).wait();
            }
        }
    }

    fn descriptors_that_are_announced_and_do_not_come_are_missing_in_their_own_value() {
        for (handles, announced) in [(1, true), (253, true), (254, false), (255, false)] {
            let pool = one_worker();
            let bytes = [frame(DONE, handles, 1, 4), vec![0; 4]].concat();
            let error = pool.submit(lie_about_a_result, (&bytes, !announced)).result().expect_err("it never came");
            match error.kind() {
                TaskErrorKind::Codec { what: What::Result, side: CodecSide::Decode, message, .. } => {
                    let missing = format!("{handles} of the {handles}");
                    assert!(announced && message.contains(&missing), "{message}");
                }
                TaskErrorKind::Protocol { message, .. } => {
                    assert!(!announced && message.contains("descriptors"), "{message}");
                }
                other => panic!("{other}"),
            }
            let _ = pool.submit(double, 4).result();
            assert_eq!(pool.submit(open, 4).result().expect("the pool goes on").len(), 4);
        }
    }

    fn the_descriptors_of_an_initializer_reach_every_worker() {
        let (ours, theirs) = stream();
        let builder = ProcessPoolExecutor::builder().max_workers(2).initializer(keep, theirs);
        let pool = builder.max_tasks_per_child(3).build().expect("a pool");
        for future in (0..20).map(|_| pool.submit(use_kept, ())).collect::<Vec<_>>() {
            future.result().expect("a value");
        }
        pool.shutdown(true).wait();
        drop(pool);
        assert_eq!(greeting(ours), "x".repeat(20));
    }

    fn what_the_kernel_does_not_carry_is_an_error_of_its_task_alone() {
        // Those who may administer the system may have any number on its way.
        let all = rustix::thread::capabilities(None).expect("our own capabilities");
        let privileges = CapabilitySet::SYS_RESOURCE | CapabilitySet::SYS_ADMIN;
        let few = CapabilitySets { effective: all.effective - privileges, ..all };
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        pool.warm_up().wait().expect("two workers");
        // Each is sent one task at least, by this thread, before any of them is read.
        let workers = pool.worker_pids();
        workers.iter().for_each(|&worker| kill(worker, Signal::STOP));
        let before = getrlimit(Resource::Nofile);
        let mine: Vec<_> = (0..40).map(|_| Descriptor::new(null())).collect();
        setrlimit(Resource::Nofile, Rlimit { current: Some(10), ..before }).expect("a lower limit");
        rustix::thread::set_capabilities(None, few).expect("fewer capabilities");
        let sent: Vec<_> = (0..12).map(|_| pool.submit(how_many, mine.clone())).collect();
        workers.iter().for_each(|&worker| kill(worker, Signal::CONT));
        let outcomes: Vec<_> = sent.into_iter().map(TaskFuture::result).collect();
        rustix::thread::set_capabilities(None, all).expect("all capabilities");
        setrlimit(Resource::Nofile, before).expect("the limit as it was");
        let mut refused = 0;
        for outcome in outcomes {
            match outcome {
                Ok(counted) => assert_eq!(counted, 40),
                Err(error) => {
                    assert!(error.ran() == Ran::No && error.to_string().contains("on their way"), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "the limit was to be reached");
        assert_eq!(pool.submit(how_many, mine).result().expect("there is room again"), 40);
        assert_eq!(pool.worker_pids(), workers);
    }

    fn a_descriptor_never_becomes_a_standard_stream() {
        let pool = one_worker();
        pool.submit(double, 1).result().expect("a value");
        // SAFETY: nobody reads from the standard input of this test.
        unsafe { libc::close(0) };
        let opened = pool.submit(open, 3).result().expect("a value");
        assert!(opened.iter().all(|descriptor| descriptor.as_raw_fd() > 2), "{opened:?}");
        // The number is given back as it was, for the census, once the pool has read what it looks up after a start.
        eventually("the lowest number is free", Duration::from_secs(10), || {
            let lowest = null();
            let is_free = lowest.as_raw_fd() == 0;
            if is_free {
                std::mem::forget(lowest);
            }
            is_free
        });
    }
}
