//! A task that nobody uses is reported as the function that it was, and nothing else is.

#![deny(warnings, dead_code)]

use procpool::task;

#[task]
fn unused(n: u64) -> u64 {
    n
}

fn main() {}
