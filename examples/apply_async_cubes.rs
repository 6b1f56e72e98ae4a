//! Cubes, one task each, and whatever goes wrong with one of them is caught there and nowhere else.
//!
//! `cargo run --example apply_async_cubes`
//!
//! In Python: `results = [pool.apply_async(cube, (n,)) for n in numbers]`, then `result.get(timeout=…)` inside of `try`.
//! One `except` has to do for everything there, and a process that dies makes its `get` wait for ever.

use std::time::Duration;

use procpool::{AsyncResult, Pool, task};

/// What the function itself has to say of its argument is an `Err` like any other.
#[task]
fn cube(n: i32) -> Result<i32, String> {
    match n {
        // A slip of the programmer.
        13 => panic!("nobody has thought of {n}"),
        // A crash of some library, say.
        666 => std::process::abort(),
        _ => n.checked_pow(3).ok_or_else(|| format!("the cube of {n} is too large")),
    }
}

#[task]
fn never() {
    loop {
        std::thread::park();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new()?;
    let start = |n| (n, pool.apply_async(cube, n));
    let results: Vec<(i32, AsyncResult<_>)> = [2, 3, 2000, 13, 666, -5].map(start).into();
    for (n, result) in results {
        match result.get() {
            Ok(Ok(cubed)) => println!("{n}: {cubed}"),
            Ok(Err(reason)) => println!("{n}: refused: {reason}"),
            Err(error) if error.is_panic() => println!("{n}: a panic: {error}"),
            Err(error) if error.is_worker_died() => println!("{n}: a crash: {error}"),
            Err(error) => return Err(error.into()),
        }
    }

    // A wait that runs out leaves its task alone, so this one has to be ended.
    let mut endless = pool.apply_async(never, ());
    if let Err(late) = endless.get_timeout(Duration::from_millis(50)) {
        println!("get_timeout: {late}");
    }
    pool.terminate();
    println!("after terminate: {}", endless.get().unwrap_err());
    pool.join().wait()?;
    Ok(())
}
