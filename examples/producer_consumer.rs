//! Producers and consumers in processes of their own, over a queue.
//!
//! `cargo run --example producer_consumer`
//!
//! The tutorials join the producer first, which in Python never ends once the items are more than a pipe holds, and then
//! ask `while not queue.empty()`, which may be true too early. Here the queue ends when its producers are gone.

use std::collections::BTreeSet;

use procpool::{Consumer, JoinableQueue, Process, Producer, Queue, Value, task};

#[task]
fn produce(out: Producer<u32>, items: Vec<u32>) -> Result<(), String> {
    items.iter().try_for_each(|item| out.put(item)).map_err(|error| error.to_string())
}

#[task]
fn double(input: Consumer<u32>, out: Producer<u32>) -> Result<(), String> {
    for item in &input {
        let item = item.map_err(|error| error.to_string())?;
        out.put(&(2 * item)).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[task]
fn produce_and_crash(out: Producer<u32>) {
    for item in 0..5 {
        out.put(&item).expect("somebody gets it");
    }
    std::process::abort();
}

#[task]
fn work(items: Consumer<u32>, done: Value<u32>) -> Result<(), String> {
    for item in &items {
        item.map_err(|error| error.to_string())?;
        done.fetch_add(1);
        items.task_done().map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Two producers, two consumers, and the results by another queue.
    let (numbers, to_double) = Queue::<u32>::new()?.split();
    let (doubled, results) = Queue::<u32>::bounded(10)?.split();
    let producers = [(0..20).collect::<Vec<_>>(), (20..40).collect()]
        .map(|items| Process::new(produce, (numbers.clone(), items)).start());
    let consumers = [(); 2].map(|()| Process::new(double, (to_double.clone(), doubled.clone())).start());
    // Whoever keeps a side that he does not use keeps the queue from ending.
    drop((numbers, to_double, doubled));
    for producer in producers {
        producer?.result()??;
    }
    let got: Vec<u32> = results.iter().collect::<Result<_, _>>()?;
    let distinct: BTreeSet<_> = got.iter().filter(|&&item| item % 2 == 0 && item < 80).collect();
    println!("items: {} of 40, each of them once", if got.len() == 40 { distinct.len() } else { 0 });
    for consumer in consumers {
        consumer?.result()??;
    }

    // A crash ends the queue as well, after what was put.
    let (producer, consumer) = Queue::<u32>::new()?.split();
    let process = Process::new(produce_and_crash, producer).start()?;
    let got = consumer.iter().collect::<Result<Vec<_>, _>>()?;
    println!("after a crash: {} items, and the end", got.len());
    process.join();

    // Who wants to know when all is done joins the queue.
    let (producer, consumer) = JoinableQueue::<u32>::new()?.split();
    let done = Value::new(0)?;
    let worker = Process::new(work, (consumer, done.clone())).start()?;
    (0..20).try_for_each(|item| producer.put(&item))?;
    producer.join()?;
    println!("not joined before all is done: {} done", done.load());
    drop(producer);
    worker.result()??;
    Ok(())
}
