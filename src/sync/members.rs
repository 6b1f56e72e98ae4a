//! Which processes have an object open, and how each of them left.
//!
//! Each has a word, which is laid out as that of a lock: the lower half says who it is and is marked by the kernel when he
//! dies; the upper half is what the object counts for this process: permits that it holds, threads that wait. So what a
//! process counts for is gone with it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::sys::own_pid::own_pid;

use super::kernel::keeper::{self, DIED, Kept, KeptMap, OWNER, WAITERS};
use super::kernel::{SharedWord, futex};
use super::page::{KernelWord, REST_AT};
use super::patience::Patience;
use super::word;

/// How many processes can have an object open at a time.
pub(crate) const MEMBERS: usize = 240;

/// A list node stands for each word, and takes that much.
const STRIDE: usize = 16;

/// Up to how many members somebody sleeps for all of them at once, and for the event besides.
const SLEPT_FOR: usize = futex::ANY_MAX - 1;

/// How often somebody looks who cannot sleep for all of them.
const LOOK: Duration = Duration::from_millis(20);

/// How many words have been used, ever; then a number that changes with each event, its upper half how many sleep.
const USED_AT: usize = REST_AT;
const EVENT_AT: usize = REST_AT + 8;
const WORDS_AT: usize = REST_AT + 64;

pub(crate) struct Members {
    map: Arc<KeptMap>,
}

/// This process among them. It leaves when this is dropped.
pub(crate) struct Member {
    kept: Kept,
    map: Arc<KeptMap>,
    index: usize,
    /// A copy that `fork` has made must not leave in the name of its parent.
    pid: u32,
}

fn word_at(map: &KeptMap, index: usize) -> &SharedWord {
    map.word(WORDS_AT + index * STRIDE)
}

/// Those of a member that is alive; nothing of one that is not.
fn counted(word: u64) -> u64 {
    if word as u32 & OWNER == 0 { 0 } else { word >> 32 }
}

impl Members {
    pub(crate) const BYTES: usize = WORDS_AT - REST_AT + MEMBERS * STRIDE;

    pub(crate) fn new(map: Arc<KeptMap>) -> io::Result<Members> {
        if map.len() < REST_AT + Members::BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the memory of the object is too small"));
        }
        Ok(Members { map })
    }

    /// Makes this process a member.
    pub(crate) fn join(&self) -> io::Result<Member> {
        for index in 0..MEMBERS {
            let word = word_at(&self.map, index);
            if word.load(Ordering::Acquire) != 0 {
                continue;
            }
            // From here on the kernel knows of it, and from the exchange on so do the others, who look as far as this.
            let kept = self.map.keep(WORDS_AT + index * STRIDE)?;
            self.map.word(USED_AT).fetch_max(index as u64 + 1, Ordering::SeqCst);
            let owner = kept.owner().into();
            if word.compare_exchange(0, owner, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                let pid = own_pid();
                // Those who sleep have not said in this word that they want to hear of this one's death.
                self.announce(u32::MAX);
                return Ok(Member { kept, map: Arc::clone(&self.map), index, pid });
            }
        }
        Err(io::Error::new(
            io::ErrorKind::QuotaExceeded,
            format!(
                "{MEMBERS} processes have the object open, and there is no room for another; close it in some"
            ),
        ))
    }

    fn words(&self) -> impl Iterator<Item = &SharedWord> {
        let used = usize::try_from(self.map.word(USED_AT).load(Ordering::SeqCst)).unwrap_or(MEMBERS);
        (0..used.min(MEMBERS)).map(|index| word_at(&self.map, index))
    }

    /// What all living members count together.
    pub(crate) fn sum(&self) -> u64 {
        self.words().map(|word| counted(word.load(Ordering::SeqCst))).fold(0, u64::saturating_add)
    }

    /// Nobody counts anything any more.
    pub(crate) fn clear(&self) {
        for word in self.words() {
            word.fetch_and(u32::MAX.into(), Ordering::SeqCst);
        }
    }

    /// Whether a member has died since somebody was inside.
    pub(crate) fn any_dead(&self) -> bool {
        self.words().any(|word| word.load(Ordering::SeqCst) as u32 & DIED != 0)
    }

    /// Makes room where members have died, after `bereaved` was called, if any have. For whoever holds the lock.
    pub(crate) fn bury(&self, bereaved: impl FnOnce()) {
        if !self.any_dead() {
            return;
        }
        // First what follows from it: whoever is killed in between leaves the mark to the next.
        bereaved();
        for word in self.words() {
            let seen = word.load(Ordering::SeqCst);
            if seen as u32 & DIED != 0 {
                let _ = word.compare_exchange(seen, 0, Ordering::SeqCst, Ordering::SeqCst);
            }
        }
        self.announce(u32::MAX);
    }

    /// Something has happened for which so many should look again.
    pub(crate) fn announce(&self, count: u32) {
        let event = self.map.word(EVENT_AT);
        let before = event.fetch_add(1, Ordering::SeqCst);
        if before >> 32 != 0 {
            futex::wake(keeper::low_half(event), count);
        }
    }

    /// The number of the last event. To be read before one looks.
    pub(crate) fn event(&self) -> u32 {
        self.map.word(EVENT_AT).load(Ordering::SeqCst) as u32
    }

    /// Sleeps until something has happened since the event that was seen, or another member has died. False if it is
    /// enough. May return early.
    pub(crate) fn sleep(&self, member: &Member, seen: u32, patience: &Patience<'_>) -> bool {
        let event = self.map.word(EVENT_AT);
        let mut waits = vec![(event, seen)];
        for word in self.words().filter(|&word| !std::ptr::eq(word, member.word())) {
            match announced(word) {
                Some(low) => waits.push((word, low)),
                // It has just died, which is what we want to know.
                None if word.load(Ordering::SeqCst) as u32 & DIED != 0 => return patience.until().is_some(),
                None => {}
            }
        }
        let fits = waits.len() <= SLEPT_FOR + 1;
        let Some(until) = (if fits { patience.until() } else { patience.until_within(LOOK) }) else {
            return false;
        };
        event.fetch_add(1 << 32, Ordering::SeqCst);
        if !fits || !keeper::wait_for_any(&waits, until) {
            let until = patience.until_within(LOOK).unwrap_or(until);
            futex::wait_until(keeper::low_half(event), seen, Some(until));
        }
        let _ = event.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |event| event.checked_sub(1 << 32));
        if std::time::Instant::now() >= until {
            self.words().for_each(|word| word::bury_if_gone(&KernelWord(word)));
        }
        true
    }

    /// Wakes all who sleep: one of them does not want to wait any more.
    pub(crate) fn rouse(&self) {
        self.announce(u32::MAX);
    }
}

