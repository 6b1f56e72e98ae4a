//! Several encoded values in one body, one after the other: the arguments of calls that go together, and their results.
//!
//! A record is a word that tells its length and its mark, its bytes, and zeros up to the next whole word. The mark of
//! arguments is the number of their task, that of a result is what it is.

const WORD: usize = 8;
/// Bits of the length; the mark is above.
const LENGTH: u32 = 40;

/// Marks are smaller than this.
pub(crate) const MARKS: u32 = 1 << (64 - LENGTH);

/// A record takes so many bytes more than its value, at the most.
pub(crate) const OVERHEAD: usize = 2 * WORD - 1;

/// A record has so many bytes at the least.
pub(crate) const LEAST: usize = WORD;

/// A record is shorter than this.
pub(crate) const RECORD_MAX: usize = 1 << LENGTH;

/// A record is about to be appended: its bytes come next. Gives what [`close`] wants to know.
#[inline]
pub(crate) fn open(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; WORD]);
    out.len() - WORD
}

/// The bytes of the record that was opened there are complete.
#[inline]
pub(crate) fn close(out: &mut Vec<u8>, at: usize, mark: u32) {
    let len = (out.len() - at - WORD) as u64;
    out[at..at + WORD].copy_from_slice(&(len | u64::from(mark) << LENGTH).to_le_bytes());
    out.resize(out.len().next_multiple_of(WORD), 0);
}

/// The first record of a body: its mark, its bytes, and what comes after it. `None` if that is no record.
#[inline]
pub(crate) fn first(body: &[u8]) -> Option<(u32, &[u8], &[u8])> {
    let (head, rest) = body.split_first_chunk::<WORD>()?;
    let head = u64::from_le_bytes(*head);
    let len = usize::try_from(head & ((1 << LENGTH) - 1)).ok()?;
    let whole = len.checked_next_multiple_of(WORD)?;
    let (bytes, rest) = rest.split_at_checked(whole)?;
    Some(((head >> LENGTH) as u32, &bytes[..len], rest))
}

/// What comes after so many records. `None` if there are fewer.
pub(crate) fn after(mut body: &[u8], count: u32) -> Option<&[u8]> {
    for _ in 0..count {
        (_, _, body) = first(body)?;
    }
    Some(body)
}

/// How many records a body is. `None` if it is something else.
pub(crate) fn count(mut body: &[u8]) -> Option<u32> {
    let mut count = 0;
    while !body.is_empty() {
        (_, _, body) = first(body)?;
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod test {
    use super::*;

    fn body(lengths: &[usize]) -> Vec<u8> {
        let mut body = Vec::new();
        for (mark, &len) in (0..).zip(lengths) {
            let at = open(&mut body);
            body.extend((0..len).map(|i| (i * 7) as u8));
            close(&mut body, at, mark);
        }
        body
    }

    #[test]
    fn records_come_out_as_they_went_in() {
        let lengths = [0, 1, 7, 8, 9, 1000, 0];
        let body = body(&lengths);
        assert_eq!(count(&body), Some(7));
        let mut rest = &body[..];
        for (mark, &len) in (0..).zip(&lengths) {
            let (found, bytes, more) = first(rest).unwrap();
            assert_eq!((found, bytes.len()), (mark, len));
            assert!(bytes.iter().zip(0..).all(|(&byte, i)| byte == (i * 7) as u8));
            assert_eq!(after(&body, mark), Some(rest));
            rest = more;
        }
        assert!(rest.is_empty() && after(&body, 8).is_none());
    }

    #[test]
    fn what_is_cut_or_claims_too_much_is_no_record() {
        let mut marked = Vec::new();
        let at = open(&mut marked);
        close(&mut marked, at, MARKS - 1);
        assert_eq!(first(&marked), Some((MARKS - 1, &[][..], &[][..])));
        let whole = body(&[5, 20]);
        for len in (1..whole.len()).filter(|&len| len != 16) {
            assert_eq!(count(&whole[..len]), None, "cut at {len}");
        }
        for claim in [41, 1 << 20, (1 << LENGTH) - 1] {
            let mut body = whole.clone();
            body[..8].copy_from_slice(&u64::to_le_bytes(claim));
            assert_eq!(count(&body), None, "{claim} bytes");
        }
    }
}
