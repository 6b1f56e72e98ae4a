//! The first worker of a pool has its start for itself.
//!
//! To start is hard work for a processor. Where there are not many of them, workers that start at once keep each other
//! from the first task, and this program from sending it. So the others follow when the first is up, or has failed, or
//! takes longer than usual.

use std::time::{Duration, Instant};

use super::machine::LaneNo;

/// Longer than a start takes on a machine that has time for it.
const USUAL: Duration = Duration::from_millis(10);

#[derive(Debug, Default)]
pub(super) struct Vanguard {
    /// Until when the others wait; `None` before there is a first.
    until: Option<Instant>,
    over: bool,
    behind: Vec<LaneNo>,
}

impl Vanguard {
    /// Of workers that cost nothing to start.
    pub(super) fn none() -> Vanguard {
        Vanguard { over: true, ..Vanguard::default() }
    }

    /// Whether a worker that is to start now starts later instead.
    pub(super) fn holds_back(&mut self, lane: LaneNo, now: Instant) -> bool {
        let holds = !self.over && self.until.is_some();
        if holds {
            self.behind.push(lane);
        }
        self.until.get_or_insert(now + USUAL);
        holds
    }

    /// Nobody is held back any more.
    pub(super) fn pass(&mut self) {
        self.over = true;
    }

    /// When to look again.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until.filter(|_| !self.behind.is_empty())
    }

    /// Those who were held back and start now.
    pub(super) fn follow(&mut self, now: Instant) -> Vec<LaneNo> {
        self.over |= self.until.is_some_and(|until| until <= now);
        if self.over { std::mem::take(&mut self.behind) } else { Vec::new() }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn others_follow_when_the_first_is_up_or_late() {
        let now = Instant::now();
        let [first, second, third] = [0, 1, 2].map(LaneNo);
        for late in [false, true] {
            let mut vanguard = Vanguard::default();
            assert!(!vanguard.holds_back(first, now));
            assert_eq!(vanguard.until(), None, "nobody waits");
            assert!(vanguard.holds_back(second, now) && vanguard.holds_back(third, now));
            assert!(vanguard.follow(now).is_empty());
            assert_eq!(vanguard.until(), Some(now + USUAL));
            if !late {
                vanguard.pass();
            }
            assert_eq!(vanguard.follow(if late { now + USUAL } else { now }), [second, third]);
            assert!(!vanguard.holds_back(second, now), "it is over");
            assert_eq!((vanguard.follow(now), vanguard.until()), (Vec::new(), None));
        }
        let mut none = Vanguard::none();
        assert!(!none.holds_back(first, now) && !none.holds_back(second, now));
    }
}
