//! Counts the words of all text files below a directory: in worker processes and, to compare, in this one.
//!
//! `cargo run --release --example word_count [-- DIR] [--crash] [--workers N]`
//!
//! Without DIR, these are the sources that cargo has fetched. With `--crash`, one task in a hundred dies of a
//! segmentation fault in the middle of its work, and the totals are right all the same.

mod counts;
mod files;

use std::collections::BTreeSet;
use std::error::Error;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, ffi::OsString, fs};

use indicatif::{DecimalBytes, HumanCount, ProgressBar, ProgressStyle};
use procpool::{ProcessPoolExecutor, Ran, TaskError, default_max_workers, task};

use counts::Counts;
use files::Batch;

/// Counting changes nothing, so this may be done again whenever a result was lost.
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

/// What happened in the pool beside counting.
#[derive(Default)]
struct Events {
    lost: Vec<TaskError>,
    /// The workers that gave results.
    served: BTreeSet<u32>,
    alive: BTreeSet<u32>,
}

/// Maps over the batches; then over those again of which no counts came back because their worker had died.
fn count_in_pool(
    batches: &[Batch],
    workers: usize,
    crash: bool,
    bar: &ProgressBar,
) -> Fallible<(Counts, Events)> {
    let pool = ProcessPoolExecutor::builder().max_workers(workers).build()?;
    let (mut total, mut events) = (Counts::default(), Events::default());
    let mut missing: BTreeSet<usize> = (0..batches.len()).collect();
    for attempt in 0..3 {
        let crashes = |number: usize| crash && attempt == 0 && number.is_multiple_of(100);
        let calls = missing.iter().map(|&number| (number, &*batches[number].paths, crashes(number)));
        let mut counted = BTreeSet::new();
        for outcome in pool.map(count, calls).unordered() {
            match outcome {
                Ok((number, worker, counts)) => {
                    total.merge(counts);
                    counted.insert(number);
                    events.served.insert(worker);
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
    Err(format!("{} batches were lost three times; the first error: {}", missing.len(), events.lost[0])
        .into())
}

fn count_here(batches: &[Batch], bar: &ProgressBar) -> Counts {
    let mut total = Counts::default();
    for batch in batches {
        batch.paths.iter().for_each(|path| total.add_file(Path::new(path)));
        bar.inc(batch.bytes);
    }
    total
}

/// Runs `work` below a progress bar, which is drawn if there is a terminal.
fn timed<T>(batches: &[Batch], work: impl FnOnce(&ProgressBar) -> T) -> (T, Duration) {
    let style = ProgressStyle::with_template("{wide_bar} {decimal_bytes_per_sec}, {eta} left");
    let bytes = batches.iter().map(|batch| batch.bytes).sum();
    let bar = ProgressBar::new(bytes).with_style(style.expect("the template is well-formed"));
    let start = Instant::now();
    let value = work(&bar);
    bar.finish_and_clear();
    (value, start.elapsed())
}

fn run() -> Fallible<ExitCode> {
    let Arguments { dir, crash, workers } = Arguments::parse(env::args_os().skip(1))?;
    let (mut files, mut closed) = (Vec::new(), Vec::new());
    files::find(&dir, &mut files, &mut closed)
        .map_err(|error| Usage(format!("{}: {error}", dir.display())))?;
    if files.is_empty() {
        return Err(Usage(format!("{}: there are no files here", dir.display())).into());
    }
    // Whichever pass comes first must not be the one that waits for the disk.
    files.iter().for_each(|(_, path)| drop(fs::read(path)));
    let batches = files::batches(files);

    let (expected, alone) = timed(&batches, |bar| count_here(&batches, bar));
    let (outcome, together) = timed(&batches, |bar| count_in_pool(&batches, workers, crash, bar));
    let (total, events) = outcome?;

    for (word, times) in total.top(20) {
        println!("{:>12}  {word}", HumanCount(times).to_string());
    }
    let text = (HumanCount(total.files), DecimalBytes(total.bytes));
    println!("\ncounted      {} text files, {}, below {}", text.0, text.1, dir.display());
    println!("left out     {} binary, {} unreadable", total.binary, total.unreadable.len() + closed.len());
    total.unreadable.iter().chain(&closed).take(3).for_each(|reason| println!("             {reason}"));
    for (who, time) in [("one process".to_owned(), alone), (format!("pool of {workers}"), together)] {
        println!("{who:<12} {time:.2?}, {:.1} MB/s", total.bytes as f64 / 1e6 / time.as_secs_f64());
    }
    let factor = alone.as_secs_f64() / together.as_secs_f64();
    println!("speed-up     {factor:.2}: the same files, read once before; the start of the workers included");
    events.report(batches.len());
    let same = total == expected;
    println!(
        "totals       {}",
        if same { "the same, word by word" } else { "NOT the same; did files change?" }
    );
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Events {
    fn report(&self, batches: usize) {
        let Some(first) = self.lost.first() else { return };
        let lost = self.lost.len();
        let begun = self.lost.iter().filter(|error| error.ran() != Ran::No).count();
        let dead: BTreeSet<u32> = self.lost.iter().filter_map(|error| Some(error.exit()?.pid())).collect();
        let (all, alive) = (self.served.union(&dead).count(), self.alive.difference(&dead).count());
        println!("lost         tasks: {lost} of {batches}, begun: {begun}; the first error:");
        println!("             {first}");
        println!("redone       tasks: {lost}");
        println!("replaced     workers: {}; {all} took part, {alive} alive at the end", dead.len());
    }
}

struct Arguments {
    dir: PathBuf,
    crash: bool,
    workers: usize,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Arguments, Usage> {
        let (mut dir, mut crash, mut workers) = (None, false, default_max_workers());
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("--crash") => crash = true,
                Some("--workers") => {
                    let number = words.next().and_then(|word| word.to_str()?.parse::<NonZeroUsize>().ok());
                    workers = number.ok_or(Usage("--workers takes a number above 0".to_owned()))?.get();
                }
                Some(flag) if flag.starts_with("--") => return Err(Usage(format!("there is no {flag}"))),
                _ if dir.is_some() => return Err(Usage("one directory at a time".to_owned())),
                _ => dir = Some(PathBuf::from(word)),
            }
        }
        Ok(Arguments { dir: dir.unwrap_or_else(files::default_dir), crash, workers })
    }
}

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Something that whoever called this can put right.
#[derive(Debug)]
struct Usage(String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\nusage: word_count [DIR] [--crash] [--workers N]", self.0)
    }
}

impl Error for Usage {}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("word_count: {error}");
        ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
    })
}
