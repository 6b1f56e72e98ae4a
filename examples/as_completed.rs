//! Results in the order in which they are there, each with the question it answers.
//!
//! `cargo run --example as_completed`

use std::time::Instant;

use procpool::{ProcessPoolExecutor, as_completed, task};

/// By trial division, so that the time depends on the answer.
#[task]
fn smallest_factor(n: u64) -> u64 {
    (2..=n.isqrt()).find(|factor| n.is_multiple_of(*factor)).unwrap_or(n)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPoolExecutor::new()?;
    let numbers = [
        1_125_897_289_598_449,
        67_280_421_310_721,
        4_294_967_297, // Fermat took it for a prime; Euler found 641.
        600_851_475_143,
        2_147_483_647,
    ];

    let start = Instant::now();
    let futures = numbers.map(|n| (n, pool.submit(smallest_factor, n)));
    for (n, factor) in as_completed(futures) {
        let (factor, after) = (factor?, start.elapsed());
        let verdict = if factor == n { "a prime".to_owned() } else { format!("{factor} × {}", n / factor) };
        println!("{n} is {verdict} (after {after:.1?})");
    }
    Ok(())
}
