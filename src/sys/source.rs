//! Bytes that a value is read from, and that may become a part of it.
//!
//! A large vector fills its message almost alone. To copy it out of there costs mostly the fresh memory that it is
//! copied to; so it is the message's own memory that becomes the vector.

use std::cell::{Cell, OnceCell};

/// Bytes that can be given away.
pub(crate) struct Body {
    /// What comes before the bytes, elsewhere in memory.
    lead: Lead,
    bytes: Cell<Vec<u8>>,
    /// What followed the part that was given away.
    after: OnceCell<Vec<u8>>,
}

/// Few bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lead {
    bytes: [u8; LEAD_MAX],
    len: usize,
}

pub(crate) const LEAD_MAX: usize = 10;

impl Lead {
    /// The first so many of these.
    pub(crate) fn new(bytes: [u8; LEAD_MAX], len: usize) -> Lead {
        Lead { bytes, len: len.min(LEAD_MAX) }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Body {
    pub(crate) fn new(bytes: Vec<u8>) -> Body {
        Body::led_by(Lead::default(), bytes)
    }

    pub(crate) fn led_by(lead: Lead, bytes: Vec<u8>) -> Body {
        Body { lead, bytes: Cell::new(bytes), after: OnceCell::new() }
    }

    /// What was not given away.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_inner()
    }

    /// Reads from the beginning.
    pub(crate) fn source(&mut self) -> Source<'_> {
        let bytes = self.bytes.get_mut();
        let (start, len) = (bytes.as_ptr(), bytes.len());
        // SAFETY: these are the initialised bytes of the vector. Whoever holds this slice, or a part of it, borrows the
        // body exclusively, by way of the source, so nobody but the source touches the vector, which does so in
        // `give` only: there it sees to it that the slice is not used any more.
        let bytes = unsafe { std::slice::from_raw_parts(start, len) };
        let body = &*self;
        let lead = body.lead.as_slice();
        let (rest, next) = if lead.is_empty() { (bytes, &[][..]) } else { (lead, bytes) };
        Source { rest: Cell::new(rest), next: Cell::new(next), lent: Cell::new(false), body: Some(body) }
    }
}

/// Reads bytes, front to back.
pub(crate) struct Source<'de> {
    rest: Cell<&'de [u8]>,
    /// What comes when there is no rest. Nothing is read in one piece of both.
    next: Cell<&'de [u8]>,
    /// Somebody has a part of the bytes for as long as they live.
    lent: Cell<bool>,
    /// Where the bytes are, if they can be given away.
    body: Option<&'de Body>,
}

/// Below this size, a copy costs less than the thought.
const WORTH_IT: usize = 1024;

impl<'de> Source<'de> {
    /// Reads bytes that stay where they are.
    #[inline]
    pub(crate) fn new(bytes: &'de [u8]) -> Source<'de> {
        Source { rest: Cell::new(bytes), next: Cell::new(&[]), lent: Cell::new(false), body: None }
    }

    /// Goes on with these, which stay where they are.
    #[inline]
    pub(crate) fn refill(&self, bytes: &'de [u8]) {
        debug_assert!(self.body.is_none(), "nothing is given away of them");
        self.rest.set(bytes);
        self.next.set(&[]);
        self.lent.set(false);
    }

    /// How many bytes are left.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        self.rest.get().len() + self.next.get().len()
    }

