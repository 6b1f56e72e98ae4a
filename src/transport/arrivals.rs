//! Which descriptors belong to which frame.
//!
//! The kernel hands descriptors out with the bytes that they were sent with, and reads no further in that turn; bytes
//! from before may come in the same turn. So a turn has the descriptors of at most one frame, and their frame begins
//! among the bytes of that turn. What nobody announced is closed with the next look.

use std::ops::Range;
use std::os::fd::OwnedFd;

use crate::wire::attach::Handles;

#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// Bytes that have come, of all frames.
    received: u64,
    /// At most one for the frame that is arriving, and one of the last turn.
    sets: Vec<Set>,
}

#[derive(Debug)]
struct Set {
    /// The bytes that it came with.
    with: Range<u64>,
    descriptors: Vec<OwnedFd>,
}

impl Arrivals {
    /// So many more bytes have come, and these descriptors with them.
    pub(super) fn add(&mut self, bytes: usize, descriptors: Vec<OwnedFd>) {
        let with = self.received..self.received + bytes as u64;
        self.received = with.end;
        if !descriptors.is_empty() {
            self.sets.push(Set { with, descriptors });
        }
    }

    /// All that has come belongs to frames that are whole, but for a part of the one that begins here.
    pub(super) fn keep_for(&mut self, frame: u64) {
        if !self.sets.is_empty() {
            self.sets.retain(|set| set.with.contains(&frame));
        }
    }

    /// What came for the frame that begins here and announced so many.
    pub(super) fn take(&mut self, frame: u64, announced: u8) -> Handles {
        let place = self.sets.iter().position(|set| set.with.contains(&frame));
        let descriptors = place.map_or_else(Vec::new, |place| self.sets.remove(place).descriptors);
        Handles::arrived(announced.into(), descriptors)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn descriptors(count: usize) -> Vec<OwnedFd> {
        (0..count).map(|_| std::fs::File::open("/dev/null").unwrap().into()).collect()
    }

    #[test]
    fn descriptors_belong_to_the_frame_that_begins_among_their_bytes() {
        let mut arrivals = Arrivals::default();
        // The end of a frame of 100 bytes, all of one of 50, and the beginning of one whose descriptors these are.
        arrivals.add(60, Vec::new());
        arrivals.add(95, descriptors(2));
        assert!(arrivals.take(0, 1).as_slice().is_empty(), "it began before they came");
        assert_eq!(arrivals.take(150, 2).as_slice().len(), 2);
        assert!(arrivals.take(150, 2).as_slice().is_empty(), "they are given once");
    }

    #[test]
    fn the_rest_of_a_header_and_the_next_descriptors_may_come_together() {
        let mut arrivals = Arrivals::default();
        arrivals.add(10, descriptors(1));
        arrivals.keep_for(0);
        arrivals.add(90, descriptors(2));
        assert_eq!(arrivals.take(0, 1).as_slice().len(), 1);
        assert_eq!(arrivals.take(50, 2).as_slice().len(), 2);
    }

    #[test]
    fn what_nobody_announced_does_not_pile_up() {
        let mut arrivals = Arrivals::default();
        arrivals.add(10, descriptors(1));
        for _ in 0..100 {
            arrivals.keep_for(0);
            arrivals.add(1, descriptors(3));
            assert!(arrivals.sets.len() <= 2);
        }
        arrivals.keep_for(110);
        assert!(arrivals.sets.is_empty());
    }
}
