//! A pool that is ended by force.

use procpool::{ShutdownOptions, ShutdownReport, TaskErrorKind, task};

use super::gate::Gate;
use super::tasks::{echo, note_and_stay, pool_of};
use crate::support::{self, Ledger, procfs, tagged_pids};

#[task]
fn quit() {
    std::process::exit(1)
}

fn forced(pool: &procpool::ProcessPoolExecutor) -> ShutdownReport {
    let report = pool.shutdown_with(ShutdownOptions::new().kill(true)).wait();
    assert_eq!(tagged_pids(), [], "a forced end waits for the workers to be gone");
    report
}

support::isolated! {
    fn a_forced_end_stops_a_task_in_its_body() {
        let (ledger, gate) = (Ledger::create(), Gate::closed());
        let pool = pool_of(1);
        let future = pool.submit(note_and_stay, (&ledger.path(), &gate.path(), 1));
        assert_eq!(gate.arrived(), 1);
        let report = forced(&pool);
        assert_eq!((report.cancelled, report.killed, report.leaked), (1, 1, Vec::new()));
        gate.open();
        assert_eq!((ledger.starts(1), ledger.finishes(1)), (1, 0), "started, never finished");
        let error = future.result().expect_err("it was killed");
        assert!(matches!(error.kind(), TaskErrorKind::Cancelled { was_running: true, .. }), "{error}");
    }

    fn a_forced_end_after_a_death_is_an_ordinary_one() {
        let pool = pool_of(1);
        assert!(pool.submit(quit, ()).result().expect_err("it exited").is_worker_died());
        let report = forced(&pool);
        assert_eq!((report.cancelled, report.killed), (0, 0));
    }

    fn a_forced_end_before_any_worker_has_nothing_to_kill() {
        let pool = pool_of(1);
        assert_eq!(pool.worker_pids(), []);
        let report = forced(&pool);
        assert_eq!((report.cancelled, report.killed), (0, 0));
    }

    fn a_forced_end_is_the_end() {
        let pool = pool_of(1);
        assert_eq!(pool.submit(echo, 1).result().expect("a value"), 1);
        let workers = pool.worker_pids();
        forced(&pool);
        assert!(workers.iter().all(|&pid| procfs::state(pid).is_none()));
        let error = pool.submit(echo, 2).result().expect_err("refused");
        assert!(matches!(error.kind(), TaskErrorKind::PoolClosed), "{error}");
        forced(&pool);
    }
}
