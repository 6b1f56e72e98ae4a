//! Several encoded values in one body, one after the other: the arguments of calls that go together, and their results.
//!
//! A record is a word that tells its length and its mark, its bytes, and zeros up to the next whole word. The mark of
//! arguments is the number of their task, that of a result is what it is.
//!
//! Values of one mark that are numbers need no word each: a group of them is one record, whose mark tells how long each
//! is. The last one of a body may be open: it has all bytes that are there, so whoever adds to it changes nothing of what
//! was there before.

const WORD: usize = 8;
/// Bits of the length; the mark is above.
const LENGTH: u32 = 40;
/// The length of a group that is open.
const OPEN: u64 = (1 << LENGTH) - 1;

/// Marks are smaller than this. Above is the length of each value of a group: 1 for one byte, 2 for two, and so on to 5 for
/// sixteen.
pub(crate) const MARKS: u32 = 1 << WIDTH_SHIFT;
const WIDTH_SHIFT: u32 = 21;

/// A record takes so many bytes more than its value, at the most.
pub(crate) const OVERHEAD: usize = 2 * WORD - 1;

/// A record is shorter than this.
pub(crate) const RECORD_MAX: usize = OPEN as usize;

/// A record is about to be appended: its bytes come next. Gives what [`close`] wants to know.
#[inline]
pub(crate) fn open(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; WORD]);
    out.len() - WORD
}

/// Nothing is left of the bytes of the record that was opened there.
pub(crate) fn begin_again(out: &mut Vec<u8>, at: usize) {
    out.truncate(at + WORD);
}

/// The bytes of the record that was opened there are complete.
#[inline]
pub(crate) fn close(out: &mut Vec<u8>, at: usize, mark: u32) {
    let len = (out.len() - at - WORD) as u64;
    out[at..at + WORD].copy_from_slice(&head(mark, len));
    out.resize(out.len().next_multiple_of(WORD), 0);
}

/// A group of values is about to be appended, each of so many bytes: a power of two, sixteen at the most. It is open as
/// long as nothing else follows; then [`close_group`] wants to know what this gives.
#[inline]
pub(crate) fn open_group(out: &mut Vec<u8>, mark: u32, width: usize) -> Group {
    let mark = mark | (width.trailing_zeros() + 1) << WIDTH_SHIFT;
    out.extend_from_slice(&head(mark, OPEN));
    Group { at: out.len() - WORD, mark }
}

/// Another record follows the group. Gives the place from where on something has changed.
pub(crate) fn close_group(out: &mut Vec<u8>, Group { at, mark }: Group) -> usize {
    close(out, at, mark);
    at
}

/// A group that is open, in the body that it was opened in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    at: usize,
    mark: u32,
}

impl Group {
    /// Whether its values have so many bytes.
    #[inline]
    pub(crate) fn is_of(self, width: usize) -> bool {
        self.width() == width
    }

    /// How many bytes each of its values has.
    #[inline]
    pub(crate) fn width(self) -> usize {
        1 << ((self.mark >> WIDTH_SHIFT) - 1)
    }
}

#[inline]
fn head(mark: u32, len: u64) -> [u8; WORD] {
    (len | u64::from(mark) << LENGTH).to_le_bytes()
}