    /// The next bytes, as far as they are in one piece.
    #[inline]
    fn rest(&self) -> &'de [u8] {
        if self.rest.get().is_empty() {
            self.rest.set(self.next.take());
        }
        self.rest.get()
    }

    /// Takes the next bytes for a look; `None` if there are not so many.
    #[inline]
    pub(crate) fn read<R>(&self, len: usize, look: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let (taken, rest) = self.rest().split_at_checked(len)?;
        self.rest.set(rest);
        // They are lent for the time of the look, so that whoever looks cannot make the source give them away.
        let before = self.lent.replace(true);
        let seen = look(taken);
        self.lent.set(before);
        Some(seen)
    }

    /// Takes all bytes that are left, if a look at them gives something.
    #[inline]
    pub(crate) fn all<R>(&self, look: impl FnOnce(&[u8]) -> Option<R>) -> Option<R> {
        if !self.next.get().is_empty() {
            return None;
        }
        let seen = look(self.rest.get());
        if seen.is_some() {
            self.rest.set(&[]);
        }
        seen
    }

    /// Takes the next bytes by value.
    #[inline]
    pub(crate) fn array<const N: usize>(&self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest().split_first_chunk()?;
        self.rest.set(rest);
        Some(*taken)
    }

    /// Takes the next bytes and lets the taker keep them.
    #[inline]
    pub(crate) fn lend(&self, len: usize) -> Option<&'de [u8]> {
        if len == 0 {
            return Some(&[]);
        }
        let (taken, rest) = self.rest().split_at_checked(len)?;
        self.rest.set(rest);
        self.lent.set(true);
        Some(taken)
    }

    /// Takes the next bytes with the memory that they are in, if they are most of it and nobody else needs it. `None`
    /// takes nothing, and leaves them to be read in another way.
    #[inline]
    pub(crate) fn give(&self, len: usize) -> Option<Vec<u8>> {
        if len < WORTH_IT || self.lent.get() {
            return None;
        }
        self.give_large(self.body?, len)
    }

    fn give_large(&self, body: &'de Body, len: usize) -> Option<Vec<u8>> {
        let (_, after) = self.rest().split_at_checked(len)?;
        if body.after.get().is_some() {
            return None;
        }
        let mut bytes = body.bytes.take();
        let before = bytes.len() - self.left();
        if bytes.capacity() - len > len / 4 {
            body.bytes.set(bytes);
            return None;
        }
        // The one use of the slice from here on: it goes to a new place.
        self.rest.set(body.after.get_or_init(|| after.to_vec()));
        bytes.truncate(before + len);
        bytes.drain(..before);
        Some(bytes)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    /// So many bytes, all different from those after them, and where they are.
    fn body(len: usize) -> (Body, Vec<u8>, *const u8) {
        let bytes: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
        let copy = bytes.clone();
        let place = bytes.as_ptr();
        (Body::new(bytes), copy, place)
    }

    #[test]
    fn bytes_are_read_front_to_back_and_end() {
        let source = Source::new(&[1, 2, 3, 4]);
        assert_eq!(source.read(5, <[u8]>::len), None);
        assert_eq!(source.lend(usize::MAX), None);
        assert_eq!(source.array(), Some([1, 2]));
        assert_eq!(source.array::<3>(), None);
        assert_eq!(source.read(1, <[u8]>::to_vec), Some(vec![3]));
        assert_eq!((source.lend(1), source.left()), (Some(&[4][..]), 0));
        assert_eq!((source.lend(0), source.lend(1)), (Some(&[][..]), None));
    }

    #[test]
    fn most_of_the_bytes_are_given_with_their_memory_and_the_rest_is_still_read() {
        for (before, after) in [(0, 0), (1, 0), (0, 1), (3, 500)] {
            let (mut body, copy, place) = body(before + 10_000 + after);
            let source = body.source();
            assert_eq!(source.read(before, <[u8]>::to_vec).as_deref(), Some(&copy[..before]));
            let given = source.give(10_000).expect("nobody else needs them");
            assert_eq!((given.as_ptr(), &given[..]), (place, &copy[before..before + 10_000]));
            drop(given);
            assert_eq!((source.left(), source.give(after)), (after, None));
            assert_eq!(source.lend(after), Some(&copy[before + 10_000..]));
        }
    }

    #[test]
    fn bytes_that_somebody_has_or_that_are_few_or_that_are_not_there_are_not_given() {
        let (mut whole, copy, _) = body(20_000);
        let source = whole.source();
        assert_eq!(source.give(20_001), None);
        assert_eq!(source.give(WORTH_IT - 1), None);
        assert_eq!(source.give(9_000), None, "it would keep the memory of the others");
        source.read(1, |_| assert_eq!(source.give(19_999), None, "somebody looks at them")).unwrap();
        let lent = source.lend(2).unwrap();
        assert_eq!(source.give(19_997), None);
        assert_eq!((lent, source.left()), (&copy[1..3], 19_997));
        assert_eq!(Source::new(&copy).give(20_000), None, "they are not its own");
        let mut wasteful = Vec::with_capacity(1 << 20);
        wasteful.resize(20_000, 1);
        assert_eq!(Body::new(wasteful).source().give(20_000), None);
    }

    #[test]
    fn bytes_behind_a_lead_are_given_as_they_are() {
        let (body, copy, place) = body(20_000);
        let mut body = Body::led_by(Lead::new([7; LEAD_MAX], 2), body.bytes.into_inner());
        let source = body.source();
        assert_eq!((source.left(), source.all(|bytes| Some(bytes.len()))), (20_002, None));
        assert_eq!(source.read(3, <[u8]>::len), None, "they are not in one piece");
        assert_eq!((source.array(), source.left()), (Some([7, 7]), 20_000));
        let given = source.give(20_000).expect("nobody else needs them");
        assert_eq!((given.as_ptr(), given, source.left()), (place, copy, 0));
    }

    #[test]
    fn what_was_given_is_given_once() {
        let (mut body, copy, _) = body(12_000);
        let source = body.source();
        assert_eq!(source.give(10_000).as_deref(), Some(&copy[..10_000]));
        assert_eq!(source.give(2_000), None);
        assert_eq!(source.read(2_000, <[u8]>::to_vec).as_deref(), Some(&copy[10_000..]));
    }
}
