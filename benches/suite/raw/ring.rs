//! Shared memory: a futex for one word, and a small ring that large values stream through, with both sides spinning.

use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::atomic::Ordering::{Acquire, Release};

use rustix::thread::futex;

use super::map::{Map, RING, Word};
use super::{Ended, other_side};
use crate::contest::Contestant;

/// A word there, a word back; both sides sleep.
pub(super) struct Futex {
    map: Map,
    turn: u32,
    _other: Ended,
}

fn sleep_while(word: &Word, old: u32) -> u32 {
    loop {
        let new = word.0.load(Acquire);
        if new != old {
            return new;
        }
        // Whatever it returns for, the word is looked at again.
        let _ = futex::wait(&word.0, futex::Flags::empty(), old, None);
    }
}

fn post(word: &Word, value: u32) {
    word.0.store(value, Release);
    // That nobody sleeps is no error.
    let _ = futex::wake(&word.0, futex::Flags::empty(), 1);
}

pub(super) fn be_other_side_of_futex() {
    let map = Map::open(std::io::stdin().as_fd()).expect("the shared memory");
    let mut seen = 0;
    loop {
        seen = sleep_while(&map.head().call, seen);
        post(&map.head().reply, seen);
    }
}

impl Contestant for Futex {
    fn start(_workers: usize) -> Futex {
        let (map, file) = Map::create().expect("shared memory");
        Futex { map, turn: 0, _other: Ended(other_side("futex", file.into(), Stdio::null())) }
    }

    fn one(&mut self, n: u64) -> Option<u64> {
        let old = self.turn;
        self.turn = old.wrapping_add(1);
        post(&self.map.head().call, self.turn);
        assert_eq!(sleep_while(&self.map.head().reply, old), self.turn);
        Some(n + 1)
    }

    fn many(&mut self, _count: u64) -> Option<u64> {
        None
    }
}

/// Bytes through a ring there and a ring back; nobody sleeps.
pub(super) struct Ring {
    map: Map,
    _other: Ended,
}

/// As much as is copied before the other side is told.
const STEP: usize = RING / 8;

/// Copies what fits at once. How many bytes that is.
fn write_some(map: Map, ring: usize, bytes: &[u8]) -> usize {
    let head = map.head();
    let written = head.written[ring].0.load(Acquire);
    let free = RING - (written - head.read[ring].0.load(Acquire)) as usize;
    let at = written as usize % RING;
    let count = bytes.len().min(free).min(RING - at).min(STEP);
    map.put(ring, at, &bytes[..count]);
    head.written[ring].0.store(written + count as u64, Release);
    count
}

/// Copies what is there at once. How many bytes that is.
fn read_some(map: Map, ring: usize, bytes: &mut [u8]) -> usize {
    let head = map.head();
    let read = head.read[ring].0.load(Acquire);
    let there = (head.written[ring].0.load(Acquire) - read) as usize;
    let at = read as usize % RING;
    let count = bytes.len().min(there).min(RING - at).min(STEP);
    map.get(ring, at, &mut bytes[..count]);
    head.read[ring].0.store(read + count as u64, Release);
    count
}

/// Waits a little, and lets others run if it lasts.
fn pause(turns: &mut u32) {
    *turns += 1;
    if *turns < 1_000 { std::hint::spin_loop() } else { std::thread::yield_now() }
}

pub(super) fn be_other_side() {
    let map = Map::open(std::io::stdin().as_fd()).expect("the shared memory");
    let mut block = vec![0; STEP];
    let mut turns = 0;
    loop {
        let count = read_some(map, 0, &mut block);
        if count == 0 {
            pause(&mut turns);
            continue;
        }
        let mut sent = 0;
        while sent < count {
            sent += write_some(map, 1, &block[sent..count]);
        }
        turns = 0;
    }
}

impl Contestant for Ring {
    fn start(_workers: usize) -> Ring {
        let (map, file) = Map::create().expect("shared memory");
        Ring { map, _other: Ended(other_side("ring", file.into(), Stdio::null())) }
    }

    fn one(&mut self, n: u64) -> Option<u64> {
        let back = self.echo(n.to_ne_bytes().to_vec())?;
        Some(u64::from_ne_bytes(back.try_into().ok()?) + 1)
    }

    fn many(&mut self, count: u64) -> Option<u64> {
        let bytes: Vec<u8> = (0..count).flat_map(u64::to_ne_bytes).collect();
        let back = self.echo(bytes)?;
        Some(back.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("8 bytes")) + 1).sum())
    }

    fn echo(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let mut back = vec![0; bytes.len()];
        let (mut sent, mut got, mut turns) = (0, 0, 0);
        while got < bytes.len() {
            let (more, less) =
                (write_some(self.map, 0, &bytes[sent..]), read_some(self.map, 1, &mut back[got..]));
            (sent, got) = (sent + more, got + less);
            if more + less > 0 {
                turns = 0;
            } else {
                pause(&mut turns);
            }
        }
        Some(back)
    }
}
