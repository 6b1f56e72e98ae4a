//! To look at a context takes no system call.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use procpool::{ExitCause, ProcessPoolExecutor, TaskOptions, context, task};

use crate::{one_worker, support};

const LOOKS: u64 = 1_000_000;

static STATE: AtomicU8 = AtomicU8::new(NEW);
static CALM: AtomicU64 = AtomicU64::new(0);
const NEW: u8 = 0;
const REFUSED: u8 = 1;
const DONE: u8 = 2;

/// From now on the kernel kills the process when this thread makes any system call but its own end.
fn silence_this_thread() -> bool {
    let code = |code: u32| u16::try_from(code).expect("operations are small");
    let exit = u32::try_from(libc::SYS_exit).expect("numbers of calls are small");
    let step = |operation, jt, jf, k| libc::sock_filter { code: code(operation), jt, jf, k };
    let mut steps = [
        // The number of the call is the first field of what the filter sees.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, exit),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
    ];
    let program = libc::sock_fprog { len: 4, filter: steps.as_mut_ptr() };
    // SAFETY: both calls concern this thread only, and the kernel copies the program, which is alive.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    }
}

/// Looks a million times on a thread that must be silent; `talk` breaks the silence. `None` if there is no way to
/// silence a thread here.
#[task]
fn look_in_silence(talk: bool) -> Option<u64> {
    let outer = context();
    assert!(outer.deadline().is_some(), "there is something to see");
    std::thread::spawn(move || {
        outer.scope(|| {
            if !silence_this_thread() {
                return STATE.store(REFUSED, Ordering::Release);
            }
            for _ in 0..LOOKS {
                let context = context();
                let calm = !context.is_cancelled()
                    && context.check().is_ok()
                    && context.deadline().is_some()
                    && context.attempt() == 1
                    && context.worker_index() == 0
                    && context.depth() == 1
                    && context.task().is_some();
                CALM.fetch_add(u64::from(calm), Ordering::Relaxed);
            }
            if talk {
                // SAFETY: changes nothing.
                unsafe { libc::syscall(libc::SYS_getppid) };
            }
            STATE.store(DONE, Ordering::Release);
            // SAFETY: the thread ends without cleaning up, since it must not call the system for that; nothing of
            // it is used by anyone else.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        })
    });
    loop {
        match STATE.load(Ordering::Acquire) {
            NEW => std::thread::yield_now(),
            REFUSED => return None,
            _ => return Some(CALM.load(Ordering::Relaxed)),
        }
    }
}

fn limited() -> ProcessPoolExecutor {
    one_worker().with(TaskOptions::new().timeout(Duration::from_secs(3600)))
}

support::isolated! {
    timeout = 60;

    fn a_million_looks_make_no_system_call() {
        match limited().submit(look_in_silence, false).result().expect("the kernel had nothing to object to") {
            Some(calm) => assert_eq!(calm, LOOKS),
            None => println!("SKIPPED: the kernel filters no system calls here"),
        }
    }

    fn the_silence_would_be_broken_by_one_call() {
        match limited().submit(look_in_silence, true).result() {
            Ok(None) => println!("SKIPPED: the kernel filters no system calls here"),
            Ok(Some(_)) => panic!("a system call went unnoticed"),
            Err(error) => {
                let exit = error.exit().unwrap_or_else(|| panic!("no death: {error}"));
                assert!(matches!(exit.cause(), ExitCause::Signal { number: libc::SIGSYS, .. }), "{error}");
            }
        }
    }
}
