//! What each process has one of, also a copy that `fork` has made of a process that had one already.
//!
//! A copy finds the one of its parent, which is not its own, and makes another. No lock is involved: one that another
//! thread held at the moment of the copy would stay locked in it for ever.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::own_pid::own_pid;

/// The one of this process comes first, before those of the processes that it is a copy of.
pub(crate) struct PerProcess<T> {
    first: AtomicPtr<Entry<T>>,
}

struct Entry<T> {
    pid: u32,
    value: T,
    older: *mut Entry<T>,
}

// SAFETY: the list owns its values, and gives out shared references only.
unsafe impl<T: Send + Sync> Send for PerProcess<T> {}
// SAFETY: as for `Send`; entries are never changed, and stay until `Drop`.
unsafe impl<T: Send + Sync> Sync for PerProcess<T> {}

impl<T> PerProcess<T> {
    pub(crate) const fn new() -> PerProcess<T> {
        PerProcess { first: AtomicPtr::new(ptr::null_mut()) }
    }

    /// That of this process, if it has one.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: entries stay until `Drop`, which needs the only reference, and are not changed any more.
        let first = unsafe { self.first.load(Ordering::Acquire).as_ref() }?;
        // Only the first can be: a process adds none after one that it has.
        (first.pid == own_pid()).then_some(&first.value)
    }

    /// That of this process, made now if it has none. What two threads make at the same time, one of them drops.
    pub(crate) fn get_or_make<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let older = self.first.load(Ordering::Acquire);
        let new = Box::into_raw(Box::new(Entry { pid: own_pid(), value: make()?, older }));
        let added = self.first.compare_exchange(older, new, Ordering::AcqRel, Ordering::Acquire);
        let found = match added {
            Ok(_) => new,
            Err(other) => {
                // SAFETY: nobody else has seen it.
                drop(unsafe { Box::from_raw(new) });
                other
            }
        };
        // SAFETY: as in `get`. Another thread of this process was faster then, so it is this process's too.
        Ok(unsafe { &(*found).value })
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let mut next = *self.first.get_mut();
        while !next.is_null() {
            // SAFETY: each entry was made by `Box::into_raw` and is in the list once.
            let entry = unsafe { Box::from_raw(next) };
            next = entry.older;
        }
    }
}

#[cfg(test)]
mod test {
    use std::convert::Infallible;

    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "it knows no fork")]
    fn a_copy_makes_one_of_its_own() {
        let numbers = PerProcess::new();
        let number = || *numbers.get_or_make(|| Ok::<_, Infallible>(std::process::id())).unwrap();
        assert_eq!(numbers.get(), None);
        assert_eq!((number(), number()), (std::process::id(), std::process::id()));
        // SAFETY: the copy takes memory and exits; no other thread of this test holds the allocator's lock for long.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            let right = numbers.get().is_none() && number() == std::process::id() && numbers.get().is_some();
            // SAFETY: ends the copy at once.
            unsafe { libc::_exit(i32::from(!right)) };
        }
        let mut status = 0;
        // SAFETY: waits for our own child.
        assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{status}");
        assert_eq!(numbers.get(), Some(&std::process::id()));
    }

    #[test]
    fn threads_that_come_at_the_same_time_get_the_same_one() {
        let numbers = PerProcess::new();
        let number = &|thread: u32| *numbers.get_or_make(|| Ok::<_, Infallible>(thread)).unwrap();
        let found: Vec<u32> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|thread| scope.spawn(move || number(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(found.iter().all(|&number| number == found[0]), "{found:?}");
    }
}
