//! Locks with nothing around them: a futex between two processes, which nobody repairs when its holder dies, and the
//! standard library's between two threads.

use std::hint;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::time::Instant;

use rustix::thread::futex;

use super::map::Map;
use super::{Ended, other_side};
use crate::contest::{Size, locks};

/// Free, taken, taken while somebody may sleep.
const FREE: u32 = 0;
const TAKEN: u32 = 1;
const AWAITED: u32 = 2;

fn lock(word: &AtomicU32) {
    if word.compare_exchange(FREE, TAKEN, Acquire, Relaxed).is_ok() {
        return;
    }
    for _ in 0..100 {
        if word.load(Relaxed) == FREE && word.compare_exchange(FREE, TAKEN, Acquire, Relaxed).is_ok() {
            return;
        }
        hint::spin_loop();
    }
    while word.swap(AWAITED, Acquire) != FREE {
        let _ = futex::wait(word, futex::Flags::empty(), AWAITED, None);
    }
}

fn unlock(word: &AtomicU32) {
    if word.swap(FREE, Release) == AWAITED {
        let _ = futex::wake(word, futex::Flags::empty(), 1);
    }
}

/// The lock is the word `call`; how many have come is in `reply`, and how often somebody was inside in `written`.
fn take_turns(map: Map, size: Size) -> f64 {
    let (word, count) = (&map.head().call.0, &map.head().written[0].0);
    map.head().reply.0.fetch_add(1, SeqCst);
    while map.head().reply.0.load(SeqCst) < 2 {
        hint::spin_loop();
    }
    let begun = Instant::now();
    for _ in 0..locks::times(size).1 {
        lock(word);
        count.store(count.load(Relaxed) + 1, Relaxed);
        unlock(word);
    }
    begun.elapsed().as_nanos() as f64
}

pub(super) fn be_other_side(size: Size) {
    let map = Map::open(std::io::stdin().as_fd()).expect("the shared memory");
    take_turns(map, size);
    map.head().reply.0.fetch_add(1, SeqCst);
    loop {
        std::thread::park();
    }
}

pub(super) fn futex(size: Size) {
    let (alone, times) = locks::times(size);
    let (map, file) = Map::create().expect("shared memory");
    let word = &map.head().call.0;
    locks::emit_free("lock", alone, || {
        lock(word);
        unlock(word);
    });
    let kind = match size {
        Size::Full => "lock-full",
        Size::Quick => "lock-quick",
    };
    let _other = Ended(other_side(kind, file.into(), Stdio::null()));
    let took = take_turns(map, size);
    while map.head().reply.0.load(SeqCst) < 3 {
        std::thread::yield_now();
    }
    locks::emit_contended("lock", times, took);
    assert_eq!(map.head().written[0].0.load(SeqCst), 2 * times, "one at a time");
}

pub(super) fn mutex(size: Size) {
    let (alone, times) = locks::times(size);
    let mutex = Mutex::new(0_u64);
    locks::emit_free("lock", alone, || drop(mutex.lock().expect("nobody panics")));
    locks::emit_free("increment", alone, || *mutex.lock().expect("nobody panics") += 1);
    let begin = std::sync::Barrier::new(2);
    let run = || {
        begin.wait();
        let begun = Instant::now();
        (0..times).for_each(|_| *mutex.lock().expect("nobody panics") += 1);
        begun.elapsed().as_nanos() as f64
    };
    let took = std::thread::scope(|scope| {
        let other = scope.spawn(run);
        f64::max(run(), other.join().expect("it does not panic"))
    });
    locks::emit_contended("increment", times, took);
}
