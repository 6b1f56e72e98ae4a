//! No size blocks a pool, none at all included, and a death in mid-message costs that message only (F03, F04, F17,
//! F49).

#![allow(unsafe_code, reason = "malloc_trim")]

mod support;

use std::time::{Duration, Instant};

use procpool::{
    ExitCause, Phase, Process, ProcessPoolExecutor, Ran, Retry, TaskErrorKind, TaskFuture, TaskOptions, What,
    task,
};
use rustix::time::{ClockId, clock_gettime};
use support::{Event, Ledger, Signal, eventually, kill, procfs};

const MIB: usize = 1 << 20;
const HUGE: usize = 256 * MIB;
const DETECT: Duration = Duration::from_secs(2);
const RESPAWN: Duration = Duration::from_secs(5);

/// The id under which a worker records that it kills itself now.
const DEATH: u64 = 1 << 40;

/// Runs all the time while its neighbour dies, and records itself.
#[task]
fn nap(ledger: &str, id: u64, milliseconds: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    std::thread::sleep(Duration::from_millis(milliseconds));
    Ledger::record(ledger, id, Event::Finished);
    id
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

/// Gives back what it gets.
#[task]
fn echo(text: &str) -> String {
    text.to_owned()
}

#[task]
fn length(ledger: &str, id: u64, text: &str) -> usize {
    Ledger::record(ledger, id, Event::Started);
    Ledger::record(ledger, id, Event::Finished);
    text.len()
}

#[task]
fn repeat(bytes: usize) -> String {
    "x".repeat(bytes)
}

#[task]
fn nothing() {}

#[task]
fn copy(slice: &[u8]) -> Vec<u8> {
    slice.to_vec()
}

/// Gives its argument away again.
#[task]
fn pass_on(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[task]
fn pass_on_text(text: String) -> String {
    text
}

/// Kills its worker the first time. Where that is recorded, is in the first line of the text.
#[task]
fn pass_on_in_the_end(text: String) -> String {
    let path = text.lines().next().expect("a path");
    if std::fs::OpenOptions::new().write(true).create_new(true).open(path).is_ok() {
        kill(std::process::id(), Signal::KILL);
    }
    text
}

#[task]
fn listed(texts: Vec<String>) -> Vec<String> {
    texts
}

#[task]
fn perhaps(unit: Option<()>) -> Result<(), ()> {
    unit.ok_or(())
}

/// Returns more than the socket holds, with a thread beside it that ends the process as soon as the thread that
/// replies sleeps in the kernel because the socket is full.
#[task]
fn die_while_replying(ledger: &str, bytes: usize) -> String {
    let ledger = ledger.to_owned();
    let own = std::process::id();
    std::thread::spawn(move || die_when(&ledger, || procfs::sleeps_in(own, "sock_alloc_send")));
    "x".repeat(bytes)
}

/// Ends the process as soon as 32 MiB of a message have arrived.
#[task]
fn die_while_reading(ledger: &str) {
    let ledger = ledger.to_owned();
    let before = resident_mib();
    std::thread::spawn(move || die_when(&ledger, || resident_mib() > before + 32));
}

fn die_when(ledger: &str, mut fact: impl FnMut() -> bool) {
    while !fact() {
        std::hint::spin_loop();
    }
    Ledger::record(ledger, DEATH, Event::Finished);
    rustix::process::kill_process(rustix::process::getpid(), Signal::KILL).expect("a signal to itself");
}

fn resident_mib() -> usize {
    let kib = procfs::rss_kib(std::process::id()).expect("a running process has memory");
    usize::try_from(kib).expect("an address space fits") / 1024
}

/// Resident memory without what the allocator keeps for later: a block that was freed counts as free although
/// the C library has not returned its pages yet.
fn resident_mib_trimmed() -> usize {
    // SAFETY: the function looks at free blocks only.
    unsafe { libc::malloc_trim(0) };
    resident_mib()
}

/// Since the last death that a worker recorded.
fn since_death(ledger: &Ledger) -> Duration {
    let now = Duration::try_from(clock_gettime(ClockId::Monotonic)).expect("the clock counts up");
    let death = ledger.entries().into_iter().rfind(|entry| entry.id == DEATH);
    now - death.expect("a worker recorded its death").at
}

/// A text whose every part tells its place, and that differs for every id.
fn text(id: usize, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    while text.len() < bytes.min(MIB) {
        text.push_str(&format!("{id:06}-{:08};", text.len()));
    }
    while text.len() < bytes {
        text.extend_from_within(..text.len().min(bytes - text.len()));
    }
    text
}

support::isolated! {
    timeout = 120;

    fn a_worker_killed_while_it_writes_a_result_costs_that_result_only() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        pool.warm_up().wait().expect("two workers");
        let before = resident_mib_trimmed();
        let neighbour = pool.submit(nap, (path.as_str(), 100, 1000));
        let culprit = pool.submit(die_while_replying, (path.as_str(), HUGE));
        let queued: Vec<TaskFuture<u64>> = (0..20).map(|id| pool.submit(nap, (path.as_str(), id, 0))).collect();

        let error = culprit.result().map(|text| text.len()).expect_err("the result is lost");
        let told = since_death(&ledger);
        assert!(told < DETECT, "told after {told:?}");
        let exit = error.exit().unwrap_or_else(|| panic!("not a death: {error}"));
        assert!(matches!(exit.cause(), ExitCause::Signal { number: libc::SIGKILL, .. }), "{error}");
        assert_eq!((exit.phase(), error.ran()), (Phase::Replying, Ran::Yes), "{error}");

        for (id, future) in (0..).zip(queued) {
            assert_eq!(future.result().expect("an innocent task"), id);
        }
        assert_eq!(neighbour.result().expect("the neighbour"), 100);
        ledger.assert_ran_exactly_once((0..20).chain([100]));
        pool.warm_up().wait().expect("all workers again");
        let replaced = since_death(&ledger);
        println!("T_detect {told:?}, neighbours done and worker back {replaced:?}");
        eventually("the part of the result that arrived is freed", DETECT, || resident_mib_trimmed() <= before + 8);
        // The same worker count, and large results still come through.
        assert_eq!(pool.worker_pids().len(), 2);
        assert_eq!(pool.submit(repeat, HUGE).result().expect("a value").len(), HUGE);
        pool.shutdown(true).wait();
    }

    fn a_task_whose_worker_is_killed_while_it_reads_goes_to_another_worker() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        pool.submit(die_while_reading, &path).result().expect("armed");
        let arguments = "x".repeat(HUGE);
        let future = pool.submit(length, (path.as_str(), 1, arguments.as_str()));
        assert_eq!(future.result().expect("another worker has it"), HUGE);
        ledger.assert_ran_exactly_once([1]);
        println!("death to done {:?}", since_death(&ledger));
        pool.shutdown(true).wait();
    }

    fn a_task_that_no_worker_lives_to_read_is_given_up_and_never_ran() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder()
            .max_workers(1)
            .initializer(die_while_reading, &path)
            .build()
            .expect("a pool");
        let arguments = "x".repeat(HUGE);
        let error = pool.submit(length, (path.as_str(), 1, arguments.as_str())).result().expect_err("given up");
        let exit = error.exit().unwrap_or_else(|| panic!("not a death: {error}"));
        assert_eq!((exit.phase(), error.ran()), (Phase::Sent, Ran::No), "{error}");
        ledger.assert_never_ran(1);
        assert_eq!(ledger.finishes(DEATH), 4, "sent once and again three times");
        // The workers that died were no failed starts: the pool goes on.
        assert_eq!(pool.submit(length, (path.as_str(), 2, "short")).result().expect("a value"), 5);
        pool.shutdown(true).wait();
    }

    fn a_worker_that_stops_reading_blocks_nobody_else() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        pool.warm_up().wait().expect("two workers");
        // The worker that an idle pool chooses is the one that it chooses again.
        let stopped = pool.submit(own_pid, ()).result().expect("a value");
        kill(stopped, Signal::STOP);
        eventually("the worker is stopped", DETECT, || procfs::state(stopped) == Some('T'));

        let arguments = "x".repeat(HUGE);
        let began = Instant::now();
        let alone = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        assert_eq!(alone.submit(length, (path.as_str(), 2, arguments.as_str())).result().expect("a value"), HUGE);
        alone.shutdown(true).wait();
        let undisturbed = began.elapsed();
        let began = Instant::now();
        let large = pool.submit(length, (path.as_str(), 1, arguments.as_str()));
        println!("the submission returned after {:?}", began.elapsed());
        let small: Vec<TaskFuture<u32>> = (0..40).map(|_| pool.submit(own_pid, ())).collect();
        for future in small {
            assert_ne!(future.result().expect("the other worker is free"), stopped);
        }
        assert!(!large.done() && !large.running(), "it was to be stuck in the socket");
        assert_eq!(ledger.starts(1), 0);

        let began = Instant::now();
        kill(stopped, Signal::KILL);
        assert_eq!(large.result().expect("another worker has it"), HUGE);
        // The message goes once more: that has the time that it takes anyway.
        let limit = RESPAWN + 2 * undisturbed;
        assert!(began.elapsed() < limit, "done after {:?}, undisturbed {undisturbed:?}", began.elapsed());
        println!("death to done {:?}", began.elapsed());
        ledger.assert_ran_exactly_once([1, 2]);
        pool.shutdown(true).wait();
    }

    fn large_arguments_and_large_results_at_once_need_nobody_who_polls() {
        const LARGE: usize = 64 * MIB;
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        let began = Instant::now();
        let futures: Vec<TaskFuture<String>> = (0..8).map(|id| pool.submit(echo, &text(id, LARGE))).collect();
        println!("submitted after {:?}", began.elapsed());
        // Two seconds of nobody looking would prove less than a pool that comes to its end alone.
        eventually("all tasks end while no future is polled", Duration::from_secs(60), || pool.pending() == 0);
        println!("done after {:?}", began.elapsed());
        for (id, future) in (0..).zip(futures) {
            assert!(future.done());
            assert!(future.result().expect("a value") == text(id, LARGE), "text {id} came back changed");
        }
        pool.shutdown(true).wait();
    }

    fn medium_messages_fill_both_directions_of_one_socket() {
        // Larger than what the socket holds and smaller than what is sent ahead: the worker writes a reply while
        // the parent still writes the next tasks.
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let texts: Vec<String> = (0..200).map(|id| text(id, 300_000 + id)).collect();
        let futures: Vec<TaskFuture<String>> = texts.iter().map(|text| pool.submit(echo, text)).collect();
        eventually("all tasks end while no future is polled", Duration::from_secs(60), || pool.pending() == 0);
        for (text, future) in texts.iter().zip(futures) {
            assert!(future.result().expect("a value") == *text);
        }
        let together = pool.map(echo, texts.iter().map(String::as_str)).chunksize(50);
        let echoes: Vec<String> = together.into_iter().collect::<Result<_, _>>().expect("values");
        assert!(echoes == texts);
        pool.shutdown(true).wait();
    }
}

