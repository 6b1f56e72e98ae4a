//! Tasks that wait because all workers are busy travel together, and each of them stands for itself all the same: its
//! result, its failure, its cancellation and its place in the order are its own.

#![allow(unsafe_code, reason = "a task that closes the channel of its worker")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use procpool::{
    Descriptor, ProcessPoolExecutor, Ran, Refusal, ShutdownOptions, StartError, TaskErrorKind, TaskFuture,
    TaskOptions, task,
};
use support::{Event, Ledger, eventually};

const SOON: Duration = Duration::from_secs(10);
const MANY: u64 = 40;

#[task]
fn quick(n: u64) -> u64 {
    n
}

#[task]
fn park() {
    loop {
        std::thread::park();
    }
}

#[task]
fn note(ledger: &str, id: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    Ledger::record(ledger, id, Event::Finished);
    id
}

/// Waits for a file: what holds a descriptor would not travel with others.
#[task]
fn wait_for(ledger: &str, id: u64, gate: &str) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    while !Path::new(gate).exists() {
        std::thread::sleep(Duration::from_micros(100));
    }
    Ledger::record(ledger, id, Event::Finished);
    id
}

/// Long enough to be killed in the middle, and no slow task.
const SPIN: u64 = 300;

#[task]
fn spin(n: u64, micros: u64) -> u64 {
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
    n
}

#[task]
fn die(ledger: &str, id: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    std::process::abort()
}

#[task]
fn refuse(word: &str) -> Result<String, String> {
    Err(format!("not {word}"))
}

#[task]
fn shout(word: &str) -> String {
    word.to_uppercase()
}

#[task]
fn panic_at(n: u64) -> u64 {
    panic!("at {n}")
}

#[task]
fn grow(bytes: usize) -> Vec<u8> {
    vec![7; bytes]
}

#[task]
fn open_null() -> Descriptor {
    Descriptor::from(std::os::fd::OwnedFd::from(std::fs::File::open("/dev/null").expect("a file")))
}

/// Ends the channel of its worker, the only socket that a worker has.
#[task]
fn hang_up() -> u64 {
    let sockets = std::fs::read_dir("/proc/self/fd").expect("descriptors").filter_map(Result::ok);
    for entry in sockets {
        let is_socket = |to: PathBuf| to.to_string_lossy().starts_with("socket:");
        if std::fs::read_link(entry.path()).is_ok_and(is_socket) {
            let number: i32 = entry.file_name().to_str().expect("a number").parse().expect("a number");
            // SAFETY: nothing of this task's uses it afterwards, and what the worker does then is the point.
            unsafe { libc::close(number) };
        }
    }
    7
}

