//! Cancelled while it runs, a task that cooperates is asked to stop, and nobody else.

use std::sync::Mutex;
use std::time::Duration;

use futures::future::{Either, select};
use procpool::{Context, OnCancel, ProcessPoolExecutor, TaskOptions, context, task};

use crate::support::{self, Event, Ledger, eventually};
use crate::{DETECT, cooperating, one_worker, runs};

/// Turns until it is asked to stop.
#[task]
pub(crate) fn spin() -> (u64, u32) {
    let mut turns = 0;
    while !context().is_cancelled() {
        turns += 1;
    }
    (turns, std::process::id())
}

#[task]
fn spin_with_question_mark() -> Result<(), String> {
    loop {
        context().check().map_err(|cancelled| cancelled.to_string())?;
    }
}

#[task]
async fn wait_on_nothing() -> String {
    match select(std::future::pending::<()>(), context().cancelled()).await {
        Either::Left(_) => "the end of time".to_owned(),
        Either::Right((cancelled, _)) => cancelled.to_string(),
    }
}

#[task]
fn wait_on_tokio() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        tokio::select! {
            cancelled = context().cancelled() => cancelled.to_string(),
            () = tokio::time::sleep(Duration::from_secs(600)) => "slept".to_owned(),
        }
    })
}

#[task]
fn wait_on_smol() -> String {
    let waiting = smol::spawn({
        let cancelled = context().cancelled();
        async { cancelled.await.to_string() }
    });
    smol::block_on(waiting)
}

/// Many futures of one task wait, some of them in vain. It says when they do.
#[task]
async fn wait_a_hundred_times(ledger: &str) -> usize {
    let waiting: Vec<_> = (0..100).map(|_| context().cancelled()).collect();
    for mut given_up in (0..100).map(|_| context().cancelled()) {
        assert!(futures::poll!(&mut given_up).is_pending());
    }
    Ledger::record(ledger, 1, Event::Started);
    futures::future::join_all(waiting).await.len()
}

#[task]
fn is_cancelled() -> (bool, u32) {
    (context().is_cancelled(), std::process::id())
}

static KEPT: Mutex<Option<Context>> = Mutex::new(None);

#[task]
fn keep_the_context() -> bool {
    let mine = context();
    let cancelled = mine.is_cancelled();
    *KEPT.lock().expect("not poisoned") = Some(mine);
    cancelled
}

#[task]
fn look_at_the_kept_context() -> (bool, bool) {
    let kept = KEPT.lock().expect("not poisoned").clone().expect("a task was here before");
    (kept.is_cancelled(), context().is_cancelled())
}

/// Leaves a thread behind that waits for the end of the task.
#[task]
fn leave_a_thread_behind(ledger: &str) {
    let (context, ledger) = (context(), ledger.to_owned());
    std::thread::spawn(move || {
        smol::block_on(context.cancelled());
        Ledger::record(&ledger, 1, Event::Finished);
    });
}

/// Goes on until it finds a file.
#[task]
fn wait_for(path: &str) -> bool {
    while !std::path::Path::new(path).exists() {
        std::thread::yield_now();
    }
    context().is_cancelled()
}

/// Waits although no thread can be had any more, to listen for it. Says how many do.
#[task]
async fn wait_without_another_thread() -> (String, usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let status = std::fs::read_to_string("/proc/self/status").expect("our own size");
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.strip_suffix("kB"));
    let bytes = 1024 * size.and_then(|size| size.trim().parse::<u64>().ok()).expect("a number");
    let before = getrlimit(Resource::As);
    // Enough to go on with, and not for another stack.
    setrlimit(Resource::As, Rlimit { current: Some(bytes + (1 << 20)), ..before }).expect("a lower limit");
    assert!(std::thread::Builder::new().spawn(|| ()).is_err(), "there was room for another thread");
    let cancelled = context().cancelled().await.to_string();
    let listening = crate::listeners();
    setrlimit(Resource::As, before).expect("the limit that there was");
    (cancelled, listening)
}

/// Cancels what runs and wants its own result soon.
fn stops<T: serde::de::DeserializeOwned>(mut future: procpool::TaskFuture<T>) -> T {
    runs(&future);
    assert!(!future.cancel(), "it decides itself");
    let outcome = future.result_timeout(DETECT).expect("it stops soon").expect("it returns a value");
    assert!(!future.cancelled());
    outcome
}

