//! This very program, started and heard: its loader, its hook before `main`, its first byte. And how it waits, and dies.

use std::io::{Read, Write};
use std::process::Stdio;

use super::{Ended, other_side};
use crate::contest::{self, Contestant};

pub(super) struct Exec;

pub(super) fn be_other_side() {
    // A reader that is gone has seen enough.
    let _ = std::io::stdout().write_all(b"1");
    let _ = std::io::stdout().flush();
}

/// Says that it is there, waits to be told to die, and does.
pub(super) fn be_waiting() {
    be_other_side();
    let told = std::io::stdin().read_exact(&mut [0]);
    if told.is_ok() {
        contest::die();
    }
}

fn heard(kind: &str, input: Stdio) -> Ended {
    let mut child = other_side(kind, input, Stdio::piped());
    let mut byte = [0];
    child.stdout.take().expect("a pipe").read_exact(&mut byte).expect("a byte");
    Ended(child)
}

fn first_byte() -> Ended {
    heard("exec", Stdio::null())
}

impl Contestant for Exec {
    fn start(_workers: usize) -> Exec {
        Exec
    }

    fn one(&mut self, n: u64) -> Option<u64> {
        drop(first_byte());
        Some(n + 1)
    }

    fn many(&mut self, _count: u64) -> Option<u64> {
        None
    }

    fn spawn(said: &mut dyn FnMut()) -> Option<()> {
        let _child = first_byte();
        said();
        Some(())
    }
}

/// Processes of this program that do nothing.
pub(super) struct Waiting(Vec<Ended>);

impl Contestant for Waiting {
    fn start(workers: usize) -> Waiting {
        Waiting((0..workers).map(|_| heard("wait", Stdio::piped())).collect())
    }

    fn one(&mut self, _n: u64) -> Option<u64> {
        None
    }

    fn many(&mut self, _count: u64) -> Option<u64> {
        None
    }

    fn die(&mut self) -> Option<bool> {
        let Ended(child) = self.0.last_mut().expect("one that waits");
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(&[1]).expect("it listens");
        Some(!child.wait().expect("a child").success())
    }
}
