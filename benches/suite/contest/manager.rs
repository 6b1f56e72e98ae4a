//! What is measured of an object that another process keeps: the workload `manager`.

use std::time::Instant;

use super::emit;
use super::work::Size;

/// How often a method is called.
pub fn times(size: Size) -> u64 {
    size.of(30_000, 1_000)
}

/// Calls one method so often, after a tenth of that which does not count.
pub fn calls(metric: &str, times: u64, mut call: impl FnMut()) {
    (0..times / 10).for_each(|_| call());
    let begun = Instant::now();
    (0..times).for_each(|_| call());
    emit(metric, begun.elapsed().as_secs_f64() * 1e6 / times as f64);
}
