//! A program that has much to load before it can work: what one more worker costs, started afresh and copied from a
//! template that has loaded it.

use std::sync::OnceLock;
use std::time::Instant;

use procpool::{Builder, ProcessPoolExecutor, StartMethod, task};

use crate::contest::{Size, emit, private_bytes};

static LOADED: OnceLock<Vec<u64>> = OnceLock::new();

/// Fills so many MiB, as tables that are computed or read from files are.
#[task(name = "bench::load")]
fn load(mib: u64) {
    let words = mib << 17;
    assert!(LOADED.set((0..words).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()).is_ok());
}

/// Reads one word of each page, so that all of it is there.
#[task(name = "bench::look")]
fn look() -> u64 {
    let words = LOADED.get().expect("it was loaded");
    words.iter().step_by(512).fold(0, |sum, word| sum ^ word)
}

/// The time until a pool works, then until one more worker does, and the private memory of that worker after it has read
/// all that was loaded.
fn measure(name: &str, builder: Builder) {
    let begun = Instant::now();
    let pool = builder.max_workers(1).build().expect("a pool");
    let looked = pool.submit(look, ()).result().expect("a result");
    emit(&format!("{name}_first_ms"), begun.elapsed().as_secs_f64() * 1e3);
    let first = pool.worker_pids();
    pool.resize(2).expect("two workers");
    let begun = Instant::now();
    pool.warm_up().wait().expect("two workers");
    emit(&format!("{name}_next_ms"), begun.elapsed().as_secs_f64() * 1e3);
    let both: Vec<_> = (0..50).map(|_| pool.submit(look, ())).collect();
    both.into_iter().for_each(|sum| assert_eq!(sum.result().expect("a result"), looked));
    let next = pool.worker_pids().into_iter().find(|pid| !first.contains(pid)).expect("another worker");
    emit(&format!("{name}_private_mib"), private_bytes(next).expect("it lives") as f64 / f64::from(1 << 20));
    pool.shutdown(true).wait();
}

pub(super) fn warmed(size: Size) {
    let mib = size.of(1024, 64);
    let builder = ProcessPoolExecutor::builder;
    measure("forkserver", builder().start_method(StartMethod::ForkServer).preload(load, mib));
    measure("spawn", builder().initializer(load, mib));
}
