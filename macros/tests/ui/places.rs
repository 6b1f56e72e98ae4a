//! The attribute over what is not a function of its own.

use procpool::task;

#[task]
struct Value;

#[task]
const LIMIT: u8 = 1;

struct Counter;

#[task]
impl Counter {}

impl Counter {
    #[task]
    fn count(&self) {}

    #[task]
    fn new() -> Self {
        Counter
    }
}

// This one looks like any other function to the attribute; rustc refuses what it becomes.
impl Counter {
    #[task]
    fn limit() -> u8 {
        1
    }
}

trait Count {
    #[task]
    fn count();
}

fn main() {}
