//! What a message through a pipe costs: there and back, one way, and a large one.

use procpool::{Connection, Pipe, Receiver, Sender, task};

use super::pool;
use crate::contest::{Size, pipes};

#[task(name = "bench::answer")]
fn answer(mut asked: Connection<u64, u64>) -> u64 {
    let mut last = 0;
    while let Ok(number) = asked.recv() {
        asked.send(&(number + 1)).expect("somebody listens");
        last = number;
    }
    last
}

#[task(name = "bench::produce")]
fn produce(mut numbers: Sender<u64>, count: u64) {
    (0..count).for_each(|number| numbers.send(&number).expect("somebody receives"));
}

#[task(name = "bench::produce_large")]
fn produce_large(mut messages: Sender<Vec<u8>>, count: u64) {
    let message = vec![7; pipes::LARGE];
    (0..count).for_each(|_| messages.send(&message).expect("somebody receives"));
}

pub fn pipes(size: Size) {
    let (trips, count, large) = pipes::amounts(size);
    let pool = pool(1);
    pool.warm_up().wait().expect("a worker");

    let (mut asking, asked) = Pipe::duplex().expect("a pipe");
    let answered = pool.submit(answer, asked);
    pipes::round_trips(trips, |number| {
        asking.send(&number).expect("somebody answers");
        asking.recv().expect("an answer")
    });
    drop(asking);
    answered.result().expect("a number");

    let (sender, mut numbers): (_, Receiver<u64>) = Pipe::simplex().expect("a pipe");
    let produced = pool.submit(produce, (sender, count));
    pipes::one_way(count, || numbers.recv().expect("a number"));
    produced.result().expect("all was sent");

    let (sender, mut messages): (_, Receiver<Vec<u8>>) = Pipe::simplex().expect("a pipe");
    let produced = pool.submit(produce_large, (sender, large));
    pipes::large(large, || messages.recv().expect("a message").len());
    produced.result().expect("all was sent");
}
