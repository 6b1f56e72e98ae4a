//! Locks and shared numbers between processes: Python's `multiprocessing` primitives, without their hangs.
//!
//! | Python | here | holds when a process is killed |
//! |---|---|---|
//! | `Lock` | [`Lock`] | the next one gets the lock and is told: [`LockError::OwnerDied`] |
//! | `RLock` | [`RLock`] | the same |
//! | `Semaphore` | [`Semaphore`] | the permits that it held come back |
//! | `BoundedSemaphore` | [`BoundedSemaphore`] | the same |
//! | `Event` | [`Event`] | nothing is lost: it is a flag |
//! | `Condition` | [`Condition`] | a notification that it was given goes to another |
//! | `Barrier` | [`Barrier`] | the barrier is broken, for all who wait and who come |
//! | `Value` | [`Value`] | as a lock; what has been written is there |
//! | `Array` | [`Array`] | the same |
//!
//! All of them can be arguments and results of tasks, and parts of such. A clone is another handle of the same object. All
//! block, with or without a time limit, or not at all, or are awaited on any runtime or none. They have no names: nothing
//! is left in `/dev/shm`, nothing has to be unlinked, and the memory is gone with the last process that has it open.
//!
//! Of what a process does to a lock the kernel keeps account, in a thread per process (`procpool-locks`) that sleeps
//! until the process ends. So they must not be shared between processes in different PID namespaces, which is refused.
//!
//! **Processes that share an object trust each other.** Whoever has it open can write what he likes into it: then others
//! may wait for ever or see numbers that nobody has stored, but nobody's memory is harmed, and nobody panics.

mod array;
pub(crate) mod asynchronous;
mod barrier;
mod condition;
mod error;
mod event;
pub(crate) mod kernel;
mod lock;
pub(crate) mod members;
#[cfg(all(test, shuttle))]
pub(crate) mod model;
mod monitor;
pub(crate) mod page;
pub(crate) mod patience;
pub(crate) mod plain;
mod rlock;
mod semaphore;
mod slots;
mod value;
pub(crate) mod word;

pub use array::{Array, ArrayGuard};
pub use barrier::Barrier;
pub use condition::Condition;
pub use error::{Guard, LockError, OwnerDied, SyncError};
pub use event::Event;
pub use lock::{Lock, LockGuard};
pub use plain::{Integer, Pod, Scalar};
pub use rlock::{RLock, RLockGuard};
pub use semaphore::{BoundedSemaphore, Semaphore, SemaphorePermit};
pub use value::{Value, ValueGuard};

/// Handles of an object travel in messages as the descriptor of its memory.
macro_rules! travels {
    ($object:ident $(<$type:ident: $bound:path>)?, $kind:expr) => {
        impl $(<$type: $bound>)? serde::Serialize for $object $(<$type>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.page().handle().serialize(serializer)
            }
        }

        impl<'de $(, $type: $bound)?> serde::Deserialize<'de> for $object $(<$type>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let handle = crate::wire::attach::Handle::deserialize(deserializer)?;
                let page = crate::sync::page::Page::open(handle, $kind);
                page.and_then(Self::of_page).map_err(serde::de::Error::custom)
            }
        }
    };
}
use travels;
