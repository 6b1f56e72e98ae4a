//! What a queue holds, and who may change it when.
//!
//! Items lie in a ring in shared memory, and behind it, when the ring is full or an item is large, in a memory file that
//! grows. All changes are made under one lock, which goes to the next one when its holder is killed, and in this order:
//!
//! ```text
//! put   write the bytes   send the handles   wake consumers   TAIL   COUNT
//! get   copy the bytes    take the handles   wake producers   HEAD   COUNT   wake those who join
//! ```
//!
//! Up to the store of `TAIL`, or `SPILL_TAIL`, the item is not in the queue; up to that of `HEAD`, or `SPILL_HEAD`, it is
//! still there. Whoever is killed has done one or the other; those who were woken too early look in vain. What does not
//! change at once with these words is only `COUNT`, which whoever finds the lock without its holder counts again. Those who
//! join are woken by any death as well.
//!
//! Handles cannot lie in memory: see `parcels.rs`. What lies in the file gets into the ring again: see `overflow.rs`.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::bell::{Bell, Gone};
use super::entry::{Entry, Head, Item, WORD};
use crate::error::{GetError, PutError};
use crate::primitive::MODELLED;
use crate::sync::kernel::{SharedWord, spill};
use crate::sync::members::Members;
use crate::sync::page::{Held, Kind, Page, REST_AT};
use crate::sync::patience::Patience;
use crate::sync::word::GaveUp;
use crate::wire::attach::{Handle, Handles};

/// Bytes of the ring that were ever taken, and put.
const HEAD: usize = 0;
pub(super) const TAIL: usize = 1;
/// The same of the file behind it. It is empty unless the second is the greater one.
pub(super) const SPILL_HEAD: usize = 2;
pub(super) const SPILL_TAIL: usize = 3;
/// How many items there are.
const COUNT: usize = 4;
/// Somebody waits for an item.
const CONSUMERS_WAIT: usize = 5;
/// Somebody waits for room.
const PRODUCERS_WAIT: usize = 6;
/// Parcels that were ever sent, and taken.
pub(super) const SENT: usize = 7;
pub(super) const TAKEN: usize = 8;
/// Changes when consumers close the queue, so that producers look whether there are others.
const LEFT: usize = 9;

const RING_AT: usize = REST_AT + Members::BYTES;
/// The whole file is 512 KiB.
const RING: usize = if MODELLED { 128 } else { (512 << 10) - RING_AT };

/// After so many bytes producers look whether consumers have died. Those who close are seen at once.
const LOOK: u64 = if MODELLED { 32 } else { 512 };

/// In the word that the queue is made with: what was got is counted until it is done.
const JOINABLE: u64 = 1 << 63;

#[derive(Debug)]
pub(super) struct Store {
    pub(super) page: Page,
    pub(super) file: Handle,
}

/// The lock is held until this is dropped.
struct Inside<'a> {
    store: &'a Store,
    held: Held,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        #[cfg(test)]
        super::test::step();
        self.store.page.unlock(self.held, thread::panicking());
    }
}

/// What comes of a try.
#[derive(Debug)]
pub(super) enum Tried<T> {
    Done(T),
    /// Try again when the bell has rung.
    Wait,
}

impl Store {
    /// With room for so many items, or for any number if that is 0.
    pub(super) fn create(room: u32, joinable: bool) -> io::Result<Store> {
        let detail = u64::from(room) | if joinable { JOINABLE } else { 0 };
        let page = Page::create(Kind::Queue, detail, Some(Members::BYTES + RING))?;
        Ok(Store { page, file: Handle::new(spill::create()?) })
    }

