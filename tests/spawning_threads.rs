//! A worker does not depend on the thread that caused its start: that may end at any time (F32).

mod support;

use std::thread;
use std::time::Duration;

use procpool::{ProcessPoolExecutor, task};
use support::{Signal, eventually, kill, procfs};

const SOON: Duration = Duration::from_secs(10);
/// How long nothing must happen.
const WHILE: Duration = Duration::from_secs(1);

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

#[task]
fn nap(duration: Duration) -> u32 {
    thread::sleep(duration);
    std::process::id()
}

/// The same with a pool that a short-lived thread of this worker has made.
#[task]
fn nested() -> (Vec<u32>, Vec<u32>) {
    let pool = in_a_short_lived_thread(|| started(2));
    let before = pids(&pool);
    thread::sleep(WHILE);
    pool.submit(own_pid, ()).result().expect("a value");
    (before, pids(&pool))
}

/// A pool that has so many workers.
fn started(workers: usize) -> ProcessPoolExecutor {
    let pool = ProcessPoolExecutor::builder().max_workers(workers).build().expect("a pool");
    pool.warm_up().wait().expect("workers");
    pool
}

fn pids(pool: &ProcessPoolExecutor) -> Vec<u32> {
    let mut pids = pool.worker_pids();
    pids.sort_unstable();
    pids
}

/// Comes back when the kernel has let go of the thread, not only when it is done.
fn in_a_short_lived_thread<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let named = thread::Builder::new().name("short-lived".to_owned());
    let value = named.spawn(run).expect("a thread").join().expect("it does not panic");
    has_ended("short-lived");
    value
}

fn has_ended(name: &str) {
    eventually(&format!("the thread {name} is gone"), SOON, || {
        procfs::threads(std::process::id()).iter().all(|(_, other)| other != name)
    });
}

/// Nothing happens to the workers for a while, and then they are those that work.
#[track_caller]
fn assert_live_on(pool: &ProcessPoolExecutor, count: usize) {
    let before = pids(pool);
    assert_eq!(before.len(), count);
    let busy = pool.submit(nap, WHILE);
    thread::sleep(WHILE);
    let worker = busy.result().expect("it was not disturbed");
    assert!(before.contains(&worker));
    assert!(before.contains(&pool.submit(own_pid, ()).result().expect("a value")));
    assert_eq!(pids(pool), before);
    assert!(before.iter().all(|&pid| procfs::is_alive(pid)));
}

support::isolated! {
    timeout = 60;

    fn a_pool_outlives_the_thread_that_made_it() {
        let pool = in_a_short_lived_thread(|| started(2));
        assert_live_on(&pool, 2);
    }

    fn a_task_outlives_the_thread_that_submitted_it_and_started_its_worker() {
        let (pool, future) = in_a_short_lived_thread(|| {
            let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
            let future = pool.submit(nap, WHILE);
            eventually("it runs", SOON, || future.running());
            (pool, future)
        });
        assert_eq!([future.result().expect("a value")], pids(&pool)[..]);
        assert_live_on(&pool, 1);
    }

    fn so_does_a_worker_that_replaces_a_dead_one() {
        let pool = started(1);
        for _ in 0..2 {
            let dead = pool.worker_pids()[0];
            kill(dead, Signal::KILL);
            let handle = pool.clone();
            let replaced = in_a_short_lived_thread(move || handle.submit(own_pid, ()).result().expect("a value"));
            assert_ne!(replaced, dead);
            assert_live_on(&pool, 1);
        }
    }

    fn so_do_workers_that_came_when_the_pool_grew() {
        let pool = started(1);
        let handle = pool.clone();
        in_a_short_lived_thread(move || {
            handle.resize(3).expect("a number that makes sense");
            handle.warm_up().wait().expect("workers");
        });
        assert_live_on(&pool, 3);
    }

    fn a_pool_outlives_a_blocking_thread_of_a_runtime() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("runtime")
            .thread_keep_alive(Duration::from_millis(10))
            .build()
            .expect("a runtime");
        let pool = runtime.block_on(async {
            tokio::task::spawn_blocking(|| {
                // Seen from outside: the name that all of them have is that of the other threads as well.
                rustix::thread::set_name(c"blocking").expect("a name");
                started(2)
            })
            .await
            .expect("a pool")
        });
        has_ended("blocking");
        assert_live_on(&pool, 2);
        drop(runtime);
        assert_live_on(&pool, 2);
    }

    fn pools_inside_of_tasks_do_as_well() {
        let pool = started(1);
        let (before, after) = pool.submit(nested, ()).result().expect("a value");
        assert_eq!(before.len(), 2);
        assert_eq!(before, after);
    }
}
