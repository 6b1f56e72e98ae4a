//! A lock, and sleep until something happens: what semaphores, conditions and barriers are made of.
//!
//! Whoever is inside may be killed at any point. So each change is one store after which everything makes sense, and
//! what a process holds is counted in its own word, which goes with it (`members.rs`): there is nothing to repair.
//! `model/objects.rs` has them die at each step.

use std::time::Duration;

use super::error::SyncError;
use super::members::{Member, Members};
use super::page::{Held, Page};
use super::patience::Patience;
use super::word::GaveUp;

/// What those who do not want to wait wait all the same: others are inside for a moment only.
const MOMENT: Duration = Duration::from_millis(100);

/// The lock is held until this is dropped.
pub(super) struct Inside<'a> {
    page: &'a Page,
    held: Held,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.page.unlock(self.held, false);
    }
}

impl Page {
    /// Goes inside. `bereaved` is called there if a member has died since somebody was.
    pub(super) fn enter(
        &self,
        patience: &Patience<'_>,
        bereaved: impl FnOnce(),
    ) -> Result<Inside<'_>, SyncError> {
        match self.lock(patience)? {
            Ok(held) => {
                let inside = Inside { page: self, held };
                self.members().bury(bereaved);
                Ok(inside)
            }
            Err(GaveUp) => Err(SyncError::TimedOut),
        }
    }

    /// The same for somebody who does not want to wait.
    pub(super) fn enter_now(&self, bereaved: impl FnOnce()) -> Result<Inside<'_>, SyncError> {
        self.enter(&Patience::of(MOMENT), bereaved).map_err(|error| match error {
            SyncError::TimedOut => SyncError::WouldBlock,
            other => other,
        })
    }
}

/// What comes of a look from the inside.
pub(super) enum Look<T> {
    /// That was it.
    Done(T),
    /// Look again when something has happened.
    Wait,
}

/// Looks from the inside, again and again, until that is enough. Then `give_up` is called inside.
pub(super) fn wait_until<T>(
    page: &Page,
    patience: &Patience<'_>,
    bereaved: impl Fn(),
    mut look: impl FnMut(&Members, &Member) -> Look<Result<T, SyncError>>,
    give_up: impl FnOnce(&Members, &Member) -> Result<T, SyncError>,
) -> Result<T, SyncError> {
    let members = page.members();
    let member = page.member()?;
    loop {
        let inside = page.enter(&Patience::ENDLESS, &bereaved)?;
        let seen = members.event();
        if let Look::Done(value) = look(members, member) {
            return value;
        }
        if patience.until().is_none() {
            return give_up(members, member);
        }
        drop(inside);
        // Whether it was enough is seen inside: what has come by then counts.
        let _ = members.sleep(member, seen, patience);
    }
}