support::isolated! {
    fn arguments_over_the_limit_are_refused_with_their_size() {
        const LIMIT: usize = MIB;
        let pool = ProcessPoolExecutor::builder().max_workers(1).max_message_size(LIMIT).build().expect("a pool");
        let pid = pool.submit(own_pid, ()).result().expect("a value");
        let overhead = size_of_refused(pool.submit(echo, &"x".repeat(LIMIT)), What::Args, Ran::No) - LIMIT;
        // The limit itself is allowed, one byte more is not.
        let largest = "x".repeat(LIMIT - overhead);
        assert!(pool.submit(echo, &largest).result().expect("just small enough") == largest);
        let refused = pool.submit(echo, &"x".repeat(LIMIT - overhead + 1));
        assert_eq!(size_of_refused(refused, What::Args, Ran::No), LIMIT + 1);
        assert!(pool.submit(pass_on_text, largest.clone()).result().expect("just small enough") == largest);
        let refused = pool.submit(pass_on_text, largest + "x");
        assert_eq!(size_of_refused(refused, What::Args, Ran::No), LIMIT + 1);
        assert_eq!(pool.submit(own_pid, ()).result().expect("a value"), pid, "nobody had to die for that");
        pool.shutdown(true).wait();
    }

    fn a_result_over_the_limit_is_refused_with_its_size() {
        const LIMIT: usize = MIB;
        let pool = ProcessPoolExecutor::builder().max_workers(1).max_message_size(LIMIT).build().expect("a pool");
        let pid = pool.submit(own_pid, ()).result().expect("a value");
        let overhead = size_of_refused(pool.submit(repeat, LIMIT), What::Result, Ran::Yes) - LIMIT;
        assert_eq!(pool.submit(repeat, LIMIT - overhead).result().expect("just small enough").len(), LIMIT - overhead);
        let refused = pool.submit(repeat, LIMIT - overhead + 1);
        assert_eq!(size_of_refused(refused, What::Result, Ran::Yes), LIMIT + 1);
        let far = size_of_refused(pool.submit(repeat, 64 * LIMIT), What::Result, Ran::Yes);
        assert!((64 * LIMIT..65 * LIMIT).contains(&far), "{far} is no size of 64 MiB");
        assert_eq!(pool.submit(own_pid, ()).result().expect("a value"), pid, "nobody had to die for that");
        pool.shutdown(true).wait();
    }

    fn what_is_given_away_arrives_as_it_is_whatever_its_size_and_its_way() {
        const KIB: usize = 1 << 10;
        let around = [16 * KIB, 32 * KIB, 64 * KIB, 128 * KIB, MIB].map(|size| [size - 50, size - 1, size, size + 1]);
        for inline in [false, true] {
            let pool = ProcessPoolExecutor::builder().max_workers(2).inline(inline).build().expect("a pool");
            for size in around.into_iter().flatten().chain([0, 1, 5 * MIB]) {
                let text = text(7, size);
                let bytes = text.clone().into_bytes();
                assert!(pool.submit(pass_on, bytes.clone()).result().expect("bytes") == bytes, "{size}");
                let tried = pool.try_submit(pass_on, bytes.clone()).expect("a pool that takes tasks");
                assert!(tried.result().expect("bytes") == bytes, "{size}");
                assert!(pool.submit(pass_on_text, text.clone()).result().expect("a text") == text, "{size}");
                let (told, hear) = std::sync::mpsc::channel();
                let heard = pool.submit(pass_on_text, text.clone());
                heard.add_done_callback(move |done| told.send(done.result().expect("a text")).expect("a listener"));
                assert!(heard.result().expect("a text") == text && hear.recv().expect("a text") == text, "{size}");
                let mapped = pool.map(pass_on, vec![bytes.clone(); 3]).into_iter().collect::<Result<Vec<_>, _>>();
                assert!(mapped.expect("bytes") == vec![bytes; 3], "{size}");
            }
            pool.shutdown(true).wait();
        }
    }

    fn what_is_given_away_and_has_to_wait_arrives_as_it_is() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        pool.warm_up().wait().expect("two workers");
        let texts: Vec<String> = (0..600).map(|id| text(id, 8_000 + 50 * id)).collect();
        let futures: Vec<_> = texts.iter().map(|text| pool.submit(pass_on_text, text.clone())).collect();
        for (future, text) in futures.into_iter().zip(texts) {
            assert!(future.result().expect("a text") == text, "{}", text.len());
        }
        pool.shutdown(true).wait();
    }

    fn what_is_given_away_is_there_for_the_second_attempt() {
        let ledger = Ledger::create();
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let patient = pool.with(TaskOptions::new().retry(Retry::new(1)));
        let text = format!("{}.died\n{}", ledger.path(), text(3, 3 * MIB));
        assert!(patient.submit(pass_on_in_the_end, text.clone()).result().expect("a text") == text);
        std::fs::remove_file(text.lines().next().expect("a path")).expect("a worker has died");
        let process = Process::new(pass_on_text, text.clone()).start().expect("a process");
        assert!(process.result().expect("a text") == text);
        pool.shutdown(true).wait();
    }

    fn empty_messages_pass_both_ways() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        let futures: Vec<TaskFuture<()>> = (0..1000).map(|_| pool.submit(nothing, ())).collect();
        for future in futures {
            future.result().expect("a unit");
        }
        assert_eq!(pool.submit(echo, "").result().expect("an empty text"), "");
        assert_eq!(pool.submit(repeat, 0).result().expect("an empty text"), "");
        assert_eq!(pool.submit(copy, &[]).result().expect("an empty slice"), []);
        assert_eq!(pool.submit(listed, Vec::new()).result().expect("an empty list"), [""; 0]);
        assert_eq!(pool.submit(listed, vec![String::new()]).result().expect("a list of nothing"), [""]);
        assert_eq!(pool.submit(perhaps, None).result().expect("a task that has run"), Err(()));
        // Nothing at all between two that are something: no reply is taken for another's, or for the end.
        for number in 0..200 {
            let futures = (pool.submit(repeat, number), pool.submit(nothing, ()), pool.submit(repeat, number + 1));
            assert_eq!(futures.0.result().expect("a text").len(), number);
            futures.1.result().expect("a unit");
            assert_eq!(futures.2.result().expect("a text").len(), number + 1);
        }
        assert_eq!(pool.map(repeat, [0; 0]).into_iter().count(), 0);
        let units = pool.map(nothing, (0..1000).map(|_| ())).chunksize(100);
        assert_eq!(units.into_iter().collect::<Result<Vec<()>, _>>().expect("units").len(), 1000);
        pool.shutdown(true).wait();
    }
}

/// The size that a refusal tells.
#[track_caller]
fn size_of_refused(future: TaskFuture<String>, whose: What, ran: Ran) -> usize {
    let error = future.result().map(|text| text.len()).expect_err("too large");
    assert_eq!(error.ran(), ran, "{error}");
    match error.kind() {
        TaskErrorKind::TooLarge { what, size, limit, .. } => {
            assert_eq!((*what, *limit), (whose, MIB as u64), "{error}");
            usize::try_from(*size).expect("it fits")
        }
        other => panic!("{other:?}"),
    }
}
