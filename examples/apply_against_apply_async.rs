//! The same four tasks twice: one after the other, and all at once.
//!
//! `cargo run --example apply_against_apply_async`
//!
//! In Python: `pool.apply(work, (n,))` in a loop, which waits for each task before it submits the next, against
//! `pool.apply_async(work, (n,))` for all of them and `get()` after that.

use std::thread::sleep;
use std::time::{Duration, Instant};

use procpool::{Pool, task};

const TASKS: [u64; 4] = [1, 2, 3, 4];

/// Waits for something else than a CPU, so that the times are about the same on any machine.
#[task]
fn work(n: u64) -> u64 {
    sleep(Duration::from_millis(100));
    n * n
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::builder().processes(TASKS.len()).build()?;
    // Both ways find the processes ready: it is not their start that is compared.
    pool.executor().warm_up().wait()?;

    let start = Instant::now();
    let mut one_by_one = Vec::new();
    for n in TASKS {
        one_by_one.push(pool.apply(work, n)?);
    }
    println!("apply, one by one: {one_by_one:?} in {:.0?}", start.elapsed());

    let start = Instant::now();
    let results = TASKS.map(|n| pool.apply_async(work, n));
    let mut at_once = Vec::new();
    for result in results {
        at_once.push(result.get()?);
    }
    println!("apply_async, all at once: {at_once:?} in {:.0?}", start.elapsed());
    Ok(())
}
