//! The handles of items: parcels in a socket beside the memory of the queue, with numbers that rise.
//!
//! Before one is taken out, `TAKEN` says so. An item whose parcel was taken by somebody who died with it is his, and is
//! not given to another. All is done by whoever holds the lock of the queue.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;

use super::bell::says_gone;
use super::store::{SENT, Store, TAKEN};
use crate::error::PutError;
use crate::sync::kernel::socket;
use crate::wire::attach::{Handle, Handles};

/// A parcel says its number.
const NUMBER: usize = 8;

impl Store {
    /// `false` if there is no room for another one.
    pub(super) fn send_parcel(
        &self,
        number: u64,
        handles: &Handles,
        parcels: &Handle,
    ) -> Result<bool, PutError> {
        // No number is used twice.
        self.set(SENT, number + 1);
        let attached: Vec<_> = handles.as_slice().iter().map(Handle::as_fd).collect();
        let bytes = number.to_ne_bytes();
        match socket::send_attached(parcels.as_fd(), &[IoSlice::new(&bytes)], &attached, false) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if says_gone(&error) => Err(PutError::Closed),
            Err(error) => Err(error.into()),
        }
    }

    /// The handles of an item; `None` if somebody has died with them.
    pub(super) fn take_parcel(
        &self,
        number: u64,
        count: u64,
        parcels: &Handle,
    ) -> io::Result<Option<Handles>> {
        if self.get(TAKEN) > number {
            return Ok(None);
        }
        self.set(TAKEN, number + 1);
        loop {
            let (mut head, mut body) = ([0; NUMBER], Vec::new());
            let packet = match socket::receive_packet(parcels.as_fd(), &mut head, &mut body) {
                Ok(packet) if packet.head == head.len() => packet,
                Err(error) if !says_gone(&error) && error.kind() != io::ErrorKind::WouldBlock => {
                    return Err(error);
                }
                // It is not there: then nothing of it has come, which is told when the item is decoded.
                _ => return Ok(Some(Handles::arrived(count as usize, Vec::new()))),
            };
            // Parcels before it were of items that were never put.
            if u64::from_ne_bytes(head) == number {
                return Ok(Some(Handles::arrived(count as usize, packet.descriptors)));
            }
        }
    }

    /// Takes out parcels of items that were never put, when there are no items.
    pub(super) fn forget_parcels(&self, parcels: &Handle) {
        if self.get(TAKEN) < self.get(SENT) {
            let (mut head, mut body) = ([0; NUMBER], Vec::new());
            let mut take = || socket::receive_packet(parcels.as_fd(), &mut head, &mut body);
            while take().is_ok_and(|packet| packet.head > 0) {}
            self.set(TAKEN, self.get(SENT));
        }
    }
}
