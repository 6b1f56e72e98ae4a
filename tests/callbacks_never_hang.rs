//! A callback on the pool's own thread may submit, and never hangs the pool by waiting.

mod support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use procpool::{ProcessPoolExecutor, ReturnWhen, TaskErrorKind, as_completed, task, wait};

const LONG: Duration = Duration::from_secs(10);

#[task]
fn double(n: u64) -> u64 {
    2 * n
}

/// Ends when a file is there.
#[task]
fn wait_for(path: &str) {
    while !std::path::Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs `act` in a done-callback on the pool's thread, and says how it ended.
fn in_a_callback<R: Send + 'static>(
    pool: &ProcessPoolExecutor,
    act: impl FnOnce(ProcessPoolExecutor) -> R + Send + 'static,
) -> Result<R, String> {
    let (sender, receiver) = channel();
    // A callback that comes too late would run on this thread.
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("callback-{}-{call}", std::process::id()));
    let future = pool.submit(wait_for, file.to_str().expect("text"));
    let handle = pool.clone();
    future.add_done_callback(move |_| {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(handle)));
        let told = ended.map_err(|payload| match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => {
                payload.downcast::<&str>().map_or_else(|_| String::new(), |text| (*text).to_owned())
            }
        });
        let _ = sender.send(told);
    });
    std::fs::write(&file, "").expect("a file");
    let told = receiver.recv_timeout(LONG).expect("the callback has ended");
    std::fs::remove_file(file).expect("it is there");
    drop(future);
    told
}

support::isolated! {
    fn no_wait_in_a_callback_hangs_the_pool() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let refused = |told: Result<(), String>| told.expect_err("a panic that says why");
        type Act = fn(ProcessPoolExecutor);
        let waits: [(&str, Act); 6] = [
            ("wait", |pool| drop(wait([pool.submit(double, 1)], ReturnWhen::AllCompleted).wait())),
            ("as_completed", |pool| drop(as_completed([pool.submit(double, 1)]).into_iter().next())),
            ("map", |pool| drop(pool.map(double, 0..10).into_iter().next())),
            ("warm_up", |pool| {
                pool.resize(2).expect("a size");
                drop(pool.warm_up().wait());
            }),
            ("result_timeout", |pool| drop(pool.submit(double, 1).result_timeout(LONG))),
            ("as_completed with a timeout", |pool| {
                drop(as_completed([pool.submit(double, 1)]).timeout(LONG).into_iter().next());
            }),
        ];
        for (name, act) in waits {
            match name {
                "result_timeout" => in_a_callback(&pool, act).expect("an error value"),
                _ => {
                    let why = refused(in_a_callback(&pool, act));
                    assert!(why.contains("waiting here would never end"), "{name}: {why}");
                }
            }
            assert_eq!(pool.submit(double, 4).result().expect("the pool goes on"), 8, "after {name}");
        }
        let error = in_a_callback(&pool, |pool| pool.submit(double, 1).result()).expect("no panic");
        assert!(matches!(error.expect_err("an error").kind(), TaskErrorKind::WouldDeadlock));
        pool.shutdown(true).wait();
    }

    fn what_is_there_already_can_be_taken_in_a_callback() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let done = pool.submit(double, 3);
        let waited = wait([done], ReturnWhen::AllCompleted).wait();
        let told = in_a_callback(&pool, move |_| {
            wait(waited.done, ReturnWhen::AllCompleted).wait().done.pop().expect("one").result()
        });
        assert_eq!(told.expect("no panic").expect("a value"), 6);
        pool.shutdown(true).wait();
    }

    fn a_callback_may_shut_the_pool_down() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        in_a_callback(&pool, |pool| drop(pool.shutdown(true).wait())).expect("it does not wait");
        pool.shutdown(true).wait();
    }

    fn callbacks_submit_in_chains_of_a_hundred() {
        fn next(pool: ProcessPoolExecutor, left: u64, done: std::sync::mpsc::Sender<u64>) {
            let handle = pool.clone();
            let future = pool.submit(double, left);
            future.add_done_callback(move |result| {
                assert_eq!(result.result().expect("a value"), 2 * left);
                match left {
                    0 => drop(done.send(0)),
                    _ => next(handle, left - 1, done),
                }
            });
            future.detach();
        }
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        let (sender, receiver) = channel();
        next(pool.clone(), 100, sender);
        assert_eq!(receiver.recv_timeout(LONG).expect("the end of the chain"), 0);
        pool.shutdown(true).wait();
    }
}
