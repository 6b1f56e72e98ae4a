//! Three tasks that nobody wants any more: one is killed, one never starts, one is just dropped.
//!
//! `cargo run --example cancel`

use std::time::Duration;

use procpool::{ProcessPoolExecutor, task};

#[task]
fn count_for_ever() -> u64 {
    let mut n = 0_u64;
    loop {
        n = std::hint::black_box(n).wrapping_add(1);
    }
}

#[task]
fn greet(name: &str) -> String {
    format!("hello {name}, from process {}", std::process::id())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPoolExecutor::builder().max_workers(1).build()?;
    pool.warm_up().wait()?;
    println!("the worker is process {}", pool.worker_pids()[0]);

    let mut endless = pool.submit(count_for_ever, ());
    let queued = pool.submit(greet, "nobody");
    drop(pool.submit(greet, "nobody either"));

    let patience = Duration::from_millis(500);
    if endless.result_timeout(patience).is_err() {
        println!("no result within {patience:?}; running: {}", endless.running());
    }
    println!("queued.cancel(): {}, for it has not started", queued.cancel());
    println!("endless.cancel(): {}, for a task that runs may finish", endless.cancel());
    println!("endless.kill(): {}", endless.kill());

    println!("queued: {}", queued.result().unwrap_err());
    println!("endless: {}", endless.result().unwrap_err());
    println!("and the pool goes on: {}", pool.submit(greet, "world").result()?);
    Ok(())
}
