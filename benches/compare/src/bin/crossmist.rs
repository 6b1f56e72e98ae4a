//! crossmist: a function that runs in a process of its own, with two channels.

use crossmist::{Receiver, Sender};
use procpool_bench_peers::contest::{Contestant, Size, pipes, queues};
use procpool_bench_peers::lanes::{Call, Lane, Lanes, Reply};

struct Own {
    to: Sender<Call>,
    from: Receiver<Reply>,
    _child: crossmist::Child<()>,
}

#[crossmist::func]
fn work(mut calls: Receiver<Call>, mut replies: Sender<Reply>) {
    while let Ok(Some(call)) = calls.recv() {
        if replies.send(&call.run()).is_err() {
            break;
        }
    }
}

impl Lane for Own {
    type Sender = Sender<Call>;
    type Receiver = Receiver<Reply>;

    fn start() -> Own {
        let (to, calls) = crossmist::channel().expect("a channel");
        let (replies, from) = crossmist::channel().expect("a channel");
        Own { to, from, _child: work.spawn(calls, replies).expect("a process") }
    }

    fn send(to: &mut Sender<Call>, call: &Call) -> bool {
        to.send(call).is_ok()
    }

    fn receive(from: &mut Receiver<Reply>) -> Option<Reply> {
        from.recv().ok().flatten()
    }

    fn ends(&mut self) -> (&mut Sender<Call>, &mut Receiver<Reply>) {
        (&mut self.to, &mut self.from)
    }
}

#[crossmist::func]
fn produce(mut numbers: Sender<u64>, count: u64) {
    (0..count).for_each(|number| numbers.send(&number).expect("somebody receives"));
}

#[crossmist::func]
fn produce_large(mut messages: Sender<Vec<u8>>, count: u64) {
    let message = vec![7; pipes::LARGE];
    (0..count).for_each(|_| messages.send(&message).expect("somebody receives"));
}

fn round_trips(trips: u64) {
    let mut lanes = Lanes::<Own>::start(1);
    pipes::round_trips(trips, |number| lanes.one(number).expect("an answer"));
}

fn one_way(count: u64) {
    let (sender, mut numbers) = crossmist::channel::<u64>().expect("a channel");
    let _child = produce.spawn(sender, count).expect("a process");
    pipes::one_way(count, || numbers.recv().ok().flatten().expect("a number"));
}

fn pipes_of(size: Size) {
    let (trips, count, large) = pipes::amounts(size);
    round_trips(trips);
    one_way(count);
    let (sender, mut messages) = crossmist::channel::<Vec<u8>>().expect("a channel");
    let _child = produce_large.spawn(sender, large).expect("a process");
    pipes::large(large, || messages.recv().ok().flatten().expect("a message").len());
}

/// Its channels are of one sender and one receiver, so nothing comes from four. They hold little, so what the sender has
/// done before time begins with the first item is little.
fn queues_of(size: Size) {
    let (trips, count) = queues::amounts(size);
    round_trips(trips);
    one_way(count);
}

#[crossmist::main]
fn main() {
    match procpool_bench_peers::asked() {
        (workload, size) if workload == "pipes" => pipes_of(size),
        (workload, size) if workload == "queues" => queues_of(size),
        _ => procpool_bench_peers::main::<Lanes<Own>>(),
    }
}
