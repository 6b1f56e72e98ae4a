//! The example of Python's documentation: which of these six numbers are prime?
//!
//! `cargo run --example primes`

use procpool::{ProcessPoolExecutor, task};

const CANDIDATES: [u64; 6] = [
    112_272_535_095_293,
    112_582_705_942_171,
    112_272_535_095_293,
    115_280_095_190_773,
    115_797_848_077_099,
    1_099_726_899_285_419,
];

#[task]
fn is_prime(n: u64) -> bool {
    if n < 2 {
        return false;
    }
    if n.is_multiple_of(2) {
        return n == 2;
    }
    (3..=n.isqrt()).step_by(2).all(|divisor| !n.is_multiple_of(divisor))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPoolExecutor::new()?;
    for (number, prime) in CANDIDATES.into_iter().zip(pool.map(is_prime, CANDIDATES)) {
        println!("{number} is prime: {}", prime?);
    }
    Ok(())
}
