//! Two processes that run at the same time, and somebody who waits for both.
//!
//! `cargo run --example two_processes`
//!
//! In Python: two `multiprocessing.Process(target=worker, args=…)`, each with `start()` and `join()`. What a target
//! returns is lost there; here it is the result.

use std::thread::sleep;
use std::time::Duration;

use procpool::{Process, task};

#[task]
fn worker(name: &str, rounds: u32) -> String {
    for round in 1..=rounds {
        println!("{name}: round {round} of {rounds}");
        sleep(Duration::from_millis(20));
    }
    format!("{rounds} rounds done by process {}", std::process::id())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let first = Process::new(worker, ("A", 2)).name("first").start()?;
    let second = Process::new(worker, ("B", 3)).start()?;

    // They run already; from here on this only waits.
    for process in [first, second] {
        let (name, end) = (process.name().to_owned(), process.join());
        println!("{name} {end}: {}", process.result()?);
    }
    Ok(())
}
