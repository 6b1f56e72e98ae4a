//! The terminal's interrupt, Ctrl-C, for those who ask for it: a handler that counts, and a way to wait for the count.
//!
//! Whoever had a handler before keeps being called, and has it back in the end.

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

use super::futex;

/// Interrupts so far, and requests to look up for another reason.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Interrupts so far.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

/// What was there before the handler. Set once and never freed: a handler may be running.
static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(ptr::null_mut());

/// The thread that runs the handler now; 0 is none.
static HANDLING: AtomicI32 = AtomicI32::new(0);

extern "C" fn count(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // Whoever came after an earlier handler of ours calls that, and is called by this one.
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    if HANDLING.swap(thread, Ordering::AcqRel) == thread {
        return;
    }
    INTERRUPTS.fetch_add(1, Ordering::Release);
    stir();
    call_before(signal, info, context);
    HANDLING.store(0, Ordering::Release);
}

/// Calls the handler that was there before.
fn call_before(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: null, or a leaked box that nobody changes.
    let Some(before) = (unsafe { BEFORE.load(Ordering::Acquire).as_ref() }) else { return };
    let handler = before.sa_sigaction;
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        return;
    }
    // SAFETY: the kernel would have called it with these very arguments; its flags tell how many it takes.
    unsafe {
        if before.sa_flags & libc::SA_SIGINFO != 0 {
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                std::mem::transmute(handler);
            handler(signal, info, context);
        } else {
            let handler: extern "C" fn(libc::c_int) = std::mem::transmute(handler);
            handler(signal);
        }
    }
}

fn current() -> io::Result<libc::sigaction> {
    let mut action = std::mem::MaybeUninit::uninit();
    // SAFETY: asks only, into memory of ours.
    match unsafe { libc::sigaction(libc::SIGINT, ptr::null(), action.as_mut_ptr()) } {
        // SAFETY: the call has filled it.
        0 => Ok(unsafe { action.assume_init() }),
        _ => Err(io::Error::last_os_error()),
    }
}

fn handler() -> libc::sighandler_t {
    count as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) as libc::sighandler_t
}

/// Counts interrupts from now on. `false` if the program was started to ignore them, as in the background: then it
/// still does.
pub(crate) fn install() -> io::Result<bool> {
    let before = current()?;
    if before.sa_sigaction == libc::SIG_IGN {
        return Ok(false);
    }
    if before.sa_sigaction != handler() {
        BEFORE.store(Box::into_raw(Box::new(before)), Ordering::Release);
        let mut action = before;
        action.sa_sigaction = handler();
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        // SAFETY: the handler calls nothing that a handler must not: an atomic, a futex, and who was there before.
        if unsafe { libc::sigaction(libc::SIGINT, &raw const action, ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(true)
}

/// Gives the signal back, unless somebody has taken it over since.
pub(crate) fn uninstall() {
    let before = BEFORE.load(Ordering::Acquire);
    if !before.is_null() && current().is_ok_and(|action| action.sa_sigaction == handler()) {
        // SAFETY: puts back what the kernel gave us.
        unsafe { libc::sigaction(libc::SIGINT, before, ptr::null_mut()) };
    }
}

/// Ends the program as the interrupt would have without any handler.
pub(crate) fn die_of_it() {
    // SAFETY: the default action of a signal; no handler is installed by it.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::INT);
}

/// Interrupts so far.
pub(crate) fn interrupts() -> u32 {
    INTERRUPTS.load(Ordering::Acquire)
}

/// What [`wait`] waits for a change of.
pub(crate) fn seen() -> u32 {
    COUNT.load(Ordering::Acquire)
}

/// Makes whoever waits look up. Safe to call in a signal handler.
pub(crate) fn stir() {
    COUNT.fetch_add(1, Ordering::Release);
    futex::wake_all(&COUNT);
}

/// Waits until the count is another one.
pub(crate) fn wait(seen: u32) {
    while COUNT.load(Ordering::Acquire) == seen {
        futex::wait(&COUNT, seen);
    }
}
