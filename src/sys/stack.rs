//! Stack overflow in a worker: Rust installs its handler between the start of the program and `main`, so a
//! worker that never reaches `main` installs this one, which ends in the same SIGABRT.

use std::ffi::CStr;
use std::sync::OnceLock;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use rustix::process::Resource;

/// The addresses below the stack of the thread that runs tasks.
static GUARD: OnceLock<std::ops::Range<usize>> = OnceLock::new();
static ON_OVERFLOW: OnceLock<fn()> = OnceLock::new();

/// The kernel keeps other mappings this far away from the main thread's stack.
const GAP: usize = 1 << 20;
const ALT_STACK: usize = 64 << 10;

/// Makes an overflow of the calling thread's stack call `on_overflow` and abort, unless somebody handles
/// SIGSEGV already. `on_overflow` runs in a signal handler.
pub(crate) fn watch(on_overflow: fn()) {
    let Some(lowest) = below_arguments().or_else(lowest_address) else { return };
    // In a copy of a worker they are there already, and the same: it runs its tasks on the same stack.
    let _ = (GUARD.set(lowest.saturating_sub(GAP)..lowest + 4096), ON_OVERFLOW.set(on_overflow));
    // Memory of its own, which is none before it is used. That may be until the process ends.
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses the place, so nobody else has this memory.
    let stack = unsafe { mmap_anonymous(std::ptr::null_mut(), ALT_STACK, access, MapFlags::PRIVATE) };
    let Ok(stack) = stack else { return };
    let alternative = libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: ALT_STACK };
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: all-zero is a valid `sigaction` to be filled; the handler only does what a handler may, and
        // is not installed over somebody else's.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut action) != 0
                || action.sa_sigaction != libc::SIG_DFL
            {
                continue;
            }
            libc::sigaltstack(&raw const alternative, std::ptr::null_mut());
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            action.sa_sigaction = handler as extern "C" fn(_, _, _) as usize;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// The same of the main thread's stack, if that is what this is called on, without a look at all mappings of the process:
/// its uppermost bytes are the name that the program was started by, and a word.
fn below_arguments() -> Option<usize> {
    // SAFETY: it reads a number; and if that is none, the kernel has put the name there, which ends with a zero.
    let name = unsafe {
        let name = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
        (!name.is_null()).then(|| CStr::from_ptr(name))?
    };
    let end = name.as_ptr() as usize + name.count_bytes() + 1 + size_of::<usize>();
    let top = end.next_multiple_of(super::pages::page_size());
    let size = rustix::process::getrlimit(Resource::Stack).current?;
    let lowest = top.checked_sub(usize::try_from(size).ok()?)?;
    (lowest..top).contains(&(&raw const lowest as usize)).then_some(lowest)
}

/// The lowest address that the calling thread's stack can grow to.
fn lowest_address() -> Option<usize> {
    // SAFETY: all-zero is a valid attribute object to be filled by the first call and released by the last.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) != 0 {
            return None;
        }
        let (mut address, mut size) = (std::ptr::null_mut(), 0);
        let answer = libc::pthread_attr_getstack(&raw const attributes, &raw mut address, &raw mut size);
        libc::pthread_attr_destroy(&raw mut attributes);
        (answer == 0).then_some(address as usize)
    }
}

extern "C" fn handler(signal: libc::c_int, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t` to a handler with SA_SIGINFO, and for these two signals it
    // holds the address of the fault.
    let address = unsafe { (*info).si_addr() } as usize;
    if GUARD.get().is_some_and(|guard| guard.contains(&address)) {
        const TEXT: &[u8] = b"\na task has overflowed its stack\n";
        // SAFETY: `write` and `abort` may be called in a handler; the buffer is a constant.
        unsafe { libc::write(2, TEXT.as_ptr().cast(), TEXT.len()) };
        if let Some(on_overflow) = ON_OVERFLOW.get() {
            on_overflow();
        }
        // SAFETY: as above.
        unsafe { libc::abort() };
    }
    // SAFETY: `signal` and `raise` may be called in a handler, and `info` is valid as above. The instruction that
    // faulted does so again and ends the process with the true signal; a signal that somebody sent does not come
    // again by itself.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        if (*info).si_code <= 0 {
            libc::raise(signal);
        }
    }
}
