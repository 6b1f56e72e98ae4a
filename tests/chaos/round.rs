//! One pool's life under fire, and its account.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use procpool::{
    Escalation, OnCancel, ProcessPoolExecutor, Ran, Refusal, Retry, ShutdownOptions, TaskError,
    TaskErrorKind, TaskFuture, TaskOptions, WorkerEndReason, WorkerEvent,
};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::account::Account;
use super::page::{CAPACITY, Owned};
use super::random::Random;
use super::support::{eventually, procfs};
use super::tasks::{Act, answer, be_quiet, refuse, work};

const PRODUCERS: u64 = 8;

/// Nothing takes so long: a future that is pending then hangs.
const HANGS: Duration = Duration::from_secs(60);

/// What is known of a task, in the parent: how it ended, and what was asked for.
mod told {
    pub(crate) const OK: u8 = 1;
    pub(crate) const NO: u8 = 2;
    pub(crate) const MAYBE: u8 = 3;
    pub(crate) const YES: u8 = 4;
    pub(crate) const DROPPED: u8 = 5;
    /// It may be tried again once.
    pub(crate) const RETRIED: u8 = 16;
}

struct Round {
    page: Owned,
    told: Vec<AtomicU8>,
    acts: Vec<AtomicU8>,
    next: AtomicU32,
    /// The pool is being ended: what it had may be cancelled.
    ending: AtomicBool,
    over: AtomicBool,
    outcomes: Mutex<BTreeMap<&'static str, u64>>,
    accepted: AtomicU64,
    /// Processes that have become workers.
    workers: Mutex<HashSet<u32>>,
    ends: Mutex<BTreeMap<&'static str, u64>>,
}

/// What may become of a task.
#[derive(Clone, Copy)]
struct Asked {
    id: u32,
    act: Act,
    size: usize,
    limited: bool,
    cancelled: bool,
    refuses: bool,
}

enum Future {
    Work(TaskFuture<Result<String, u32>>),
    Refuse(TaskFuture<super::tasks::Stubborn>),
}

pub(crate) fn play(random: &mut Random, life: Duration) -> Account {
    let round = Arc::new(Round {
        page: Owned::create(),
        told: (0..CAPACITY).map(|_| AtomicU8::new(0)).collect(),
        acts: (0..CAPACITY).map(|_| AtomicU8::new(0)).collect(),
        next: AtomicU32::new(0),
        ending: AtomicBool::new(false),
        over: AtomicBool::new(false),
        outcomes: Mutex::default(),
        accepted: AtomicU64::new(0),
        workers: Mutex::default(),
        ends: Mutex::default(),
    });
    let pool = pool(random, &round);
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|_| {
            let (round, pool, random) = (Arc::clone(&round), pool.clone(), Random::new(random.next()));
            thread::spawn(move || produce(&round, pool, random))
        })
        .collect();
    let killer = {
        let (round, random) = (Arc::clone(&round), Random::new(random.next()));
        // It holds no handle: the pool must be able to end by the drop of the last one.
        let pids = Arc::clone(&round);
        thread::spawn(move || kill(&round, &pids, random))
    };
    // The end comes at a random moment, whatever is going on.
    let resizes = 1 + random.below(4);
    for _ in 0..resizes {
        thread::sleep(life / resizes as u32);
        pool.resize(1 + random.below(4) as usize).expect("a size");
    }
    round.ending.store(true, Ordering::SeqCst);
    match random.below(5) {
        0 => drop(pool.shutdown(true).wait()),
        1 => drop(pool.shutdown_with(ShutdownOptions::new().cancel_futures(true)).wait()),
        2 => drop(pool.shutdown_with(ShutdownOptions::new().kill(true)).wait()),
        3 => {
            let bounded = ShutdownOptions::new().within(Duration::from_millis(200));
            assert_eq!(pool.shutdown_with(bounded).wait().leaked, []);
        }
        _ => {}
    }
    drop(pool);
    for producer in producers {
        producer.join().expect("a producer");
    }
    eventually("all workers are gone", Duration::from_secs(10), || {
        round.workers.lock().expect("pids").iter().all(|&pid| !procfs::is_alive(pid) || !is_worker(pid))
    });
    round.over.store(true, Ordering::SeqCst);
    let injected = killer.join().expect("the killer");
    settle(&round, injected)
}

