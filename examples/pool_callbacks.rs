//! Callbacks: who is called when a task is done, and who when it has failed.
//!
//! `cargo run --example pool_callbacks`
//!
//! In Python: `pool.apply_async(invert, (n,), callback=…, error_callback=…)`. A callback that raises makes every later
//! `get` of the pool wait for ever there; here it hurts nobody.

use std::sync::mpsc::channel;

use procpool::{Pool, task};

#[task]
fn invert(n: i32) -> i32 {
    1000 / n
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::builder().processes(2).build()?;
    let (sender, told) = channel();
    for n in [0, 1, 4, 8] {
        let (values, errors) = (sender.clone(), sender.clone());
        // A callback should be short, so these only pass on what they are given.
        pool.apply_async(invert, n)
            .callback(move |value| _ = values.send((n, format!("1000 / {n} is {value}"))))
            .error_callback(move |error| _ = errors.send((n, format!("1000 / {n} failed: {error}"))));
    }
    let all = sender.clone();
    pool.map_async(invert, [10, 20, 50])
        .callback(move |values: Vec<i32>| _ = all.send((100, format!("all at once: {values:?}"))));

    // Of the pool, and of all callbacks as well.
    pool.close();
    pool.join().wait()?;

    drop(sender);
    let mut lines: Vec<(i32, String)> = told.iter().collect();
    println!("{} callbacks were called", lines.len());
    // They come in the order in which the tasks end, which is another one each time.
    lines.sort();
    lines.iter().for_each(|(_, line)| println!("{line}"));
    Ok(())
}
