//! Four ways to take a process down, and a program that goes on.
//!
//! `cargo run --example survive_a_crash`

use procpool::{ProcessPoolExecutor, task};

#[task]
fn work(how: &str) -> u32 {
    match how {
        "abort" => std::process::abort(),
        "exit" => std::process::exit(3),
        "overflow the stack" => descend(u64::MAX) as u32,
        "panic" => panic!("only this one is caught inside the worker"),
        _ => std::process::id(),
    }
}

/// Deeper than any stack; the compiler may not turn it into a loop.
fn descend(depth: u64) -> u64 {
    if std::hint::black_box(depth) == 0 { 0 } else { 1 + descend(std::hint::black_box(depth - 1)) }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPoolExecutor::builder().max_workers(1).build()?;
    for how in ["work", "abort", "work", "exit", "work", "overflow the stack", "work", "panic", "work"] {
        match pool.submit(work, how).result() {
            Ok(pid) => println!("{how}: done by worker {pid}"),
            Err(error) => println!("{how}: {error}; did the body run? {:?}", error.ran()),
        }
    }
    println!("five times work, and this process never noticed the rest");
    Ok(())
}
