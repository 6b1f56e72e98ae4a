//! procspawn: its `Pool`, which starts each worker with this program.

use std::time::Duration;

use procpool_bench_peers::contest::{self, Chunk, Contestant};
use procspawn::{JoinHandle, Pool};
use serde::Serialize;
use serde::de::DeserializeOwned;

struct Own(Pool);

/// A task that is pending holds four descriptors, and a program has a thousand.
const PENDING: usize = 200;

fn add_one(n: u64) -> u64 {
    n + 1
}

fn add_one_to_all(items: Vec<u64>) -> Vec<u64> {
    items.into_iter().map(add_one).collect()
}

fn echo(bytes: serde_bytes::ByteBuf) -> serde_bytes::ByteBuf {
    bytes
}

fn last(micros: u64) {
    contest::last(Duration::from_micros(micros));
}

fn burn(micros: u64) {
    contest::burn(Duration::from_micros(micros));
}

fn die(_: ()) {
    contest::die()
}

impl Own {
    /// Submits as many as it can hold, then takes the oldest result before each further one.
    fn ask_all<A, R>(&self, calls: impl Iterator<Item = A>, work: fn(A) -> R, mut take: impl FnMut(R))
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let mut take = |handle: JoinHandle<R>| take(handle.join().expect("a result"));
        let mut pending = std::collections::VecDeque::new();
        for call in calls {
            if pending.len() == PENDING {
                pending.pop_front().into_iter().for_each(&mut take);
            }
            pending.push_back(self.0.spawn(call, work));
        }
        pending.into_iter().for_each(take);
    }
}

impl Contestant for Own {
    fn start(workers: usize) -> Own {
        Own(Pool::new(workers).expect("a pool"))
    }

    fn one(&mut self, n: u64) -> Option<u64> {
        self.0.spawn(n, add_one).join().ok()
    }

    fn many(&mut self, count: u64) -> Option<u64> {
        let mut sum = 0;
        self.ask_all(0..count, add_one, |n| sum += n);
        Some(sum)
    }

    fn map(&mut self, count: u64, chunk: Chunk) -> Option<u64> {
        let items = match chunk {
            Chunk::One => return self.many(count),
            Chunk::Default => return None,
            Chunk::Of(items) => items,
        };
        let chunks =
            (0..count).step_by(items as usize).map(|from| (from..(from + items).min(count)).collect());
        let mut sum = 0;
        self.ask_all(chunks, add_one_to_all, |items| sum += items.iter().sum::<u64>());
        Some(sum)
    }

    fn echo(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        Some(self.0.spawn(serde_bytes::ByteBuf::from(bytes), echo).join().expect("a result").into_vec())
    }

    fn last(&mut self, lengths: &[Duration]) -> Option<()> {
        self.ask_all(lengths.iter().map(|length| length.as_micros() as u64), last, drop);
        Some(())
    }

    fn burn(&mut self, count: u64, each: Duration) -> Option<()> {
        self.ask_all((0..count).map(|_| each.as_micros() as u64), burn, drop);
        Some(())
    }

    fn die(&mut self) -> Option<bool> {
        Some(self.0.spawn((), die).join().is_err())
    }

    fn spawn(said: &mut dyn FnMut()) -> Option<()> {
        assert_eq!(procspawn::spawn(1, add_one).join().ok()?, 2);
        said();
        Some(())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.0.kill();
    }
}

fn main() {
    procspawn::init();
    procpool_bench_peers::main::<Own>();
}
