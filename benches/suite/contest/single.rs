//! One task after the other.

use std::time::{Duration, Instant};

use super::kin::Kin;
use super::work::{Size, micros, percentile};
use super::{Contestant, WORKERS, emit};

/// Times of `one` for so many calls, with a pause before each.
fn calls<C: Contestant>(contestant: &mut C, count: u64, pause: Duration) -> Option<Vec<Duration>> {
    let mut samples = Vec::with_capacity(count as usize);
    for n in 0..count {
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        let begun = Instant::now();
        let result = contestant.one(n)?;
        samples.push(begun.elapsed());
        assert_eq!(result, n + 1);
    }
    Some(samples)
}

pub fn latency<C: Contestant>(size: Size) {
    latency_of(C::start(WORKERS), size, "");
}

/// That of a contestant that has begun. The figures have names that begin with this.
pub fn latency_of<C: Contestant>(mut contestant: C, size: Size, prefix: &str) {
    let emit = |metric: &str, value| emit(&format!("{prefix}{metric}"), value);
    // All workers are up and their pages are touched before anything counts.
    contestant.many(200);
    let begun = Instant::now();
    while begun.elapsed() < size.warm_up() {
        if calls(&mut contestant, 100, Duration::ZERO).is_none() {
            return;
        }
    }
    let kin = Kin::now();
    let (cpu, count) = (kin.cpu(), size.of(3_000, 300));
    let mut hot = calls(&mut contestant, count, Duration::ZERO).expect("it ran before");
    let cpu = kin.cpu() - cpu;
    emit("hot_p50_us", micros(percentile(&mut hot, 0.5)));
    emit("hot_p99_us", micros(percentile(&mut hot, 0.99)));
    emit("cpu_us", micros(cpu) / count as f64);
    let mut idle = calls(&mut contestant, size.of(400, 50), Duration::from_millis(1)).expect("it ran before");
    emit("idle_p50_us", micros(percentile(&mut idle, 0.5)));
    emit("idle_p99_us", micros(percentile(&mut idle, 0.99)));
}
