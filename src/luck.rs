//! To wait for a moment without sleeping, where that went well of late.
//!
//! To sleep and to be woken takes longer than many a task, and half of it is the time of whoever wakes. So whoever waits
//! for something that may come at once looks again and again for about as long as that would take, and lets others go
//! first meanwhile. Waiting that is in vain becomes rare.

use std::hint::spin_loop;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use crate::primitive::{MODELLED, thread};

/// Each wait that was in vain doubles the number of those that are left out. Several threads may blur that, and nothing
/// depends on it.
#[derive(Debug, Default)]
pub(crate) struct Luck {
    in_vain: AtomicU32,
    left_out: AtomicU32,
}

const IN_VAIN_MAX: u32 = 8;

/// To sleep and to be woken takes about as long.
pub(crate) const WAKE_UP: Duration = Duration::from_micros(40);

/// Looks before others have their turn.
const LOOKS: u32 = 32;

impl Luck {
    /// Waits until `is_there` says so, for about as long as a wake-up takes, if that is worth a try.
    pub(crate) fn linger(&self, mut is_there: impl FnMut() -> bool) -> bool {
        if MODELLED || !self.is_worth_a_try() {
            return false;
        }
        let began = Instant::now();
        let mut came = false;
        let mut in_time = true;
        loop {
            for _ in 0..LOOKS {
                came = is_there();
                if came {
                    break;
                }
                spin_loop();
            }
            if came || !in_time {
                break;
            }
            thread::yield_now();
            // On a busy processor others had their turn for long, and sleep would have ended sooner.
            in_time = began.elapsed() < WAKE_UP;
        }
        self.note(came && in_time);
        came
    }

    pub(crate) fn is_worth_a_try(&self) -> bool {
        let in_vain = self.in_vain.load(Relaxed);
        in_vain == 0 || self.left_out.fetch_add(1, Relaxed) >= 1 << in_vain
    }

    pub(crate) fn note(&self, lucky: bool) {
        let in_vain = if lucky { 0 } else { IN_VAIN_MAX.min(self.in_vain.load(Relaxed) + 1) };
        self.in_vain.store(in_vain, Relaxed);
        self.left_out.store(0, Relaxed);
    }
}

#[cfg(test)]
mod test {
    use super::*;

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
