//! The executor in one screen: `submit`, `map`, `as_completed`.
//!
//! `cargo run --example submit_map_as_completed`
//!
//! In Python: `concurrent.futures.ProcessPoolExecutor` with the same three names. `submit` returns at once, in both, and
//! `as_completed` gives each result as soon as it is there, in both: it does not wait for all of them.

use std::thread::sleep;
use std::time::Duration;

use procpool::{ProcessPoolExecutor, as_completed, task};

#[task]
fn power(base: u64, exponent: u32) -> u64 {
    base.pow(exponent)
}

/// The larger, the later.
#[task]
fn slow_double(n: u64) -> u64 {
    sleep(Duration::from_millis(150 * n));
    2 * n
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPoolExecutor::builder().max_workers(3).build()?;

    let future = pool.submit(power, (2, 10));
    println!("submit: {}", future.result()?);

    let cubes: Vec<u64> = pool.map(power, (1..=5).map(|n| (n, 3))).into_iter().collect::<Result<_, _>>()?;
    println!("map: {cubes:?}");

    pool.warm_up().wait()?;
    let futures = [3, 1, 2].map(|n| (n, pool.submit(slow_double, n)));
    for (n, doubled) in as_completed(futures) {
        println!("as_completed: twice {n} is {}", doubled?);
    }

    // The end of Python's `with` block.
    pool.shutdown(true).wait();
    println!("tasks that are left: {}", pool.pending());
    Ok(())
}
