//! What values cost on their way to a worker and back: medians, with a copy of the same memory beside them.
//!
//! `cargo bench --bench values`, or with the part of a name behind it.

use std::hint::black_box;
use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, task};

#[task]
fn echo_bytes(value: Vec<u8>) -> Vec<u8> {
    value
}

#[task]
fn echo_or_fail(value: Vec<u8>) -> Result<Vec<u8>, String> {
    Ok(value)
}

#[task]
fn lent_bytes(value: &[u8]) -> u8 {
    value.last().copied().unwrap_or(0)
}

#[task]
fn echo_text(value: String) -> String {
    value
}

#[task]
fn echo_floats(value: Vec<f64>) -> Vec<f64> {
    value
}

#[task]
fn lent_floats(value: &[f64]) -> f64 {
    value.last().copied().unwrap_or(0.0)
}

#[task]
fn echo_words(value: Vec<u64>) -> Vec<u64> {
    value
}

#[task]
fn echo_records(value: Vec<(u64, f64, u32)>) -> Vec<(u64, f64, u32)> {
    value
}

#[task]
fn next(n: u64) -> u64 {
    n + 1
}

struct Bench {
    pool: ProcessPoolExecutor,
    wanted: Option<String>,
}

impl Bench {
    /// The median time of `run`, which moves so many bytes there and back.
    fn measure(&self, name: &str, bytes: usize, mut run: impl FnMut()) {
        if self.wanted.as_ref().is_some_and(|wanted| !name.contains(wanted)) {
            return;
        }
        let mut times = Vec::new();
        let began = Instant::now();
        while times.len() < 5 || (began.elapsed() < Duration::from_secs(1) && times.len() < 10_000) {
            let start = Instant::now();
            run();
            times.push(start.elapsed());
        }
        times.sort();
        let median = times[times.len() / 2];
        let rate = 2.0 * bytes as f64 / median.as_secs_f64() / 1e9;
        println!("{name:28} {:>12.1} us {rate:>8.3} GB/s", median.as_secs_f64() * 1e6);
    }
}

fn main() {
    // Cargo passes `--bench`.
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
    let bench = Bench { pool, wanted };
    let pool = &bench.pool;
    for (name, size) in [("1 KiB", 1 << 10), ("64 KiB", 64 << 10), ("16 MiB", 16 << 20)] {
        let value = vec![0xa5_u8; size];
        let mut copy = vec![0; size];
        bench.measure(&format!("copy of {name}"), size / 2, || {
            copy.copy_from_slice(black_box(&value));
            black_box(&copy);
        });
        let echo = |value: &Vec<u8>| pool.submit(echo_bytes, value.clone()).result().expect("the bytes");
        bench.measure(&format!("Vec<u8> of {name}"), size, || assert_eq!(echo(&value).len(), size));
        bench.measure(&format!("Result<Vec<u8>> of {name}"), size, || {
            let echo = pool.submit(echo_or_fail, value.clone()).result().expect("an answer");
            assert_eq!(echo.expect("the bytes").len(), size);
        });
        bench.measure(&format!("&[u8] of {name}, one way"), size / 2, || {
            assert_eq!(pool.submit(lent_bytes, &value).result().expect("a byte"), 0xa5);
        });
    }
    let value = "a line of text\n".repeat(70_000);
    bench.measure("String of a mebibyte", value.len(), || {
        assert_eq!(pool.submit(echo_text, value.clone()).result().expect("the text").len(), value.len());
    });
    let value: Vec<f64> = (0..1_000_000).map(f64::from).collect();
    bench.measure("Vec<f64> of a million", 8_000_000, || {
        assert_eq!(pool.submit(echo_floats, value.clone()).result().expect("the floats").len(), value.len());
    });
    bench.measure("&[f64] of a million, one way", 4_000_000, || {
        assert_eq!(pool.submit(lent_floats, &value).result().expect("a float"), 999_999.0);
    });
    // Half of them large, as hashes and random numbers are.
    let value: Vec<u64> = (0..1_000_000).map(|n| if n % 2 == 0 { n } else { n << 40 }).collect();
    bench.measure("Vec<u64> of a million", 8_000_000, || {
        assert_eq!(pool.submit(echo_words, value.clone()).result().expect("the words").len(), value.len());
    });
    let value: Vec<(u64, f64, u32)> = (0..100_000).map(|n| (u64::from(n) << 20, f64::from(n), n)).collect();
    bench.measure("100 000 records", 2_000_000, || {
        assert_eq!(
            pool.submit(echo_records, value.clone()).result().expect("the records").len(),
            value.len()
        );
    });
    for chunk in [1, 1_000] {
        bench.measure(&format!("map of a million, by {chunk}"), 8_000_000, || {
            let sum = pool.map(next, 0..1_000_000).chunksize(chunk).into_iter().map(|n| n.expect("a number"));
            assert_eq!(sum.sum::<u64>(), 500_000_500_000);
        });
    }
}