    pub(super) fn open(memory: Handle, file: Handle) -> io::Result<Store> {
        let page = Page::open(memory, Kind::Queue)?;
        if page.map().len() != RING_AT + RING {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the memory of the queue has a wrong size",
            ));
        }
        Ok(Store { page, file })
    }

    #[inline]
    fn word(&self, index: usize) -> &SharedWord {
        self.page.own(index)
    }

    #[inline]
    pub(super) fn get(&self, index: usize) -> u64 {
        self.word(index).load(Ordering::Acquire)
    }

    #[inline]
    pub(super) fn set(&self, index: usize, value: u64) {
        #[cfg(test)]
        super::test::step();
        self.word(index).store(value, Ordering::Release);
    }

    pub(super) fn is_joinable(&self) -> bool {
        self.page.detail() & JOINABLE != 0
    }

    /// How many items it may hold.
    pub(super) fn room(&self) -> Option<u64> {
        Some(self.page.detail() & u64::from(u32::MAX)).filter(|&room| room > 0)
    }

    /// How many items it holds, at this moment.
    #[inline]
    pub(super) fn count(&self) -> u64 {
        self.get(COUNT)
    }

    pub(super) fn is_full(&self) -> bool {
        self.room().is_some_and(|room| self.count() >= room)
    }

    fn enter(&self) -> io::Result<Inside<'_>> {
        match self.page.lock(&Patience::ENDLESS)? {
            Ok(held) => {
                let inside = Inside { store: self, held };
                if held.suspect {
                    self.end_move();
                    self.count_again();
                }
                Ok(inside)
            }
            Err(GaveUp) => unreachable!("there was no end to the patience"),
        }
    }

    /// After the death of somebody who was inside.
    #[cold]
    fn count_again(&self) {
        let mut count = 0;
        for (head, tail, at) in
            [(HEAD, TAIL, Store::ring_word as Reader), (SPILL_HEAD, SPILL_TAIL, Store::spill_word as Reader)]
        {
            let (mut next, tail) = (self.get(head), self.get(tail));
            while next < tail {
                let size = at(self, next).and_then(Head::from_word).map_or(u64::MAX, Head::size);
                next = next.saturating_add(size);
                count += u64::from(next <= tail);
            }
        }
        self.set(COUNT, count);
        // Who waits looks again.
        self.set(CONSUMERS_WAIT, 1);
        self.set(PRODUCERS_WAIT, 1);
    }

    fn ring_word(&self, at: u64) -> Option<u64> {
        let mut word = [0; WORD as usize];
        self.ring_copy(at, &mut word);
        Some(u64::from_ne_bytes(word))
    }

    /// The place of a byte that is a multiple of a word, and how many there are up to the end of the ring.
    fn place(at: u64) -> (usize, usize) {
        let place = (at % RING as u64) as usize / WORD as usize * WORD as usize;
        (RING_AT + place, RING - place)
    }

    /// Copies whole words out of the ring.
    fn ring_copy(&self, at: u64, to: &mut [u8]) {
        let (place, until_end) = Store::place(at);
        let (first, second) = to.split_at_mut(until_end.min(to.len()));
        self.page.map().copy_out(place, WORD as usize, first);
        self.page.map().copy_out(RING_AT, WORD as usize, second);
    }

    pub(super) fn ring_write(&self, at: u64, bytes: &[u8]) {
        let (place, until_end) = Store::place(at);
        let (first, second) = bytes.split_at(until_end.min(bytes.len()));
        self.page.map().copy_in(place, WORD as usize, first);
        self.page.map().copy_in(RING_AT, WORD as usize, second);
    }

    /// Puts an entry, if there is room. `left` is what this producer last saw of those who left.
    pub(super) fn put(
        &self,
        entry: &mut Entry,
        bell: &Bell,
        parcels: &Handle,
        left: &AtomicU64,
    ) -> Result<Tried<()>, PutError> {
        let _inside = self.enter()?;
        let (head, tail) = (self.get(HEAD), self.get(TAIL));
        let (spill_head, spill_tail) = (self.get(SPILL_HEAD), self.get(SPILL_TAIL));
        let in_order = spill_head >= spill_tail;
        let leaving = self.get(LEFT);
        let size = entry.bytes().len() as u64;
        let at = if in_order { tail } else { spill_tail };
        if left.swap(leaving, Ordering::Relaxed) != leaving || at / LOOK != at.wrapping_add(size) / LOOK {
            self.page.members().bury(|| {});
            if bell.is_gone() {
                // The next one is to look as well.
                left.store(leaving.wrapping_sub(1), Ordering::Relaxed);
                return Err(PutError::Closed);
            }
        }
        if self.is_full() {
            return self.await_room(bell);
        }
        let number = self.get(SENT);
        if !entry.handles.is_empty() {
            entry.set_parcel(number);
        }
        // First the bytes, where nobody looks yet.
        let (commit, end) = if in_order && tail.wrapping_sub(head).saturating_add(size) <= RING as u64 {
            self.ring_write(tail, entry.bytes());
            (TAIL, tail + size)
        } else {
            let mut begin = spill_tail;
            if in_order {
                // Nothing is behind the ring; so it may begin at the front again. It stays empty from word to word.
                self.set(SPILL_TAIL, 0);
                self.set(SPILL_HEAD, 0);
                begin = 0;
            }
            spill::write(self.file.as_fd(), begin, entry.bytes())?;
            (SPILL_TAIL, begin + size)
        };
        if !entry.handles.is_empty() && !self.send_parcel(number, &entry.handles, parcels)? {
            return self.await_room(bell);
        }
        if self.get(CONSUMERS_WAIT) != 0 {
            if bell.ring()? == Err(Gone) {
                return Err(PutError::Closed);
            }
            self.set(CONSUMERS_WAIT, 0);
        }
        self.set(commit, end);
        self.set(COUNT, self.count().wrapping_add(1));
        Ok(Tried::Done(()))
    }

    fn await_room(&self, bell: &Bell) -> Result<Tried<()>, PutError> {
        if bell.silence()? == Err(Gone) {
            return Err(PutError::Closed);
        }
        self.set(PRODUCERS_WAIT, 1);
        Ok(Tried::Wait)
    }

    /// Takes the next item, if there is one.
    pub(super) fn take(&self, bell: &Bell, parcels: &Handle) -> Result<Tried<Item>, GetError> {
        let _inside = self.enter()?;
        loop {
            let (head, spill_head) = (self.get(HEAD), self.get(SPILL_HEAD));
            let (in_ring, in_spill) =
                (self.get(TAIL).saturating_sub(head), self.get(SPILL_TAIL).saturating_sub(spill_head));
            let (place, begin, there) = match (in_ring, in_spill) {
                (0, 0) => return self.await_item(bell, parcels),
                (0, there) if self.get(TAIL) == head && self.move_many(spill_head, there)? => continue,
                (0, there) => (SPILL_HEAD, spill_head, there),
                (there, _) => (HEAD, head, there),
            };
            let Some((head, item, number)) = self.copy(place, begin, there)? else {
                return Err(self.give_up());
            };
            let handles = match head.handles {
                0 => Some(Handles::default()),
                count => self.take_parcel(number, count, parcels)?,
            };
            let is_to_be_done = handles.is_some() && self.is_joinable();
            if is_to_be_done {
                self.page.member()?.add(1);
            }
            if self.get(PRODUCERS_WAIT) != 0 {
                // If they are gone, nobody has to be woken.
                let _ = bell.ring()?;
                self.set(PRODUCERS_WAIT, 0);
            }
            self.set(place, begin + head.size());
            self.set(COUNT, self.count().saturating_sub(1));
            if !is_to_be_done && self.is_done() {
                self.page.members().announce(u32::MAX);
            }
            if place == SPILL_HEAD {
                self.give_back(begin, begin + head.size());
            }
            if let Some(handles) = handles {
                return Ok(Tried::Done(Item { bytes: item, handles }));
            }
        }
    }

    /// The entry at this place: its head, its bytes, and the number of its parcel. `None` if it cannot be one.
    fn copy(&self, place: usize, begin: u64, there: u64) -> io::Result<Option<(Head, Vec<u8>, u64)>> {
        let in_ring = place == HEAD;
        if there < WORD || in_ring && there > RING as u64 {
            return Ok(None);
        }
        let read = |at: u64, to: &mut [u8]| match in_ring {
            true => {
                self.ring_copy(at, to);
                Ok(())
            }
            false => spill::read(self.file.as_fd(), at, to),
        };
        let mut word = [0; WORD as usize];
        read(begin, &mut word)?;
        let Some(head) = Head::from_word(u64::from_ne_bytes(word)).filter(|head| head.size() <= there) else {
            return Ok(None);
        };
        if head.handles > 0 {
            read(begin + WORD, &mut word)?;
        }
        let padded = (head.size() - head.before()) as usize;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(padded).map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.resize(padded, 0);
        read(begin + head.before(), &mut bytes)?;
        bytes.truncate(head.len as usize);
        Ok(Some((head, bytes, u64::from_ne_bytes(word))))
    }

    /// Whether a consumer has something to look at: an item, or the end. If there is nothing, it is woken when there is.
    pub(super) fn look(&self, bell: &Bell, parcels: &Handle) -> io::Result<bool> {
        let _inside = self.enter()?;
        if self.count() > 0 {
            return Ok(true);
        }
        match self.await_item(bell, parcels) {
            Ok(_) => Ok(false),
            Err(GetError::Io(error)) => Err(error),
            Err(_) => Ok(true),
        }
    }

    fn await_item(&self, bell: &Bell, parcels: &Handle) -> Result<Tried<Item>, GetError> {
        self.forget_parcels(parcels);
        self.page.members().bury(|| {});
        if bell.silence()? == Err(Gone) {
            return Err(GetError::Closed);
        }
        self.set(CONSUMERS_WAIT, 1);
        Ok(Tried::Wait)
    }

    /// What is here makes no sense.
    #[cold]
    fn give_up(&self) -> GetError {
        self.set(HEAD, self.get(TAIL));
        self.set(SPILL_HEAD, self.get(SPILL_TAIL));
        self.set(COUNT, 0);
        self.page.members().announce(u32::MAX);
        GetError::Damaged
    }

    /// Consumers are leaving. What they got and have not done is nobody's any more.
    pub(super) fn leave(&self) {
        self.word(LEFT).fetch_add(1, Ordering::AcqRel);
        if let Ok(member) = self.page.member() {
            member.subtract(u32::try_from(member.word().load(Ordering::SeqCst) >> 32).unwrap_or(u32::MAX));
        }
        self.page.members().announce(u32::MAX);
    }

    /// One of the items that this process got is done; `false` if it has got no more.
    pub(super) fn done(&self) -> io::Result<bool> {
        let _inside = self.enter()?;
        let member = self.page.member()?;
        if member.word().load(Ordering::SeqCst) >> 32 == 0 {
            return Ok(false);
        }
        member.subtract(1);
        if self.is_done() {
            self.page.members().announce(u32::MAX);
        }
        Ok(true)
    }

    fn is_done(&self) -> bool {
        self.count() == 0 && self.page.members().sum() == 0
    }

    /// Waits until all items are done: `true`. `false` at the end of the patience, or when `hopeless` says so.
    pub(super) fn join(&self, patience: &Patience<'_>, hopeless: impl Fn() -> bool) -> io::Result<bool> {
        let (members, member) = (self.page.members(), self.page.member()?);
        loop {
            let inside = self.enter()?;
            members.bury(|| {});
            let seen = members.event();
            if self.is_done() {
                return Ok(true);
            }
            drop(inside);
            if hopeless() || patience.until().is_none() {
                return Ok(false);
            }
            let _ = members.sleep(member, seen, patience);
        }
    }
}

/// The word at a place of the ring, or of the file.
type Reader = fn(&Store, u64) -> Option<u64>;
