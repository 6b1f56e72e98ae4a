//! No faults: everything here is optimised away.

use std::io;
use std::os::fd::OwnedFd;

use super::Point;

/// What a worker is told of faults.
pub(crate) type Rules = ();

/// What a pool knows of faults.
#[derive(Debug, Default)]
pub(crate) struct Script {}

impl Script {
    pub(crate) fn next_launch(&self) -> Rules {}

    /// Whether requests have to go through the socket, where they can be cut.
    pub(crate) fn cuts_requests(&self) -> bool {
        false
    }

    pub(crate) fn is_scripted(&self) -> bool {
        false
    }

    pub(crate) fn next_task(&self) -> u8 {
        0
    }

    #[inline(always)]
    pub(crate) fn hit(&self, _point: Point) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn keep_channel(_channel: &OwnedFd) {}

#[inline(always)]
pub(crate) fn task(_fault: u8) {}

#[inline(always)]
pub(crate) fn hit(_point: Point) -> io::Result<()> {
    Ok(())
}

#[inline(always)]
pub(crate) fn bytes(_point: Point) -> Option<usize> {
    None
}

#[cfg(test)]
mod test {
    #[test]
    fn without_the_feature_faults_take_no_room() {
        assert_eq!(size_of::<super::Script>() + size_of::<super::Rules>(), 0);
    }
}
