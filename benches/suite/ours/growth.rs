//! Cost per task from 1 to 64 workers, and from ten to a million tasks pending.

use std::time::Instant;

use super::{Procpool, pool};
use crate::contest::{Contestant, Size, emit, expected_sum, micros, threads_of};

pub(super) fn growth(size: Size) {
    let most = size.of(1_000_000, 20_000);
    let mut by_workers = Vec::new();
    for workers in [1, 2, 4, 16, 64] {
        let mut procpool = Procpool(pool(workers));
        procpool.0.warm_up().wait().expect("workers");
        procpool.many(1_000);
        let count = size.of(100_000, 5_000);
        let begun = Instant::now();
        assert_eq!(procpool.many(count), Some(expected_sum(count)));
        let each = micros(begun.elapsed()) / count as f64;
        emit(&format!("workers_{workers}_us"), each);
        by_workers.push(each);
        emit(&format!("workers_{workers}_threads"), threads_of(std::process::id()).len() as f64);
    }
    emit("workers_x", growth_of(&by_workers));
    let mut by_pending = Vec::new();
    let mut procpool = Procpool(pool(2));
    procpool.many(1_000);
    for pending in [10, 1_000, 100_000, 1_000_000].into_iter().filter(|&pending| pending <= most) {
        // As many tasks in all, a few or many at a time.
        let rounds = (size.of(200_000, 10_000) / pending).max(1);
        let begun = Instant::now();
        for _ in 0..rounds {
            assert_eq!(procpool.many(pending), Some(expected_sum(pending)));
        }
        let each = micros(begun.elapsed()) / (rounds * pending) as f64;
        emit(&format!("pending_{pending}_us"), each);
        by_pending.push(each);
    }
    emit("pending_x", growth_of(&by_pending));
}

/// The dearest by the first.
fn growth_of(costs: &[f64]) -> f64 {
    costs.iter().copied().fold(0.0, f64::max) / costs[0]
}
