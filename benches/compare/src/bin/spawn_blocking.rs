//! tokio's `spawn_blocking`: tasks on threads of this process.

use std::time::Duration;

use procpool_bench_peers::contest::{self, Chunk, Contestant, WORKERS, awaited};
use tokio::runtime::{Builder, Runtime};

struct Own(Runtime);

fn add_one(n: u64) -> u64 {
    std::hint::black_box(n) + 1
}

impl Own {
    /// Submits all, then awaits each.
    fn all<T: Send + 'static>(
        &self,
        tasks: impl Iterator<Item = impl FnOnce() -> T + Send + 'static>,
    ) -> Vec<T> {
        self.0.block_on(async {
            let handles: Vec<_> = tasks.map(tokio::task::spawn_blocking).collect();
            let mut results = Vec::with_capacity(handles.len());
            for handle in handles {
                results.push(handle.await.expect("no panic"));
            }
            results
        })
    }
}

impl Contestant for Own {
    fn start(workers: usize) -> Own {
        let mut builder = Builder::new_multi_thread();
        Own(builder.worker_threads(workers).max_blocking_threads(workers).build().expect("a runtime"))
    }

    fn one(&mut self, n: u64) -> Option<u64> {
        self.0.block_on(self.0.spawn_blocking(move || add_one(n))).ok()
    }

    fn many(&mut self, count: u64) -> Option<u64> {
        Some(self.all((0..count).map(|n| move || add_one(n))).into_iter().sum())
    }

    fn map(&mut self, count: u64, chunk: Chunk) -> Option<u64> {
        let items = match chunk {
            Chunk::One => return self.many(count),
            Chunk::Default => return None,
            Chunk::Of(items) => items,
        };
        let chunks = (0..count).step_by(items as usize).map(|from| {
            let chunk: Vec<u64> = (from..(from + items).min(count)).collect();
            move || chunk.into_iter().map(add_one).collect::<Vec<u64>>()
        });
        Some(self.all(chunks).into_iter().flatten().sum())
    }

    fn last(&mut self, lengths: &[Duration]) -> Option<()> {
        self.all(lengths.to_vec().into_iter().map(|length| move || contest::last(length)));
        Some(())
    }

    fn burn(&mut self, count: u64, each: Duration) -> Option<()> {
        self.all((0..count).map(|_| move || contest::burn(each)));
        Some(())
    }

    fn pend(&mut self, count: u64, full: &mut dyn FnMut()) -> Option<()> {
        for _ in 0..WORKERS {
            self.0.spawn_blocking(|| contest::last(Duration::from_secs(1)));
        }
        let handles: Vec<_> = (0..count).map(|n| self.0.spawn_blocking(move || add_one(n))).collect();
        full();
        self.0.block_on(async {
            for handle in handles {
                handle.await.expect("no panic");
            }
        });
        Some(())
    }
}

fn main() {
    let (workload, size) = procpool_bench_peers::asked();
    if workload != "async" {
        return procpool_bench_peers::main::<Own>();
    }
    for flavor in awaited::FLAVORS {
        awaited::latency(flavor, size, |n| async move {
            tokio::task::spawn_blocking(move || add_one(n)).await.expect("no panic")
        });
    }
}
