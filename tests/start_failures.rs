//! A worker that cannot start breaks the pool with its cause after a few tries: no storm, no hang (F21).

mod support;

use std::time::{Duration, Instant};

use procpool::{
    ExitCause, HandshakeError, ProcessPoolExecutor, Ran, Refusal, StartError, TaskErrorKind, task,
};
use support::{Event, Ledger};

const HANDSHAKE: Duration = Duration::from_secs(1);

/// Notes each start in the ledger, then fails in one of several ways.
#[task]
fn fail_by(ledger: &str, how: &str) -> Result<(), String> {
    Ledger::record(ledger, 0, Event::Started);
    match how {
        "error" => Err("no database".to_owned()),
        "panic" => panic!("a broken initializer"),
        "exit" => std::process::exit(9),
        "kill" => {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            Ok(())
        }
        "sleep" => {
            std::thread::sleep(Duration::from_secs(600));
            Ok(())
        }
        "second" => {
            // Exactly one of the starts sees that it is the second.
            let second = std::fs::File::create_new(format!("{ledger}.first")).is_err()
                && std::fs::File::create_new(format!("{ledger}.second")).is_ok();
            if second { Err("only the second".to_owned()) } else { Ok(()) }
        }
        _ => Ok(()),
    }
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

#[task]
fn meet(milliseconds: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    std::process::id()
}

fn broken_by(how: &str) -> StartError {
    let ledger = Ledger::create();
    let path = ledger.path();
    let pool = ProcessPoolExecutor::builder()
        .max_workers(2)
        .start_timeout(HANDSHAKE)
        // Naming the frames of a backtrace can take longer than the start may.
        .env_remove("RUST_BACKTRACE")
        .initializer(fail_by, (path.as_str(), how))
        .build()
        .expect("a pool, at first");
    let began = Instant::now();
    let futures: Vec<_> = (0..20).map(|_| pool.submit(own_pid, ())).collect();
    let mut cause = None;
    for future in futures {
        let error = future.result().expect_err("no worker");
        assert_eq!(error.ran(), Ran::No);
        match error.kind() {
            TaskErrorKind::PoolBroken(reason) => cause = Some(reason.clone()),
            other => panic!("{other:?}"),
        }
    }
    assert!(began.elapsed() < 3 * HANDSHAKE + Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(ledger.entries().len() <= 5, "{} starts", ledger.entries().len());
    let later = pool.try_submit(own_pid, ()).expect_err("broken for good");
    assert!(matches!(later.reason(), Refusal::PoolBroken(_)), "{later}");
    assert!(pool.warm_up().wait().is_err());
    println!("{how}: {} starts, broken after {:?}", ledger.entries().len(), began.elapsed());
    pool.shutdown(true).wait();
    cause.expect("a cause")
}

support::isolated! {
    timeout = 60;

    fn an_initializer_that_returns_an_error_is_the_pools_error() {
        let cause = broken_by("error");
        assert!(matches!(&cause, StartError::Initializer { message, .. } if message == "no database"), "{cause:?}");
        assert_eq!(cause.to_string(), "the initializer failed: no database");
    }

    fn an_initializer_that_panics_is_told_with_its_text() {
        let cause = broken_by("panic");
        assert!(cause.to_string().contains("a broken initializer, at tests/start_failures.rs"), "{cause}");
    }

    fn workers_that_end_during_their_start_are_told_by_their_end() {
        match broken_by("exit") {
            StartError::Handshake(HandshakeError::Died { cause: ExitCause::Code(9), .. }) => {}
            other => panic!("{other:?}"),
        }
        match broken_by("kill") {
            StartError::Handshake(HandshakeError::Died { cause: ExitCause::Signal { number: 9, .. }, .. }) => {}
            other => panic!("{other:?}"),
        }
    }

    fn workers_that_never_become_ready_run_into_the_start_timeout() {
        match broken_by("sleep") {
            StartError::Handshake(HandshakeError::TimedOut { limit, .. }) => assert_eq!(limit, HANDSHAKE),
            other => panic!("{other:?}"),
        }
    }

    fn one_failure_between_successes_breaks_nothing() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder()
            .max_workers(2)
            .initializer(fail_by, (path.as_str(), "second"))
            .build()
            .expect("a pool");
        let futures: Vec<_> = (0..40).map(|_| pool.submit(meet, 10)).collect();
        for future in futures {
            future.result().expect("a value");
        }
        pool.warm_up().wait().expect("all workers in the end");
        assert!(ledger.entries().len() >= 3);
        for name in ["first", "second"] {
            std::fs::remove_file(format!("{path}.{name}")).expect("both markers were made");
        }
    }

    fn who_keeps_submitting_to_a_pool_that_breaks_is_refused() {
        let ledger = Ledger::create();
        let path = ledger.path();
        for how in ["error", "kill"] {
            let pool = ProcessPoolExecutor::builder().max_workers(2).initializer(fail_by, (path.as_str(), how));
            let pool = pool.build().expect("a pool");
            let until = Instant::now() + Duration::from_secs(20);
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        let mut futures = Vec::new();
                        while let Ok(future) = pool.try_submit(own_pid, ()) {
                            futures.push(future);
                            assert!(Instant::now() < until, "it takes tasks for ever");
                            if futures.len() >= 10_000 {
                                futures.drain(..9_999).for_each(drop);
                            }
                        }
                        for future in futures {
                            assert_eq!(future.result().expect_err("nobody to run it").ran(), Ran::No);
                        }
                    });
                }
            });
        }
    }

    fn tasks_wait_for_a_worker_whose_start_takes_its_time() {
        let ledger = Ledger::create();
        let pool = ProcessPoolExecutor::builder()
            .max_workers(1)
            .initializer(slow, 300)
            .build()
            .expect("a pool");
        let futures: Vec<_> = (0..100).map(|_| pool.submit(own_pid, ())).collect();
        for future in futures {
            future.result().expect("a value");
        }
        drop(ledger);
    }
}

#[task]
fn slow(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}
