//! Whoever tests their own handling of faults can have each of them, at the task or the start they name.

mod support;

use std::time::{Duration, Instant};

use procpool::{
    ExitCause, Fault, Faults, ProcessPoolExecutor, Ran, Retry, StartError, TaskErrorKind, TaskOptions, task,
};

#[task]
fn double(n: u64) -> u64 {
    2 * n
}

fn pool(workers: usize, faults: Faults) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).faults(faults).build().expect("a pool")
}

support::isolated! {
    fn each_fault_strikes_the_task_it_names_whichever_worker_has_it() {
        let faults = Faults::new()
            .on_task(2, Fault::Kill)
            .on_task(4, Fault::Abort)
            .on_task(6, Fault::Exit(9))
            .on_task(8, Fault::CutReply(5))
            .on_task(10, Fault::Garbage);
        for workers in [1, 3] {
            let pool = pool(workers, faults.clone());
            let futures: Vec<_> = (1..=12).map(|n| pool.submit(double, n)).collect();
            for (n, future) in (1..).zip(futures) {
                let outcome = future.result();
                if n % 2 == 1 || n == 12 {
                    assert_eq!(outcome.expect("a value"), 2 * n);
                    continue;
                }
                let error = outcome.expect_err("a fault");
                let exit = error.exit().map(|exit| exit.cause());
                match n {
                    2 | 8 => assert!(matches!(exit, Some(ExitCause::Signal { number: 9, .. })), "{error}"),
                    4 => assert!(matches!(exit, Some(ExitCause::Signal { number: 6, .. })), "{error}"),
                    6 => assert_eq!(exit, Some(ExitCause::Code(9))),
                    _ => assert!(matches!(error.kind(), TaskErrorKind::Protocol { .. }), "{error}"),
                }
                assert_eq!(error.ran(), if n == 8 { Ran::Yes } else if n == 10 { error.ran() } else { Ran::Maybe });
            }
            pool.shutdown(true).wait();
        }
    }

    fn a_stall_is_ended_by_a_deadline() {
        let limit = Duration::from_millis(100);
        let pool = pool(1, Faults::new().on_task(1, Fault::Stall)).with(TaskOptions::new().timeout(limit));
        assert!(pool.submit(double, 1).result().expect_err("it stalls").is_timeout());
        assert_eq!(pool.submit(double, 1).result().expect("a value"), 2);
        pool.shutdown(true).wait();
    }

    fn a_pause_only_takes_its_time() {
        let pause = Duration::from_millis(150);
        let pool = pool(1, Faults::new().on_task(1, Fault::Sleep(pause)));
        let began = Instant::now();
        assert_eq!(pool.submit(double, 1).result().expect("a value"), 2);
        assert!(began.elapsed() >= pause);
        pool.shutdown(true).wait();
    }

    fn a_fault_strikes_once_so_that_retries_can_be_seen() {
        let retry = TaskOptions::new().retry(Retry::new(1).backoff(Duration::ZERO));
        let pool = pool(2, Faults::new().on_task(1, Fault::Kill)).with(retry);
        assert_eq!(pool.submit(double, 1).result().expect("the second attempt"), 2);
        pool.shutdown(true).wait();
    }

    fn starts_fail_as_they_are_told_to() {
        let faults = Faults::new().on_start(1, Fault::Exit(5)).on_start(2, Fault::Abort).on_start(3, Fault::Exit(7));
        let broken = pool(1, faults);
        match broken.submit(double, 1).result().expect_err("no worker").kind() {
            TaskErrorKind::PoolBroken(cause) => assert!(cause.to_string().contains("exited with code 7"), "{cause}"),
            other => panic!("{other:?}"),
        }
        broken.shutdown(true).wait();
        let slow = ProcessPoolExecutor::builder()
            .max_workers(1)
            .start_timeout(Duration::from_millis(300))
            .faults(Faults::new().on_start(1, Fault::Stall))
            .build()
            .expect("a pool");
        assert_eq!(slow.submit(double, 3).result().expect("the second worker"), 6);
        slow.shutdown(true).wait();
    }

    fn pools_have_scripts_of_their_own() {
        let spoiled = pool(1, Faults::new().on_task(1, Fault::Kill));
        let healthy = pool(1, Faults::new());
        assert!(spoiled.submit(double, 1).result().is_err());
        assert_eq!(healthy.submit(double, 1).result().expect("a value"), 2);
        drop((spoiled, healthy));
    }

    fn scripts_that_make_no_sense_are_refused() {
        let refused = |faults| match ProcessPoolExecutor::builder().faults(faults).build() {
            Err(StartError::Invalid { message, .. }) => message,
            other => panic!("{other:?}"),
        };
        assert!(refused(Faults::new().on_task(0, Fault::Kill)).contains("counted from 1"));
        let many = (1..=300).fold(Faults::new(), |faults, n| faults.on_task(n, Fault::Kill));
        assert!(refused(many).contains("300 faults"));
        let parent = Faults::new().at(procpool::__private::Point::Reap, 1, None, Fault::Kill);
        assert!(refused(parent).contains("would strike the parent"));
    }
}