/// Says in the word of a member that somebody wants to hear of its death, and what the kernel has to compare then.
/// `None` if nobody is there.
fn announced(word: &SharedWord) -> Option<u32> {
    let flag = |seen: u64| (seen as u32 & OWNER != 0).then_some(seen | u64::from(WAITERS));
    let before = word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, flag).ok()?;
    Some(before as u32 | WAITERS)
}

impl Member {
    pub(crate) fn word(&self) -> &SharedWord {
        word_at(&self.map, self.index)
    }

    /// This process counts for so much more.
    pub(crate) fn add(&self, count: u32) {
        self.word().fetch_add(u64::from(count) << 32, Ordering::SeqCst);
    }

    /// And for so much less.
    pub(crate) fn subtract(&self, count: u32) {
        let less = |word: u64| word.checked_sub(u64::from(count) << 32);
        let _ = self.word().fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.pid != own_pid() {
            return;
        }
        let owner = self.kept.owner();
        let leave = |word: u64| (word as u32 & OWNER == owner).then_some(0);
        let _ = self.word().fetch_update(Ordering::SeqCst, Ordering::SeqCst, leave);
    }
}

#[cfg(test)]
mod test {
    use std::time::Instant;

    use super::*;

    fn members() -> Members {
        Members::new(Arc::new(KeptMap::create(REST_AT + Members::BYTES).unwrap().0)).unwrap()
    }

    /// A member that dies at once, and counted for 5.
    fn dead_member(members: &Members) {
        keeper::in_a_killed_copy(|| {
            let member = members.join().unwrap();
            member.add(5);
            std::mem::forget(member);
        });
    }

    #[test]
    fn what_a_member_counts_goes_with_it_and_its_death_is_told_once() {
        let members = members();
        let one = members.join().unwrap();
        one.add(2);
        let other = members.join().unwrap();
        other.add(40);
        assert_eq!(members.sum(), 42);
        drop(other);
        assert_eq!(members.sum(), 2, "who leaves counts no more");
        dead_member(&members);
        assert_eq!(members.sum(), 2, "nor does who dies");
        let mut told = 0;
        members.bury(|| told += 1);
        members.bury(|| told += 1);
        assert_eq!(told, 1);
        one.subtract(9);
        assert_eq!(members.sum(), 2, "not less than nothing");
        members.clear();
        assert_eq!(members.sum(), 0);
    }

    #[test]
    fn there_is_room_for_so_many_and_again_when_some_have_gone() {
        let members = members();
        let mut all: Vec<_> = (0..MEMBERS).map(|_| members.join().unwrap()).collect();
        let refused = members.join().map(drop).unwrap_err().to_string();
        assert!(refused.contains("240 processes"), "{refused}");
        all.swap_remove(7);
        all.push(members.join().unwrap());
        all.truncate(100);
        dead_member(&members);
        members.bury(|| {});
        assert!((100..MEMBERS).all(|_| members.join().map(|member| all.push(member)).is_ok()));
    }

    #[test]
    fn a_death_wakes_those_who_sleep_however_many_members_there_are() {
        // With so many the kernel cannot be asked for all of them at once.
        for others in [0, SLEPT_FOR - 2, SLEPT_FOR + 10] {
            let members = members();
            let own = members.join().unwrap();
            let _others: Vec<_> = (0..others).map(|_| members.join().unwrap()).collect();
            let (start, patience) = (Instant::now(), Patience::of(Duration::from_secs(20)));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !members.any_dead() {
                        let seen = members.event();
                        assert!(members.sleep(&own, seen, &patience), "{others} others");
                    }
                });
                dead_member(&members);
            });
            assert!(start.elapsed() < Duration::from_secs(2), "{others} others: {:?}", start.elapsed());
        }
    }
}
