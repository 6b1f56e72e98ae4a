//! The protocol of a lock: a word of 64 bits, whose lower half the kernel knows.
//!
//! ```text
//! bits 0-29   the keeper of the process that holds the lock, 0 if nobody does
//! bit  30     DIED: who held it last died, or left it as if
//! bit  31     WAITERS: somebody sleeps, so wake one when the lock is free
//! bits 32-63  how many sleep
//! ```
//!
//! Both halves change in one exchange, which is what makes `WAITERS` exact: it stands whenever somebody sleeps, through
//! all who take the lock and free it meanwhile, and goes when nobody does. A lock that only has `WAITERS` without a
//! count would lose it: between the moment when a sleeper is woken and the moment when it takes the lock, another may
//! take and free it, and if the woken one is killed then, nobody knows of those who sleep on.
//!
//! **Who is killed** owned the word, and the kernel puts `DIED` in his place and wakes one; or slept, and is counted for
//! ever, which costs those who free the lock a system call; or was woken or about to wake, and the kernel wakes
//! another in his place (`sys/cover.rs`). All of that is in the model of `model.rs`, a death at each step included.
//!
//! Sleepers look again from time to time all the same: a thread whose process is being killed may still take a lock in
//! the moment after the kernel has gone through the words of that process. They find that nobody is there.

use std::hint;
use std::time::Instant;

use crate::primitive::MODELLED;
use crate::sys::keeper::{DIED, OWNER, WAITERS};

/// The word, and what the kernel does for those who use it.
pub(crate) trait Word {
    fn load(&self) -> u64;
    /// Puts `new` in the place of `seen`, or gives what is there.
    fn exchange(&self, seen: u64, new: u64) -> Result<(), u64>;
    /// Sleeps if the lower half is this, until it is woken, or until then. May return early.
    fn sleep(&self, low: u32, until: Instant);
    /// Wakes one who sleeps.
    fn wake(&self);
    /// Runs `operation`; if this thread is killed in it while nobody owns the word, one who sleeps is woken.
    fn during<R>(&self, operation: impl FnOnce() -> R) -> R;
    /// Whether this owner is dead for certain.
    fn is_gone(&self, owner: u32) -> bool;
}

/// Whoever waits has no more time, or does not want the lock any more.
#[derive(Debug, PartialEq)]
pub(crate) struct GaveUp;

/// Somebody else has the lock that should have been freed: the memory was written to by somebody who may not.
#[derive(Debug, PartialEq)]
pub(super) struct NotOurs;

/// How often one looks at a lock that is taken before one sleeps: about as long as it takes to sleep and be woken.
const LOOKS: u32 = if MODELLED { 2 } else { 100 };

/// What the word becomes when it is taken, by one who is counted among the sleepers or is not.
fn taken(seen: u64, owner: u32, was_asleep: bool) -> u64 {
    let asleep = (seen >> 32).saturating_sub(u64::from(was_asleep));
    asleep << 32 | u64::from(owner | if asleep > 0 { WAITERS } else { 0 })
}

/// Takes the lock if it is free. Whether it is suspect: who held it last died.
#[inline]
pub(super) fn try_lock(word: &impl Word, owner: u32) -> Option<bool> {
    let mut seen = match word.exchange(0, owner.into()) {
        Ok(()) => return Some(false),
        Err(seen) => seen,
    };
    while seen as u32 & OWNER == 0 {
        match word.exchange(seen, taken(seen, owner, false)) {
            Ok(()) => return Some(seen as u32 & DIED != 0),
            Err(now) => seen = now,
        }
    }
    None
}

/// Waits for the lock. `patience` says until when to sleep before looking again, or that it is enough.
pub(super) fn lock(
    word: &impl Word,
    owner: u32,
    patience: &mut dyn FnMut() -> Option<Instant>,
) -> Result<bool, GaveUp> {
    for _ in 0..LOOKS {
        if let Some(suspect) = try_lock(word, owner) {
            return Ok(suspect);
        }
        if word.load() as u32 & WAITERS != 0 {
            break;
        }
        hint::spin_loop();
    }
    word.during(|| sleep_for(word, owner, patience))
}

fn sleep_for(
    word: &impl Word,
    owner: u32,
    patience: &mut dyn FnMut() -> Option<Instant>,
) -> Result<bool, GaveUp> {
    let mut counted = false;
    let mut seen = word.load();
    loop {
        let is_free = seen as u32 & OWNER == 0;
        let new = if is_free {
            taken(seen, owner, counted)
        } else {
            // One more who sleeps. The flag stands already if anybody is counted.
            (seen | u64::from(WAITERS)).wrapping_add(u64::from(!counted) << 32)
        };
        if new != seen {
            if let Err(now) = word.exchange(seen, new) {
                seen = now;
                continue;
            }
            if is_free {
                return Ok(seen as u32 & DIED != 0);
            }
            counted = true;
        }
        let Some(until) = patience() else {
            count_out(word);
            return Err(GaveUp);
        };
        word.sleep(new as u32, until);
        seen = word.load();
        if seen as u32 == new as u32 && word.is_gone(new as u32 & OWNER) {
            seen = bury(word, seen);
        }
    }
}

/// Does what the kernel would have done at the death of the owner.
fn bury(word: &impl Word, seen: u64) -> u64 {
    let died = seen & !u64::from(OWNER) | u64::from(DIED);
    match word.exchange(seen, died) {
        Ok(()) => died,
        Err(now) => now,
    }
}

/// As the kernel would have marked the word if its owner has died and the kernel has missed it.
pub(super) fn bury_if_gone(word: &impl Word) {
    let seen = word.load();
    let owner = seen as u32 & OWNER;
    if owner != 0 && word.is_gone(owner) {
        bury(word, seen);
    }
}

/// One sleeper less.
fn count_out(word: &impl Word) {
    let mut seen = word.load();
    // A count of none is nobody's doing but that of a process that writes where it may not.
    while seen >> 32 != 0 {
        let less = seen - (1 << 32);
        let new = if less >> 32 == 0 { less & !u64::from(WAITERS) } else { less };
        match word.exchange(seen, new) {
            Ok(()) => return,
            Err(now) => seen = now,
        }
    }
}

/// Frees the lock; if `suspect`, as if the owner had died.
#[inline]
pub(super) fn unlock(word: &impl Word, owner: u32, suspect: bool) -> Result<(), NotOurs> {
    let free = if suspect { DIED } else { 0 };
    match word.exchange(owner.into(), free.into()) {
        Ok(()) => Ok(()),
        Err(_) => word.during(|| unlock_and_wake(word, owner, free)),
    }
}

fn unlock_and_wake(word: &impl Word, owner: u32, free: u32) -> Result<(), NotOurs> {
    let mut seen = word.load();
    while seen as u32 & OWNER == owner {
        let asleep = seen >> 32;
        let new = asleep << 32 | u64::from(free | if asleep > 0 { WAITERS } else { 0 });
        match word.exchange(seen, new) {
            Ok(()) => {
                if asleep > 0 {
                    word.wake();
                }
                return Ok(());
            }
            Err(now) => seen = now,
        }
    }
    Err(NotOurs)
}
