//! Before `main`: where a worker leaves the program's ordinary path.
//!
//! The hook is the first of the program's initialisers. In a worker it calls those that would have come after
//! it (static C++ among them), so that tasks find the program as `main` would find it, and never returns.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the hook or `init` has looked at this process, so that its children will as well.
static LOOKED: AtomicBool = AtomicBool::new(false);

pub(crate) fn has_looked() -> bool {
    LOOKED.load(Ordering::Relaxed)
}

pub(crate) fn looked() {
    LOOKED.store(true, Ordering::Relaxed);
}

#[cfg(feature = "auto-init")]
mod hook {
    use std::ffi::{c_char, c_int};

    type Initialiser = unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char);

    unsafe extern "C" {
        #[link_name = "__init_array_start"]
        static FIRST: [Initialiser; 0];
        #[link_name = "__init_array_end"]
        static END: [Initialiser; 0];
    }

    #[used]
    // SAFETY: the section holds pointers to functions of this very type.
    #[unsafe(link_section = ".init_array.00000")]
    static HOOK: Initialiser = hook;

    unsafe extern "C" fn hook(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
        let outcome = std::panic::catch_unwind(|| {
            crate::worker::take_over_if_worker(|| {
                // SAFETY: called once, by the C library, with the arguments of all initialisers.
                unsafe { run_the_rest(argc, argv, envp) }
            });
        });
        if outcome.is_err() {
            std::process::abort();
        }
    }

    /// Calls the initialisers that come after the hook.
    unsafe fn run_the_rest(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
        let mut next = (&raw const FIRST).cast::<Initialiser>();
        let end = (&raw const END).cast::<Initialiser>();
        let mut passed_hook = false;
        while next < end {
            // SAFETY: the linker puts the program's initialisers between the two symbols, all of this type; the
            // C library would call each with the same arguments, and cannot any more, since the worker does
            // not return from the hook.
            unsafe {
                let initialiser = *next;
                if passed_hook {
                    initialiser(argc, argv, envp);
                }
                passed_hook |= std::ptr::fn_addr_eq(initialiser, hook as Initialiser);
                next = next.add(1);
            }
        }
    }
}

/// Removes a variable from the environment of a process that has not come to `main` yet.
pub(crate) fn remove_variable(name: &str) {
    // SAFETY: nothing of this program runs beside the hook; libraries that start threads in their
    // constructors and read the environment from there at this very moment are the remaining risk, which any
    // program that changes its environment early shares.
    unsafe { std::env::remove_var(name) };
}
