//! The squares of some numbers, by four processes, in the order of the numbers.
//!
//! `cargo run --example pool_squares`
//!
//! In Python: `with multiprocessing.Pool(4) as pool: print(pool.map(square, range(1, 11)))`. The end of that block
//! terminates the pool, although many tutorials say that it waits; here the two lines at the end are what waits.

use procpool::{Pool, task};

#[task]
fn square(n: u64) -> u64 {
    n * n
}

#[task]
fn area(width: u64, height: u64) -> u64 {
    width * height
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::builder().processes(4).build()?;
    println!("map: {:?}", pool.map(square, 1..=10)?);
    // Three at a time to each process: fewer messages for the same list.
    println!("map in chunks: {:?}", pool.chunksize(3).map(square, 1..=10)?);
    println!("starmap: {:?}", pool.starmap(area, [(2, 3), (4, 5), (6, 7)])?);

    pool.close();
    pool.join().wait()?;
    println!("all processes have ended: {}", pool.executor().worker_pids().is_empty());
    Ok(())
}