#[task]
fn nap(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

#[task]
fn abort_quietly() {
    std::process::abort()
}

/// Leaves a thread that tells when the context of this task ends.
#[task]
fn outlive(told: &str) {
    let (context, told) = (procpool::context(), told.to_owned());
    std::thread::spawn(move || {
        while !context.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::fs::write(told, "").expect("a file of ours");
    });
}

#[task]
fn who() -> String {
    procpool::context().task().expect("a task").to_owned()
}

/// A file that is there when the gate is open.
struct Gate(PathBuf);

impl Gate {
    fn closed() -> Gate {
        static GATES: AtomicU64 = AtomicU64::new(0);
        let number = GATES.fetch_add(1, Ordering::Relaxed);
        Gate(std::env::temp_dir().join(format!("batches-gate-{}-{number}", std::process::id())))
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("text")
    }

    fn open(&self) {
        std::fs::write(&self.0, "").expect("a file of ours");
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Waits for a task to begin, and is back before anybody finds it slow, if the machine is not too busy.
fn begins(ledger: &Ledger, id: u64) {
    let began = Instant::now();
    while ledger.starts(id) == 0 {
        assert!(began.elapsed() < SOON, "it never runs");
    }
}

fn pool(workers: usize) -> ProcessPoolExecutor {
    let pool = ProcessPoolExecutor::builder()
        .max_workers(workers)
        .max_message_size(2 << 20)
        .build()
        .expect("a pool");
    learn(&pool);
    pool
}

/// Lets a pool see that tasks are short.
fn learn(pool: &ProcessPoolExecutor) {
    pool.warm_up().wait().expect("workers");
    for _ in 0..4 {
        let many: Vec<_> = (0..500).map(|n| pool.submit(quick, n)).collect();
        for future in many {
            future.result().expect("a value");
        }
    }
}

/// All workers are busy until this is dropped; what is submitted meanwhile waits, and goes to workers together then.
struct Busy(Vec<TaskFuture<()>>);

impl Busy {
    fn keep(pool: &ProcessPoolExecutor) -> Busy {
        let parked: Vec<_> = (0..pool.max_workers()).map(|_| pool.submit(park, ())).collect();
        eventually("all are busy", SOON, || parked.iter().all(TaskFuture::running));
        // So that the line is held.
        let ahead: Vec<_> = (0..2 * pool.max_workers()).map(|_| pool.submit(quick, 0)).collect();
        drop(ahead);
        Busy(parked)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for parked in &self.0 {
            assert!(parked.kill());
        }
    }
}

support::isolated! {
    timeout = 120;

    fn each_of_a_batch_has_the_result_of_its_own_function() {
        let pool = pool(1);
        let busy = Busy::keep(&pool);
        let numbers: Vec<_> = (0..MANY).map(|n| pool.submit(quick, n)).collect();
        let words: Vec<_> = (0..MANY).map(|n| pool.submit(shout, format!("w{n}").as_str())).collect();
        let (refused, panicked) = (pool.submit(refuse, "this"), pool.submit(panic_at, 3));
        let (large, too_large) = (pool.submit(grow, 100_000), pool.submit(grow, 3 << 20));
        let (file, name) = (pool.submit(open_null, ()), pool.submit(who, ()));
        let last = pool.submit(quick, 99);
        drop(busy);
        for (n, future) in (0..).zip(numbers) {
            assert_eq!(future.result().expect("a value"), n);
        }
        for (n, future) in (0..).zip(words) {
            assert_eq!(future.result().expect("a value"), format!("W{n}"));
        }
        assert_eq!(refused.result().expect("it returned"), Err("not this".to_owned()));
        let error = panicked.result().expect_err("it panicked");
        assert_eq!((error.task(), error.panic().expect("a panic").message()), ("batches::panic_at", "at 3"));
        assert_eq!(large.result().expect("a value"), vec![7; 100_000]);
        let error = too_large.result().expect_err("more than the limit");
        assert!(matches!(error.kind(), TaskErrorKind::TooLarge { .. }) && error.task() == "batches::grow", "{error}");
        assert!(file.result().is_ok());
        assert_eq!(name.result().expect("a value"), "batches::who");
        assert_eq!(last.result().expect("a value"), 99);
        assert_eq!(pool.pending(), 0);
    }

    fn a_crash_costs_one_of_a_batch() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool(2);
        for victim in [0, 1, MANY / 2, MANY - 1] {
            let busy = Busy::keep(&pool);
            let first = victim * MANY;
            let futures: Vec<_> = (0..MANY)
                .map(|n| match first + n {
                    id if n == victim => pool.submit(die, (path.as_str(), id)),
                    id => pool.submit(note, (path.as_str(), id)),
                })
                .collect();
            drop(busy);
            for (id, future) in (first..).zip(futures) {
                match future.result() {
                    Ok(value) => assert_eq!((value, ledger.finishes(id)), (id, 1)),
                    Err(error) => {
                        assert!(error.is_worker_died() && error.task() == "batches::die", "{error}");
                        assert_eq!((id, error.ran(), ledger.starts(id)), (first + victim, Ran::Maybe, 1));
                    }
                }
            }
            ledger.assert_ran_exactly_once((first..first + MANY).filter(|id| *id != first + victim));
        }
    }

    fn what_is_cancelled_while_it_waits_never_runs_and_leaves_the_others_alone() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool(1);
        let busy = Busy::keep(&pool);
        let before = pool.pending();
        let mut futures: Vec<_> = (0..MANY).map(|id| Some(pool.submit(note, (path.as_str(), id)))).collect();
        assert_eq!(pool.pending(), before + MANY as usize);
        for (id, future) in (0..).zip(&mut futures) {
            match id % 4 {
                0 => {
                    let cancelled = future.as_ref().expect("a future");
                    assert!(cancelled.cancel() && cancelled.done() && !cancelled.running());
                }
                1 => *future = None,
                _ => {}
            }
        }
        assert_eq!(pool.pending(), before + MANY as usize / 2);
        drop(busy);
        for (id, future) in (0..).zip(futures) {
            match future.map(TaskFuture::result) {
                Some(Ok(value)) => assert!(value == id && id % 4 > 1),
                Some(Err(error)) => assert!(error.is_cancelled() && error.ran() == Ran::No && id % 4 == 0),
                None => assert_eq!(id % 4, 1),
            }
        }
        pool.shutdown(true).wait();
        ledger.assert_ran_exactly_once((0..MANY).filter(|id| id % 4 > 1));
        (0..MANY).filter(|id| id % 4 < 2).for_each(|id| ledger.assert_never_ran(id));
    }

    fn one_of_a_batch_runs_and_what_is_behind_it_can_still_be_cancelled() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool(1);
        for round in 0..10 {
            let (gate, first) = (Gate::closed(), round * MANY);
            let busy = Busy::keep(&pool);
            let slow = pool.submit(wait_for, (path.as_str(), first, gate.path()));
            let others: Vec<_> =
                (first + 1..first + MANY).map(|id| pool.submit(note, (path.as_str(), id))).collect();
            drop(busy);
            begins(&ledger, first);
            assert!(slow.running() && others.iter().all(|other| !other.running()));
            assert!(!slow.cancel());
            for other in others.iter().step_by(2) {
                assert!(other.cancel());
            }
            gate.open();
            assert_eq!(slow.result().expect("it was left to finish"), first);
            for (id, other) in (first + 1..).zip(others) {
                let cancelled = (id - first) % 2 == 1;
                assert_eq!(other.result().is_err_and(|error| error.is_cancelled()), cancelled);
                assert_eq!(ledger.starts(id), usize::from(!cancelled));
            }
        }
    }

    fn a_kill_of_one_of_a_batch_kills_nobody_else() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool(1);
        for round in 0..10 {
            let (gate, first) = (Gate::closed(), round * MANY);
            let victim = first + round % 3 * (MANY / 2 - 1);
            let busy = Busy::keep(&pool);
            let futures: Vec<_> = (first..first + MANY)
                .map(|id| match id == victim {
                    true => pool.submit(wait_for, (path.as_str(), id, gate.path())),
                    false => pool.submit(note, (path.as_str(), id)),
                })
                .collect();
            drop(busy);
            begins(&ledger, victim);
            assert!(futures[(victim - first) as usize].kill());
            for (id, future) in (first..).zip(futures) {
                match future.result() {
                    Ok(value) => assert!(value == id && id != victim),
                    Err(error) => {
                        assert!(matches!(error.kind(), TaskErrorKind::Cancelled { was_running: true, .. }), "{error}");
                        assert_eq!(id, victim);
                    }
                }
            }
            ledger.assert_ran_exactly_once((first..first + MANY).filter(|id| *id != victim));
        }
    }

    fn a_kill_at_whatever_moment_hits_only_its_own_task() {
        let pool = pool(1);
        let mut random = support::Random::new(3);
        let (mut killed, mut missed) = (0, 0);
        for _ in 0..support::rounds(60) {
            let busy = Busy::keep(&pool);
            let victim = random.below(MANY) as usize;
            // Longer where others want the processor, so that it takes long until the kill comes.
            let micros = |n| if n == victim as u64 { SPIN << missed.min(10) } else { SPIN };
            let futures: Vec<_> = (0..MANY).map(|n| pool.submit(spin, (n, micros(n)))).collect();
            drop(busy);
            while !futures[victim].running() && !futures[victim].done() {
                std::hint::spin_loop();
            }
            let answer = futures[victim].kill();
            killed += usize::from(answer);
            missed = if answer { 0 } else { missed + 1 };
            for (n, future) in futures.into_iter().enumerate() {
                match future.result() {
                    Ok(value) => assert!(value == n as u64 && (!answer || victim != n)),
                    Err(error) => assert!(error.is_cancelled() && answer && victim == n, "{n}: {error}"),
                }
            }
        }
        assert!(killed > 0, "no kill came in time");
    }

    fn a_slow_one_holds_nobody_up() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let (pool, gate) = (pool(2), Gate::closed());
        let busy = Busy::keep(&pool);
        let slow = pool.submit(wait_for, (path.as_str(), 0, gate.path()));
        let others: Vec<_> = (1..MANY).map(|id| pool.submit(note, (path.as_str(), id))).collect();
        drop(busy);
        for (id, other) in (1..).zip(others) {
            assert_eq!(other.result().expect("a value"), id);
        }
        assert!(!slow.done());
        gate.open();
        assert_eq!(slow.result().expect("a value"), 0);
        ledger.assert_ran_exactly_once(0..MANY);
    }

    fn a_shutdown_that_cancels_lets_the_one_that_runs_finish_and_begins_no_other() {
        for kill in [false, true] {
            let ledger = Ledger::create();
            let path = ledger.path();
            let (pool, gate) = (pool(1), Gate::closed());
            let busy = Busy::keep(&pool);
            let slow = pool.submit(wait_for, (path.as_str(), 0, gate.path()));
            let others: Vec<_> = (1..MANY).map(|id| pool.submit(note, (path.as_str(), id))).collect();
            drop(busy);
            begins(&ledger, 0);
            let options = ShutdownOptions::new().cancel_futures(true).kill(kill).wait(false);
            pool.shutdown_with(options).wait();
            let mut begun = 0;
            for (id, other) in (1..).zip(others) {
                let error = other.result().expect_err("it is cancelled");
                assert!(matches!(error.kind(), TaskErrorKind::Cancelled { was_running: false, .. }), "{error}");
                begun += ledger.starts(id);
            }
            gate.open();
            let slow = slow.result();
            assert_eq!((begun, slow.is_ok()), (0, !kill), "{slow:?}");
            let report = pool.shutdown(true).wait();
            let killed = usize::from(kill);
            // What kept the worker busy was cancelled as well: one that ran, and two that did not.
            assert_eq!((report.cancelled, report.killed), (MANY as usize + 2 + killed, 1 + killed));
        }
    }

    fn a_batch_is_no_larger_than_a_message_may_be() {
        for limit in [30, 100, 1_000] {
            let pool =
                ProcessPoolExecutor::builder().max_workers(1).max_message_size(limit).build().expect("a pool");
            learn(&pool);
            let busy = Busy::keep(&pool);
            let small: Vec<_> = (0..500).map(|n| pool.submit(quick, n)).collect();
            // A length of one byte or two comes before them.
            let full: Vec<_> = (limit - 12..=limit + 1).map(|size| (size, pool.submit(grow, size))).collect();
            let text = "a".repeat(limit + 1);
            let words: Vec<_> =
                (limit - 12..=limit + 1).map(|size| (size, pool.try_submit(shout, &text[..size]))).collect();
            drop(busy);
            for (n, future) in (0..).zip(small) {
                assert_eq!(future.result().expect("a value"), n, "{limit}");
            }
            let length = if limit < 128 { 1 } else { 2 };
            for (size, future) in full {
                match future.result() {
                    Ok(value) => assert!(value.len() == size && size + length <= limit, "{size} of {limit}"),
                    Err(error) => {
                        assert!(matches!(error.kind(), TaskErrorKind::TooLarge { .. }), "{size} of {limit}: {error}");
                        assert!(size + length > limit, "{size} of {limit}");
                    }
                }
            }
            for (size, word) in words {
                match word {
                    Ok(future) => assert_eq!(future.result().expect("a value").len(), size, "{limit}"),
                    Err(refused) => {
                        assert!(matches!(refused.reason(), Refusal::TooLarge { .. }), "{refused:?}");
                        assert!(size + length > limit, "{size} of {limit}");
                    }
                }
            }
        }
    }

    fn who_damages_the_channel_takes_nobody_along() {
        let pool = pool(1);
        let busy = Busy::keep(&pool);
        let before: Vec<_> = (0..MANY).map(|n| pool.submit(spin, (n, SPIN))).collect();
        let culprit = pool.submit(hang_up, ());
        let after: Vec<_> = (0..MANY).map(|n| pool.submit(spin, (n, SPIN))).collect();
        let slow = pool.submit(nap, 300);
        drop(busy);
        for (n, future) in (0..MANY).zip(before).chain((0..MANY).zip(after)) {
            assert_eq!(future.result().expect("a value"), n);
        }
        assert_eq!(slow.result().expect("a value"), 300);
        assert!(culprit.result().is_ok_and(|value| value == 7) || pool.submit(quick, 1).result().is_ok());
    }

    fn last_words_are_those_of_the_task_that_died() {
        let pool = pool(1);
        let busy = Busy::keep(&pool);
        let (panicked, aborted) = (pool.submit(panic_at, 5), pool.submit(abort_quietly, ()));
        drop(busy);
        assert!(panicked.result().expect_err("it panicked").is_panic());
        let error = aborted.result().expect_err("it aborted");
        let TaskErrorKind::WorkerDied(exit) = error.kind() else { panic!("{error}") };
        assert!(exit.panic().is_none(), "{error}");
    }

    fn threads_that_wait_for_tasks_of_one_batch_wake_each_for_its_own() {
        let pool = pool(1);
        let all_go = std::sync::Barrier::new(9);
        for _ in 0..support::rounds(30) {
            learn(&pool);
            let busy = Busy::keep(&pool);
            // Not slow enough to be left behind by the others.
            let naps: Vec<_> = [1, 0, 0, 0, 0, 0, 0, 0].map(|length| pool.submit(nap, length)).into();
            std::thread::scope(|scope| {
                for mut one in naps {
                    let all_go = &all_go;
                    scope.spawn(move || {
                        all_go.wait();
                        one.result_timeout(SOON).expect("it is woken").expect("a value")
                    });
                }
                drop(busy);
                all_go.wait();
            });
        }
    }

    fn a_context_ends_with_its_task() {
        let told = Gate::closed();
        let (pool, gate) = (pool(1), Gate::closed());
        let ledger = Ledger::create();
        let busy = Busy::keep(&pool);
        let first = pool.submit(outlive, told.path());
        let second = pool.submit(wait_for, (ledger.path().as_str(), 1, gate.path()));
        drop(busy);
        first.result().expect("it returned");
        eventually("the first one is over", SOON, || told.0.exists());
        assert!(!second.done());
        gate.open();
        second.result().expect("a value");
    }

    fn a_pool_with_very_many_in_line_ends_at_once() {
        let pool = pool(2);
        let mut busy = Busy::keep(&pool);
        let many: Vec<_> = (0..support::rounds(100_000)).map(|n| pool.submit(quick, n)).collect();
        let patient = pool.with(TaskOptions::new().timeout(Duration::from_secs(60))).submit(quick, 1);
        let began = Instant::now();
        drop(pool);
        assert!(many.iter().all(|future| future.cancelled()));
        assert!(patient.cancelled() && began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        busy.0.clear();
    }

    fn all_that_wait_are_told_when_the_pool_breaks() {
        let flag = std::env::temp_dir().join(format!("batches-{}", std::process::id()));
        let flag = flag.to_str().expect("text").to_owned();
        let pool = ProcessPoolExecutor::builder()
            .max_workers(1)
            .initializer(once, flag.as_str())
            .build()
            .expect("a pool");
        learn(&pool);
        let busy = Busy::keep(&pool);
        let futures: Vec<_> = (0..MANY).map(|n| pool.submit(quick, n)).collect();
        drop(busy);
        for future in futures {
            let error = future.result().expect_err("no worker starts any more");
            let TaskErrorKind::PoolBroken(cause) = error.kind() else { panic!("{error}") };
            assert!(matches!(cause, StartError::Initializer { .. }), "{cause}");
            assert_eq!((error.task(), error.ran()), ("batches::quick", Ran::No));
        }
        let late = pool.submit(quick, 0).result().expect_err("it is broken");
        assert!(matches!(late.kind(), TaskErrorKind::PoolBroken(_)), "{late}");
        std::fs::remove_file(flag).expect("a file of ours");
    }

    fn tasks_begin_in_the_order_in_which_they_were_submitted_whatever_they_ask_for() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = pool(1);
        let patient = pool.with(TaskOptions::new().timeout(Duration::from_secs(60)));
        let busy = Busy::keep(&pool);
        let futures: Vec<_> = (0..MANY)
            .map(|id| if id % 7 == 3 { &patient } else { &pool }.submit(note, (path.as_str(), id)))
            .collect();
        drop(busy);
        for future in futures {
            future.result().expect("a value");
        }
        let begun: Vec<_> =
            ledger.entries().iter().filter(|entry| entry.event == Event::Started).map(|entry| entry.id).collect();
        assert_eq!(begun, (0..MANY).collect::<Vec<_>>());
    }

    fn the_places_of_a_bounded_pool_come_back_one_by_one() {
        let pool =
            ProcessPoolExecutor::builder().max_workers(1).max_pending(50).build().expect("a pool");
        learn_slowly(&pool);
        for _ in 0..3 {
            let busy = Busy::keep(&pool);
            let mut futures = Vec::new();
            let refused = loop {
                match pool.try_submit(quick, futures.len() as u64) {
                    Ok(future) => futures.push(future),
                    Err(refused) => break refused,
                }
            };
            assert!(matches!(refused.reason(), Refusal::Full { max_pending: 50, .. }), "{refused:?}");
            assert!(futures.len() > 40);
            drop(futures.pop());
            let again = pool.try_submit(quick, 7).expect("one has gone");
            drop(busy);
            assert_eq!(again.result().expect("a value"), 7);
            for (n, future) in (0..).zip(futures) {
                assert_eq!(future.result().expect("a value"), n);
            }
            eventually("all places are free", SOON, || pool.pending() == 0);
        }
    }
}

/// As [`learn`], in a pool that takes few tasks at once.
fn learn_slowly(pool: &ProcessPoolExecutor) {
    pool.warm_up().wait().expect("workers");
    for n in 0..100 {
        pool.submit(quick, n).result().expect("a value");
    }
}

/// The first worker starts, and no other.
#[task]
fn once(flag: &str) -> Result<(), String> {
    std::fs::File::create_new(flag).map(drop).map_err(|_| "no more".to_owned())
}
