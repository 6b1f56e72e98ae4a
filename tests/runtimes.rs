//! The same pool works from any runtime or none, for ten thousand tasks, on one worker and on several; a future is of
//! no runtime and outlives them all (F53).

mod support;

use std::time::Duration;

use futures::StreamExt;
use procpool::{ProcessPoolExecutor, ReturnWhen, TaskError, as_completed, task, wait};

const TASKS: u64 = 10_000;

#[task]
fn triple(n: u64) -> u64 {
    3 * n
}

#[task]
async fn triple_later(n: u64) -> u64 {
    futures::future::ready(3 * n).await
}

#[task]
fn nap(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

#[task]
fn wait_for(path: &str) -> String {
    while std::path::Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    path.to_owned()
}

fn pools() -> impl Iterator<Item = ProcessPoolExecutor> {
    [1, 3]
        .into_iter()
        .map(|workers| ProcessPoolExecutor::builder().max_workers(workers).build().expect("a pool"))
}

/// Submits all, awaits all.
async fn submit_and_await() -> Result<(), TaskError> {
    for pool in pools() {
        let futures: Vec<_> = (0..TASKS).map(|n| pool.submit(triple, n)).collect();
        for (n, future) in (0..).zip(futures) {
            assert_eq!(future.await?, 3 * n);
        }
        assert_eq!(pool.submit(triple_later, 5).await?, 15);
        pool.shutdown(true).await;
    }
    Ok(())
}

/// The same through `as_completed`, `wait` and `map`.
async fn gather_every_way() -> Result<(), TaskError> {
    for pool in pools() {
        let mut completed = as_completed((0..TASKS).map(|n| (n, pool.submit(triple, n))));
        let mut seen = vec![false; TASKS as usize];
        while let Some((n, tripled)) = completed.next().await {
            assert_eq!(tripled?, 3 * n);
            assert!(!std::mem::replace(&mut seen[n as usize], true), "{n} came twice");
        }
        assert!(seen.into_iter().all(|seen| seen));

        let waited = wait((0..TASKS).map(|n| pool.submit(triple, n)), ReturnWhen::AllCompleted).await;
        assert!(waited.not_done.is_empty());
        for (n, future) in (0..).zip(waited.done) {
            assert_eq!(future.await?, 3 * n);
        }

        let mut mapped = pool.map(triple, 0..TASKS);
        let mut n = 0;
        while let Some(tripled) = mapped.next().await {
            assert_eq!(tripled?, 3 * n);
            n += 1;
        }
        assert_eq!(n, TASKS);
        let streamed = pool.map_stream(triple, futures::stream::iter(0..TASKS)).unordered();
        let sum = streamed.fold(0, |sum, tripled| async move { sum + tripled.expect("a value") }).await;
        assert_eq!(sum, 3 * TASKS * (TASKS - 1) / 2);
        pool.shutdown(true).await;
    }
    Ok(())
}

async fn everything() {
    submit_and_await().await.expect("values");
    gather_every_way().await.expect("values");
}

support::isolated! {
    timeout = 120;

    fn a_task_that_waits_for_another_future_of_its_thread_is_not_waited_for() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let path = std::env::temp_dir().join(format!("runtimes-{}", std::process::id()));
        let path = path.to_str().expect("text");
        for _ in 0..20 {
            // Quick ones, so that the first look at the next may wait for a moment.
            for n in 0..50 {
                assert_eq!(futures::executor::block_on(pool.submit(triple, n)).expect("a value"), 3 * n);
            }
            std::fs::write(path, "").expect("a file");
            let waiting = pool.submit(wait_for, path);
            let release = async { std::fs::remove_file(path).expect("a file of ours") };
            let (waited, ()) = futures::executor::block_on(async { futures::join!(waiting, release) });
            assert_eq!(waited.expect("a value"), path);
        }
    }

    fn on_tokio_with_one_thread() {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(everything());
    }

    fn on_tokio_with_many_threads() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().expect("a runtime");
        runtime.block_on(async { tokio::spawn(everything()).await.expect("no panic") });
    }

    fn on_smol() {
        support::no_census(); // smol keeps a thread pool of its own.
        smol::block_on(async { smol::spawn(everything()).await });
    }

    fn without_a_runtime() {
        futures::executor::block_on(everything());
    }

    fn without_async() {
        for pool in pools() {
            let futures: Vec<_> = (0..TASKS).map(|n| pool.submit(triple, n)).collect();
            for (n, future) in (0..).zip(futures) {
                assert_eq!(future.result().expect("a value"), 3 * n);
            }
            for (n, tripled) in (0..).zip(pool.map(triple, 0..TASKS)) {
                assert_eq!(tripled.expect("a value"), 3 * n);
            }
            for (n, tripled) in as_completed((0..TASKS).map(|n| (n, pool.submit(triple, n)))) {
                assert_eq!(tripled.expect("a value"), 3 * n);
            }
            pool.shutdown(true).wait();
        }
    }

    fn a_future_outlives_the_runtime_that_made_it() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut future = pool.submit(nap, 100);
        runtime.block_on(async { assert!(futures::poll!(&mut future).is_pending()) });
        drop(runtime);
        let result = future.result_timeout(Duration::from_secs(10)).expect("it resolves without its runtime");
        assert_eq!(result.expect("a value"), 100);
    }

    fn a_future_goes_from_runtime_to_runtime_and_to_none() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let file = std::env::temp_dir().join(format!("runtimes-{}", std::process::id()));
        std::fs::write(&file, "").expect("a file");
        let path = file.to_str().expect("text");
        let (mut future, mut mapped) = (pool.submit(wait_for, path), pool.map(wait_for, [path, path]));
        let mut poll_all = async || {
            assert!(futures::poll!(&mut future).is_pending());
            assert!(futures::poll!(Box::pin(mapped.next())).is_pending());
        };
        let several = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
        let one = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        several.block_on(poll_all());
        several.shutdown_background();
        one.block_on(poll_all());
        drop(one);
        // The wakers of both are dead, and nobody is hurt by waking them.
        std::fs::remove_file(&file).expect("a file of ours");
        futures::executor::block_on(async {
            assert_eq!(future.await.expect("a value"), path);
            while let Some(end) = mapped.next().await {
                assert_eq!(end.expect("a value"), path);
            }
            pool.shutdown(true).await;
        });
    }

    fn blocking_inside_of_async_code_ends() {
        // The threads of runtimes complete nothing here, so a wait on the only one there is does end.
        let blocked = || {
            let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
            pool.warm_up().wait().expect("two workers");
            assert_eq!(pool.submit(nap, 50).result().expect("a value"), 50);
            let mut future = pool.submit(nap, 50);
            let result = future.result_timeout(Duration::from_secs(20)).expect("in time");
            assert_eq!(result.expect("a value"), 50);
            let sum: u64 = pool.map(triple, 0..100).into_iter().map(|end| end.expect("a value")).sum();
            assert_eq!(sum, 3 * 4950);
            assert_eq!(as_completed((0..100).map(|n| pool.submit(triple, n))).into_iter().count(), 100);
            pool.shutdown(true).wait();
        };
        let one = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        one.block_on(async { blocked() });
        one.block_on(async { tokio::spawn(async move { blocked() }).await.expect("no panic") });
        futures::executor::block_on(async { blocked() });
    }

    fn a_runtime_that_ends_with_futures_in_its_tasks_leaves_the_pool_usable() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
        for _ in 0..100 {
            let pool = pool.clone();
            runtime.spawn(async move { pool.submit(nap, 5).await.expect("a value") });
        }
        runtime.block_on(async { pool.submit(triple, 1).await.expect("a value") });
        drop(runtime);
        assert_eq!(pool.submit(triple, 2).result().expect("the pool goes on"), 6);
        assert_eq!(pool.pending(), 0, "what nobody waits for any more was cancelled or is done");
        pool.shutdown(true).wait();
    }

    fn a_future_outlives_its_pool() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let done = pool.submit(triple, 7);
        while !done.done() {
            std::thread::yield_now();
        }
        let lost: Vec<_> = (0..100_000).map(|n| pool.submit(triple, n)).collect();
        drop(pool);
        assert_eq!(done.result().expect("a value"), 21);
        assert!(lost.into_iter().all(|future| future.result().map_or_else(|error| error.is_cancelled(), |_| true)));
    }
}
