//! What the kernel and the memory can do at best: the same work with nothing around it.
//!
//! The other side is this program, started again by [`other_side`]. It only sends back what it gets; the addition that a
//! task does is done here.

mod channel;
mod exec;
mod lock;
mod map;
mod memcpy;
mod ring;
mod stream;

use std::process::{Child, Command, Stdio};

use crate::contest::{self, Size};

/// The first argument of a program that is started to be the other side.
pub(crate) const OTHER_SIDE: &str = "--other-side";

/// This program as the other side of a raw contestant.
fn other_side(kind: &str, input: Stdio, output: Stdio) -> Child {
    Command::new("/proc/self/exe")
        .args([OTHER_SIDE, kind])
        .stdin(input)
        .stdout(output)
        .spawn()
        .expect("this program starts again")
}

/// Ends the other side with its owner.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // One that is gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The life of a program that was started to be the other side.
pub(crate) fn be_other_side(kind: &str) {
    match kind {
        "stream" => stream::be_other_side(),
        "futex" => ring::be_other_side_of_futex(),
        "ring" => ring::be_other_side(),
        "exec" => exec::be_other_side(),
        "wait" => exec::be_waiting(),
        "lock-full" => lock::be_other_side(Size::Full),
        "lock-quick" => lock::be_other_side(Size::Quick),
        _ => match kind.strip_prefix(channel::PRODUCE) {
            Some(amount) => channel::be_producer(amount),
            None => unreachable!("a raw contestant knows the kinds"),
        },
    }
}

/// Does one workload with one of the raw contestants. False if there is none of that name.
pub(crate) fn run(contestant: &str, workload: &str, size: Size) -> bool {
    match (contestant, workload) {
        ("raw-futex", "locks") => {
            lock::futex(size);
            return true;
        }
        ("std-mutex", "locks") => {
            lock::mutex(size);
            return true;
        }
        ("raw-exec", "crash" | "memory") => return contest::run::<exec::Waiting>(workload, size),
        _ if channel::run(contestant, workload, size) => return true,
        _ => {}
    }
    match contestant {
        "raw-pipe" => contest::run::<stream::Stream<stream::Pipe>>(workload, size),
        "raw-socketpair" => contest::run::<stream::Stream<stream::Socketpair>>(workload, size),
        "raw-futex" => contest::run::<ring::Futex>(workload, size),
        "raw-ring" => contest::run::<ring::Ring>(workload, size),
        "raw-memcpy" => contest::run::<memcpy::Memcpy>(workload, size),
        "raw-exec" => contest::run::<exec::Exec>(workload, size),
        _ => false,
    }
}
