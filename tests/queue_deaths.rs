//! Whoever is killed at a queue, at whatever instruction, takes his own item with him, at most, and holds up nobody (F40).

mod support;

use std::thread;
use std::time::Duration;

use procpool::{Array, Consumer, Event, Pipe, Process, ProcessHandle, Producer, Queue, Sender, Value, task};
use serde::{Deserialize, Serialize};
use support::{Random, eventually, rounds};

const SOON: Duration = Duration::from_secs(30);

/// Items of one producer, at most.
const ITEMS: u64 = 400_000;

#[derive(Serialize, Deserialize)]
struct Item {
    producer: u64,
    number: u64,
    body: Vec<u64>,
    handle: Option<Sender<u32>>,
}

impl Item {
    fn new(producer: u64, number: u64, handle: Option<Sender<u32>>) -> Item {
        let size = if number.is_multiple_of(997) { 40_000 } else { number % 13 };
        Item { producer, number, body: (0..size).map(|at| at ^ number ^ producer << 40).collect(), handle }
    }

    fn check(&self) {
        let wanted = Item::new(self.producer, self.number, None);
        assert!(self.body == wanted.body, "{} of {} is damaged", self.number, self.producer);
    }
}

/// What was put by each producer, and which items were got, a bit each.
#[derive(Clone, Serialize, Deserialize)]
struct Account {
    put: Array<u64>,
    got: Array<u64>,
    twice: Value<u64>,
    stop: Event,
}

fn words() -> u64 {
    ITEMS / 64
}

#[task]
fn produce(out: Producer<Item>, account: Account, producer: u64, with_handles: bool) {
    let mut number = 0;
    while !account.stop.is_set() && number < ITEMS {
        let handle =
            (with_handles && number.is_multiple_of(5)).then(|| Pipe::simplex::<u32>().expect("a pipe").0);
        out.put(&Item::new(producer, number, handle)).expect("somebody gets it");
        number += 1;
        account.put.store(producer as usize, number);
    }
}

#[task]
fn consume(input: Consumer<Item>, account: Account) {
    for item in &input {
        let item = item.expect("an item that is whole");
        item.check();
        let (at, bit) = (item.producer * words() + item.number / 64, 1 << (item.number % 64));
        let before = account.got.fetch_update(at as usize, |word| Some(word | bit)).expect("a word");
        if before & bit != 0 {
            account.twice.fetch_add(1);
        }
    }
}

struct Storm {
    account: Account,
    producer: Producer<Item>,
    consumer: Consumer<Item>,
    with_handles: bool,
    started: u64,
    producers: Vec<ProcessHandle<()>>,
    consumers: Vec<ProcessHandle<()>>,
}

impl Storm {
    fn add_producer(&mut self) {
        let args = (self.producer.clone(), self.account.clone(), self.started, self.with_handles);
        self.started += 1;
        self.producers.push(Process::new(produce, args).start().expect("a process"));
    }

    fn add_consumer(&mut self) {
        let args = (self.consumer.clone(), self.account.clone());
        self.consumers.push(Process::new(consume, args).start().expect("a process"));
    }

    fn put(&self) -> u64 {
        (0..self.started).map(|producer| self.account.put.load(producer as usize)).sum()
    }
}

fn storm(seed: u64, room: u32, kills: u64, with_handles: bool) {
    let mut random = Random::new(seed);
    let most = 3 + kills;
    let account = Account {
        put: Array::zeroed(most as usize).expect("an array"),
        got: Array::zeroed((most * words()) as usize).expect("an array"),
        twice: Value::new(0_u64).expect("a value"),
        stop: Event::new().expect("an event"),
    };
    let (producer, consumer) = Queue::bounded(room).expect("a queue").split();
    let mut storm = Storm {
        account,
        producer,
        consumer,
        with_handles,
        started: 0,
        producers: Vec::new(),
        consumers: Vec::new(),
    };
    (0..2).for_each(|_| storm.add_producer());
    (0..2).for_each(|_| storm.add_consumer());
    let (mut dead_producers, mut dead_consumers) = (0, 0);
    for _ in 0..kills {
        // The rest of them goes on, or else this never comes.
        let (put, more) = (storm.put(), random.below(2000));
        let is_done = || storm.producers.iter().all(|process| !process.is_alive());
        eventually("items are put", SOON, || storm.put() >= put + more || is_done());
        let victim = random.below(2) as usize;
        if random.below(2) == 0 {
            let process = storm.producers.swap_remove(victim);
            process.kill();
            process.join();
            dead_producers += 1;
            storm.add_producer();
        } else {
            let process = storm.consumers.swap_remove(victim);
            process.kill();
            process.join();
            dead_consumers += 1;
            storm.add_consumer();
        }
    }
    storm.account.stop.set();
    let Storm { account, producer, consumer, started, producers, consumers, .. } = storm;
    for process in producers {
        process.result().expect("it puts to the end");
    }
    drop((producer, consumer));
    for process in consumers {
        process.result().expect("it gets to the end, and there is one");
    }
    assert_eq!(account.twice.load(), 0, "no item is got twice");
    let (mut lost, mut extra) = (0, 0);
    for producer in 0..started {
        let put = account.put.load(producer as usize);
        for number in 0..ITEMS {
            let word = account.got.load((producer * words() + number / 64) as usize);
            let got = word >> (number % 64) & 1 == 1;
            match number {
                _ if number < put => lost += u64::from(!got),
                _ if number == put => extra += u64::from(got),
                _ => assert!(!got, "{number} of {producer}, who had come to {put}"),
            }
        }
    }
    println!("{dead_producers} + {dead_consumers} dead: {lost} lost, {extra} put and not told");
    assert!(lost <= dead_consumers, "{lost} lost, {dead_consumers} consumers dead");
    assert!(extra <= dead_producers, "{extra} more, {dead_producers} producers dead");
}

support::isolated! {
    timeout = 240;

    fn a_storm_of_kills_at_an_unbounded_queue() {
        storm(1, 0, rounds(40), false);
    }

    fn a_storm_of_kills_at_a_bounded_queue() {
        for (seed, room) in [(2, 1), (3, 10)] {
            storm(seed, room, rounds(30), false);
        }
    }

    fn a_storm_of_kills_at_a_queue_of_handles() {
        storm(4, 100, rounds(40), true);
    }

    fn threads_of_one_process_share_a_queue() {
        let (producer, consumer) = Queue::<u64>::bounded(3).expect("a queue").split();
        let sum: u64 = thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..2000).for_each(|number| producer.put(&number).expect("room")));
            }
            let gets: Vec<_> =
                (0..4).map(|_| scope.spawn(|| (0..2000).map(|_| consumer.get().expect("an item")).sum::<u64>())).collect();
            gets.into_iter().map(|get| get.join().expect("no panic")).sum()
        });
        assert_eq!(sum, 4 * (0..2000).sum::<u64>());
    }
}
