//! The counter of every tutorial: four processes add to one number, and it comes out right.
//!
//! `cargo run --example shared_counter`
//!
//! In Python `counter.value += 1` loses most of the additions; it has to be `with counter.get_lock(): counter.value += 1`.

use procpool::sync::LockError;
use procpool::{ProcessPoolExecutor, Value, task};

const PROCESSES: u64 = 4;
const TIMES: u64 = 20_000;

#[task]
fn add(under_lock: Value<u64>, at_once: Value<u64>) -> Result<(), String> {
    for _ in 0..TIMES {
        // The guard is the lock: there is no way to the value without it.
        *under_lock.lock().map_err(|error| error.to_string())? += 1;
        // Numbers can be added to without the lock as well.
        at_once.fetch_add(1);
    }
    Ok(())
}

#[task]
fn die_with_the_lock(counter: Value<u64>) {
    let _guard = counter.lock();
    std::process::abort();
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPoolExecutor::builder().max_workers(PROCESSES as usize).build()?;
    let (under_lock, at_once) = (Value::new(0)?, Value::new(0)?);
    let tasks: Vec<_> =
        (0..PROCESSES).map(|_| pool.submit(add, (under_lock.clone(), at_once.clone()))).collect();
    for task in tasks {
        task.result()??;
    }
    println!("under the lock: {} of {}", *under_lock.lock()?, PROCESSES * TIMES);
    println!("without it: {} of {}", at_once.load(), PROCESSES * TIMES);

    // In Python nobody would ever get this lock again.
    let died = pool.submit(die_with_the_lock, under_lock.clone()).result();
    println!("a worker died with the lock: {}", died.is_err());
    match under_lock.lock() {
        Err(LockError::OwnerDied(died)) => println!("the next one is told, and sees {}", *died.repaired()),
        other => println!("nobody was told: {:?}", other.map(|counter| *counter)),
    }
    Ok(())
}
