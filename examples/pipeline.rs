//! A stream goes in, a stream comes out, two stages of workers in between, and never more than a few items.
//!
//! `cargo run --example pipeline`

use std::cell::Cell;

use futures::{StreamExt, TryStreamExt, executor::block_on, stream};
use procpool::{ProcessPoolExecutor, task};

const ROWS: usize = 25;
/// Items that each stage may hold.
const BUFFER: usize = 4;

/// First stage: for each point of one row, how long it takes to escape from Mandelbrot's set.
#[task]
fn escape_times(row: usize) -> Vec<u32> {
    let y = (row as f64 / (ROWS - 1) as f64 - 0.5) * 2.4;
    (0..79).map(|column| escape_time(f64::from(column) / 78.0 * 3.2 - 2.2, y)).collect()
}

/// Second stage: a picture of it.
#[task]
fn shade(times: Vec<u32>) -> String {
    const SHADES: [char; 8] = [' ', '.', ':', '-', '=', '+', '*', '%'];
    times
        .into_iter()
        .map(|time| if time == LIMIT { '@' } else { SHADES[time.ilog2() as usize % SHADES.len()] })
        .collect()
}

const LIMIT: u32 = 20_000;

fn escape_time(x: f64, y: f64) -> u32 {
    let (mut a, mut b) = (0.0, 0.0);
    for time in 1..LIMIT {
        (a, b) = (a * a - b * b + x, 2.0 * a * b + y);
        if a * a + b * b > 4.0 {
            return time;
        }
    }
    LIMIT
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = ProcessPoolExecutor::new()?;
    let taken = Cell::new(0);
    // The input has no end: what is not asked for is never taken from it.
    let rows = stream::iter(0..).inspect(|_| taken.set(taken.get() + 1));

    let times = pool.map_stream(escape_times, rows).buffersize(BUFFER);
    let times = times.map(|row| row.expect("the first stage neither panics nor dies"));
    let mut picture = pool.map_stream(shade, times).buffersize(BUFFER);

    let mut most = 0;
    block_on(async {
        for printed in 0..ROWS {
            let row = picture.try_next().await?.expect("an endless input has a next row");
            most = most.max(taken.get() - printed);
            println!("{row}");
        }
        Ok::<(), procpool::TaskError>(())
    })?;
    println!("{ROWS} rows of an endless input; never more than {most} on their way");
    Ok(())
}
