//! rayon: tasks on threads of this process.

use std::time::Duration;

use procpool_bench_peers::contest::{self, Chunk, Contestant};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

struct Own(ThreadPool);

fn add_one(n: u64) -> u64 {
    std::hint::black_box(n) + 1
}

impl Contestant for Own {
    fn start(workers: usize) -> Own {
        Own(ThreadPoolBuilder::new().num_threads(workers).build().expect("a pool"))
    }

    fn one(&mut self, n: u64) -> Option<u64> {
        Some(self.0.install(|| add_one(n)))
    }

    fn many(&mut self, count: u64) -> Option<u64> {
        let mut results = vec![0; count as usize];
        self.0.in_place_scope(|scope| {
            for (n, result) in (0..count).zip(&mut results) {
                scope.spawn(move |_| *result = add_one(n));
            }
        });
        Some(results.into_iter().sum())
    }

    fn map(&mut self, count: u64, chunk: Chunk) -> Option<u64> {
        let items = (0..count as usize).into_par_iter();
        let add_one = |n| add_one(n as u64);
        // The results are wanted one by one as elsewhere, not only their sum.
        let results: Vec<u64> = self.0.install(|| match chunk {
            Chunk::One => items.with_max_len(1).map(add_one).collect(),
            Chunk::Default => items.map(add_one).collect(),
            Chunk::Of(size) => {
                items.with_min_len(size as usize).with_max_len(size as usize).map(add_one).collect()
            }
        });
        Some(results.into_iter().sum())
    }

    fn last(&mut self, lengths: &[Duration]) -> Option<()> {
        self.0.in_place_scope(|scope| {
            for &length in lengths {
                scope.spawn(move |_| contest::last(length));
            }
        });
        Some(())
    }

    fn burn(&mut self, count: u64, each: Duration) -> Option<()> {
        self.0.in_place_scope(|scope| {
            for _ in 0..count {
                scope.spawn(move |_| contest::burn(each));
            }
        });
        Some(())
    }
}

fn main() {
    procpool_bench_peers::main::<Own>();
}
