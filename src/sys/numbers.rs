//! Numbers of one to eight bytes in memory that processes share.
//!
//! Each place is always reached by atomics of one and the same width, by all processes, so that nobody sees half a number.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use super::keeper::KeptMap;

/// How wide the numbers are that values of `size` bytes are made of.
pub(crate) const fn width(size: usize) -> usize {
    match size {
        _ if size.is_multiple_of(8) => 8,
        _ if size.is_multiple_of(4) => 4,
        _ if size.is_multiple_of(2) => 2,
        _ => 1,
    }
}

/// Runs an expression with `$number` as the atomic of that width at `$offset`.
macro_rules! with_number {
    ($map:expr, $offset:expr, $width:expr, |$number:ident| $run:expr) => {{
        let (offset, width): (usize, usize) = ($offset, $width);
        assert!(offset.is_multiple_of(width), "a number at its place");
        let address = $map.address(offset, width);
        // SAFETY: in bounds and aligned, since the mapping begins with a page; valid as long as the mapping, which is
        // borrowed here; the seals keep the file from shrinking under it; all access is atomic and of this width.
        #[allow(clippy::unnecessary_cast)]
        unsafe {
            match width {
                1 => {
                    let $number = AtomicU8::from_ptr(address);
                    $run
                }
                2 => {
                    let $number = AtomicU16::from_ptr(address.cast());
                    $run
                }
                4 => {
                    let $number = AtomicU32::from_ptr(address.cast());
                    $run
                }
                8 => {
                    let $number = AtomicU64::from_ptr(address.cast());
                    $run
                }
                _ => unreachable!("numbers are of 1, 2, 4 or 8 bytes"),
            }
        }
    }};
}

impl KeptMap {
    #[inline]
    pub(crate) fn load(&self, offset: usize, width: usize) -> u64 {
        with_number!(self, offset, width, |number| number.load(Ordering::Acquire) as u64)
    }

    #[inline]
    pub(crate) fn store(&self, offset: usize, width: usize, bits: u64) {
        with_number!(self, offset, width, |number| number.store(bits as _, Ordering::Release));
    }

    #[inline]
    pub(crate) fn swap(&self, offset: usize, width: usize, bits: u64) -> u64 {
        with_number!(self, offset, width, |number| number.swap(bits as _, Ordering::AcqRel) as u64)
    }

    #[inline]
    pub(crate) fn fetch_add(&self, offset: usize, width: usize, bits: u64) -> u64 {
        with_number!(self, offset, width, |number| number.fetch_add(bits as _, Ordering::AcqRel) as u64)
    }

    #[inline]
    pub(crate) fn exchange(&self, offset: usize, width: usize, seen: u64, new: u64) -> Result<u64, u64> {
        with_number!(self, offset, width, |number| number
            .compare_exchange(seen as _, new as _, Ordering::AcqRel, Ordering::Acquire)
            .map(|bits| bits as u64)
            .map_err(|bits| bits as u64))
    }

    /// Copies out bytes that are numbers of that width. Others may be changing them, each number as a whole.
    pub(crate) fn copy_out(&self, offset: usize, width: usize, to: &mut [u8]) {
        for (index, bytes) in to.chunks_exact_mut(width).enumerate() {
            let at = offset + index * width;
            with_number!(self, at, width, |number| bytes
                .copy_from_slice(&number.load(Ordering::Acquire).to_ne_bytes()));
        }
    }

    /// Copies in bytes that are numbers of that width.
    pub(crate) fn copy_in(&self, offset: usize, width: usize, from: &[u8]) {
        for (index, bytes) in from.chunks_exact(width).enumerate() {
            let at = offset + index * width;
            with_number!(self, at, width, |number| number.store(number_of(bytes) as _, Ordering::Release));
        }
    }
}

/// The number of at most eight bytes.
fn number_of(bytes: &[u8]) -> u64 {
    match *bytes {
        [a] => a.into(),
        [a, b] => u16::from_ne_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        _ => unreachable!("numbers are of 1, 2, 4 or 8 bytes"),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn numbers_of_every_width_are_where_they_belong() {
        let map = KeptMap::create(4096).unwrap().0;
        for width in [1, 2, 4, 8] {
            let mask = u64::MAX >> (64 - 8 * width);
            map.store(0, 8, 0);
            map.store(width, width, 0x0102_0304_0506_0708);
            assert_eq!(map.load(width, width), 0x0102_0304_0506_0708 & mask);
            assert_eq!(map.fetch_add(width, width, u64::MAX), 0x0102_0304_0506_0708 & mask);
            assert_eq!(map.swap(width, width, 5), 0x0102_0304_0506_0707 & mask);
            assert_eq!(map.exchange(width, width, 4, 6), Err(5));
            assert_eq!(map.exchange(width, width, 5, 6), Ok(5));
            assert_eq!(map.load(0, width), 0, "its neighbour");
        }
    }

    #[test]
    fn bytes_of_every_width_are_copied_as_they_are() {
        let map = KeptMap::create(4096).unwrap().0;
        let bytes: Vec<u8> = (1..=48).collect();
        for width in [1, 2, 4, 8] {
            let mut back = [0; 48];
            map.copy_in(64, width, &bytes);
            map.copy_out(64, width, &mut back);
            assert_eq!(back[..], bytes[..], "{width}");
        }
        assert_eq!([12, 6, 7, 24].map(width), [4, 2, 1, 8]);
    }
}
