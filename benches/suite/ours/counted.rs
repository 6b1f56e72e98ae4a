//! What the instruction counter looks at: calls whose cost should not depend on chance.

use procpool::{ProcessPoolExecutor, TaskFuture};

use super::{add_one, last};

#[inline(never)]
pub(super) fn counted_submit(pool: &ProcessPoolExecutor, n: u64) -> TaskFuture<u64> {
    pool.submit(add_one, n)
}

#[inline(never)]
pub(super) fn counted_submit_behind(pool: &ProcessPoolExecutor, n: u64) -> TaskFuture<u64> {
    pool.submit(add_one, n)
}

#[inline(never)]
pub(super) fn counted_result(future: TaskFuture<u64>) -> u64 {
    future.result().expect("a result")
}

#[inline(never)]
pub(super) fn counted_drop(futures: Vec<TaskFuture<u64>>) {
    drop(futures);
}

/// Runs so many tasks, one after the other and behind a worker that is busy.
pub(crate) fn counted(tasks: u64) {
    let pool = ProcessPoolExecutor::builder().max_workers(1).inline(true).build().expect("a pool");
    for n in 0..200 {
        assert_eq!(pool.submit(add_one, n).result().expect("a result"), n + 1);
    }
    for n in 0..tasks {
        let future = counted_submit(&pool, n);
        while !future.done() {
            std::thread::yield_now();
        }
        assert_eq!(counted_result(future), n + 1);
    }
    let _busy = pool.submit(last, 60_000_000);
    let futures = (0..tasks).map(|n| counted_submit_behind(&pool, n)).collect();
    counted_drop(futures);
}
