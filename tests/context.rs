//! A task sees its own cancellation, deadline, attempt and place, without a system call, and hands them down to
//! the tasks it submits.

#![allow(unsafe_code, reason = "a thread that may make no system call")]

#[path = "context/cancelling.rs"]
mod cancelling;
#[path = "context/deadlines.rs"]
mod deadlines;
#[path = "context/nested.rs"]
mod nested;
#[path = "context/silence.rs"]
mod silence;
mod support;

use std::time::Duration;

use procpool::{Context, OnCancel, ProcessPoolExecutor, TaskFuture, TaskOptions, context, task};
use support::eventually;

/// How soon what was asked must show: the hard limit for the detection of a death.
const DETECT: Duration = Duration::from_secs(2);

fn one_worker() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool")
}

fn cooperating(pool: &ProcessPoolExecutor) -> ProcessPoolExecutor {
    pool.with(TaskOptions::new().on_cancel(OnCancel::Cooperate))
}

fn runs<T>(future: &TaskFuture<T>) {
    eventually("the task runs", Duration::from_secs(10), || future.running());
}

/// Everything that a context says, deadline and cancellation left out.
fn card() -> (Option<String>, u32, usize, u32) {
    let context = context();
    (context.task().map(str::to_owned), context.attempt(), context.worker_index(), context.depth())
}

/// What a task sees, and the name that its worker's process has.
#[task]
fn introduce() -> ((Option<String>, u32, usize, u32), String) {
    let comm = std::fs::read_to_string("/proc/self/comm").expect("a name");
    (card(), comm.trim().to_owned())
}

#[task]
fn introduce_below() -> (Option<String>, u32, usize, u32) {
    one_worker().submit(introduce, ()).result().expect("a value").0
}

#[task]
fn remember_the_place() {
    assert_eq!((context().task(), context().is_cancelled(), context().deadline()), (None, false, None));
    assert_eq!(format!("procpool:{}", context().worker_index()), comm());
    assert_eq!(context().depth(), 1);
}

fn comm() -> String {
    std::fs::read_to_string("/proc/self/comm").expect("a name").trim().to_owned()
}

/// The names that threads of a task find: on their own, in its scope, in a future on a runtime's own thread.
#[task]
fn names_elsewhere() -> [Option<String>; 4] {
    let name = || context().task().map(str::to_owned);
    let here = context();
    let alone = std::thread::spawn(name).join().expect("a name");
    let scoped = std::thread::spawn(move || (here.scope(name), name())).join().expect("names");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let spawned = runtime.spawn(context().scope_future(async move {
        tokio::task::yield_now().await;
        name()
    }));
    [alone, scoped.0, scoped.1, runtime.block_on(spawned).expect("a name")]
}

/// The names of the threads of this worker that listen for the bell.
fn listeners() -> usize {
    support::procfs::threads(std::process::id()).iter().filter(|(_, name)| name == "procpool-bell").count()
}

#[task]
async fn threads_that_listen() -> [usize; 4] {
    let only_looked = {
        assert!(!context().is_cancelled() && context().check().is_ok());
        listeners()
    };
    let made = context().cancelled();
    let not_polled = listeners();
    let mut made = [made, context().cancelled(), context().cancelled()];
    let mut polled = futures::future::select_all(&mut made);
    assert!(futures::poll!(&mut polled).is_pending());
    // The name comes a moment after the thread.
    eventually("the thread has its name", DETECT, || listeners() > 0);
    let polled = listeners();
    drop(made);
    [only_looked, not_polled, polled, listeners()]
}

support::isolated! {
    fn a_task_sees_who_and_where_it_is() {
        let pool = ProcessPoolExecutor::builder()
            .max_workers(2)
            .initializer(remember_the_place, ())
            .build()
            .expect("a pool");
        // In both workers the initializer looks at its place.
        pool.warm_up().wait().expect("two workers");
        let all: Vec<_> = (0..20).map(|_| pool.submit(introduce, ())).collect();
        for one in all {
            let ((name, attempt, index, depth), comm) = one.result().expect("a value");
            assert_eq!(name.as_deref(), Some("context::introduce"));
            assert_eq!((attempt, depth), (1, 1));
            assert_eq!(comm, format!("procpool:{index}"));
        }
        let below = pool.submit(introduce_below, ()).result().expect("a value");
        assert_eq!(below, (Some("context::introduce".to_owned()), 1, 0, 2));
    }

    fn an_ordinary_function_has_a_context_that_says_nothing() {
        assert_eq!(card(), (None, 1, 0, 0));
        assert!(!context().is_cancelled() && context().check().is_ok());
        assert_eq!((context().deadline(), context().remaining()), (None, None));
        assert!(futures::FutureExt::now_or_never(context().cancelled()).is_none());
        assert_eq!(Context::none().scope(card), (None, 1, 0, 0));
        assert_eq!(introduce().0, (None, 1, 0, 0), "a task that is called as a function");
    }

    fn threads_and_futures_have_the_context_that_they_are_given_and_no_other() {
        let [alone, scoped, after, spawned] = one_worker().submit(names_elsewhere, ()).result().expect("names");
        assert_eq!((alone, after), (None, None));
        assert_eq!(scoped.as_deref(), Some("context::names_elsewhere"));
        assert_eq!(spawned, scoped);
    }

    fn a_worker_listens_with_one_thread_and_only_if_somebody_waits() {
        let pool = one_worker();
        assert_eq!(pool.submit(threads_that_listen, ()).result().expect("numbers"), [0, 0, 1, 1]);
    }
}

#[test]
fn a_context_goes_to_any_thread() {
    fn goes<T: Clone + Send + Sync + std::fmt::Debug>() {}
    goes::<Context>();
    fn moves<T: Send + Unpin>(_: &T) {}
    moves(&context().cancelled());
}
