//! Bad input is a clear error value, never a panic or a hang, and disturbs nothing.

mod support;

use std::time::Duration;

use procpool::{ProcessPoolExecutor, Refusal, StartError, TaskErrorKind, task};

#[task]
fn identity(n: u64) -> u64 {
    n
}

#[task]
fn directory() -> String {
    std::env::current_dir().expect("a directory").display().to_string()
}

fn refused(builder: procpool::Builder) -> String {
    match builder.build() {
        Err(error @ StartError::Invalid { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

support::isolated! {
    fn settings_that_make_no_sense_are_refused_by_name() {
        let builder = ProcessPoolExecutor::builder;
        for (builder, text) in [
            (builder().max_workers(0), "`max_workers` is 0: it must be from 1 to 4096"),
            (builder().max_workers(usize::MAX), "must be from 1 to 4096"),
            (builder().max_tasks_per_child(0), "`max_tasks_per_child` is 0: it must be at least 1"),
            (builder().max_pending(0), "`max_pending` is 0: it must be at least 1"),
            (builder().max_pending(usize::MAX), "`max_pending` is larger than any memory"),
            (builder().max_message_size(0), "`max_message_size` is 0: it must be at least 1"),
            (builder().start_timeout(Duration::MAX), "`start_timeout` is longer than a year"),
            (builder().spin(Duration::MAX), "`spin` is longer than a year"),
            (builder().stop_timeout(Duration::ZERO), "`stop_timeout` is zero: give a longer time"),
            (builder().current_dir("/no/such/place"), "/no/such/place, which is no directory"),
            (builder().env("A=B", "x"), "is no name for an environment variable"),
            (builder().env("", "x"), "is no name for an environment variable"),
        ] {
            let message = refused(builder);
            assert!(message.contains(text), "{message:?} lacks {text:?}");
        }
    }

    fn a_pool_used_after_its_shutdown_refuses_and_stays_quiet() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        assert_eq!(pool.submit(identity, 1).result().expect("a value"), 1);
        pool.shutdown(true).wait();
        let error = pool.submit(identity, 2).result().expect_err("closed");
        assert!(matches!(error.kind(), TaskErrorKind::PoolClosed));
        assert_eq!(error.to_string(), "task `bad_input::identity`: the pool was shut down");
        assert!(matches!(pool.try_submit(identity, 2).unwrap_err().reason(), Refusal::PoolClosed));
        assert!(matches!(pool.try_reserve().unwrap_err().reason(), Refusal::PoolClosed));
        assert!(matches!(pool.reserve().wait().unwrap_err().reason(), Refusal::PoolClosed));
        assert!(pool.warm_up().wait().is_err());
        assert_eq!(pool.shutdown(true).wait(), pool.shutdown(true).wait());
        assert_eq!((pool.pending(), pool.worker_pids()), (0, vec![]));
    }

    fn a_full_pool_gives_the_arguments_back_and_takes_more_when_there_is_room() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).max_pending(2).build().expect("a pool");
        let held = [pool.try_reserve().expect("room"), pool.try_reserve().expect("room")];
        let full = pool.try_submit(identity, 7).expect_err("no room");
        assert!(matches!(full.reason(), Refusal::Full { max_pending: 2, .. }));
        assert_eq!(full.into_args(), 7);
        assert!(pool.submit(identity, 7).result().expect_err("no room").to_string().contains("wait for room with `reserve`"));
        drop(held);
        for n in 0..100 {
            // Each waits for room in its turn.
            pool.reserve().wait().expect("room").submit(identity, n).detach();
        }
        pool.shutdown(true).wait();
    }

    fn an_override_that_is_no_number_is_told() {
        let output = std::process::Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "default_pool", "--nocapture", "--test-threads=1"])
            .env("PROCPOOL_MAX_WORKERS", "many")
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("PROCPOOL_MAX_WORKERS") && text.contains("many"), "{text}");
    }

    fn workers_start_where_they_are_told() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).current_dir("/").build().expect("a pool");
        assert_eq!(pool.submit(directory, ()).result().expect("a value"), "/");
    }
}

/// Says what a pool with default settings says of them.
#[test]
fn default_pool() {
    match ProcessPoolExecutor::new() {
        Ok(pool) => println!("{} workers", pool.max_workers()),
        Err(error) => println!("{error}"),
    }
}