support::isolated! {
    fn a_task_that_spins_sees_that_it_is_asked_to_stop() {
        let pool = one_worker();
        let (_, pid) = stops(cooperating(&pool).submit(spin, ()));
        assert_eq!(pool.worker_pids(), [pid], "its worker lives on");
        let refused = stops(cooperating(&pool).submit(spin_with_question_mark, ()));
        assert_eq!(refused, Err("the task was asked to stop".to_owned()));
    }

    fn a_task_that_waits_is_woken_on_any_runtime() {
        let pool = cooperating(&one_worker());
        assert_eq!(stops(pool.submit(wait_on_tokio, ())), "the task was asked to stop");
        assert_eq!(stops(pool.submit(wait_on_smol, ())), "the task was asked to stop");
        let ledger = Ledger::create();
        let hundred = pool.submit(wait_a_hundred_times, ledger.path().as_str());
        eventually("they wait", DETECT, || ledger.starts(1) == 1);
        assert_eq!(stops(hundred), 100);
        for _ in 0..50 {
            assert_eq!(stops(pool.submit(wait_on_nothing, ())), "the task was asked to stop");
        }
    }

    fn a_task_is_woken_even_if_no_thread_can_listen_for_it() {
        let pool = cooperating(&one_worker());
        let ends = stops(pool.submit(wait_without_another_thread, ()));
        assert_eq!(ends, ("the task was asked to stop".to_owned(), 0));
        // And as soon as there is room, with a thread again.
        assert_eq!(stops(pool.submit(wait_on_nothing, ())), "the task was asked to stop");
    }

    fn dropping_the_future_asks_as_well() {
        let pool = one_worker();
        let spinning = cooperating(&pool).submit(spin, ());
        runs(&spinning);
        drop(spinning);
        let mut next = pool.submit(is_cancelled, ());
        next.result_timeout(DETECT).expect("the worker is free soon").expect("a value");
    }

    fn the_next_task_of_the_same_worker_is_not_asked() {
        let pool = cooperating(&one_worker());
        for _ in 0..20 {
            let spinning = pool.submit(spin, ());
            let behind: Vec<_> = (0..3).map(|_| pool.submit(is_cancelled, ())).collect();
            let (_, pid) = stops(spinning);
            for task in behind {
                assert_eq!(task.result().expect("a value"), (false, pid));
            }
        }
    }

    fn whoever_does_not_cooperate_is_not_asked() {
        let ledger = Ledger::create();
        let flag = format!("{}.flag", ledger.path());
        let pool = one_worker();
        for options in [TaskOptions::new(), TaskOptions::new().on_cancel(OnCancel::Finish)] {
            let waiting = pool.with(options).submit(wait_for, &flag);
            runs(&waiting);
            assert!(!waiting.cancel());
            std::fs::write(&flag, "").expect("a flag");
            assert!(!waiting.result().expect("a value"), "it was asked");
            std::fs::remove_file(&flag).expect("the flag");
        }
    }

    fn killing_is_stronger_than_asking() {
        let pool = cooperating(&one_worker());
        let spinning = pool.submit(wait_for, "/no/such/file");
        runs(&spinning);
        assert!(!spinning.cancel(), "it does not look");
        assert!(spinning.kill());
        assert!(spinning.result().expect_err("killed").is_cancelled());
    }

    fn a_task_that_waits_in_the_pool_is_cancelled_as_ever() {
        let pool = cooperating(&one_worker());
        let (spinning, waiting) = (pool.submit(spin, ()), pool.submit(spin, ()));
        runs(&spinning);
        assert!(waiting.cancel());
        assert!(waiting.result().expect_err("cancelled").is_cancelled());
        stops(spinning);
    }

    fn a_context_that_outlives_its_task_is_cancelled() {
        let pool = one_worker();
        assert!(!pool.submit(keep_the_context, ()).result().expect("a value"));
        let (kept, own) = pool.submit(look_at_the_kept_context, ()).result().expect("values");
        assert!(kept && !own);

        let ledger = Ledger::create();
        pool.submit(leave_a_thread_behind, ledger.path().as_str()).result().expect("a value");
        eventually("the thread hears of the end", DETECT, || ledger.finishes(1) == 1);
    }

    fn shutting_down_asks_nobody() {
        let ledger = Ledger::create();
        let flag = format!("{}.flag", ledger.path());
        let pool: ProcessPoolExecutor = cooperating(&one_worker());
        let waiting = pool.submit(wait_for, &flag);
        runs(&waiting);
        let shutdown = pool.shutdown_with(procpool::ShutdownOptions::new().cancel_futures(true));
        std::fs::write(&flag, "").expect("a flag");
        assert!(!waiting.result().expect("a value"), "it was asked");
        shutdown.wait();
        std::fs::remove_file(&flag).expect("the flag");
    }
}
