//! A wake-up that is not lost with the thread that was given it.
//!
//! The kernel looks at one more word when a thread ends: that of the operation which the thread says it is in the middle
//! of. If nobody owns the word, it wakes one who waits for it. So whoever is killed after he was woken and before he has
//! taken the word, or after he has freed it and before he has woken another, leaves nobody asleep.

use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use super::keeper::{Head, TO_WORD, low_half};

thread_local! {
    /// What the C library has told the kernel of this thread, once that has been asked for.
    static HEAD: Cell<Option<NonNull<Head>>> = const { Cell::new(None) };
}

/// Asks the kernel where it looks when this thread ends.
fn head() -> Option<NonNull<Head>> {
    let known = HEAD.try_with(Cell::get).ok()?;
    if known.is_some() {
        return known;
    }
    let (mut head, mut size) = (ptr::null_mut::<Head>(), 0_usize);
    // SAFETY: the call writes to two places of ours.
    let asked = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut size) } == 0;
    let head = NonNull::new(head).filter(|_| asked && size == size_of::<Head>());
    let _ = HEAD.try_with(|known| known.set(head));
    head
}

/// Runs `operation`, in the middle of which this thread is about this word.
pub(crate) fn during<R>(word: &AtomicU64, operation: impl FnOnce() -> R) -> R {
    let word = ptr::from_ref(low_half(word)).addr();
    let Some(head) = head() else { return without_library(word, operation) };
    /// Takes it back, however the operation ends. Another that this one is part of, of a signal's handler, goes on.
    struct Before(NonNull<Head>, *mut super::keeper::Node);
    impl Drop for Before {
        fn drop(&mut self) {
            // SAFETY: as below.
            unsafe { self.0.as_ref() }.pending.store(self.1, Ordering::SeqCst);
        }
    }
    // SAFETY: the head is the C library's for this thread, and there as long as the thread. The library writes the field
    // in its own operations only, none of which is under way while this thread is here, and the kernel only reads it.
    let head_of_thread = unsafe { head.as_ref() };
    let pending = ptr::without_provenance_mut(word.wrapping_sub_signed(head_of_thread.to_word));
    let _before = Before(head, head_of_thread.pending.swap(pending, Ordering::SeqCst));
    operation()
}

/// For threads of which the C library has told the kernel nothing yet, as some libraries do before they need it.
#[cold]
fn without_library<R>(word: usize, operation: impl FnOnce() -> R) -> R {
    let head = Head::empty();
    head.close(ptr::without_provenance_mut(word.wrapping_sub(TO_WORD)));
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            // SAFETY: no head is what the kernel knew before.
            unsafe { libc::syscall(libc::SYS_set_robust_list, 0_usize, size_of::<Head>()) };
        }
    }
    // SAFETY: the head is taken back before it goes. If the call is not allowed, the wake-up is late, and not lost:
    // whoever sleeps looks again from time to time.
    let told = unsafe { libc::syscall(libc::SYS_set_robust_list, &raw const head, size_of::<Head>()) } == 0;
    let _nothing = told.then(|| Nothing);
    operation()
}

#[cfg(test)]
mod test {
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::sys::futex;
    use crate::sys::keeper::{KeptMap, WAITERS, in_a_killed_copy};

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(500);

    fn die() {
        // SAFETY: ends the copy.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }

    /// Somebody sleeps at a word that nobody owns, while processes are killed in the middle of `operation` with it.
    fn wakes_within(limit: Duration, operation: impl Fn(&AtomicU64)) -> bool {
        let map = KeptMap::create(4096).unwrap().0;
        let word = map.word(16);
        word.store(WAITERS.into(), Ordering::SeqCst);
        let (start, woken) = (Instant::now(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                futex::wait_until(low_half(word), WAITERS, Some(start + limit));
                woken.store(true, Ordering::SeqCst);
            });
            // The first may be too early.
            while !woken.load(Ordering::SeqCst) {
                in_a_killed_copy(|| operation(word));
            }
        });
        start.elapsed() < limit
    }

    #[test]
    fn who_is_killed_in_the_middle_wakes_one_who_sleeps() {
        assert!(wakes_within(LONG, |word| during(word, die)));
        assert!(
            wakes_within(LONG, |word| without_library(word.as_ptr().addr() + low(), die)),
            "without the C library's help"
        );
    }

    #[test]
    fn who_is_killed_before_or_after_wakes_nobody() {
        assert!(!wakes_within(SHORT, |word| during(word, || {})));
        assert!(!wakes_within(SHORT, |word| without_library(word.as_ptr().addr() + low(), || {})));
    }

    /// Where the half is that the kernel knows.
    fn low() -> usize {
        if cfg!(target_endian = "big") { 4 } else { 0 }
    }
}
