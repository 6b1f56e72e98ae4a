//! A panic is told with its text and place, and the worker lives on (F07).

mod support;

use std::panic::panic_any;

use procpool::{ExitCause, ProcessPoolExecutor, Ran, TaskError, task};

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bomb in a drop");
    }
}

/// Panics in one of several ways; the line of each is found in its location.
#[task]
fn panic_by(how: &str) {
    match how {
        "literal" => panic!("a literal"),
        "formatted" => panic!("number {}", 7 + how.len()),
        "number" => panic_any(42_i32),
        "bomb" => panic_any(Bomb),
        "hook" => {
            std::panic::set_hook(Box::new(|_| {}));
            panic!("a silent one")
        }
        "index" => {
            let empty: Vec<u8> = Vec::new();
            let _ = std::hint::black_box(&empty)[3];
        }
        "twice" => {
            let _bomb = Bomb;
            panic!("the first of two");
        }
        "caught" => {
            let _ = std::panic::catch_unwind(|| panic!("caught by the body"));
        }
        "in the hook" => {
            std::panic::set_hook(Box::new(|_| panic!("in the hook")));
            panic!("a trigger")
        }
        _ => unreachable!("{how}"),
    }
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

fn pool() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool")
}

fn panicked(pool: &ProcessPoolExecutor, how: &str) -> TaskError {
    let before = pool.submit(own_pid, ()).result().expect("a value");
    let error = pool.submit(panic_by, how).result().expect_err("a panic");
    assert!(error.is_panic(), "{error}");
    assert_eq!(error.ran(), Ran::Yes);
    assert_eq!(pool.submit(own_pid, ()).result().expect("a value"), before, "the worker lives on");
    error
}

support::isolated! {
    fn its_text_and_its_place_arrive() {
        let pool = pool();
        for (how, message) in [("literal", "a literal"), ("formatted", "number 16")] {
            let error = panicked(&pool, how);
            let panic = error.panic().expect("it panicked");
            assert_eq!((panic.message(), panic.is_text()), (message, true));
            assert!(panic.location().is_some_and(|place| place.starts_with("tests/panics.rs:")), "{panic:?}");
            assert!(error.to_string().contains(message) && error.to_string().contains("panics::panic_by"), "{error}");
        }
        assert!(panicked(&pool, "index").panic().unwrap().message().contains("index out of bounds"));
    }

    fn a_payload_that_is_no_text_is_told_as_such_and_never_dropped() {
        let pool = pool();
        for how in ["number", "bomb"] {
            let error = panicked(&pool, how);
            let panic = error.panic().expect("it panicked");
            assert_eq!((panic.message(), panic.is_text()), ("non-string payload", false));
            assert!(panic.location().is_some());
        }
    }

    fn a_task_may_replace_the_hook() {
        let error = panicked(&pool(), "hook");
        assert_eq!(error.panic().unwrap().message(), "a silent one");
    }

    fn a_panic_that_the_body_catches_is_its_own_affair() {
        pool().submit(panic_by, "caught").result().expect("no panic got out");
    }

    fn a_second_panic_while_unwinding_aborts_and_still_is_told() {
        for how in ["twice", "in the hook"] {
            let pool = pool();
            let error = pool.submit(panic_by, how).result().expect_err("an abort");
            let exit = error.exit().unwrap_or_else(|| panic!("{error}"));
            assert!(matches!(exit.cause(), ExitCause::Signal { number: libc::SIGABRT, .. }), "{error}");
            if how == "twice" {
                let words = exit.panic().expect("last words").message();
                assert_eq!(words, "a bomb in a drop");
            }
            pool.submit(own_pid, ()).result().expect("the pool goes on");
        }
    }

    fn a_backtrace_arrives_when_it_is_asked_for() {
        let asked = ProcessPoolExecutor::builder().max_workers(1).env("RUST_BACKTRACE", "1").build().expect("a pool");
        let error = panicked(&asked, "literal");
        let backtrace = error.panic().unwrap().backtrace().expect("a backtrace");
        assert!(backtrace.contains("panic_by"), "{backtrace}");
        let silent = ProcessPoolExecutor::builder().max_workers(1).env_remove("RUST_BACKTRACE").env_remove("RUST_LIB_BACKTRACE").build().expect("a pool");
        assert!(panicked(&silent, "literal").panic().unwrap().backtrace().is_none());
    }
}
