//! What a lock costs, free and between two processes, and what an addition to a shared number does.

use std::time::Instant;

use procpool::{Barrier, Lock, Value, task};

use super::pool;
use crate::contest::{Size, locks};

fn nanos_of(times: u64, mut once: impl FnMut()) -> f64 {
    let begun = Instant::now();
    (0..times).for_each(|_| once());
    begun.elapsed().as_nanos() as f64
}

#[task(name = "bench::lock")]
fn take(begin: Barrier, lock: Lock, times: u64) -> f64 {
    begin.wait().expect("the other comes");
    nanos_of(times, || drop(lock.lock().expect("the lock")))
}

#[task(name = "bench::increment")]
fn increment(begin: Barrier, value: Value<u64>, times: u64) -> f64 {
    begin.wait().expect("the other comes");
    nanos_of(times, || *value.lock().expect("the lock") += 1)
}

#[task(name = "bench::add")]
fn add(begin: Barrier, value: Value<u64>, times: u64) -> f64 {
    begin.wait().expect("the other comes");
    nanos_of(times, || {
        value.fetch_add(1);
    })
}

pub fn locks(size: Size) {
    let (alone, times) = locks::times(size);
    let (free, value) = (Lock::new().expect("a lock"), Value::new(0_u64).expect("a value"));
    locks::emit_free("lock", alone, || drop(free.lock().expect("the lock")));
    locks::emit_free("increment", alone, || *value.lock().expect("the lock") += 1);
    locks::emit_free("add", alone, || {
        value.fetch_add(1);
    });
    let pool = pool(2);
    pool.warm_up().wait().expect("two workers");
    let begin = Barrier::new(2).expect("a barrier");
    let value = Value::new(0_u64).expect("a value");
    let longest = |tasks: [procpool::TaskFuture<f64>; 2]| {
        tasks.map(|task| task.result().expect("a time")).into_iter().fold(0.0, f64::max)
    };
    let took = longest([(); 2].map(|()| pool.submit(take, (begin.clone(), free.clone(), times))));
    locks::emit_contended("lock", times, took);
    let took = longest([(); 2].map(|()| pool.submit(increment, (begin.clone(), value.clone(), times))));
    locks::emit_contended("increment", times, took);
    assert_eq!(value.load(), 2 * times, "no addition is lost");
    let took = longest([(); 2].map(|()| pool.submit(add, (begin.clone(), value.clone(), times))));
    locks::emit_contended("add", times, took);
    assert_eq!(value.load(), 4 * times, "no addition is lost");
}
