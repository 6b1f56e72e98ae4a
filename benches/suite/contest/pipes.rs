//! Amounts and figures of the workload `pipes`.

use std::time::Duration;

use super::emit;
use super::work::Size;

/// Round trips, messages one way, and large messages one way.
pub fn amounts(size: Size) -> (u64, u64, u64) {
    (size.of(50_000, 1_000), size.of(300_000, 5_000), size.of(1_000, 50))
}

/// Bytes of a large message.
pub const LARGE: usize = 1 << 20;

/// A number there and back, this often in that time.
pub fn emit_round_trips(times: u64, took: Duration) {
    emit("round_trip_us", took.as_secs_f64() * 1e6 / times as f64);
}

/// So many numbers one way in that time.
pub fn emit_messages(count: u64, took: Duration) {
    emit("one_way_per_s", count as f64 / took.as_secs_f64());
}

/// So many large messages one way in that time.
pub fn emit_large(count: u64, took: Duration) {
    emit("large_mb_per_s", (count * LARGE as u64) as f64 / 1e6 / took.as_secs_f64());
}
