//! Many tasks at once.

use std::time::{Duration, Instant};

use super::kin::Kin;
use super::work::{Size, expected_sum, micros};
use super::{Chunk, Contestant, WORKERS, emit};

/// What takes longer than this in a trial is done in a smaller amount: its rate does not depend on that.
const PATIENCE: Duration = Duration::from_millis(500);

/// An amount that takes about [`PATIENCE`] at most, by the time that a tenth or less of it took.
fn affordable(full: u64, tried: u64, took: Duration) -> u64 {
    let each = took.as_secs_f64() / tried as f64;
    full.min((PATIENCE.as_secs_f64() / each) as u64).max(tried)
}

pub fn throughput<C: Contestant>(size: Size) {
    let mut contestant = C::start(WORKERS);
    // The workers start with this, which is no part of the rate.
    contestant.many(200);
    let (full, trial) = (size.of(100_000, 10_000), 1_000);
    let begun = Instant::now();
    let Some(sum) = contestant.many(trial) else { return };
    assert_eq!(sum, expected_sum(trial));
    let count = affordable(full, trial, begun.elapsed());
    let kin = Kin::now();
    let cpu = kin.cpu();
    let begun = Instant::now();
    let sum = contestant.many(count);
    let took = begun.elapsed();
    let cpu = kin.cpu() - cpu;
    assert_eq!(sum, Some(expected_sum(count)));
    emit("tasks_per_s", count as f64 / took.as_secs_f64());
    emit("cpu_us", micros(cpu) / count as f64);
}

pub fn map<C: Contestant>(size: Size) {
    let mut contestant = C::start(WORKERS);
    contestant.many(200);
    let full = size.of(1_000_000, 50_000);
    let mut rate = |chunk: Chunk| {
        // One by one a slow one needs long for few; in chunks a trial of one chunk says nothing.
        let trial = if chunk == Chunk::One { 1_000 } else { full / 100 };
        let begun = Instant::now();
        assert_eq!(contestant.map(trial, chunk)?, expected_sum(trial));
        let count = affordable(full, trial, begun.elapsed());
        let begun = Instant::now();
        assert_eq!(contestant.map(count, chunk)?, expected_sum(count));
        Some(count as f64 / begun.elapsed().as_secs_f64())
    };
    if let Some(rate) = rate(Chunk::One) {
        emit("chunk_1_per_s", rate);
    }
    if let Some(rate) = rate(Chunk::Default) {
        emit("default_per_s", rate);
    }
    let best =
        [1_000, 10_000, 100_000].into_iter().filter_map(|items| Some((rate(Chunk::Of(items))?, items)));
    if let Some((rate, items)) = best.max_by(|one, other| one.0.total_cmp(&other.0)) {
        emit("best_per_s", rate);
        emit("best_chunk", items as f64);
    }
}

/// The four orders in which short and long tasks come. In each of them an ideal queue keeps both workers busy to the end.
pub fn orders(short: usize, long: usize) -> [(&'static str, Vec<Duration>); 4] {
    let (one, hundred) = (Duration::from_millis(1), Duration::from_millis(100));
    let repeat = |time, count| std::iter::repeat_n(time, count);
    // An odd number of short ones between two long ones: who deals out in turn gives all long ones to one worker.
    let every = short / long;
    let mixed = (0..long).flat_map(|_| repeat(hundred, 1).chain(repeat(one, every)));
    // Where the long ones are is the same in each run: a fixed sequence of a small generator.
    let mut places: Vec<usize> = (0..short + long).collect();
    let mut state = 10_u64;
    for last in (1..places.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        places.swap(last, (state >> 33) as usize % (last + 1));
    }
    let random = places.iter().map(|&place| if place < long { hundred } else { one });
    [
        ("long_first", repeat(hundred, long).chain(repeat(one, short)).collect()),
        ("long_last", repeat(one, short).chain(repeat(hundred, long)).collect()),
        ("mixed", mixed.collect()),
        ("random", random.collect()),
    ]
}

/// How long it takes if each worker takes the next task at once when it is free: nobody can do better who does not know
/// the lengths.
pub fn ideal(lengths: &[Duration], workers: usize) -> Duration {
    let mut free = vec![Duration::ZERO; workers];
    for &length in lengths {
        *free.iter_mut().min().expect("a worker") += length;
    }
    free.into_iter().max().expect("a worker")
}

pub fn skew<C: Contestant>(size: Size) {
    let mut contestant = C::start(WORKERS);
    let (short, long) = (size.of(126, 62) as usize, size.of(6, 2) as usize);
    contestant.many(1_000);
    // Those who measure tasks have seen short ones only, and such as last.
    if contestant.last(&[Duration::from_millis(1); 20]).is_none() {
        return;
    }
    let mut worst: f64 = 0.0;
    for (name, lengths) in orders(short, long) {
        let begun = Instant::now();
        contestant.last(&lengths);
        let ratio = begun.elapsed().as_secs_f64() / ideal(&lengths, WORKERS).as_secs_f64();
        emit(&format!("{name}_x_ideal"), ratio);
        worst = worst.max(ratio);
    }
    emit("worst_x_ideal", worst);
}

pub fn efficiency<C: Contestant>(size: Size) {
    let mut contestant = C::start(WORKERS);
    let each = Duration::from_micros(50);
    if contestant.burn(1_000, each).is_none() {
        return;
    }
    let count = size.of(20_000, 4_000);
    let kin = Kin::now();
    let cpu = kin.cpu();
    let begun = Instant::now();
    contestant.burn(count, each);
    let took = begun.elapsed();
    let cpu = kin.cpu() - cpu;
    let work = each * count as u32;
    emit("share_of_cores", work.as_secs_f64() / (took.as_secs_f64() * WORKERS as f64));
    emit("share_of_used_cpu", work.as_secs_f64() / cpu.as_secs_f64());
}
