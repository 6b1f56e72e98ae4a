//! Where the kernel lacks a feature, or a filter of a container denies it, there is one clear error or it works all
//! the same; nothing waits for ever (F64).

#![allow(unsafe_code, reason = "chroot")]

mod support;

use std::time::Duration;

use procpool::{ProcessPoolExecutor, TaskErrorKind, task};
use support::{Program, eventually, tracer};

/// Anything that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(30);

#[task]
fn double(n: u64) -> u64 {
    2 * n
}

#[task]
fn never_end() {
    loop {
        std::thread::park();
    }
}

/// Tells how far a pool comes: one line, whatever happens.
fn outcome() -> String {
    let pool =
        match ProcessPoolExecutor::builder().max_workers(2).start_timeout(Duration::from_secs(5)).build() {
            Ok(pool) => pool,
            Err(error) => return format!("no pool: {error}"),
        };
    let futures: Vec<_> = (0..20).map(|n| (n, pool.submit(double, n))).collect();
    let mut why = None;
    for (n, future) in futures {
        match future.result() {
            Ok(value) => assert_eq!(value, 2 * n),
            Err(error) => match error.kind() {
                TaskErrorKind::PoolBroken(cause) => why = Some(cause.to_string()),
                _ => return format!("lost: {error}"),
            },
        }
    }
    if why.is_none() {
        let endless = pool.submit(never_end, ());
        eventually("it runs", PATIENCE, || endless.running());
        assert!(endless.kill());
        assert_eq!(pool.submit(double, 4).result().expect("the pool goes on"), 8);
    }
    pool.shutdown(true).wait();
    why.map_or_else(|| "works".to_owned(), |why| format!("broken: {why}"))
}

support::program! {
    fn a_program_with_a_pool() {
        println!("outcome: {}", outcome());
    }

    fn a_program_without_proc() {
        // An empty folder becomes the root: no /proc, no /dev, and none of the program's own files.
        let folder = std::env::var("ROOT").expect("a folder");
        let path = std::ffi::CString::new(folder).expect("no zero byte");
        // SAFETY: the path is a text of C.
        assert_eq!(unsafe { libc::chroot(path.as_ptr()) }, 0, "{}", std::io::Error::last_os_error());
        std::env::set_current_dir("/").expect("the new root");
        println!("outcome: {}", outcome());
    }
}

fn told(output: &str) -> String {
    let line = output.lines().find_map(|line| line.strip_prefix("outcome: "));
    line.unwrap_or_else(|| panic!("no outcome in\n{output}")).to_owned()
}

/// What becomes of a pool where one call always fails, and how often it did; `None` without a tracer.
fn without(call: &str, error: &str) -> Option<(String, usize)> {
    let traced = tracer::trace("a_program_with_a_pool", call, &format!("error={error}"), &[], PATIENCE)?;
    assert_eq!(traced.status.code(), Some(0), "{call} {error}: {}", traced.output);
    let told = told(&traced.output);
    println!("without {call} ({error}): {told}");
    Some((told, traced.hits(call)))
}

/// What an old kernel says, and what a filter says.
const MISSING: [&str; 2] = ["ENOSYS", "EPERM"];

support::isolated! {
    timeout = 300;

    fn what_is_needed_is_named_when_the_pool_is_made() {
        for (call, name) in [
            ("pidfd_open", "pidfd_open (Linux 5.3)"),
            ("memfd_create", "sealed memory files (Linux 3.17)"),
            ("socketpair", "unix socket pairs"),
        ] {
            for error in MISSING {
                let Some((told, hits)) = without(call, error) else { return };
                assert!(hits > 0, "{call} was never made");
                assert!(told.starts_with(&format!("no pool: this system lacks {name}, which worker processes need")), "{told}");
            }
        }
        for call in ["epoll_create1", "eventfd2"] {
            for error in MISSING {
                let Some((told, hits)) = without(call, error) else { return };
                assert!(hits > 0, "{call} was never made");
                assert!(told.starts_with("no pool: failed to make an epoll instance"), "{told}");
            }
        }
    }

    fn what_is_not_needed_is_done_without() {
        // What a kernel without the call says; the C library takes only that as a sign to use an older one. Some of
        // these are for a system on which a library starts to use them.
        for call in [
            "clone3", "prctl", "sched_getaffinity", "timerfd_create", "statx", "pidfd_send_signal", "close_range",
            "epoll_pwait2", "waitid", "pidfd_getfd",
        ] {
            let Some((told, _)) = without(call, "ENOSYS") else { return };
            assert_eq!(told, "works", "{call}");
        }
    }

    /// These exist since long before the rest, and a filter that denies them still makes nobody wait.
    fn what_fails_later_breaks_the_pool_with_its_cause() {
        if support::templates_by_default() {
            return println!("SKIPPED: a template that cannot start is the error of build");
        }
        for (call, cause) in [
            ("getrandom", "failed to read random bytes"),
            ("fallocate", "failed to make shared memory"),
            ("setpgid", "failed to start a worker process"),
            ("fcntl", "failed to make shared memory"),
            ("recvmsg", "a worker process did not become ready"),
            ("getsockopt", "a worker process did not become ready"),
        ] {
            let Some((told, hits)) = without(call, "EPERM") else { return };
            assert!(hits > 0, "{call} was never made");
            assert!(told.starts_with(&format!("broken: {cause}")), "{call}: {told}");
        }
    }

    fn a_system_without_proc_is_named_when_the_pool_is_made() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: only root may change its root");
            return;
        }
        let root = std::env::temp_dir().join(format!("root-{}", std::process::id()));
        std::fs::create_dir(&root).expect("a folder");
        let mut program = Program::named("a_program_without_proc").env("ROOT", &root).spawn();
        let line = program.next_line(PATIENCE).expect("an outcome");
        std::fs::remove_dir(&root).expect("a folder of ours");
        assert!(line.starts_with("outcome: no pool: this system lacks /proc, mounted for this process, which worker processes need"), "{line}");
        assert!(program.wait(PATIENCE).success());
    }
}
