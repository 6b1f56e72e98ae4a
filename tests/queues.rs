//! A queue gives every item that was put to one who gets, in order, and ends when nobody is left who puts (F40).

mod support;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use procpool::{
    Consumer, GetError, JoinError, JoinableQueue, Pipe, Process, ProcessPoolExecutor, Producer, PutError,
    Queue, Sender, SimpleQueue, Value, connection, task,
};
use serde::{Deserialize, Deserializer, Serialize};
use support::{Signal, eventually, kill, procfs};

const SOON: Duration = Duration::from_secs(20);
const DETECT: Duration = Duration::from_secs(2);
const SHORT: Duration = Duration::from_millis(20);
/// Larger than what is in shared memory.
const LARGE: usize = 3_000_000;

fn pool(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().expect("a pool")
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[task]
fn put_numbers(out: Producer<(u32, u32)>, name: u32, count: u32) -> Result<(), String> {
    (0..count).try_for_each(|number| out.put(&(name, number)).map_err(text))
}

#[task]
fn get_numbers(input: Consumer<(u32, u32)>) -> Result<Vec<(u32, u32)>, String> {
    input.iter().map(|item| item.map_err(text)).collect()
}

#[task]
fn put_and_stay(out: Producer<(u32, u32)>, count: u32, put: Value<u32>) {
    for number in 0..count {
        out.put(&(0, number)).expect("somebody may get it");
    }
    put.store(1);
    loop {
        thread::park();
    }
}

#[task]
fn put_senders(out: Producer<(u32, Sender<u32>)>, senders: Vec<Sender<u32>>) -> Result<(), String> {
    (0..).zip(senders).try_for_each(|item| out.put(&item).map_err(text))
}

#[task]
fn get_and_stay(input: Consumer<u32>, got: Value<u32>) {
    let _ = input.get();
    got.store(1);
    loop {
        thread::park();
    }
}

#[task]
fn work(items: Consumer<u32>, done: Value<u32>) {
    for item in &items {
        item.expect("an item");
        done.fetch_add(1);
        items.task_done().expect("it was got");
    }
}

#[task]
fn echo(from: Queue<u32>, to: Queue<u32>, count: u32) -> Result<(), String> {
    (0..count).try_for_each(|_| to.put(&(from.get().map_err(text)? + 1)).map_err(text))
}

/// Cannot be decoded.
#[derive(Debug, Serialize)]
struct Odd(bool);

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Odd, D::Error> {
        match bool::deserialize(deserializer)? {
            true => Err(serde::de::Error::custom("it is odd")),
            false => Ok(Odd(false)),
        }
    }
}

fn check_each_in_order(got: Vec<Vec<(u32, u32)>>, names: u32, count: u32) {
    let mut seen: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for items in got {
        let mut last: BTreeMap<u32, u32> = BTreeMap::new();
        for (name, number) in items {
            let before = last.insert(name, number);
            assert!(before < Some(number), "{number} of {name} after {before:?}");
            seen.entry(name).or_default().push(number);
        }
    }
    assert_eq!(seen.len() as u32, names);
    for (name, mut numbers) in seen {
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..count), "not each number of {name} once");
    }
}

