//! To wait for a moment without sleeping, where that went well of late.
//!
//! To sleep and to be woken takes longer than many a task, and half of it is the time of whoever wakes. So whoever waits
//! for something that may come at once looks again and again for about as long as that would take, and lets others go
//! first meanwhile. Waiting that is in vain becomes rare. Where it is set how long to look, all of it is done each time.

use std::hint::spin_loop;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::primitive::{MODELLED, thread};

/// Each wait that was in vain doubles the number of those that are left out. Several threads may blur that, and nothing
/// depends on it.
#[derive(Debug)]
pub(crate) struct Luck {
    in_vain: AtomicU32,
    left_out: AtomicU32,
    /// Before so many waits it was seen that another one on this processor had to have its turn.
    brief: AtomicU32,
    /// Looks before others have their turn.
    looks: u32,
    /// How long to look each time, whatever came of it before.
    spin: Option<Duration>,
}

const IN_VAIN_MAX: u32 = 8;

/// To sleep and to be woken takes about as long.
pub(crate) const WAKE_UP: Duration = Duration::from_micros(40);

/// Looks before others have their turn: for what is held for a moment; for the answer to a call, which takes longer; and
/// where it was set how long to look.
const LOOKS: u32 = 32;
const LOOKS_ANSWER: u32 = 64;
const LOOKS_SPUN: u32 = 512;

/// Looks where it came last time as soon as others had had their turn: then it is done on this processor, and looking
/// only keeps it. After so many times it is looked for as long as ever.
const BRIEF: u32 = 4;
const BRIEFLY: u32 = 16;

/// Looks so often at the most.
fn look(times: u32, is_there: &mut impl FnMut() -> bool) -> bool {
    for _ in 0..times {
        if is_there() {
            return true;
        }
        spin_loop();
    }
    false
}

impl Default for Luck {
    fn default() -> Luck {
        let [in_vain, left_out, brief] = [const { AtomicU32::new(0) }; 3];
        Luck { in_vain, left_out, brief, looks: LOOKS, spin: None }
    }
}

impl Luck {
    /// With waiting for calls and their answers; for so long, if a time is set.
    pub(crate) fn at_calls(spin: Option<Duration>) -> Luck {
        let looks = if spin.is_some() { LOOKS_SPUN } else { LOOKS_ANSWER };
        Luck { spin, looks, ..Luck::default() }
    }

    /// Waits until `is_there` says so, for about as long as a wake-up takes, if that is worth a try; or for the time that is
    /// set.
    pub(crate) fn linger(&self, mut is_there: impl FnMut() -> bool) -> bool {
        let (looks, time) = (self.looks, self.spin.unwrap_or(WAKE_UP));
        let is_worth_a_try = || self.spin.is_some() || self.is_worth_a_try();
        if MODELLED || time.is_zero() || !is_worth_a_try() {
            return false;
        }
        let brief = self.brief.load(Relaxed);
        if look(if brief > 0 { BRIEF } else { looks }, &mut is_there) {
            self.brief.store(brief.saturating_sub(1), Relaxed);
            self.note(true);
            return true;
        }
        let began = Instant::now();
        thread::yield_now();
        let is_here = is_there();
        let brief = if is_here { brief.checked_sub(1).unwrap_or(BRIEFLY) } else { 0 };
        self.brief.store(brief, Relaxed);
        // On a busy processor others had their turn for long, and sleep would have ended sooner.
        let mut in_time = began.elapsed() < time;
        let mut came = is_here || look(looks, &mut is_there);
        while !came && in_time {
            thread::yield_now();
            in_time = began.elapsed() < time;
            came = look(looks, &mut is_there);
        }
        self.note(came && in_time);
        came
    }

    pub(crate) fn is_worth_a_try(&self) -> bool {
        let in_vain = self.in_vain.load(Relaxed);
        in_vain == 0 || self.left_out.fetch_add(1, Relaxed) >= 1 << in_vain
    }

    pub(crate) fn note(&self, lucky: bool) {
        let before = self.in_vain.load(Relaxed);
        if lucky && before == 0 {
            return;
        }
        self.in_vain.store(if lucky { 0 } else { IN_VAIN_MAX.min(before + 1) }, Relaxed);
        self.left_out.store(0, Relaxed);
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn where_a_time_is_set_it_is_looked_for_so_long_each_time() {
        let looks = |luck: &Luck| {
            let mut looks = 0;
            assert!(!luck.linger(|| {
                looks += 1;
                false
            }));
            looks
        };
        let luck = Luck::at_calls(Some(Duration::from_millis(2)));
        for _ in 0..4 {
            let began = Instant::now();
            assert!(looks(&luck) > LOOKS_SPUN);
            assert!(began.elapsed() >= Duration::from_millis(2));
        }
        assert!(luck.linger(|| true));
        assert_eq!(looks(&Luck::at_calls(Some(Duration::ZERO))), 0, "not at all");
    }

    #[test]
    fn who_waits_looks_until_it_is_there_and_not_for_ever() {
        let luck = Luck::default();
        let mut looks = 0;
        let there_at = |look: u32, looks: &mut u32| {
            luck.linger(|| {
                *looks += 1;
                *looks == look
            })
        };
        assert!(there_at(1, &mut looks) && there_at(3, &mut looks), "it comes");
        assert_eq!(looks, 3);
        assert!(!there_at(0, &mut looks), "it never comes");
        let before = looks;
        assert!(before > 3 + LOOKS);
        assert!(!there_at(0, &mut looks) && !there_at(0, &mut looks));
        assert_eq!(looks, before, "after that two do not try");
        assert!(there_at(looks + 1, &mut looks), "the next one does");
        assert!(there_at(looks + 1, &mut looks));
    }

    #[test]
    fn what_was_in_vain_is_tried_ever_less_often_until_it_is_not() {
        let luck = Luck::default();
        let skipped = || (0..).find(|_| luck.is_worth_a_try()).unwrap();
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(skipped());
            luck.note(false);
        }
        assert_eq!(seen, [0, 2, 4, 8]);
        (0..20).for_each(|_| luck.note(false));
        assert_eq!(skipped(), 1 << IN_VAIN_MAX);
        luck.note(true);
        assert_eq!((skipped(), skipped()), (0, 0));
    }
}
