//! How the two sides of a ring wake each other, and only when somebody sleeps.
//!
//! Whoever waits first says so on the shared page, then looks once more, and only then sleeps; whoever has written
//! first writes, then looks whether somebody waits. One of the two sees the other.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;
use std::time::Instant;

use crate::primitive::{MODELLED, thread};
use crate::sys::futex;
use crate::sys::map::SharedMap;

/// The state of the one who waits, then how often the other side has used the socket.
const ANNOUNCED_AT: usize = 8;

/// The size of a bell in shared memory: a line of the processor's cache.
pub(crate) const BELL_BYTES: usize = 64;

/// What whoever waits wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Wish {
    /// Nothing: it is awake, or looks again by itself.
    None = 0,
    /// A message through the socket, at which it waits.
    Message = 1,
    /// To be woken, from its sleep at the bell.
    Wake = 2,
}

/// One side waits, the other rings.
#[derive(Clone, Debug)]
pub(crate) struct Bell {
    map: Arc<SharedMap>,
    at: usize,
}

impl Bell {
    pub(super) fn new(map: Arc<SharedMap>, at: usize) -> Bell {
        Bell { map, at }
    }

    /// Says what is wanted from now on. Look once more at what is waited for after this.
    pub(crate) fn wish(&self, wish: Wish) {
        self.map.half_word(self.at).store(wish as u32, Relaxed);
        fence(SeqCst);
    }

    /// Sleeps until the bell is rung, or until then, if [`Wish::Wake`] still stands. May return early.
    pub(crate) fn sleep(&self, until: Option<Instant>) {
        if MODELLED {
            // Whoever is not woken here never goes on, and that is seen.
            while until.is_none() && self.map.half_word(self.at).load(SeqCst) == Wish::Wake as u32 {
                thread::yield_now();
            }
            thread::yield_now();
        } else {
            futex::wait_until(self.map.half_word(self.at), Wish::Wake as u32, until);
        }
    }

    /// Wakes whoever sleeps, and leaves a wish for a message: what was written is one, or a message has been sent
    /// already, and the wish is for the next.
    pub(crate) fn ring_for_sleeper(&self) {
        fence(SeqCst);
        let state = self.map.half_word(self.at);
        if state.compare_exchange(Wish::Wake as u32, Wish::None as u32, SeqCst, Relaxed).is_ok() {
            futex::wake_one(state);
        }
    }

    /// Wakes whoever sleeps on the own side of the bell, where the wish may have become another meanwhile.
    pub(crate) fn rouse(&self) {
        let state = self.map.half_word(self.at);
        fence(SeqCst);
        let _ = state.compare_exchange(Wish::Wake as u32, Wish::None as u32, SeqCst, Relaxed);
        futex::wake_one(state);
    }

    /// Takes the wish of whoever waits for what was written before this. A sleeper is woken.
    pub(crate) fn ring(&self) -> Wish {
        fence(SeqCst);
        let state = self.map.half_word(self.at);
        if state.load(Relaxed) == Wish::None as u32 {
            return Wish::None;
        }
        match state.swap(Wish::None as u32, SeqCst) {
            0 => Wish::None,
            1 => Wish::Message,
            // The other side may write what it likes; to be woken for nothing hurts nobody.
            _ => {
                futex::wake_one(state);
                Wish::Wake
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_for_a_sleeper(&self) -> bool {
        self.map.half_word(self.at).load(SeqCst) == Wish::Wake as u32
    }

    /// The side that rings has put something into the socket. Before it rings, and not before that: who looks again
    /// because of this must find it.
    pub(crate) fn announce(&self) {
        self.map.word(self.at + ANNOUNCED_AT).fetch_add(1, Release);
    }

    /// How often something was put into the socket. Read this before the socket.
    pub(crate) fn announced(&self) -> u64 {
        self.map.word(self.at + ANNOUNCED_AT).load(Acquire)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn no_call_is_missed() {
        let map = Arc::new(SharedMap::create(4096, 4096).unwrap().0);
        let bell = Bell::new(Arc::clone(&map), 64);
        let work = |turn: u64| map.word(0).load(Acquire) == turn;
        const TURNS: u64 = if cfg!(miri) { 100 } else { 20_000 };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for turn in 1..=TURNS {
                    while !work(turn) {
                        bell.wish(Wish::Wake);
                        if !work(turn) {
                            bell.sleep(None);
                        }
                        bell.wish(Wish::None);
                    }
                    map.word(8).store(turn, Release);
                }
            });
            for turn in 1..=TURNS {
                map.word(0).store(turn, Release);
                bell.ring();
                while map.word(8).load(Acquire) < turn {
                    std::thread::yield_now();
                }
            }
        });
    }

    #[test]
    fn a_wish_is_taken_once() {
        let map = Arc::new(SharedMap::create(4096, 4096).unwrap().0);
        let bell = Bell::new(map, 0);
        assert_eq!(bell.ring(), Wish::None);
        bell.wish(Wish::Message);
        assert_eq!((bell.ring(), bell.ring()), (Wish::Message, Wish::None));
        bell.wish(Wish::Wake);
        assert_eq!((bell.ring(), bell.ring()), (Wish::Wake, Wish::None));
        let before = bell.announced();
        bell.announce();
        assert_eq!(bell.announced(), before + 1);
    }
}
