//! The smallest program: one function, run in another process, awaited.
//!
//! `cargo run --example hello`

use procpool::{ProcessPoolExecutor, task};

#[task]
fn greet(name: &str) -> String {
    format!("hello {name}, from process {}", std::process::id())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPoolExecutor::new()?;
    println!("this is process {}", std::process::id());
    println!("{}", pool.submit(greet, "world").result()?);
    Ok(())
}
