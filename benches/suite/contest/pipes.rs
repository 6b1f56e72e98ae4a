//! What is measured of a channel between two processes: the workload `pipes`.

use std::time::Instant;

use super::emit;
use super::work::Size;

/// Round trips, messages one way, and large messages one way.
pub fn amounts(size: Size) -> (u64, u64, u64) {
    (size.of(50_000, 1_000), size.of(300_000, 5_000), size.of(1_000, 50))
}

/// Bytes of a large message.
pub const LARGE: usize = 1 << 20;

/// A number there, and one more back.
pub fn round_trips(times: u64, mut ask: impl FnMut(u64) -> u64) {
    let mut ask = |number| assert_eq!(ask(number), number + 1);
    (0..times / 10).for_each(&mut ask);
    let begun = Instant::now();
    (0..times).for_each(&mut ask);
    emit("round_trip_us", begun.elapsed().as_secs_f64() * 1e6 / times as f64);
}

/// The numbers `0..count` one way. The first one says that the other side is there.
pub fn one_way(count: u64, mut receive: impl FnMut() -> u64) {
    assert_eq!(receive(), 0);
    let begun = Instant::now();
    assert_eq!((1..count).map(|_| receive()).sum::<u64>(), (1..count).sum());
    emit("one_way_per_s", (count - 1) as f64 / begun.elapsed().as_secs_f64());
}

/// So many large messages one way; `receive` tells how long the next one is.
pub fn large(count: u64, mut receive: impl FnMut() -> usize) {
    assert_eq!(receive(), LARGE);
    let begun = Instant::now();
    (1..count).for_each(|_| assert_eq!(receive(), LARGE));
    let bytes = (count - 1) * LARGE as u64;
    emit("large_mb_per_s", bytes as f64 / 1e6 / begun.elapsed().as_secs_f64());
}
