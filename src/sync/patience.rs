//! How long somebody waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Who sleeps looks again after this time in any case: see `word.rs`.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience<'a> {
    deadline: Option<Instant>,
    /// Set when nobody wants what is waited for any more.
    over: Option<&'a AtomicBool>,
}

impl<'a> Patience<'a> {
    pub(crate) const ENDLESS: Patience<'static> = Patience { deadline: None, over: None };

    /// From now on for so long. What is too long to be told is for ever.
    pub(crate) fn of(timeout: Duration) -> Patience<'static> {
        Patience { deadline: Instant::now().checked_add(timeout), over: None }
    }

    pub(crate) fn unless(over: &'a AtomicBool) -> Patience<'a> {
        Patience { deadline: None, over: Some(over) }
    }

    /// Until when to sleep before looking again; `None`: it is enough.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until_within(LOOK_AGAIN)
    }

    /// The same for somebody who looks again after that time.
    pub(crate) fn until_within(&self, time: Duration) -> Option<Instant> {
        let now = Instant::now();
        let is_over = self.over.is_some_and(|over| over.load(Ordering::SeqCst));
        if is_over || self.deadline.is_some_and(|deadline| deadline <= now) {
            return None;
        }
        let look = now + time;
        Some(self.deadline.map_or(look, |deadline| deadline.min(look)))
    }
}
