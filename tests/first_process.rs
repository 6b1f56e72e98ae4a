//! A program that is the first process of its container has its pool as any other: what its tasks leave behind comes
//! to it, is not taken from it, and ends with it (F75).

#![allow(unsafe_code, reason = "namespaces and their first process")]

mod support;

use std::time::{Duration, Instant};

use procpool::{ExitCause, ProcessPoolExecutor, task};
use support::{Program, eventually, procfs, tagged_pids};

const PATIENCE: Duration = Duration::from_secs(20);
/// How the orphan of a task ends.
const ORPHAN: i32 = 33;

#[task]
fn triple(n: u64) -> u64 {
    3 * n
}

#[task]
fn parent_and_self() -> (u32, u32) {
    (procfs::parent_of(std::process::id()).expect("a parent"), std::process::id())
}

#[task]
fn die() {
    std::process::abort();
}

/// Leaves a process of its own session behind, that sleeps, or ends at once with a code that is known.
#[task]
fn leave_an_orphan(sleeps: bool) -> i32 {
    // SAFETY: the child only calls functions that are safe after `fork`.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::setsid();
            let orphan = libc::fork();
            if orphan == 0 {
                while libc::getppid() != 1 {}
                if sleeps {
                    libc::sleep(600);
                }
                libc::_exit(ORPHAN);
            }
            libc::_exit(0);
        }
        let mut status = 0;
        libc::waitpid(child, &raw mut status, 0);
        status
    }
}

/// Everything that the first process does. The numbers of processes are those inside.
fn be_the_first() {
    assert_eq!(std::process::id(), 1);
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
    for (n, tripled) in (0..).zip(pool.map(triple, 0..200)) {
        assert_eq!(tripled.expect("a value"), 3 * n);
    }
    let (parent, worker) = pool.submit(parent_and_self, ()).result().expect("a value");
    assert!(parent == 1 && worker > 1, "{parent} {worker}");
    for _ in 0..5 {
        let error = pool.submit(die, ()).result().expect_err("it died");
        let cause = error.exit().expect("a death").cause();
        assert!(matches!(cause, ExitCause::Signal { number: libc::SIGABRT, .. }), "{error}");
    }
    // The orphan comes to us. Its status is for the program, which may have an interest in it.
    assert_eq!(pool.submit(leave_an_orphan, false).result().expect("a value"), 0);
    let orphans = || {
        procfs::children_of(1).into_iter().filter(|pid| procfs::state(*pid) == Some('Z')).collect::<Vec<_>>()
    };
    eventually("the orphan is ours", PATIENCE, || orphans().len() == 1);
    for (n, tripled) in (0..).zip(pool.map(triple, 0..200)) {
        assert_eq!(tripled.expect("a value"), 3 * n);
    }
    assert!(pool.shutdown(true).wait().leaked.is_empty());
    let mut status = 0;
    // SAFETY: waits for the orphan alone; the status is a number of ours.
    unsafe { libc::waitpid(orphans()[0] as i32, &raw mut status, 0) };
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == ORPHAN, "status {status:#x}");
    eventually("it is alone", PATIENCE, || procfs::children_of(1).is_empty());
    // Another pool, in whose middle it ends, with a busy worker and a sleeping orphan.
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("another pool");
    pool.submit(leave_an_orphan, true).result().expect("a value");
    std::mem::forget(pool);
}

/// Becomes the parent of a process that is the first of a namespace, with its own `/proc`, and tells how that ended.
fn contain(body: impl FnOnce()) -> i32 {
    // SAFETY: the calls take numbers and constant texts. The child goes on alone with what `fork` leaves it, which
    // is the calling thread; no other thread of this program holds a lock that it needs.
    unsafe {
        assert_eq!(
            libc::unshare(libc::CLONE_NEWPID | libc::CLONE_NEWNS),
            0,
            "{}",
            std::io::Error::last_os_error()
        );
        let child = libc::fork();
        if child == 0 {
            let private = libc::MS_REC | libc::MS_PRIVATE;
            let none = std::ptr::null::<libc::c_char>();
            assert_eq!(libc::mount(none.cast(), c"/".as_ptr(), none.cast(), private, none.cast()), 0);
            let proc = c"proc".as_ptr();
            assert_eq!(libc::mount(proc, c"/proc".as_ptr(), proc, 0, none.cast()), 0);
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            libc::_exit(if ended.is_ok() { 7 } else { 1 });
        }
        let mut status = 0;
        libc::waitpid(child, &raw mut status, 0);
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
    }
}

support::program! {
    fn a_program_in_a_container() -> i32 {
        contain(be_the_first)
    }
}

support::isolated! {
    timeout = 60;

    fn the_first_process_of_a_container_has_a_pool() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: only root can make such a namespace");
            return;
        }
        let mut program = Program::named("a_program_in_a_container").spawn();
        assert_eq!(program.wait(PATIENCE).code(), Some(7));
        let ended = Instant::now();
        eventually("all ended with it, the orphan too", Duration::from_secs(2), || tagged_pids().is_empty());
        println!("T_orphan {:?}", ended.elapsed());
    }
}
