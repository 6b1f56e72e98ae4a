//! Large memory that has been filled before, for what is to be filled next.
//!
//! New memory costs more than what is copied to it: the kernel clears every page, and in a virtual machine the host may have
//! to find each one first; and an allocator gives large memory back as soon as it is free. A thread that large messages come to
//! lets go of one about when it needs memory for the next: of the arguments whose result has come, of a result that has
//! been sent. Each such thread has its own; others keep nothing.
//!
//! No more is kept than was asked for, and nothing for longer than [`A_WHILE`] after the last use: the thread asks [`until`]
//! before it sleeps, and calls [`release`] after that and between two tasks.

use std::cell::RefCell;
use std::ops::Deref;
use std::time::{Duration, Instant};

use super::pages::{LARGE_PAGE, MAPPED};

/// Smaller memory is left to the allocator.
pub(crate) const LEAST: usize = 128 << 10;

/// What is kept when nothing comes.
const A_WHILE: Duration = Duration::from_secs(1);

/// No more is kept. Values that are larger are few.
const MOST: usize = (256 << 20) + LARGE_PAGE;
const MOST_PIECES: usize = 16;

/// No more is kept while a task runs.
const MOST_BESIDE_A_TASK: usize = MAPPED;

thread_local! {
    static SPARE: RefCell<Option<Spare>> = const { RefCell::new(None) };
}

/// What a thread keeps.
#[derive(Default)]
struct Spare {
    kept: Vec<Vec<u8>>,
    /// Of what is kept.
    bytes: usize,
    /// Bytes that were asked for and that nothing has been kept for since.
    wanted: usize,
    /// When something was asked for or kept, if anything was.
    last: Option<Instant>,
    /// Memory that is dropped is kept, and not only what is given.
    from_drops: bool,
}

impl Spare {
    fn take(&mut self, len: usize, most: usize, now: Instant) -> Option<Vec<u8>> {
        let place = self.kept.iter().position(|memory| (len..=most).contains(&memory.capacity()));
        let taken = place.map(|place| self.kept.swap_remove(place));
        match &taken {
            Some(memory) => self.bytes -= memory.capacity(),
            // Other sizes come now.
            None => self.clear(),
        }
        if len <= MOST {
            self.wanted = (self.wanted + len).min(MOST);
            self.last = Some(now);
        }
        taken
    }

    fn give(&mut self, mut memory: Vec<u8>, now: Instant) {
        let (len, room) = (memory.len(), memory.capacity());
        // What is encoded may have grown a little beyond what was asked for.
        let is_wanted = len <= roomy(self.wanted) && room <= roomy(len);
        if room < LEAST || !is_wanted || self.kept.len() == MOST_PIECES || self.bytes + room > MOST {
            return;
        }
        memory.clear();
        self.wanted = self.wanted.saturating_sub(len);
        self.bytes += room;
        self.kept.push(memory);
        self.last = Some(now);
    }

    fn until(&self) -> Option<Instant> {
        self.last.map(|last| last + A_WHILE)
    }

    fn release(&mut self, now: Instant) {
        if self.until().is_some_and(|due| due <= now) {
            *self = Spare { from_drops: self.from_drops, ..Spare::default() };
        }
    }

    fn clear(&mut self) {
        self.kept.clear();
        self.bytes = 0;
    }
}

/// Memory of a size that its owner may have for so many bytes.
fn roomy(len: usize) -> usize {
    len.saturating_add(len / 8 + if len < MAPPED { LEAST / 8 } else { LARGE_PAGE })
}

/// Runs it if this thread keeps anything.
#[inline]
fn with<R>(run: impl FnOnce(&mut Spare) -> R) -> Option<R> {
    // At the end of a thread there may be none any more.
    SPARE.try_with(|spare| spare.borrow_mut().as_mut().map(run)).ok().flatten()
}

/// This thread keeps memory from now on; of a [`Reusable`] only if nothing of the user's runs here that may drop one and
/// go on for long.
pub(crate) fn keep(from_drops: bool) {
    SPARE.set(Some(Spare { from_drops, ..Spare::default() }));
}

/// Empty memory for a message of so many bytes, that its receiver can have. If what is kept does not fit, nothing is kept any
/// more.
pub(crate) fn take(len: usize) -> Option<Vec<u8>> {
    take_up_to(len, roomy(len))
}

/// The same for a message that is made, or a part of it: it may be larger.
pub(crate) fn take_some(len: usize) -> Option<Vec<u8>> {
    take_up_to(len, MOST)
}

#[inline]
fn take_up_to(len: usize, most: usize) -> Option<Vec<u8>> {
    if len < LEAST {
        return None;
    }
    with(|spare| spare.take(len, most, Instant::now())).flatten()
}

/// Memory of a message that nobody needs any more. It is kept if that much was asked for.
pub(crate) fn give(memory: Vec<u8>) {
    if memory.capacity() >= LEAST {
        with(|spare| spare.give(memory, Instant::now()));
    }
}

/// When this thread is to call [`release`].
#[inline]
pub(crate) fn until() -> Option<Instant> {
    with(|spare| spare.until()).flatten()
}

/// Lets go of what is kept, if that is due.
#[inline]
pub(crate) fn release() {
    if until().is_some() {
        with(|spare| spare.release(Instant::now()));
    }
}

