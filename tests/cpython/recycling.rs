//! Workers that are replaced after a number of tasks, and pools that end meanwhile.

use std::time::Duration;

use procpool::{ProcessPoolExecutor, ShutdownOptions, StartError, TaskErrorKind, TaskFuture};

use super::gate::Gate;
use super::tasks::{own_pid, product, stay, values};
use crate::support::{self, FdLimit, eventually, procfs, tagged_pids};

fn pool_with(workers: usize, tasks: usize) -> ProcessPoolExecutor {
    let builder = ProcessPoolExecutor::builder().max_workers(workers).max_tasks_per_child(tasks);
    builder.build().expect("a pool")
}

/// One worker, which is replaced after each task, is in the first of three.
fn in_the_first_of_three() -> (Gate, ProcessPoolExecutor, [TaskFuture<u64>; 3]) {
    let gate = Gate::closed();
    let pool = pool_with(1, 1);
    let futures = [0, 1, 2].map(|n| pool.submit(stay, (&gate.path(), n)));
    assert_eq!(gate.arrived(), 0);
    (gate, pool, futures)
}

support::isolated! {
    fn a_worker_is_replaced_after_its_number_of_tasks() {
        let pool = pool_with(1, 3);
        let pids = [(); 7].map(|()| pool.submit(own_pid, ()).result().expect("a value"));
        assert_eq!((pids[1], pids[2]), (pids[0], pids[0]));
        assert_eq!((pids[4], pids[5]), (pids[3], pids[3]));
        assert!(pids[3] != pids[0] && pids[6] != pids[3]);
        eventually("the used up are gone", Duration::from_secs(2), || {
            procfs::state(pids[0]).is_none() && procfs::state(pids[3]).is_none()
        });
        pool.shutdown(true).wait();
    }

    fn what_is_in_line_goes_on_with_the_next_worker() {
        for (workers, tasks, count) in [(1, 2, 6), (2, 2, 8), (2, 1, 9), (3, 5, 40)] {
            let pool = pool_with(workers, tasks);
            let futures = (0..count).map(|n| pool.submit(product, (n, 2))).collect();
            assert_eq!(values(futures), (0..count).map(|n| 2 * n).collect::<Vec<_>>());
            let options = ShutdownOptions::new().cancel_futures(true);
            assert_eq!(pool.shutdown_with(options).wait().cancelled, 0);
        }
    }

    fn a_shutdown_right_after_the_submissions_replaces_workers_until_all_is_done() {
        let pool = pool_with(3, 1);
        let futures: Vec<_> = (0..6).map(|n| pool.submit(product, (n, n))).collect();
        pool.shutdown(true).wait();
        assert!(futures.iter().all(TaskFuture::done));
        assert_eq!(values(futures), [0, 1, 4, 9, 16, 25]);
    }

    fn a_shutdown_without_waiting_still_replaces_workers_for_what_is_in_line() {
        for drop_it in [false, true] {
            let (gate, pool, futures) = in_the_first_of_three();
            pool.shutdown(false).wait();
            let kept = (!drop_it).then_some(pool);
            gate.open();
            assert_eq!(values(futures.into()), [0, 1, 2]);
            drop(kept);
            eventually("all workers are gone", Duration::from_secs(5), || tagged_pids().is_empty());
        }
    }

    fn a_pool_that_is_dropped_while_a_worker_is_used_up_cancels_what_is_left() {
        let (gate, pool, futures) = in_the_first_of_three();
        drop(pool);
        gate.open();
        for future in futures {
            assert!(future.result().expect_err("nobody wants it").is_cancelled());
        }
        eventually("all workers are gone", Duration::from_secs(5), || tagged_pids().is_empty());
    }

    fn a_forced_end_replaces_no_worker() {
        let (gate, pool, futures) = in_the_first_of_three();
        let report = pool.shutdown_with(ShutdownOptions::new().kill(true)).wait();
        assert_eq!((report.cancelled, report.killed, report.leaked), (3, 1, Vec::new()));
        assert_eq!(tagged_pids(), [], "whoever would come now would escape the kill");
        gate.open();
        for future in futures {
            assert!(future.result().expect_err("it was killed").is_cancelled());
        }
    }

    fn a_worker_that_cannot_be_replaced_breaks_the_pool_instead_of_stranding_its_tasks() {
        let (gate, pool, [first, second, third]) = in_the_first_of_three();
        let limit = FdLimit::leaving(0);
        gate.open();
        assert_eq!(first.result().expect("its worker was there"), 0);
        for future in [second, third] {
            let error = future.result().expect_err("no worker");
            let TaskErrorKind::PoolBroken(cause) = error.kind() else { panic!("{error}") };
            assert!(matches!(cause, StartError::Spawn { .. }), "{cause}");
        }
        drop(limit);
        pool.shutdown(true).wait();
    }
}
