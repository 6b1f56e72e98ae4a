//! What is measured of a queue between processes: the workload `queues`. Its round trips are measured as those of `pipes`.
//!
//! A queue may hold all items before the first is got. So time begins before the first is put.

use std::time::Instant;

use super::emit;
use super::work::Size;

/// Round trips through two queues, and items one way: of one producer, and of all producers together.
pub fn amounts(size: Size) -> (u64, u64) {
    (size.of(50_000, 1_000), size.of(300_000, 8_000))
}

/// How many produce at once.
pub const PRODUCERS: u64 = 4;

/// The numbers `0..count` of one producer, which puts them when `begin` says so.
pub fn one_way(count: u64, begin: impl FnOnce(), get: impl FnMut() -> u64) {
    emit("one_way_per_s", rate(1, count, begin, get));
}

/// So many numbers of all producers together, each of which puts `0..count / PRODUCERS`.
pub fn from_four(count: u64, begin: impl FnOnce(), get: impl FnMut() -> u64) {
    emit("from_four_per_s", rate(PRODUCERS, count, begin, get));
}

fn rate(producers: u64, count: u64, begin: impl FnOnce(), mut get: impl FnMut() -> u64) -> f64 {
    let begun = Instant::now();
    begin();
    let sum = (0..count).map(|_| get()).sum::<u64>();
    let took = begun.elapsed();
    assert_eq!(sum, producers * (0..count / producers).sum::<u64>(), "each item came once");
    count as f64 / took.as_secs_f64()
}
