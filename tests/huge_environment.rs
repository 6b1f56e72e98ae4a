//! An environment that is too large to start any program with is one clear error, and one that is just not too large
//! reaches the workers (F71).

#![allow(unsafe_code, reason = "changes of the environment")]

mod support;

use std::time::{Duration, Instant};

use procpool::{Builder, ProcessPoolExecutor, Ran, StartError, TaskErrorKind, task};
use support::tagged_pids;

/// A pool that cannot start its workers says so after a few attempts.
const BROKEN: Duration = Duration::from_secs(20);
/// Bytes of one variable: the kernel takes up to 128 KiB.
const EACH: usize = 100 << 10;

fn name(number: usize) -> String {
    format!("HUGE_{number}")
}

/// Bytes in the variables of [`make_huge`].
#[task]
fn size() -> usize {
    std::env::vars().filter(|(name, _)| name.starts_with("HUGE_")).map(|(_, value)| value.len()).sum()
}

/// Adds to the environment of this program, which is larger than it could be started with.
fn make_huge(variables: usize) {
    for number in 0..variables {
        // SAFETY: the threads of this process that exist now read no variables.
        unsafe { std::env::set_var(name(number), "x".repeat(EACH)) };
    }
}

fn pool(change: impl FnOnce(Builder) -> Builder) -> ProcessPoolExecutor {
    change(ProcessPoolExecutor::builder().max_workers(2)).build().expect("a pool")
}

support::isolated! {
    fn a_megabyte_reaches_the_workers() {
        make_huge(10);
        assert_eq!(pool(|builder| builder).submit(size, ()).result().expect("a value"), 10 * EACH);
    }

    fn more_than_the_kernel_takes_is_an_error_that_says_so() {
        if support::templates_by_default() {
            return println!("SKIPPED: a template that cannot start is the error of build");
        }
        // The kernel takes a quarter of the stack's limit at most, and never more than 6 MiB.
        make_huge(80);
        let began = Instant::now();
        let broken = pool(|builder| builder);
        let futures: Vec<_> = (0..20).map(|_| broken.submit(size, ())).collect();
        for future in futures {
            let error = future.result().expect_err("no worker");
            assert_eq!(error.ran(), Ran::No);
            let TaskErrorKind::PoolBroken(cause @ StartError::Spawn { source, .. }) = error.kind() else { panic!("{error}") };
            assert_eq!(source.raw_os_error(), Some(libc::E2BIG), "{cause}");
            assert!(cause.to_string().starts_with("failed to start a worker process: Argument list too long"), "{cause}");
        }
        assert!(began.elapsed() < BROKEN, "{:?}", began.elapsed());
        broken.shutdown(true).wait();
        assert!(tagged_pids().is_empty(), "nothing is left of the attempts");

        // What helps: an environment that is said.
        let cleared = pool(|builder| builder.env_clear().env(name(0), "y".repeat(EACH)));
        assert_eq!(cleared.submit(size, ()).result().expect("a value"), EACH);
        let reduced = pool(|builder| (5..80).fold(builder, |builder, number| builder.env_remove(name(number))));
        assert_eq!(reduced.submit(size, ()).result().expect("a value"), 5 * EACH);
    }

    fn one_variable_that_is_too_long_is_an_error_that_says_so() {
        if support::templates_by_default() {
            return println!("SKIPPED: a template that cannot start is the error of build");
        }
        let broken = pool(|builder| builder.env(name(0), "x".repeat(256 << 10)));
        let error = broken.submit(size, ()).result().expect_err("no worker");
        assert!(error.to_string().contains("Argument list too long"), "{error}");
    }
}