support::isolated! {
    timeout = 120;

    fn many_producers_and_consumers_share_a_queue_and_each_item_is_got_once_in_order() {
        for room in [0, 1, 7, 1000] {
            let count = if room == 1 { 500 } else { 3000 };
            let pool = pool(6);
            let (producer, consumer) = Queue::<(u32, u32)>::bounded(room).expect("a queue").split();
            let consumers: Vec<_> = (0..3).map(|_| pool.submit(get_numbers, consumer.clone())).collect();
            let producers: Vec<_> =
                (0..3).map(|name| pool.submit(put_numbers, (producer.clone(), name, count))).collect();
            drop((producer, consumer));
            for task in producers {
                task.result().expect("it works").expect("all were put");
            }
            let got = consumers.into_iter().map(|task| task.result().expect("it works").expect("all are got"));
            check_each_in_order(got.collect(), 3, count);
        }
    }

    fn who_puts_may_be_joined_or_killed_before_anything_is_got() {
        let count = 100_000;
        let (producer, consumer) = Queue::<(u32, u32)>::new().expect("a queue").split();
        let process = Process::new(put_numbers, (producer.clone(), 0, count)).start().expect("a process");
        assert!(process.join_timeout(SOON).is_some(), "nothing has to be drained for it");
        drop(process);
        assert_eq!(consumer.qsize(), count as usize);
        let put = Value::new(0_u32).expect("a value");
        let process =
            Process::new(put_and_stay, (producer, 10, put.clone())).start().expect("a process");
        eventually("it has put", SOON, || put.load() == 1);
        process.kill();
        process.join();
        let got: Vec<_> = consumer.iter().map(|item| item.expect("an item")).collect();
        let wanted = (0..count).map(|number| (0, number)).chain((0..10).map(|number| (0, number)));
        assert!(got.into_iter().eq(wanted));
    }

    fn a_queue_ends_for_those_who_wait_when_the_last_producer_dies() {
        let (producer, consumer) = Queue::<(u32, u32)>::new().expect("a queue").split();
        let put = Value::new(0_u32).expect("a value");
        let process = Process::new(put_and_stay, (producer, 1, put.clone())).start().expect("a process");
        assert_eq!(consumer.get().expect("an item"), (0, 0));
        eventually("it has put", SOON, || put.load() == 1);
        assert!(matches!(consumer.try_get(), Err(GetError::Empty)));
        let ended = thread::scope(|scope| {
            let wait = || { let got = consumer.get_timeout(SOON); (got, Instant::now()) };
            let waits = [scope.spawn(wait), scope.spawn(wait), scope.spawn(|| {
                let got = block_on(consumer.get_async());
                (got, Instant::now())
            })];
            eventually("they sleep", SOON, || procfs::sleeps_in(std::process::id(), "poll"));
            let since = Instant::now();
            process.kill();
            waits.map(|wait| { let (got, at) = wait.join().expect("no panic"); (got, at - since) })
        });
        for (got, after) in ended {
            assert!(matches!(got, Err(GetError::Closed)), "{got:?}");
            assert!(after < DETECT, "{after:?}");
        }
        assert!(matches!(consumer.try_get(), Err(GetError::Closed)));
        process.join();
    }

    fn when_the_last_consumer_is_gone_putting_is_an_error_also_for_those_who_wait_for_room() {
        let (producer, consumer) = Queue::<u32>::bounded(1).expect("a queue").split();
        let got = Value::new(0_u32).expect("a value");
        let process = Process::new(get_and_stay, (consumer, got.clone())).start().expect("a process");
        producer.put(&1).expect("room");
        eventually("it was got", SOON, || got.load() == 1);
        producer.put(&2).expect("room");
        thread::scope(|scope| {
            let wait = scope.spawn(|| producer.put_timeout(&3, SOON));
            eventually("it sleeps", SOON, || procfs::sleeps_in(std::process::id(), "poll"));
            process.kill();
            let put = wait.join().expect("no panic");
            assert!(matches!(put, Err(PutError::Closed)), "{put:?}");
        });
        process.join();
        drop(process);
        let (producer, consumer) = Queue::<u32>::new().expect("a queue").split();
        producer.put(&1).expect("somebody is there");
        let other = consumer.clone();
        drop(consumer);
        producer.put(&1).expect("another is there");
        drop(other);
        for _ in 0..3 {
            assert!(matches!(producer.put(&2), Err(PutError::Closed)));
        }
    }

    fn a_bounded_queue_is_full_and_has_room_again() {
        let queue = Queue::<u32>::bounded(2).expect("a queue");
        assert!(queue.empty() && !queue.full());
        queue.put(&1).expect("room");
        queue.try_put(&2).expect("room");
        assert!(queue.full() && queue.qsize() == 2);
        assert!(matches!(queue.try_put(&3), Err(PutError::Full)));
        assert!(matches!(queue.put_timeout(&3, SHORT), Err(PutError::TimedOut)));
        thread::scope(|scope| {
            let waits = scope.spawn(|| queue.put(&3));
            let awaits = scope.spawn(|| block_on(queue.put_async(&3)));
            assert_eq!(queue.get().expect("an item"), 1);
            assert_eq!(queue.get().expect("an item"), 2);
            waits.join().expect("no panic").expect("room");
            awaits.join().expect("no panic").expect("room");
        });
        assert_eq!([queue.get().expect("an item"), queue.get().expect("an item")], [3, 3]);
        assert!(matches!(queue.try_get(), Err(GetError::Empty)));
        assert!(matches!(queue.get_timeout(SHORT), Err(GetError::TimedOut)));
        assert!(queue.empty());
    }

    fn items_of_every_size_come_whole_and_in_order() {
        let (producer, consumer) = Queue::<Vec<u8>>::new().expect("a queue").split();
        let sizes: Vec<usize> =
            (0..40).chain([LARGE, 3, 100_000, 0, 200_000, 300_000, 5, LARGE]).chain(0..4000).collect();
        let item = |(number, &size): (usize, &usize)| vec![number as u8; size];
        for round in 0..3 {
            // First all at once, then side by side.
            thread::scope(|scope| {
                let put = || sizes.iter().enumerate().map(item).for_each(|item| producer.put(&item).expect("room"));
                if round == 0 {
                    put();
                } else {
                    scope.spawn(put);
                }
                for wanted in sizes.iter().enumerate().map(item) {
                    assert!(consumer.get().expect("an item") == wanted);
                }
            });
            assert!(consumer.empty());
        }
    }

    fn handles_in_items_come_with_them() {
        let pool = pool(1);
        let (senders, mut receivers): (Vec<_>, Vec<_>) =
            (0..20).map(|_| Pipe::simplex::<u32>().expect("a pipe")).unzip();
        let (producer, consumer) = Queue::<(u32, Sender<u32>)>::new().expect("a queue").split();
        pool.submit(put_senders, (producer, senders)).result().expect("it works").expect("they travel");
        let mut count = 0;
        for item in &consumer {
            let (number, mut sender) = item.expect("an item");
            sender.send(&(number + 100)).expect("somebody receives");
            count += 1;
        }
        assert_eq!(count, 20);
        for (number, receiver) in (0..).zip(&mut receivers) {
            assert_eq!(receiver.recv().expect("a message"), number + 100);
        }
    }

    fn more_handles_than_fit_on_their_way_wait_for_room() {
        let (producer, consumer) = Queue::<(u32, Sender<u32>)>::new().expect("a queue").split();
        let count = 2000;
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..count {
                    let (sender, _) = Pipe::simplex::<u32>().expect("a pipe");
                    producer.put(&(number, sender)).expect("it travels");
                }
            });
            for number in 0..count {
                assert_eq!(consumer.get().expect("an item").0, number);
            }
        });
    }

    fn an_item_that_cannot_be_decoded_is_lost_alone() {
        let queue = Queue::<Odd>::new().expect("a queue");
        for odd in [false, true, false] {
            queue.put(&Odd(odd)).expect("room");
        }
        assert!(queue.get().is_ok());
        assert!(matches!(queue.get(), Err(GetError::Decode { .. })));
        assert!(queue.get().is_ok() && queue.empty());
    }

    fn many_await_a_queue_at_a_time_and_who_does_not_want_to_loses_nothing() {
        let queue = Queue::<u32>::new().expect("a queue");
        thread::scope(|scope| {
            let got = scope.spawn(|| {
                let mut all = block_on(join_all((0..100).map(|_| queue.get_async())));
                all.extend((0..100).map(|_| queue.get()));
                let mut all: Vec<_> = all.into_iter().map(|item| item.expect("an item")).collect();
                all.sort_unstable();
                all
            });
            for _ in 0..50 {
                assert!(queue.get_async().now_or_never().is_none(), "nothing is there");
            }
            (0..200).for_each(|number| queue.put(&number).expect("room"));
            assert!(got.join().expect("no panic").into_iter().eq(0..200));
        });
    }

    fn a_queue_that_is_both_sides_goes_to_and_fro() {
        let (there, back) = (Queue::<u32>::new().expect("a queue"), Queue::<u32>::new().expect("a queue"));
        let process = Process::new(echo, (there.clone(), back.clone(), 500)).start().expect("a process");
        for number in 0..500 {
            there.put(&number).expect("room");
            assert_eq!(back.get_timeout(SOON).expect("an item"), number + 1);
        }
        process.result().expect("it works").expect("no error");
    }

    fn a_joinable_queue_is_joined_when_all_is_done() {
        let pool = pool(2);
        let done = Value::new(0_u32).expect("a value");
        let (producer, consumer) = JoinableQueue::<u32>::bounded(50).expect("a queue").split();
        let tasks: Vec<_> = (0..2).map(|_| pool.submit(work, (consumer.clone(), done.clone()))).collect();
        drop(consumer);
        producer.join().expect("nothing is to be done");
        for total in [100, 200, 300] {
            (0..100).for_each(|item| producer.put(&item).expect("room"));
            if total == 200 {
                block_on(producer.join_async()).expect("all is done");
            } else {
                producer.join().expect("all is done");
            }
            assert_eq!(done.load(), total);
        }
        drop(producer);
        for task in tasks {
            task.result().expect("it works");
        }
    }

    fn more_done_than_got_and_less_in_time_are_errors() {
        let queue = JoinableQueue::<u32>::new().expect("a queue");
        assert!(matches!(queue.task_done(), Err(JoinError::TooMany)));
        queue.put(&1).expect("room");
        assert!(matches!(queue.join_timeout(SHORT), Err(JoinError::TimedOut)));
        queue.get().expect("an item");
        assert!(matches!(queue.join_timeout(SHORT), Err(JoinError::TimedOut)), "got and not done");
        queue.task_done().expect("it was got");
        assert!(matches!(queue.task_done(), Err(JoinError::TooMany)));
        queue.join().expect("all is done");
        queue.put(&1).expect("room");
        let (producer, consumer) = queue.split();
        drop(consumer);
        assert!(matches!(producer.join(), Err(JoinError::Closed)));
    }

    fn what_a_dead_process_got_and_did_not_do_does_not_hold_up_a_join() {
        let (producer, consumer) = JoinableQueue::<u32>::new().expect("a queue").split();
        let got = Value::new(0_u32).expect("a value");
        let process = Process::new(get_and_stay, (consumer.clone(), got.clone())).start().expect("a process");
        producer.put(&1).expect("room");
        eventually("it was got", SOON, || got.load() == 1);
        assert!(matches!(producer.join_timeout(SHORT), Err(JoinError::TimedOut)));
        thread::scope(|scope| {
            let joins = scope.spawn(|| producer.join_timeout(SOON));
            eventually("it sleeps", SOON, || procfs::sleeps_in(std::process::id(), "futex_wait_multiple"));
            let since = Instant::now();
            process.kill();
            joins.join().expect("no panic").expect("nobody else will do it");
            assert!(since.elapsed() < DETECT, "{:?}", since.elapsed());
        });
        process.join();
    }

    fn queues_are_waited_for_beside_pipes_whoever_is_faster() {
        let (numbers, first) = Queue::<u32>::new().expect("a queue").split();
        let (mut texts, mut second) = Pipe::simplex::<String>().expect("a pipe");
        let both = JoinableQueue::<u32>::new().expect("a queue");
        let all: [&dyn connection::Waitable; 3] = [&first, &second, &both];
        assert!(connection::wait(&all, Duration::ZERO).expect("nothing").is_empty());
        texts.send(&"here".to_owned()).expect("room");
        numbers.put(&1).expect("room");
        both.put(&2).expect("room");
        assert_eq!(connection::wait(&all, SOON).expect("three"), [0, 1, 2]);
        assert_eq!((first.get().expect("a number"), both.get().expect("a number")), (1, 2));
        assert_eq!(connection::wait(&all, SOON).expect("one"), [1]);
        assert_eq!(second.recv().expect("a text"), "here");
        assert!(connection::wait(&[&first, &both], Duration::from_millis(1)).expect("nothing").is_empty());
        // Who sleeps there is woken by what comes.
        for turn in 0..200 {
            thread::scope(|scope| {
                let waiter = scope.spawn(|| connection::wait(&[&second, &first], SOON).expect("an item"));
                (0..turn).for_each(|_| thread::yield_now());
                numbers.put(&turn).expect("room");
                assert_eq!(waiter.join().expect("no panic"), [1]);
            });
            assert_eq!(first.get().expect("a number"), turn);
        }
        // Each takes what the other was told of as well.
        let taken = || {
            let mut taken = 0;
            while connection::wait(&[&first], SOON).expect("an item or the end") == [0] {
                match first.try_get() {
                    Ok(_) => taken += 1,
                    Err(GetError::Empty) => {}
                    Err(GetError::Closed) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            taken
        };
        let async_taken = || {
            block_on(async {
                let mut taken = 0;
                loop {
                    assert_eq!(connection::wait_async(&[&first]).await.expect("an item or the end"), [0]);
                    match first.try_get() {
                        Ok(_) => taken += 1,
                        Err(GetError::Empty) => {}
                        Err(_) => break taken,
                    }
                }
            })
        };
        let all = thread::scope(|scope| {
            let takers = [scope.spawn(taken), scope.spawn(taken), scope.spawn(async_taken)];
            for number in 0..2_000 {
                numbers.put(&number).expect("room");
                if number % 50 == 0 {
                    while !numbers.empty() {
                        thread::yield_now();
                    }
                }
            }
            numbers.close();
            takers.map(|taker| taker.join().expect("no panic")).iter().sum::<u32>()
        });
        assert_eq!(all, 2_000);
    }

    fn a_stream_of_items_ends_with_the_queue_and_loses_none() {
        let (producer, consumer) = Queue::<(u32, u32)>::new().expect("a queue").split();
        let pool = pool(1);
        let putting = pool.submit(put_numbers, (producer, 0, 3_000));
        let sum = block_on(async {
            let mut sum = 0;
            loop {
                // Each stream is dropped after some of them, the last one at the end.
                let mut stream = consumer.stream();
                for _ in 0..100 {
                    match stream.next().await {
                        Some(item) => sum += item.expect("a number").1,
                        None => return sum,
                    }
                }
            }
        });
        assert_eq!(sum, (0..3_000).sum::<u32>());
        putting.result().expect("it has a result").expect("all are put");
    }

    fn a_simple_queue_takes_what_a_pipe_would_not() {
        let queue = SimpleQueue::<Vec<u8>>::new().expect("a queue");
        assert!(queue.empty());
        (0..10).for_each(|_| queue.put(&vec![7; LARGE]).expect("room"));
        for _ in 0..10 {
            assert!(queue.get().expect("an item") == vec![7; LARGE]);
        }
        queue.close();
    }

    fn a_copy_that_is_killed_at_a_full_queue_leaves_it_as_it_is() {
        let (producer, consumer) = Queue::<(u32, u32)>::bounded(5).expect("a queue").split();
        let process = Process::new(put_numbers, (producer.clone(), 1, 100)).start().expect("a process");
        eventually("it is full", SOON, || producer.full());
        eventually("it sleeps", SOON, || procfs::sleeps_in(process.pid(), "poll"));
        kill(process.pid(), Signal::KILL);
        process.join();
        drop(producer);
        drop(process);
        let got: Vec<_> = consumer.iter().map(|item| item.expect("an item")).collect();
        assert!(got.into_iter().eq((0..5).map(|number| (1, number))));
    }
}
