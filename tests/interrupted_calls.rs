//! Signals that interrupt system calls, all the time and on both sides, lose no byte, double none and fail nothing
//! (F43).

#![allow(unsafe_code, reason = "signal handlers, timers, and signals to single threads")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use procpool::{ProcessPoolExecutor, TaskFuture, WorkerEvent, task};
use support::{Event, Ledger, procfs, tracer};

const MIB: usize = 1 << 20;
const TASKS: u64 = 2_000;
/// The same under a tracer, which is slow.
const FEW: u64 = 60;
/// Tasks that are under way at a time, so that both directions of each socket are full most of the time.
const WINDOW: usize = 6;
/// The distance between two signs in a text.
const PAGE: usize = 4096;

static SIGNALS: AtomicU64 = AtomicU64::new(0);
static STARTED: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_signal: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// A handler after which the system call that it interrupted fails with EINTR, where there is a way to fail so.
fn handle_alarms() {
    // SAFETY: all-zero is a valid `sigaction` without flags, so without SA_RESTART; the handler adds to an atomic.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as extern "C" fn(libc::c_int) as usize;
        assert_eq!(libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()), 0);
    }
}

/// From now on SIGALRM comes every millisecond to the thread that serves: it is the main one, and the kernel gives
/// what is for the whole process to that first.
#[task]
fn storm_in_the_worker() {
    handle_alarms();
    let each = libc::timeval { tv_sec: 0, tv_usec: 1_000 };
    let timer = libc::itimerval { it_interval: each, it_value: each };
    // SAFETY: the timer's value is valid, and the old one is not asked for.
    assert_eq!(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) }, 0);
}

/// Checks what it gets and gives another text, so that no byte of the reply is one that was sent.
#[task]
fn exchange(ledger: &str, id: u64, argument: &str) -> String {
    Ledger::record(ledger, id, Event::Started);
    assert!(argument == text(id), "the text for task {id} came changed");
    let answer = text(id + TASKS);
    Ledger::record(ledger, id, Event::Finished);
    answer
}

#[task]
fn signals_so_far() -> u64 {
    SIGNALS.load(Ordering::Relaxed)
}

/// A text of 1 MiB in which every page tells its task and its place: a byte too many or too few moves all others.
fn text(id: u64) -> String {
    let mut text = String::with_capacity(MIB);
    for page in 0..MIB / PAGE {
        let sign = format!("task-{id:08}-page-{page:04};");
        text.push_str(&sign);
        text.push_str(&".".repeat(PAGE - sign.len()));
    }
    text
}

fn exchange_all(pool: &ProcessPoolExecutor, ledger: &str, tasks: u64) {
    let mut under_way: Vec<(u64, TaskFuture<String>)> = Vec::new();
    let check = |(id, future): (u64, TaskFuture<String>)| {
        let back = future.result().expect("no error");
        assert!(back == text(id + TASKS), "the answer of task {id} came changed");
    };
    for id in 0..tasks {
        under_way.push((id, pool.submit(exchange, (ledger, id, &text(id)))));
        if under_way.len() == WINDOW {
            check(under_way.remove(0));
        }
    }
    under_way.into_iter().for_each(check);
}

/// Signals each thread of this process but the calling one, every millisecond, until `enough`.
fn storm_on_all_other_threads(enough: &AtomicBool) {
    let own = std::process::id();
    let this = rustix::thread::gettid().as_raw_pid();
    while !enough.load(Ordering::Relaxed) {
        for tid in procfs::threads(own).into_iter().map(|(tid, _)| tid as i32).filter(|tid| *tid != this) {
            // SAFETY: a system call that takes numbers only; that a thread has ended meanwhile is no matter.
            unsafe { libc::syscall(libc::SYS_tgkill, own, tid, libc::SIGALRM) };
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

support::program! {
    /// Under a tracer that makes system calls fail with EINTR.
    fn a_program_whose_calls_are_interrupted() -> i32 {
        let ledger = std::env::var("LEDGER").expect("a ledger");
        let pool = ProcessPoolExecutor::builder().max_workers(2).on_worker_event(|event| {
            STARTED.fetch_add(u64::from(matches!(event, WorkerEvent::Started { .. })), Ordering::Relaxed);
            FAILED.fetch_add(u64::from(matches!(event, WorkerEvent::StartFailed { .. })), Ordering::Relaxed);
        });
        let pool = pool.build().expect("a pool");
        pool.warm_up().wait().expect("two workers");
        exchange_all(&pool, &ledger, FEW);
        assert!(pool.shutdown(true).wait().leaked.is_empty());
        assert_eq!((STARTED.load(Ordering::Relaxed), FAILED.load(Ordering::Relaxed)), (2, 0), "starts");
        7
    }
}

support::isolated! {
    timeout = 120;

    fn a_signal_each_millisecond_on_both_sides_loses_and_doubles_nothing() {
        let ledger = Ledger::create();
        let path = ledger.path();
        handle_alarms();
        let enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| storm_on_all_other_threads(&enough));
            let pool = ProcessPoolExecutor::builder()
                .max_workers(2)
                .initializer(storm_in_the_worker, ())
                .build()
                .expect("a pool");
            pool.warm_up().wait().expect("two workers");
            let workers = pool.worker_pids();
            exchange_all(&pool, &path, TASKS);
            let in_worker = pool.submit(signals_so_far, ()).result().expect("a number");
            assert_eq!(pool.worker_pids(), workers, "nobody had to be replaced");
            assert!(pool.shutdown(true).wait().leaked.is_empty());
            enough.store(true, Ordering::Relaxed);
            let in_parent = SIGNALS.load(Ordering::Relaxed);
            println!("{in_parent} signals in the parent, {in_worker} in one of the workers");
            assert!(in_parent > 300 && in_worker > 100, "that was no storm: {in_parent}, {in_worker}");
        });
        ledger.assert_ran_exactly_once(0..TASKS);
    }

    fn every_third_call_that_fails_with_eintr_is_made_again() {
        // The calls by which the pool waits, talks and collects. A futex is not among them: the kernel never
        // fails its wake-ups so, and a tracer cannot tell them from its waits.
        const CALLS: &str =
            "sendmsg,recvmsg,recvfrom,epoll_wait,epoll_pwait,epoll_pwait2,poll,ppoll,waitid,wait4,fallocate";
        for which in ["2+3", "1+2"] {
            let ledger = Ledger::create();
            let how = format!("error=EINTR:when={which}");
            let environment = [("LEDGER", ledger.path())];
            let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
            let name = "a_program_whose_calls_are_interrupted";
            let Some(traced) = tracer::trace(name, CALLS, &how, &environment, Duration::from_secs(60)) else { return };
            for call in ["sendmsg", "recvmsg", "poll", "epoll_", "fallocate"] {
                println!("{which}: {call} failed {} times", traced.hits(call));
                assert!(traced.hits(call) > 0, "{call} was never interrupted");
            }
            assert_eq!(traced.status.code(), Some(7), "{}", traced.output);
            ledger.assert_ran_exactly_once(0..FEW);
        }
    }
}
