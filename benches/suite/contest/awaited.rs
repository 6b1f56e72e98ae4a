//! One task after the other, awaited on a runtime of tokio.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::emit;
use super::work::{Size, micros, percentile};

/// A kind of runtime.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flavor {
    CurrentThread,
    MultiThread,
}

pub const FLAVORS: [Flavor; 2] = [Flavor::CurrentThread, Flavor::MultiThread];

impl Flavor {
    fn name(self) -> &'static str {
        match self {
            Flavor::CurrentThread => "current",
            Flavor::MultiThread => "multi",
        }
    }

    fn runtime(self) -> Runtime {
        let mut builder = match self {
            Flavor::CurrentThread => Builder::new_current_thread(),
            Flavor::MultiThread => Builder::new_multi_thread(),
        };
        builder.worker_threads(super::WORKERS).max_blocking_threads(super::WORKERS).enable_time();
        builder.build().expect("a runtime")
    }
}

/// Runs the calls in a task of the runtime, as a server would.
pub fn latency<F>(flavor: Flavor, size: Size, call: impl Fn(u64) -> F + Send + Sync + 'static)
where
    F: Future<Output = u64> + Send,
{
    let runtime = flavor.runtime();
    let name = flavor.name();
    let task = runtime.spawn(async move {
        let begun = Instant::now();
        while begun.elapsed() < size.warm_up() {
            calls(&call, 100, Duration::ZERO).await;
        }
        let mut hot = calls(&call, size.of(2_000, 200), Duration::ZERO).await;
        let mut idle = calls(&call, size.of(300, 50), Duration::from_millis(1)).await;
        emit(&format!("{name}_p50_us"), micros(percentile(&mut hot, 0.5)));
        emit(&format!("{name}_p99_us"), micros(percentile(&mut hot, 0.99)));
        emit(&format!("{name}_idle_p50_us"), micros(percentile(&mut idle, 0.5)));
    });
    runtime.block_on(task).expect("no panic");
}

async fn calls<F: Future<Output = u64>>(
    call: &impl Fn(u64) -> F,
    count: u64,
    pause: Duration,
) -> Vec<Duration> {
    let mut samples = Vec::with_capacity(count as usize);
    for n in 0..count {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let begun = Instant::now();
        let result = call(n).await;
        samples.push(begun.elapsed());
        assert_eq!(result, n + 1);
    }
    samples
}