/// The same before a task, which may need the memory.
#[inline]
pub(crate) fn make_room() {
    if until().is_some() {
        with(|spare| {
            spare.release(Instant::now());
            if spare.bytes > MOST_BESIDE_A_TASK {
                spare.clear();
            }
        });
    }
}

/// Memory that is kept for the next when nobody has it any more.
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
        if self.0.capacity() >= LEAST && with(|spare| spare.from_drops) == Some(true) {
            give(std::mem::take(&mut self.0));
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    const LEN: usize = 64 << 20;

    fn nothing() -> (Spare, Instant) {
        (Spare::default(), Instant::now())
    }

    /// Zeros that nobody writes take no memory.
    fn used(len: usize) -> Vec<u8> {
        vec![0; len]
    }

    fn ask(spare: &mut Spare, len: usize, now: Instant) -> bool {
        spare.take(len, roomy(len), now).is_some()
    }

    #[test]
    fn what_comes_next_has_the_memory_of_what_was_let_go_of() {
        let (mut spare, now) = nothing();
        assert!(!ask(&mut spare, LEN, now), "nothing is there at first");
        let memory = used(LEN + 1);
        let place = memory.as_ptr();
        spare.give(memory, now);
        let again = spare.take(LEN, roomy(LEN), now).expect("it fits");
        assert_eq!((again.as_ptr(), again.len(), spare.bytes), (place, 0, 0));
        assert!(!ask(&mut spare, LEN, now), "it is there once");
    }

    #[test]
    fn as_much_is_kept_as_was_asked_for_and_nothing_before() {
        let (mut spare, now) = nothing();
        spare.give(used(LEN), now);
        assert!(spare.kept.is_empty() && spare.until().is_none(), "nothing was asked for");
        assert!(!ask(&mut spare, LEN, now) && !ask(&mut spare, LEN, now));
        (0..3).for_each(|_| spare.give(used(LEN), now));
        assert_eq!((spare.kept.len(), spare.bytes), (2, 2 * LEN));
    }

    #[test]
    fn what_was_never_filled_or_does_not_fit_is_not_used() {
        let (mut spare, now) = nothing();
        assert!(!ask(&mut spare, LEN, now));
        spare.give(Vec::with_capacity(LEN), now);
        assert!(spare.kept.is_empty());
        spare.give(used(LEN), now);
        assert!(!ask(&mut spare, LEN / 8 * 7 - 2 * LARGE_PAGE, now), "too much for so little");
        assert_eq!((spare.kept.len(), spare.bytes), (0, 0), "it was in the way");
        assert!(!ask(&mut spare, LEN, now));
        spare.give(used(LEN), now);
        assert!(!ask(&mut spare, LEN + 1, now), "too little");
    }

    #[test]
    fn a_message_that_is_made_may_grow_into_more_memory() {
        let (mut spare, now) = nothing();
        assert!(!ask(&mut spare, LEN, now));
        spare.give(used(LEN), now);
        assert!(spare.take(LEN / 2, MOST, now).is_some());
        assert!(spare.take(LEN / 2, MOST, now).is_none());
    }

    #[test]
    fn there_is_a_most_of_bytes_and_of_pieces() {
        for (len, most) in [(LEN, MOST / LEN), (LEAST, MOST_PIECES)] {
            let (mut spare, now) = nothing();
            (0..20).for_each(|_| assert!(!ask(&mut spare, len, now)));
            (0..20).for_each(|_| spare.give(used(len), now));
            assert_eq!((spare.kept.len(), spare.bytes), (most, most * len));
            assert!(
                !ask(&mut spare, MOST + 1, now) && spare.kept.is_empty(),
                "what is too large needs all memory"
            );
        }
    }

    #[test]
    fn nothing_is_kept_for_longer_than_a_while() {
        let (mut spare, now) = nothing();
        assert!(!ask(&mut spare, LEN, now));
        assert_eq!(spare.until(), Some(now + A_WHILE));
        let later = now + A_WHILE / 2;
        spare.give(used(LEN), later);
        spare.release(now + A_WHILE);
        assert_eq!((spare.until(), spare.bytes), (Some(later + A_WHILE), LEN));
        spare.release(later + A_WHILE);
        assert!(spare.until().is_none() && spare.kept.is_empty());
        spare.give(used(LEN), later);
        assert!(spare.kept.is_empty(), "what was asked for is forgotten as well");
    }

    #[test]
    fn only_a_thread_that_is_told_to_keeps_something_and_little_beside_a_task() {
        assert!(take(LEN).is_none() && until().is_none());
        drop(Reusable::new(used(LEN)));
        assert!(until().is_none());
        keep(true);
        assert!(take(LEAST - 1).is_none() && until().is_none());
        assert!(take(LEAST).is_none() && take(LEN).is_none() && until().is_some());
        drop(Reusable::new(used(LEAST)));
        make_room();
        release();
        assert!(take_some(LEAST).is_some());
        give(used(LEN));
        make_room();
        assert!(take(LEN).is_none(), "too much beside a task");
        keep(false);
        assert!(take(LEAST).is_none());
        drop(Reusable::new(used(LEAST)));
        assert!(take(LEAST).is_none(), "it was not given");
    }
}
