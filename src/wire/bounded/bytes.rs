//! The bytes of a value that is written, where the format and whoever passes it by can both reach them.

use std::cell::RefCell;

use crate::sys::{pages, spare};

/// A write that did not fit.
pub(in crate::wire) struct Full;

/// Where the bytes of one value go. They go away again unless the value is kept.
pub(in crate::wire) struct Sink<'a>(RefCell<Tail<'a>>);

/// The part of a buffer that one value is written to.
struct Tail<'a> {
    out: &'a mut Vec<u8>,
    /// Where the value starts.
    start: usize,
    /// The length that `out` must not exceed.
    end: usize,
    /// Something did not fit. Nothing may be kept then, since later and smaller writes may have fitted.
    full: bool,
    /// How many bytes there would be, if they are only counted. Nothing is written then, and `out` has no capacity.
    counted: Option<u64>,
}

/// What is reserved beyond a large write, for the rest of the value. It is little, so it is not worth a page.
const REST: usize = 64;

impl<'a> Sink<'a> {
    /// Appends to `out`, at most `limit` bytes.
    pub(in crate::wire) fn new(out: &'a mut Vec<u8>, limit: usize) -> Sink<'a> {
        let start = out.len();
        let end = start.saturating_add(limit);
        Sink(RefCell::new(Tail { out, start, end, full: false, counted: None }))
    }

    /// Counts and does not write. The buffer is an empty one.
    pub(in crate::wire) fn counting(none: &'a mut Vec<u8>) -> Sink<'a> {
        debug_assert_eq!(none.capacity(), 0, "bytes that fit are written");
        Sink(RefCell::new(Tail { out: none, start: 0, end: usize::MAX, full: false, counted: Some(0) }))
    }

    #[inline]
    pub(in crate::wire) fn write(&self, bytes: &[u8]) -> Result<(), Full> {
        let mut tail = self.0.borrow_mut();
        if tail.fits(bytes.len()) {
            tail.out.extend_from_slice(bytes);
            return Ok(());
        }
        tail.write_slowly(bytes)
    }

    #[inline]
    pub(in crate::wire) fn push(&self, byte: u8) -> Result<(), Full> {
        let mut tail = self.0.borrow_mut();
        if tail.fits(1) {
            tail.out.push(byte);
            return Ok(());
        }
        tail.write_slowly(&[byte])
    }

    /// Bytes of the value so far.
    pub(in crate::wire) fn len(&self) -> usize {
        let tail = self.0.borrow();
        tail.out.len() - tail.start
    }

    /// What was counted, instead of being written.
    pub(in crate::wire) fn counted(&self) -> u64 {
        self.0.borrow().counted.unwrap_or(0)
    }

    pub(in crate::wire) fn is_full(&self) -> bool {
        self.0.borrow().full
    }

    pub(in crate::wire) fn keep(self) {
        let mut tail = self.0.into_inner();
        tail.start = tail.out.len();
    }
}

impl Tail<'_> {
    /// Whether `more` bytes can be appended here and now.
    #[inline]
    fn fits(&self, more: usize) -> bool {
        let len = self.out.len();
        more <= self.end - len && more <= self.out.capacity() - len
    }

    #[cold]
    fn write_slowly(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if let Some(counted) = &mut self.counted {
            *counted += bytes.len() as u64;
            return Ok(());
        }
        self.make_room(bytes.len())?;
        // What is written in little pieces may grow further, which is faster for memory that has not been touched.
        if bytes.len() > self.out.capacity() / 2 {
            pages::prefer_large(self.out);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes room, if the limit and the memory allow it: doubles the capacity as a `Vec` would, but not beyond the
    /// limit, and by less where memory is short.
    fn make_room(&mut self, more: usize) -> Result<(), Full> {
        let len = self.out.len();
        if more <= self.end - len {
            if more >= spare::LEAST
                && let Some(mut memory) = spare::take_some((len + more).saturating_add(REST).min(self.end))
            {
                memory.extend_from_slice(self.out);
                *self.out = memory;
                return Ok(());
            }
            let wanted =
                self.out.capacity().saturating_mul(2).max(len.saturating_add(more).saturating_add(REST));
            let wanted = wanted.min(self.end).max(len + more);
            if pages::try_reserve(self.out, wanted - len).is_ok() || self.out.try_reserve_exact(more).is_ok()
            {
                return Ok(());
            }
        }
        self.full = true;
        Err(Full)
    }
}

impl Drop for Tail<'_> {
    fn drop(&mut self) {
        self.out.truncate(self.start);
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn memory_that_is_not_there_is_an_error_and_no_abort() {
        let mut out = vec![9; 3];
        let sink = Sink::new(&mut out, usize::MAX);
        let mut tail = sink.0.borrow_mut();
        assert!(tail.make_room(isize::MAX as usize - 64).is_err());
        assert!(tail.full);
        assert!(tail.make_room(usize::MAX - 3).is_err());
        drop(tail);
        drop(sink);
        assert_eq!(out, [9; 3]);
    }
}
