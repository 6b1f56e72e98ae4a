//! Amounts and figures of the workload `locks`.

use std::time::Instant;

use super::emit;
use super::work::Size;

/// How often, alone and each of two.
pub fn times(size: Size) -> (u64, u64) {
    (size.of(2_000_000, 20_000), size.of(1_000_000, 10_000))
}

/// Measures what is done by one, with nobody else there.
pub fn emit_free(what: &str, times: u64, mut once: impl FnMut()) {
    (0..times / 10).for_each(|_| once());
    let begun = Instant::now();
    (0..times).for_each(|_| once());
    emit(&format!("{what}_free_ns"), begun.elapsed().as_nanos() as f64 / times as f64);
}

/// What two at once took for so many each, as time for one.
pub fn emit_contended(what: &str, times: u64, nanos: f64) {
    emit(&format!("{what}_contended_ns"), nanos / (2 * times) as f64);
}
