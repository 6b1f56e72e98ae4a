//! What the kernel's own channels do for `pipes`, `queues` and `manager`: a number there and back, messages one way, each
//! written for itself, and one pipe that many processes write to.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use super::ring::Futex;
use super::stream::{self, Stream, Way};
use super::{Ended, other_side};
use crate::contest::{Contestant, Size, manager, pipes, queues};

/// The first word of a side that produces; how much follows it.
pub(super) const PRODUCE: &str = "produce ";

/// Writes numbers as soon as it is told to, or large messages.
pub(super) fn be_producer(amount: &str) {
    let output = File::from(std::io::stdout().as_fd().try_clone_to_owned().expect("a descriptor"));
    let (what, count) = amount.split_once(' ').expect("what, and how many");
    let count: u64 = count.parse().expect("a number");
    std::io::stdin().read_exact(&mut [0]).expect("the word to begin");
    let message = vec![7; pipes::LARGE];
    for number in 0..count {
        let written = match what {
            "numbers" => (&output).write_all(&number.to_ne_bytes()),
            _ => (&output).write_all(&message),
        };
        written.expect("somebody reads");
    }
}

/// So many processes that write to the same, once they are told to, and what they write.
fn producers(many: u64, amount: &str, (from, to): (File, OwnedFd)) -> (Vec<Ended>, File) {
    let kind = format!("{PRODUCE}{amount}");
    let producer = |_| {
        let output = to.try_clone().expect("a descriptor");
        Ended(other_side(&kind, Stdio::piped(), output.into()))
    };
    ((0..many).map(producer).collect(), from)
}

fn begin(producers: &mut [Ended]) {
    for Ended(child) in producers {
        child.stdin.take().expect("a pipe").write_all(&[1]).expect("it waits for that");
    }
}

fn pipe() -> (File, OwnedFd) {
    let (from, to) = std::io::pipe().expect("a pipe");
    (OwnedFd::from(from).into(), to.into())
}

fn socketpair() -> (File, OwnedFd) {
    let (from, to) = UnixStream::pair().expect("a socketpair");
    (OwnedFd::from(from).into(), to.into())
}

/// Reads as much at once as there is.
fn numbers(from: File) -> impl FnMut() -> u64 {
    let mut from = std::io::BufReader::with_capacity(64 * 1024, from);
    move || {
        let mut number = [0; 8];
        from.read_exact(&mut number).expect("a number");
        u64::from_ne_bytes(number)
    }
}

fn round_trips<C: Contestant>(trips: u64) {
    let mut there_and_back = C::start(1);
    pipes::round_trips(trips, |number| there_and_back.one(number).expect("it can"));
}

fn all_of_pipes<W: Way>(channel: fn() -> (File, OwnedFd), size: Size) {
    let (trips, count, large) = pipes::amounts(size);
    round_trips::<Stream<W>>(trips);
    let (mut producer, from) = producers(1, &format!("numbers {count}"), channel());
    begin(&mut producer);
    pipes::one_way(count, numbers(from));
    let (mut producer, mut from) = producers(1, &format!("large {large}"), channel());
    begin(&mut producer);
    pipes::large(large, || {
        let mut message = vec![0; pipes::LARGE];
        from.read_exact(&mut message).expect("a message");
        message.len()
    });
}

/// Does one of these workloads. False if it is none of them, or this contestant does not do it.
pub(super) fn run(contestant: &str, workload: &str, size: Size) -> bool {
    match (contestant, workload) {
        ("raw-futex", "pipes") => round_trips::<Futex>(pipes::amounts(size).0),
        ("raw-futex", "queues") => round_trips::<Futex>(queues::amounts(size).0),
        ("raw-pipe", "pipes") => all_of_pipes::<stream::Pipe>(pipe, size),
        ("raw-socketpair", "pipes") => all_of_pipes::<stream::Socketpair>(socketpair, size),
        ("raw-pipe", "queues") => {
            let (trips, count) = queues::amounts(size);
            round_trips::<Stream<stream::Pipe>>(trips);
            let (mut producer, from) = producers(1, &format!("numbers {count}"), pipe());
            queues::one_way(count, || begin(&mut producer), numbers(from));
            let each = count / queues::PRODUCERS;
            let (mut all, from) = producers(queues::PRODUCERS, &format!("numbers {each}"), pipe());
            queues::from_four(count, || begin(&mut all), numbers(from));
        }
        ("raw-socketpair", "manager") => {
            let mut other = <Stream<stream::Socketpair>>::start(1);
            let mut call = || assert_eq!(other.one(7), Some(8));
            manager::calls("get_us", manager::times(size), &mut call);
            manager::calls("add_us", manager::times(size), &mut call);
        }
        _ => return false,
    }
    true
}