/// Reads the values of a body, front to back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Records<'a> {
    /// The values of the group that was begun, each of so many bytes.
    group: &'a [u8],
    width: usize,
    /// The mark of that.
    mark: u32,
    /// What comes after it.
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    #[inline]
    pub(crate) fn new(body: &'a [u8]) -> Records<'a> {
        Records { group: &[], width: 1, mark: 0, rest: body }
    }

    /// There is nothing left.
    pub(crate) fn is_empty(&self) -> bool {
        self.group.is_empty() && self.rest.is_empty()
    }

    /// The mark of the next value.
    #[inline]
    pub(crate) fn mark(&self) -> Option<u32> {
        if !self.group.is_empty() {
            return Some(self.mark);
        }
        let mut later = *self;
        later.next().map(|(mark, _)| mark)
    }

    /// The rest of the group that comes next, if its values have this length: its mark, and its values. What is next is
    /// not of a group, or of one of other values, where there is none.
    #[inline]
    pub(crate) fn group_of(&mut self, width: usize) -> Option<(u32, &'a [u8])> {
        if self.group.is_empty() {
            let mut later = *self;
            later.begin_group()?;
            *self = later;
        }
        (self.width == width).then(|| (self.mark, std::mem::take(&mut self.group)))
    }

    /// Begins with the record that comes next, if that is a group that is not empty.
    #[inline]
    fn begin_group(&mut self) -> Option<()> {
        let (mark, bytes, rest) = first(self.rest)?;
        let width = 1_usize.checked_shl((mark >> WIDTH_SHIFT).checked_sub(1)?)?;
        if width > 16 || bytes.is_empty() || !bytes.len().is_multiple_of(width) {
            return None;
        }
        *self = Records { group: bytes, width, mark: mark & (MARKS - 1), rest };
        Some(())
    }

    /// What comes after so many values. `None` if there are fewer.
    pub(crate) fn after(mut self, mut count: u32) -> Option<Records<'a>> {
        while count > 0 {
            if self.group.is_empty() && self.begin_group().is_none() {
                self.next()?;
                count -= 1;
                continue;
            }
            let skipped = (self.group.len() / self.width).min(count as usize);
            self.group = &self.group[skipped * self.width..];
            count -= skipped as u32;
        }
        Some(self)
    }

    /// A body of the next so many values. `None` if there are fewer.
    pub(crate) fn part(mut self, mut count: u32) -> Option<Vec<u8>> {
        let (mut out, mut group) = (Vec::new(), None);
        while count > 0 {
            if let Some(group) = group.take() {
                close_group(&mut out, group);
            }
            if self.group.is_empty() && self.begin_group().is_none() {
                let (mark, bytes) = self.next()?;
                let at = open(&mut out);
                out.extend_from_slice(bytes);
                close(&mut out, at, mark);
                count -= 1;
                continue;
            }
            let taken = (self.group.len() / self.width).min(count as usize);
            let (bytes, rest) = self.group.split_at(taken * self.width);
            group = Some(open_group(&mut out, self.mark, self.width));
            out.extend_from_slice(bytes);
            self.group = rest;
            count -= taken as u32;
        }
        Some(out)
    }
}

