//! Large memory that has been filled before, for what is to be filled next.
//!
//! New memory costs more than what is copied to it: the kernel clears every page, and in a virtual machine the host may have
//! to find each one first. A thread that large values come to lets go of one about when the next one comes: an argument of
//! the task whose result has come, a result that has been sent. What comes next takes that memory over. Nothing is kept
//! by a thread that no large value has come to, nothing that has not been used before, and nothing for longer than
//! [`A_WHILE`] after the last one: whoever waits asks [`until`] when to call [`release`].

use std::cell::RefCell;
use std::ops::Deref;
use std::time::{Duration, Instant};

use super::pages::{LARGE_PAGE, MAPPED};

/// What is kept when nothing comes.
const A_WHILE: Duration = Duration::from_secs(1);

/// A thread keeps no more. It is what values of this size save a quarter of their time by; those that are larger are few.
const MOST: usize = (256 << 20) + LARGE_PAGE;

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare { kept: Vec::new(), bytes: 0, wanted: 0, last: None }) };
}

/// Of one thread.
struct Spare {
    kept: Vec<Vec<u8>>,
    /// Of what is kept.
    bytes: usize,
    /// Bytes of values that have come, and for which nothing has been kept since.
    wanted: usize,
    /// When something came or was kept, if that can have left anything here.
    last: Option<Instant>,
}

/// More than this is not used for so many bytes: who has them has all the memory.
fn roomy(len: usize) -> usize {
    len + len / 8 + LARGE_PAGE
}

/// Empty memory for a value of so many bytes that comes to this thread. If what is kept does not fit, nothing is kept any
/// more.
pub(crate) fn take(len: usize) -> Option<Vec<u8>> {
    if !(MAPPED..=MOST).contains(&len) {
        return None;
    }
    SPARE.with_borrow_mut(|spare| {
        spare.wanted = (spare.wanted + len).min(MOST);
        spare.last = Some(Instant::now());
        let place = spare.kept.iter().position(|memory| (len..=roomy(len)).contains(&memory.capacity()));
        let taken = place.map(|place| spare.kept.swap_remove(place));
        match &taken {
            Some(memory) => spare.bytes -= memory.capacity(),
            None => spare.clear(),
        }
        taken
    })
}

/// Memory that nobody needs any more. It is kept if that much has come to this thread.
pub(crate) fn give(mut memory: Vec<u8>) {
    let (len, room) = (memory.len(), memory.capacity());
    if room < MAPPED || room > roomy(len) {
        return;
    }
    // The thread may be at its end.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.wanted == 0 || spare.bytes + room > MOST {
            return;
        }
        memory.clear();
        spare.wanted = spare.wanted.saturating_sub(len);
        spare.bytes += room;
        spare.kept.push(memory);
        spare.last = Some(Instant::now());
    });
}

/// When this thread is to call [`release`], if nothing large comes before that.
#[inline]
pub(crate) fn until() -> Option<Instant> {
    SPARE.with_borrow(|spare| spare.last.map(|last| last + A_WHILE))
}

/// Lets go of what is kept, if that is due.
#[inline]
pub(crate) fn release() {
    if until().is_some() {
        release_at(Instant::now());
    }
}

fn release_at(now: Instant) {
    if until().is_some_and(|due| due <= now) {
        SPARE.with_borrow_mut(|spare| {
            spare.clear();
            (spare.wanted, spare.last) = (0, None);
        });
    }
}

/// Lets go of what is kept, because the memory may be needed for something else.
#[inline]
pub(crate) fn make_room() {
    SPARE.with_borrow_mut(|spare| {
        if spare.bytes > 0 {
            spare.clear();
        }
    });
}

impl Spare {
    #[cold]
    fn clear(&mut self) {
        self.kept.clear();
        self.bytes = 0;
    }
}

/// Memory that is given when nobody has it any more.
#[derive(Debug)]
pub(crate) struct Reusable(Vec<u8>);

impl Reusable {
    pub(crate) fn new(memory: Vec<u8>) -> Reusable {
        Reusable(memory)
    }

    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl Deref for Reusable {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Reusable {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.0));
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const LEN: usize = 64 << 20;

    fn used(len: usize) -> Vec<u8> {
        // Zeros that nobody writes take no memory.
        vec![0; len]
    }

    #[test]
    fn what_comes_next_has_the_memory_of_what_was_let_go_of() {
        assert!(take(LEN).is_none(), "nothing is there at first");
        let memory = used(LEN + 1);
        let place = memory.as_ptr();
        drop(Reusable::new(memory));
        let again = take(LEN).expect("it fits");
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        assert!(take(LEN).is_none(), "it is there once");
    }

    #[test]
    fn only_a_thread_that_large_values_come_to_keeps_something_and_one_for_each() {
        give(used(LEN));
        make_room();
        assert!(until().is_none(), "nothing has come");
        assert!(take(LEN).is_none());
        give(used(LEN));
        give(used(LEN));
        assert!(take(LEN).is_some());
        assert!(take(LEN).is_none(), "one had come");
    }

    #[test]
    fn what_was_never_filled_or_does_not_fit_is_not_used() {
        assert!(take(LEN).is_none());
        give(Vec::with_capacity(LEN));
        give(used(MAPPED - 1));
        assert_eq!(SPARE.with_borrow(|spare| spare.kept.len()), 0);
        give(used(LEN));
        assert!(take(LEN / 8 * 7 - 2 * LARGE_PAGE).is_none(), "too much for so little");
        assert_eq!(SPARE.with_borrow(|spare| spare.bytes), 0, "it was in the way");
        give(used(LEN));
        assert!(take(LEN + 1).is_none(), "too little");
        assert!(take(MOST + 1).is_none() && take(MAPPED - 1).is_none());
    }

    #[test]
    fn no_more_is_kept_than_the_most() {
        for _ in 0..10 {
            assert!(take(LEN).is_none());
        }
        for _ in 0..10 {
            give(used(LEN));
        }
        let (kept, bytes) = SPARE.with_borrow(|spare| (spare.kept.len(), spare.bytes));
        assert_eq!((kept, bytes), (MOST / LEN, MOST / LEN * LEN));
    }

    #[test]
    fn nothing_is_kept_for_longer_than_a_while() {
        assert!(take(LEN).is_none());
        give(used(LEN));
        let due = until().expect("something is kept");
        release_at(due - Duration::from_millis(1));
        assert!(take(LEN).is_some(), "it was not due");
        give(used(LEN));
        release_at(until().unwrap());
        assert!(until().is_none());
        give(used(LEN));
        assert!(until().is_none() && take(LEN).is_none(), "what had come is forgotten as well");
    }

    #[test]
    fn room_is_made_at_once_and_the_next_is_kept_all_the_same() {
        assert!(take(LEN).is_none() && take(LEN).is_none());
        give(used(LEN));
        make_room();
        assert_eq!(SPARE.with_borrow(|spare| (spare.kept.len(), spare.bytes)), (0, 0));
        give(used(LEN));
        assert!(take(LEN).is_some());
    }
}
