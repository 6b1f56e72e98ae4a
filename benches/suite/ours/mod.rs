//! procpool itself: defaults everywhere but for the number of workers, and for what is called spun.

mod asynchronous;
mod counted;
mod growth;
mod locks;
mod manager;
mod pipes;
mod queues;
mod warmed;

use std::time::Duration;

use procpool::{Pipe, Process, ProcessPoolExecutor, Sender, TaskFuture, task};

use crate::contest::{self, Chunk, Contestant, Size};

pub(crate) use counted::counted;

#[task(name = "bench::add_one")]
fn add_one(n: u64) -> u64 {
    n + 1
}

#[task(name = "bench::echo")]
fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[task(name = "bench::last")]
fn last(micros: u64) {
    contest::last(Duration::from_micros(micros))
}

#[task(name = "bench::burn")]
fn burn(micros: u64) {
    contest::burn(Duration::from_micros(micros))
}

#[task(name = "bench::say")]
fn say(mut to: Sender<u64>) {
    to.send(&1).expect("who started this listens");
}

#[task(name = "bench::die")]
fn die() {
    contest::die()
}

struct Procpool(ProcessPoolExecutor);

fn pool(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().expect("a pool")
}

/// Submits one task for each item, all at once, and gathers what they give.
fn gather<T>(futures: impl Iterator<Item = TaskFuture<T>>) -> impl Iterator<Item = T>
where
    T: serde::de::DeserializeOwned,
{
    let futures: Vec<_> = futures.collect();
    futures.into_iter().map(|future| future.result().expect("a result"))
}

impl Contestant for Procpool {
    fn start(workers: usize) -> Procpool {
        Procpool(pool(workers))
    }

    fn one(&mut self, n: u64) -> Option<u64> {
        self.0.submit(add_one, n).result().ok()
    }

    fn many(&mut self, count: u64) -> Option<u64> {
        Some(gather((0..count).map(|n| self.0.submit(add_one, n))).sum())
    }

    fn map(&mut self, count: u64, chunk: Chunk) -> Option<u64> {
        let map = self.0.map(add_one, 0..count);
        let map = match chunk {
            Chunk::One => map.chunksize(1),
            Chunk::Default => map,
            Chunk::Of(items) => map.chunksize(items as usize),
        };
        Some(map.into_iter().map(|item| item.expect("a result")).sum())
    }

    fn echo(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        Some(self.0.submit(echo, bytes).result().expect("a result"))
    }

    fn last(&mut self, lengths: &[Duration]) -> Option<()> {
        gather(lengths.iter().map(|length| self.0.submit(last, length.as_micros() as u64))).for_each(drop);
        Some(())
    }

    fn burn(&mut self, count: u64, each: Duration) -> Option<()> {
        gather((0..count).map(|_| self.0.submit(burn, each.as_micros() as u64))).for_each(drop);
        Some(())
    }

    fn die(&mut self) -> Option<bool> {
        Some(self.0.submit(die, ()).result().is_err())
    }

    fn spawn(said: &mut dyn FnMut()) -> Option<()> {
        let (theirs, mut ours) = Pipe::simplex::<u64>().expect("a pipe");
        let process = Process::new(say, theirs).start().expect("a process");
        assert_eq!(ours.recv().expect("a word"), 1);
        said();
        process.join();
        Some(())
    }

    fn pend(&mut self, count: u64, full: &mut dyn FnMut()) -> Option<()> {
        let held: Vec<_> = (0..contest::WORKERS).map(|_| self.0.submit(last, 1_000_000)).collect();
        let _futures: Vec<_> = (0..count).map(|n| self.0.submit(add_one, n)).collect();
        assert!(held.iter().all(|future| !future.done()), "all was submitted in time");
        full();
        Some(())
    }
}

/// A worker of a pool, with all that a pool has beside it.
fn spawn_pool(said: &mut dyn FnMut()) -> Option<()> {
    let pool = pool(1);
    pool.warm_up().wait().expect("a worker");
    said();
    pool.shutdown(true).wait();
    Some(())
}

/// Looking for longer than the pauses are: the caller and its worker keep two processors busy.
fn spun_latency(size: Size) {
    let pool = ProcessPoolExecutor::builder().max_workers(contest::WORKERS).spin(Duration::from_millis(5));
    contest::latency_of(Procpool(pool.build().expect("a pool")), size, "spun_");
}

/// Does one workload. False if there is none of that name.
pub fn run(workload: &str, size: Size) -> bool {
    match workload {
        "async" => asynchronous::latency(size),
        "latency" => {
            contest::run::<Procpool>(workload, size);
            spun_latency(size);
        }
        "spawn" => {
            contest::run::<Procpool>(workload, size);
            contest::spawn_of(size, "spawn_pool_ms", spawn_pool);
        }
        "growth" => growth::growth(size),
        "locks" => locks::locks(size),
        "manager" => manager::manager(size),
        "pipes" => pipes::pipes(size),
        "queues" => queues::queues(size),
        "warmed" => warmed::warmed(size),
        _ => return contest::run::<Procpool>(workload, size),
    }
    true
}