fn pool(random: &mut Random, round: &Arc<Round>) -> ProcessPoolExecutor {
    let watched = Arc::clone(round);
    let mut builder = ProcessPoolExecutor::builder()
        .max_workers(2 + random.below(3) as usize)
        .initializer(be_quiet, ())
        // Naming the frames of a backtrace takes longer than most workers live here.
        .env_remove("RUST_BACKTRACE")
        .on_worker_event(move |event| watched.note(event));
    if random.percent(30) {
        builder = builder.max_tasks_per_child(1 + random.below(200) as usize);
    }
    if random.percent(30) {
        builder = builder.idle_timeout(Duration::from_millis(1 + random.below(20)));
    }
    if random.percent(30) {
        builder = builder.max_worker_age(Duration::from_millis(20 + random.below(300)));
    }
    builder.build().expect("a pool")
}

fn is_worker(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("procpool:"))
}

impl Round {
    fn note(&self, event: &WorkerEvent) {
        let kind = match event {
            WorkerEvent::Started { pid, .. } => {
                self.workers.lock().expect("pids").insert(*pid);
                return;
            }
            WorkerEvent::StartFailed { .. } => "could not be started",
            WorkerEvent::Ended { reason, .. } => match reason {
                WorkerEndReason::Died => "died",
                WorkerEndReason::MaxTasks | WorkerEndReason::MaxAge | WorkerEndReason::Idle => "recycled",
                WorkerEndReason::Resized => "resized",
                WorkerEndReason::Shutdown => "shut down",
                WorkerEndReason::TimedOut => "killed for a timeout",
                WorkerEndReason::Cancelled => "killed for a cancellation",
                WorkerEndReason::Protocol { .. } => "killed for breaking the protocol",
                _ => "killed for not answering",
            },
            _ => "unknown",
        };
        *self.ends.lock().expect("ends").entry(kind).or_default() += 1;
    }

    fn count(&self, kind: &'static str) {
        *self.outcomes.lock().expect("outcomes").entry(kind).or_default() += 1;
    }
}

fn produce(round: &Round, pool: ProcessPoolExecutor, mut random: Random) {
    let path = round.page.path.to_str().expect("text");
    let mut outstanding: VecDeque<(Asked, Future)> = VecDeque::new();
    let input = "x".repeat(300_000);
    while !round.over.load(Ordering::SeqCst) {
        let id = round.next.fetch_add(1, Ordering::SeqCst);
        if id as usize >= CAPACITY {
            break;
        }
        let act = act(&mut random);
        let limited = act == Act::Endless || random.percent(1);
        let (cancelled, dropped) = (random.percent(5), random.percent(5));
        let retried = random.percent(3);
        let size = size(&mut random);
        let mut options = TaskOptions::new();
        if limited {
            options = options.timeout(Duration::from_millis(1 + random.below(20)));
        }
        if random.percent(50) {
            options = options.on_cancel(random.pick(&[OnCancel::Kill, OnCancel::Cooperate]));
        }
        if random.percent(5) {
            let grace = Duration::from_millis(random.below(5));
            options = options.escalation(random.pick(&[
                Escalation::new().ask(grace),
                Escalation::new().terminate(grace),
                Escalation::new().ask(grace).terminate(grace),
            ]));
        }
        if retried {
            let at_once = Retry::new(1).backoff(Duration::from_millis(random.below(3)));
            options = options.retry(at_once.on_panic(true).on_error(true));
            round.told[id as usize].store(told::RETRIED, Ordering::SeqCst);
        }
        round.acts[id as usize].store(act as u8, Ordering::SeqCst);
        let handle = pool.with(options);
        let refuses = act == Act::Work && random.percent(1);
        let micros = if random.percent(10) { random.below(20_000) } else { random.below(100) };
        let submitted = if refuses {
            handle.try_submit(refuse, (path, id)).map(Future::Refuse).map_err(|error| error.reason().clone())
        } else {
            let input = &input[..size.min(input.len())];
            let submitted = handle.try_submit(work, (path, id, act, micros, input, size));
            submitted.map(Future::Work).map_err(|error| error.reason().clone())
        };
        drop(handle);
        let future = match submitted {
            Ok(future) => future,
            Err(Refusal::PoolClosed) => {
                assert!(round.ending.load(Ordering::SeqCst), "nobody has closed the pool");
                round.told[id as usize].store(0, Ordering::SeqCst);
                break;
            }
            Err(refusal) => panic!("task {id} is refused: {refusal}"),
        };
        round.accepted.fetch_add(1, Ordering::SeqCst);
        let mut asked = Asked { id, act, size, limited, cancelled: false, refuses };
        if dropped {
            round.told[id as usize].fetch_or(told::DROPPED, Ordering::SeqCst);
            round.count("dropped before it was done");
            drop(future);
            continue;
        }
        if cancelled {
            asked.cancelled = true;
            if random.percent(50) {
                thread::yield_now();
            }
            match &future {
                Future::Work(future) => drop(future.cancel()),
                Future::Refuse(future) => drop(future.kill()),
            }
        }
        outstanding.push_back((asked, future));
        if outstanding.len() > 24 {
            let (asked, future) = outstanding.pop_front().expect("one");
            hear(round, asked, future);
        }
        if round.ending.load(Ordering::SeqCst) && random.percent(3) {
            break;
        }
    }
    // Perhaps the last handle of the pool, with tasks outstanding.
    drop(pool);
    for (asked, future) in outstanding {
        hear(round, asked, future);
    }
}

