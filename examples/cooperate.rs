//! A long search that stops early when it is asked to, and returns what it has.
//!
//! `cargo run --example cooperate`

use std::time::Duration;

use procpool::{OnCancel, ProcessPoolExecutor, TaskOptions, task};

/// Numbers that are the sum of their proper divisors, as many as it finds below `end`, and how far it came.
#[task]
fn perfect_numbers(end: u64) -> (Vec<u64>, u64) {
    let mut found = Vec::new();
    for n in 2..end {
        // Costs a few nanoseconds. Outside of a worker it is never true.
        if procpool::context().is_cancelled() {
            return (found, n);
        }
        let sum: u64 = (1..=n.isqrt())
            .filter(|d| n.is_multiple_of(*d))
            .map(|d| if d == 1 || d * d == n { d } else { d + n / d })
            .sum();
        if sum == n {
            found.push(n);
        }
    }
    (found, end)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("below 1000, in this process: {:?}", perfect_numbers(1000).0);

    let pool = ProcessPoolExecutor::new()?;
    let willing = pool.with(TaskOptions::new().on_cancel(OnCancel::Cooperate));

    let mut search = willing.submit(perfect_numbers, u64::MAX);
    let patience = Duration::from_secs(1);
    if search.result_timeout(patience).is_err() {
        println!("not done within {patience:?}; search.cancel(): {}, for it decides itself", search.cancel());
    }
    let (found, reached) = search.result()?;
    println!("it returned what it had: {found:?}");
    println!("and stopped at {reached}");
    Ok(())
}
