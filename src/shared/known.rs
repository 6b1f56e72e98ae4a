//! What of shared memory this process has mapped: however often it arrives, it is mapped once.

use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use crate::sys::frozen::{Frozen, Identity};
use crate::wire::attach::Handle;

/// Memory that nobody changes, with the descriptor by which it gets to other processes.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) handle: Handle,
    frozen: Frozen,
    identity: Identity,
    /// The value that its bytes are, once somebody has decoded it.
    pub(super) value: OnceLock<Arc<dyn Any + Send + Sync>>,
}

static KNOWN: Mutex<Option<HashMap<Identity, Weak<Known>>>> = Mutex::new(None);

impl Known {
    /// New memory, with these bytes.
    pub(super) fn create(bytes: &[u8]) -> io::Result<Arc<Known>> {
        let (frozen, fd) = Frozen::create(bytes)?;
        let identity = Frozen::identity(fd.as_fd(), bytes.len())?;
        Ok(Known::enter(frozen, fd, identity))
    }

    /// Memory that came from somebody else, if it is what it must be.
    pub(super) fn arrived(handle: Handle, len: usize) -> io::Result<Arc<Known>> {
        let identity = Frozen::identity(handle.as_fd(), len)?;
        let known = with_known(|known| known.get(&identity).and_then(Weak::upgrade));
        if let Some(known) = known {
            return Ok(known);
        }
        let frozen = Frozen::open(handle.as_fd(), len)?;
        let fd = handle.into_own().or_else(|shared| shared.as_fd().try_clone_to_owned())?;
        Ok(Known::enter(frozen, fd, identity))
    }

    /// Makes memory known, unless another thread was faster.
    fn enter(frozen: Frozen, fd: OwnedFd, identity: Identity) -> Arc<Known> {
        let new = Arc::new(Known { handle: Handle::new(fd), frozen, identity, value: OnceLock::new() });
        with_known(|known| {
            if let Some(known) = known.get(&identity).and_then(Weak::upgrade) {
                return known;
            }
            known.insert(identity, Arc::downgrade(&new));
            Arc::clone(&new)
        })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.frozen.bytes()
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        with_known(|known| {
            // Somebody else's may have taken the place meanwhile.
            if known.get(&self.identity).is_some_and(|place| place.strong_count() == 0) {
                known.remove(&self.identity);
            }
        });
    }
}

/// Nothing of the user's runs under this lock, nor anything that takes it again.
fn with_known<R>(look: impl FnOnce(&mut HashMap<Identity, Weak<Known>>) -> R) -> R {
    look(KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}
