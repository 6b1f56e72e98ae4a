//! What a message through a pipe costs: there and back, one way, and a large one.

use std::time::Instant;

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
    let mut ask = |number: u64| {
        asking.send(&number).expect("somebody answers");
        assert_eq!(asking.recv().expect("an answer"), number + 1);
    };
    (0..trips / 10).for_each(&mut ask);
    let begun = Instant::now();
    (0..trips).for_each(&mut ask);
    pipes::emit_round_trips(trips, begun.elapsed());
    drop(asking);
    answered.result().expect("a number");

    let (sender, mut numbers): (_, Receiver<u64>) = Pipe::simplex().expect("a pipe");
    let produced = pool.submit(produce, (sender, count));
    assert_eq!(numbers.recv().expect("the first"), 0);
    let begun = Instant::now();
    assert_eq!((1..count).map(|_| numbers.recv().expect("a number")).sum::<u64>(), (1..count).sum());
    pipes::emit_messages(count - 1, begun.elapsed());
    produced.result().expect("all was sent");

    let (sender, mut messages): (_, Receiver<Vec<u8>>) = Pipe::simplex().expect("a pipe");
    let produced = pool.submit(produce_large, (sender, large));
    assert_eq!(messages.recv().expect("the first").len(), pipes::LARGE);
    let begun = Instant::now();
    (1..large).for_each(|_| assert_eq!(messages.recv().expect("a message").len(), pipes::LARGE));
    pipes::emit_large(large - 1, begun.elapsed());
    produced.result().expect("all was sent");
}