fn act(random: &mut Random) -> Act {
    match random.below(1_000) {
        0..10 => Act::Panic,
        10..20 => Act::Fail,
        20..25 => Act::Endless,
        25..41 => random.pick(&[
            Act::Exit,
            Act::Abort,
            Act::Segfault,
            Act::Overflow,
            Act::NoMemory,
            Act::Daemonise,
            Act::CloseChannel,
            Act::Garbage,
        ]),
        _ => Act::Work,
    }
}

fn size(random: &mut Random) -> usize {
    match random.below(1_000) {
        0..2 => 1 << 20 << random.below(4),
        2..30 => random.below(300_000) as usize,
        30..200 => random.below(5_000) as usize,
        _ => random.below(64) as usize,
    }
}

/// Waits for an outcome, and says whether it may be.
fn hear(round: &Round, asked: Asked, future: Future) {
    let outcome = match future {
        Future::Work(mut future) => future.result_timeout(HANGS).map(|result| result.map(Some)),
        Future::Refuse(mut future) => future.result_timeout(HANGS).map(|result| result.map(|_| None)),
    };
    let Asked { id, act, .. } = asked;
    let outcome =
        outcome.unwrap_or_else(|_| panic!("task {id} ({act:?}) hangs; body: {:?}", round.page.page.read(id)));
    let code = match outcome {
        Ok(Some(Ok(text))) => {
            assert!(text == answer(id, asked.size), "task {id} has the wrong value");
            round.count("value");
            told::OK
        }
        Ok(Some(Err(said))) => {
            assert!(act == Act::Fail && said == id, "task {id} ({act:?}) says it failed");
            round.count("error of the task");
            told::OK
        }
        Ok(None) => panic!("task {id} has a value that cannot be"),
        Err(error) => {
            round.count(explain(round, asked, &error));
            match error.ran() {
                Ran::No => told::NO,
                Ran::Maybe => told::MAYBE,
                Ran::Yes => told::YES,
            }
        }
    };
    let before = round.told[id as usize].fetch_or(code, Ordering::SeqCst);
    assert_eq!(before & 15, 0, "task {id} has two outcomes");
}

fn explain(round: &Round, asked: Asked, error: &TaskError) -> &'static str {
    let Asked { id, act, limited, cancelled, refuses, .. } = asked;
    let ending = round.ending.load(Ordering::SeqCst);
    let (explained, kind) = match error.kind() {
        TaskErrorKind::Panicked(_) => (act == Act::Panic, "panic"),
        TaskErrorKind::WorkerDied(_) => (true, "lost with its worker"),
        TaskErrorKind::TimedOut { .. } => (limited, "timeout"),
        TaskErrorKind::Cancelled { .. } => (cancelled || ending, "cancelled"),
        TaskErrorKind::Codec { .. } => (refuses, "value that refuses"),
        TaskErrorKind::Protocol { .. } => {
            (matches!(act, Act::CloseChannel | Act::Garbage), "broke the protocol")
        }
        _ => (false, "unknown"),
    };
    assert!(explained, "task {id} ({act:?}) is unexplained: {error}");
    kind
}

