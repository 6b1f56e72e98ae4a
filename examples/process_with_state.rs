//! A process as a type: it is made with its state, runs, and its state comes back.
//!
//! `cargo run --example process_with_state`
//!
//! In Python: a subclass of `multiprocessing.Process` with an `__init__` and a `run`. What `run` sets on `self` is set in
//! the other process only there, and never seen here; this one gives it back as the result of the process.

use procpool::{Process, ProcessHandle, StartError, task};
use serde::{Deserialize, Serialize};

/// Looks for primes in a range, and remembers them.
#[derive(Clone, Serialize, Deserialize)]
struct Hunter {
    name: String,
    from: u64,
    to: u64,
    found: Vec<u64>,
}

impl Hunter {
    fn new(name: &str, from: u64, to: u64) -> Hunter {
        Hunter { name: name.to_owned(), from, to, found: Vec::new() }
    }

    /// What the process does.
    fn run(&mut self) {
        let is_prime = |n: u64| n > 1 && (2..=n.isqrt()).all(|divisor| !n.is_multiple_of(divisor));
        self.found.extend((self.from..self.to).filter(|n| is_prime(*n)));
    }

    /// Sends the state there. What is kept here is a copy, which does not change any more.
    fn start(&self) -> Result<ProcessHandle<Hunter>, StartError> {
        Process::new(hunt, self.clone()).name(&self.name).start()
    }
}

#[task]
fn hunt(mut hunter: Hunter) -> Hunter {
    hunter.run();
    hunter
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hunters = [Hunter::new("low", 0, 30), Hunter::new("high", 1_000_000, 1_000_050)];
    let processes = hunters.iter().map(Hunter::start).collect::<Result<Vec<_>, _>>()?;
    for (before, process) in hunters.iter().zip(processes) {
        let after = process.result()?;
        println!("{}: {:?}", after.name, after.found);
        println!("{} as it was left here: {:?}", before.name, before.found);
    }
    Ok(())
}
