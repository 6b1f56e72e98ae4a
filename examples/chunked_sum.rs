//! The sum of a million numbers, in ten parts.
//!
//! `cargo run --example chunked_sum`
//!
//! In Python: the list is cut into slices, and `sum(pool.map(sum, slices))`. Every slice is pickled, sent and unpickled;
//! the second way here sends none of them.

use procpool::{Pool, Shared, task};

const PART: usize = 100_000;

#[task]
fn sum(numbers: &[u64]) -> u64 {
    numbers.iter().sum()
}

/// Reads the numbers where they are, in memory that all processes share.
#[task]
fn sum_in_place(numbers: Shared<[u64]>, from: usize, to: usize) -> u64 {
    numbers[from..to].iter().sum()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<u64> = (1..=1_000_000).collect();
    let pool = Pool::new()?;

    let sums = pool.map(sum, numbers.chunks(PART))?;
    println!("{} parts: {:?}", sums.len(), sums);
    println!("the sum of all: {}", sums.iter().sum::<u64>());

    let shared = Shared::from_slice(&numbers)?;
    let parts = (0..numbers.len()).step_by(PART).map(|from| (shared.clone(), from, from + PART));
    println!("the same in place: {}", pool.starmap(sum_in_place, parts)?.iter().sum::<u64>());
    println!("to compare, in this process: {}", numbers.iter().sum::<u64>());
    Ok(())
}
