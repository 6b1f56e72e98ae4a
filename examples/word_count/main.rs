//! Counts the words of all text files below a directory: in worker processes and, to compare, in this one.
//!
//! `cargo run --release --example word_count [-- DIR] [--crash] [--workers N]`
//!
//! Without DIR, these are the sources that cargo has fetched. With `--crash`, one task in a hundred dies of a
//! segmentation fault in the middle of its work, and the totals are right all the same.

mod counts;
mod files;

use std::collections::BTreeSet;
use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, HumanCount, ProgressBar, ProgressStyle};
use procpool::{ProcessPoolExecutor, Ran, TaskError, default_max_workers, task};

use counts::Counts;
use files::{Batch, Files};

/// The task. Counting changes nothing, so it may be done again whenever a result was lost.
#[task]
fn count(number: usize, paths: &[OsString], crash: bool) -> (usize, u32, Counts) {
    let mut counts = Counts::default();
    for (index, path) in paths.iter().enumerate() {
        if crash && index == paths.len() / 2 {
            segfault();
        }
        counts.add_file(Path::new(path));
    }
    (number, std::process::id(), counts)
}

#[allow(unsafe_code, reason = "`--crash` is to show a real crash")]
fn segfault() {
    let nowhere = std::ptr::without_provenance_mut::<u8>(8);
    // SAFETY: a volatile write outside of all memory that Rust knows of does what the machine does, and no
    // program has its first page mapped: the kernel ends this process before anything is written.
    unsafe { nowhere.write_volatile(1) };
}

fn count_here(batches: &[Batch], bar: &ProgressBar) -> Counts {
    let mut total = Counts::default();
    for batch in batches {
        batch.paths.iter().for_each(|path| total.add_file(Path::new(path)));
        bar.inc(batch.bytes);
    }
    total
}

/// What happened in the pool beside counting.
#[derive(Default)]
struct Events {
    lost: Vec<TaskError>,
    /// The workers that gave results.
    workers: BTreeSet<u32>,
    /// The workers at the end.
    alive: BTreeSet<u32>,
}

/// Maps over the batches; then over those again of which no counts came back because their worker had died.
fn count_in_pool(arguments: &Arguments, batches: &[Batch], bar: &ProgressBar) -> Result<(Counts, Events), Box<dyn Error>> {
    let pool = ProcessPoolExecutor::builder().max_workers(arguments.workers).build()?;
    let (mut total, mut events) = (Counts::default(), Events::default());
    let mut missing: BTreeSet<usize> = (0..batches.len()).collect();
    for round in 0..ROUNDS {
        let crash = |number: usize| arguments.crash && round == 0 && number.is_multiple_of(100);
        let calls = missing.iter().map(|&number| (number, &*batches[number].paths, crash(number)));
        let mut counted = BTreeSet::new();
        for outcome in pool.map(count, calls).unordered() {
            match outcome {
                Ok((number, worker, counts)) => {
                    total.merge(counts);
                    events.workers.insert(worker);
                    counted.insert(number);
                    bar.inc(batches[number].bytes);
                }
                Err(error) if error.is_worker_died() => events.lost.push(error),
                Err(error) => return Err(error.into()),
            }
        }
        missing = &missing - &counted;
        if missing.is_empty() {
            events.alive = pool.worker_pids().into_iter().collect();
            return Ok((total, events));
        }
    }
    Err(format!("{} tasks were lost {ROUNDS} times: {}", missing.len(), events.lost[0]).into())
}

/// Runs `work` with a bar over all bytes, drawn if there is a terminal, and tells how long it took.
fn timed<T>(what: String, batches: &[Batch], work: impl FnOnce(&ProgressBar) -> T) -> (T, Duration) {
    let style = "{msg:>14} {wide_bar} {decimal_bytes_per_sec}  {eta} left";
    let style = ProgressStyle::with_template(style).expect("the template is well-formed");
    let bar = ProgressBar::new(batches.iter().map(|batch| batch.bytes).sum()).with_style(style).with_message(what);
    let start = Instant::now();
    let value = work(&bar);
    let elapsed = start.elapsed();
    bar.finish_and_clear();
    (value, elapsed)
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let arguments = Arguments::parse(env::args_os().skip(1))?;
    let files = Files::below(&arguments.dir)?;
    files.warm_up();
    let closed = files.closed.clone();
    let batches = files.into_batches();

    let here = "one process".to_owned();
    let there = format!("{} workers", arguments.workers);
    let (expected, alone) = timed(here, &batches, |bar| count_here(&batches, bar));
    let (outcome, together) = timed(there, &batches, |bar| count_in_pool(&arguments, &batches, bar));
    let (total, events) = outcome?;

    for (word, times) in total.top(20) {
        println!("{:>12}  {word}", HumanCount(times).to_string());
    }
    let (files, bytes) = (HumanCount(total.files), DecimalBytes(total.bytes));
    println!("\ncounted      {files} text files, {bytes}, below {}", arguments.dir.display());
    let unreadable: Vec<_> = closed.iter().chain(&total.unreadable).collect();
    println!("left out     {} binary, {} unreadable", HumanCount(total.binary), unreadable.len());
    unreadable.iter().take(3).for_each(|reason| println!("             {reason}"));

    let speed = |time: Duration| total.bytes as f64 / 1e6 / time.as_secs_f64();
    let factor = alone.as_secs_f64() / together.as_secs_f64();
    println!("one process  {alone:.2?}, {:.1} MB/s", speed(alone));
    println!("{:<12} {together:.2?}, {:.1} MB/s: {factor:.2} times as fast", format!("{} workers", arguments.workers), speed(together));
    println!("             (all files were read once before; the start of the workers is included)");
    if arguments.crash {
        events.report();
    }
    if total != expected {
        println!("totals       NOT those of one process: did files change meanwhile?");
        return Ok(ExitCode::FAILURE);
    }
    println!("totals       the same from both, word by word");
    Ok(ExitCode::SUCCESS)
}