/// Each value with its mark. `None` at the end, and where there is something that is no record.
impl<'a> Iterator for Records<'a> {
    type Item = (u32, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<(u32, &'a [u8])> {
        if self.group.is_empty() {
            let (mark, bytes, rest) = first(self.rest)?;
            if mark < MARKS {
                self.rest = rest;
                return Some((mark, bytes));
            }
            self.begin_group()?;
        }
        let (value, group) = self.group.split_at_checked(self.width)?;
        self.group = group;
        Some((self.mark, value))
    }
}

/// The first record of a body: its mark, its bytes, and what comes after it. `None` if that is no record.
#[inline]
fn first(body: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (head, rest) = body.split_first_chunk::<WORD>()?;
    let head = u64::from_le_bytes(*head);
    let mark = (head >> LENGTH) as u32;
    if head & OPEN == OPEN && mark >= MARKS {
        return Some((mark, rest, &[]));
    }
    let len = usize::try_from(head & OPEN).ok()?;
    let bytes = rest.get(..len)?;
    // Whoever was killed while adding another has not come so far as to fill up the last word.
    let rest = rest.get(len.checked_next_multiple_of(WORD)?..).unwrap_or_default();
    Some((mark, bytes, rest))
}

/// How many values a body has. `None` if it is something else.
pub(crate) fn count(body: &[u8]) -> Option<u32> {
    let mut records = Records::new(body);
    let mut count = 0_u32;
    while !records.is_empty() {
        let values = match records.begin_group() {
            Some(()) => std::mem::take(&mut records.group).len() / records.width,
            None => records.next().map(|_| 1)?,
        };
        count = count.checked_add(u32::try_from(values).ok()?)?;
    }
    Some(count)
}

#[cfg(test)]
mod test {
    use super::*;

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7) as u8).collect()
    }

    fn body(lengths: &[usize]) -> Vec<u8> {
        let mut body = Vec::new();
        for (mark, &len) in (0..).zip(lengths) {
            let at = open(&mut body);
            body.extend(bytes(len));
            close(&mut body, at, mark);
        }
        body
    }

    /// Groups and others in turn, the last one open: the body and its values.
    fn groups() -> (Vec<u8>, Vec<(u32, Vec<u8>)>) {
        let (mut body, mut values) = (Vec::new(), Vec::new());
        let mut last = None;
        for (mark, (width, count)) in (0..).zip([(8, 3), (1, 5), (0, 0), (16, 1), (2, 3), (0, 3), (4, 5)]) {
            if let Some(group) = last.take() {
                close_group(&mut body, group);
            }
            if width == 0 {
                let at = open(&mut body);
                body.extend(bytes(count));
                close(&mut body, at, mark);
                values.push((mark, bytes(count)));
                continue;
            }
            last = Some(open_group(&mut body, mark, width));
            for value in bytes(width * count).chunks(width) {
                body.extend_from_slice(value);
                values.push((mark, value.to_vec()));
            }
        }
        (body, values)
    }

    fn values(body: &[u8]) -> Vec<(u32, Vec<u8>)> {
        Records::new(body).map(|(mark, value)| (mark, value.to_vec())).collect()
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let lengths = [0, 1, 7, 8, 9, 1000, 0];
        let body = body(&lengths);
        assert_eq!(count(&body), Some(7));
        let expected: Vec<_> = (0..).zip(&lengths).map(|(mark, &len)| (mark, bytes(len))).collect();
        assert_eq!(values(&body), expected);
    }

    #[test]
    fn groups_come_out_as_they_went_in() {
        let (body, expected) = groups();
        assert_eq!(values(&body), expected);
        assert_eq!(count(&body), Some(expected.len() as u32));
        let mut records = Records::new(&body);
        assert_eq!(records.mark(), Some(0));
        assert_eq!(records.group_of(4), None, "they are of another length");
        assert_eq!(records.next(), Some((0, &bytes(8)[..])));
        assert_eq!(records.group_of(8), Some((0, &bytes(24)[8..])));
        assert_eq!(records.mark(), Some(1));
    }

    #[test]
    fn any_part_is_a_body() {
        let (body, expected) = groups();
        for from in 0..=expected.len() {
            let rest = Records::new(&body).after(from as u32).unwrap();
            for to in from..=expected.len() {
                let part = rest.part((to - from) as u32).unwrap();
                assert_eq!(values(&part), expected[from..to], "{from} to {to}");
                assert_eq!(count(&part), Some((to - from) as u32));
            }
            assert!(rest.part((expected.len() - from) as u32 + 1).is_none());
            assert!(rest.after((expected.len() - from) as u32 + 1).is_none());
        }
    }

    #[test]
    fn whatever_bytes_come_they_are_read_to_an_end_and_counted_as_they_are_read() {
        let mut random = 7_u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            random >> 33
        };
        let mut bodies = 0;
        for _ in 0..20_000 {
            let mut body = groups().0;
            for _ in 0..1 + next() % 3 {
                let at = next() as usize % body.len();
                body[at] = [0, 1, 8, 255, next() as u8][next() as usize % 5];
            }
            body.truncate(next() as usize % (2 * body.len()));
            let mut records = Records::new(&body);
            let read = records.by_ref().count() as u32;
            let is_whole = records.is_empty();
            assert_eq!(count(&body), is_whole.then_some(read), "{body:?}");
            bodies += u32::from(is_whole);
            assert!(Records::new(&body).after(read + 1).is_none());
            assert_eq!(Records::new(&body).part(read).map(|part| values(&part)), Some(values(&body)));
        }
        assert!(bodies > 1_000);
    }

    #[test]
    fn what_is_cut_or_claims_too_much_is_no_record() {
        let mut marked = Vec::new();
        let at = open(&mut marked);
        close(&mut marked, at, MARKS - 1);
        assert_eq!(values(&marked), [(MARKS - 1, vec![])]);
        let whole = body(&[5, 20]);
        // The zeros at the end may be missing, and nothing else.
        for len in (1..whole.len()).filter(|len| ![13, 14, 15, 16].contains(len) && *len < 44) {
            assert_eq!(count(&whole[..len]), None, "cut at {len}");
        }
        for claim in [41, 1 << 20, OPEN] {
            let mut body = whole.clone();
            body[..8].copy_from_slice(&u64::to_le_bytes(claim));
            assert_eq!(count(&body), None, "{claim} bytes");
        }
        for (mark, len) in
            [(2 << WIDTH_SHIFT, 3), (6 << WIDTH_SHIFT, 32), (7 << WIDTH_SHIFT, 0), (1 << WIDTH_SHIFT, 0)]
        {
            let body = [&head(mark, len)[..], &[0; 32]].concat();
            assert_eq!(count(&body[..8 + len as usize]), None, "{len} bytes of {mark:x}");
            assert_eq!(values(&body), []);
        }
    }
}
