//! Bodies of frames for the tests. A byte tells its place, so that what is cut or mixed is seen.

use std::sync::OnceLock;

use super::bulk::BODY_MAX;

/// The pattern repeats after a prime number of bytes: no size of a page or of a line is a multiple of it.
const PERIOD: usize = 251;

/// The same bytes for the same seed. They are made once: a test that wants thousands would do little else.
pub(super) fn body(seed: usize, len: usize) -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| (0..BODY_MAX + PERIOD).map(|place| (place % PERIOD) as u8).collect());
    &bytes[seed % PERIOD..][..len]
}
