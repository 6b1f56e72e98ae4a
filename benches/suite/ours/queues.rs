//! What an item through a queue costs: there and back through two, and one way from one and from four processes.

use procpool::{Consumer, Producer, Queue, task};

use super::pool;
use crate::contest::{Size, pipes, queues};

#[task(name = "bench::answer_items")]
fn answer(asked: Consumer<u64>, answers: Producer<u64>) {
    while let Ok(number) = asked.get() {
        answers.put(&(number + 1)).expect("somebody gets it");
    }
}

#[task(name = "bench::put")]
fn put(items: Producer<u64>, count: u64) {
    (0..count).for_each(|number| items.put(&number).expect("somebody gets it"));
}

fn queue() -> (Producer<u64>, Consumer<u64>) {
    Queue::new().expect("a queue").split()
}

pub fn queues(size: Size) {
    let (trips, count) = queues::amounts(size);
    let pool = pool(queues::PRODUCERS as usize);
    pool.warm_up().wait().expect("workers");

    let ((ask, asked), (answers, answered)) = (queue(), queue());
    let answering = pool.submit(answer, (asked, answers));
    pipes::round_trips(trips, |number| {
        ask.put(&number).expect("somebody answers");
        answered.get().expect("an answer")
    });
    drop(ask);
    answering.result().expect("it ends with the questions");

    let mut done = Vec::new();
    let (producer, items) = queue();
    let begin = || done.push(pool.submit(put, (producer, count)));
    queues::one_way(count, begin, || items.get().expect("an item"));
    done.drain(..).for_each(|done| done.result().expect("all was put"));

    let (producer, items) = queue();
    let each = count / queues::PRODUCERS;
    let begin = || done.extend((0..queues::PRODUCERS).map(|_| pool.submit(put, (producer.clone(), each))));
    queues::from_four(count, begin, || items.get().expect("an item"));
    done.into_iter().for_each(|done| done.result().expect("all was put"));
}
