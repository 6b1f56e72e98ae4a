//! A task that never ends is stopped on time, and costs nobody else anything.
//!
//! `cargo run --example deadline`

use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, TaskOptions, task};

/// How many steps from `n` down to 1: halve what is even, else triple it and add 1. From 0 it never gets there.
#[task]
fn steps_to_one(mut n: u64) -> u64 {
    let mut steps = 0;
    while std::hint::black_box(n) != 1 {
        n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
        steps += 1;
    }
    steps
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPoolExecutor::new()?;
    // The limit counts from the start of the body, not from here; `#[task(timeout = "300ms")]` says the same
    // for every call of one task.
    let limited = pool.with(TaskOptions::new().timeout(Duration::from_millis(300)));

    for n in [27, 0, 97] {
        let start = Instant::now();
        match limited.submit(steps_to_one, n).result() {
            Ok(steps) => println!("{n}: {steps} steps"),
            Err(error) if error.is_timeout() => {
                println!("{n}: given up after {:.1?}: {error}", start.elapsed())
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