/// Does things to workers from outside, and counts them.
fn kill(round: &Round, pids: &Round, mut random: Random) -> BTreeMap<&'static str, u64> {
    let mut injected = BTreeMap::new();
    while !round.over.load(Ordering::SeqCst) {
        thread::sleep(random.gap(30.0));
        let candidates: Vec<u32> = pids.workers.lock().expect("pids").iter().copied().collect();
        let alive: Vec<u32> = candidates.into_iter().filter(|&pid| is_worker(pid)).collect();
        if alive.is_empty() {
            continue;
        }
        let victim = random.pick(&alive);
        let Some(pid) = Pid::from_raw(victim as i32) else { continue };
        let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        // Whoever has this number now is behind the descriptor: is it still ours?
        if !is_worker(victim) || procfs::parent_of(victim) != Some(std::process::id()) {
            continue;
        }
        let send = |signal| pidfd_send_signal(&pidfd, signal).is_ok();
        let (done, kind) = match random.below(6) {
            0 | 1 => (send(Signal::KILL), "SIGKILL"),
            2 => (send(Signal::SEGV), "SIGSEGV"),
            3 => (send(Signal::TERM), "SIGTERM"),
            4 => {
                let stopped = send(Signal::STOP);
                thread::sleep(random.gap(5.0));
                (stopped && send(Signal::KILL), "SIGSTOP, then SIGKILL")
            }
            _ => {
                let stopped = send(Signal::STOP);
                thread::sleep(random.gap(5.0));
                (stopped && send(Signal::CONT), "stopped and continued")
            }
        };
        if done {
            *injected.entry(kind).or_default() += 1;
        }
    }
    injected
}

/// The account of a round whose processes are all gone.
fn settle(round: &Round, injected: BTreeMap<&'static str, u64>) -> Account {
    let mut account = Account {
        rounds: 1,
        accepted: round.accepted.load(Ordering::SeqCst),
        outcomes: std::mem::take(&mut round.outcomes.lock().expect("outcomes")),
        ends: std::mem::take(&mut round.ends.lock().expect("ends")),
        injected,
        ..Account::default()
    };
    let mut outcomes = 0;
    for id in 0..round.next.load(Ordering::SeqCst).min(CAPACITY as u32) {
        let told = round.told[id as usize].load(Ordering::SeqCst);
        let (starts, finishes) = round.page.page.read(id);
        let most = if told & told::RETRIED > 0 { 2 } else { 1 };
        let act = name(round.acts[id as usize].load(Ordering::SeqCst));
        assert!(
            starts <= most && finishes <= starts,
            "task {id} ({act:?}): {starts} starts, {finishes} ends"
        );
        account.retried += u64::from(starts > 1);
        match told & 15 {
            // It was refused.
            0 => assert_eq!(starts, 0, "task {id} was never accepted, and ran"),
            told::OK => {
                assert!(starts >= 1 && finishes >= 1, "task {id} has a value and did not run to its end")
            }
            told::NO => assert_eq!(starts, 0, "task {id}: ran=no, and it ran"),
            told::YES => assert!(finishes >= 1, "task {id} ({act:?}): ran=yes, and it did not end"),
            told::MAYBE | told::DROPPED => {}
            other => panic!("task {id}: {other}"),
        }
        outcomes += u64::from(told & 15 > 0);
        if act.is_deadly() && starts > 0 {
            *account.crashes.entry(kind(act)).or_default() += u64::from(starts);
        }
    }
    assert_eq!(outcomes, account.accepted, "each accepted task has its outcome");
    assert_eq!(account.outcomes.values().sum::<u64>(), account.accepted);
    let count = |kinds: &BTreeMap<&'static str, u64>, kind| kinds.get(kind).copied().unwrap_or(0);
    let spoiled =
        count(&account.crashes, kind(Act::CloseChannel)) + count(&account.crashes, kind(Act::Garbage));
    assert!(
        count(&account.ends, "died") <= account.deaths(),
        "workers died that nobody has killed: {account}"
    );
    assert!(count(&account.ends, "killed for breaking the protocol") <= spoiled, "{account}");
    assert_eq!(count(&account.ends, "could not be started"), 0, "{account}");
    account
}

const ACTS: [Act; 12] = [
    Act::Work,
    Act::Fail,
    Act::Panic,
    Act::Endless,
    Act::Exit,
    Act::Abort,
    Act::Segfault,
    Act::Overflow,
    Act::NoMemory,
    Act::Daemonise,
    Act::CloseChannel,
    Act::Garbage,
];

fn name(act: u8) -> Act {
    ACTS[usize::from(act)]
}

fn kind(act: Act) -> &'static str {
    match act {
        Act::Exit => "exit(0)",
        Act::Abort => "abort",
        Act::Segfault => "segmentation fault",
        Act::Overflow => "stack overflow",
        Act::NoMemory => "impossible allocation",
        Act::Daemonise => "a daemon left, then exit",
        Act::CloseChannel => "channel closed",
        Act::Garbage => "garbage on the channel",
        Act::Work | Act::Fail | Act::Panic | Act::Endless => "none",
    }
}
