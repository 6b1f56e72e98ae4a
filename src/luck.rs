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
    /// Before so many waits it was seen that the one who answers had to have its turn on this processor. `None` where
    /// nobody answers: what is held for a moment is free again wherever that is.
    brief: Option<AtomicU32>,
    /// Looks before others have their turn.
    looks: u32,
    /// How long to look each time, whatever came of it before.
    spin: Option<Duration>,
}

const IN_VAIN_MAX: u32 = 8;

/// To sleep and to be woken takes about as long.
pub(crate) const WAKE_UP: Duration = Duration::from_micros(40);

/// Looks before others have their turn, of some 30 ns each: for what is held for a moment; for the answer to a call, which
/// takes longer; and where it was set to look for long.
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
        Luck {
            in_vain: AtomicU32::new(0),
            left_out: AtomicU32::new(0),
            brief: None,
            looks: LOOKS,
            spin: None,
        }
    }
}

impl Luck {
    /// With waiting for calls and their answers; for so long, if a time is set.
    pub(crate) fn at_calls(spin: Option<Duration>) -> Luck {
        let looks = match spin {
            None => LOOKS_ANSWER,
            Some(time) if time > WAKE_UP => LOOKS_SPUN,
            Some(_) => LOOKS,
        };
        Luck { spin, looks, brief: Some(AtomicU32::new(0)), ..Luck::default() }
    }

    /// Waits until `is_there` says so, for about as long as a wake-up takes, if that is worth a try; or for the time that is
    /// set.
    pub(crate) fn linger(&self, is_there: impl FnMut() -> bool) -> bool {
        self.linger_until(None, is_there)
    }

    /// The same, and not beyond a deadline.
    pub(crate) fn linger_until(&self, until: Option<Instant>, mut is_there: impl FnMut() -> bool) -> bool {
        let time = self.spin.unwrap_or(WAKE_UP);
        if MODELLED || time.is_zero() || self.spin.is_none() && !self.is_worth_a_try() {
            return false;
        }
        let brief = self.brief.as_ref().map_or(0, |brief| brief.load(Relaxed));
        let note_brief = |left: u32| self.brief.iter().for_each(|brief| brief.store(left, Relaxed));
        if look(if brief > 0 { BRIEF } else { self.looks }, &mut is_there) {
            note_brief(brief.saturating_sub(1));
            self.note(true);
            return true;
        }
        // What comes at once needs no clock.
        let end = Instant::now().checked_add(time).into_iter().chain(until).min();
        let mut is_first = true;
        loop {
            thread::yield_now();
            // On a busy processor others had their turn for long, and sleep would have ended sooner.
            let in_time = end.is_none_or(|end| Instant::now() < end);
            let came = is_there();
            if is_first {
                note_brief(if came { brief.checked_sub(1).unwrap_or(BRIEFLY) } else { 0 });
                is_first = false;
            }
            if came || !in_time || look(self.looks, &mut is_there) {
                self.note(in_time);
                return came || in_time;
            }
        }
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
    fn who_answers_on_the_same_processor_has_its_turn_at_once_for_a_while() {
        let luck = Luck::at_calls(Some(Duration::from_secs(3600)));
        // It comes as soon as others have had their turn.
        let looks_before_it_came = || {
            let (mut looks, mut before) = (0, 0);
            assert!(luck.linger(|| {
                looks += 1;
                before = looks - 1;
                before == LOOKS_SPUN || before == BRIEF && luck.brief.as_ref().unwrap().load(Relaxed) > 0
            }));
            before
        };
        for _ in 0..2 {
            assert_eq!(looks_before_it_came(), LOOKS_SPUN);
            assert!((0..BRIEFLY).all(|_| looks_before_it_came() == BRIEF));
        }
        // And then it takes longer than that.
        let mut looks = 0;
        assert!(luck.linger(|| {
            looks += 1;
            looks == BRIEF + 2
        }));
        assert_eq!(looks_before_it_came(), LOOKS_SPUN);
        assert!(Luck::default().brief.is_none(), "nobody answers");
    }

    #[test]
    fn a_deadline_that_passes_is_no_luck() {
        let luck = Luck::at_calls(Some(Duration::from_secs(3600)));
        for _ in 0..2 {
            let until = Instant::now() + Duration::from_millis(1);
            assert!(!luck.linger_until(Some(until), || false));
            assert!(Instant::now() >= until);
        }
        let luck = Luck::at_calls(None);
        assert!(!luck.linger_until(Some(Instant::now()), || false));
        let mut looks = 0;
        assert!(!luck.linger_until(None, || {
            looks += 1;
            false
        }));
        assert_eq!(looks, 0, "the next one does not try");
    }

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
        let short = Luck::at_calls(Some(Duration::from_nanos(1)));
        assert!((0..4).all(|_| looks(&short) <= LOOKS + 1));
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
