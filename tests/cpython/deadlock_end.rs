//! A pool that ends while something goes wrong in it: every task is told, and the end comes.

use std::thread;

use procpool::{ProcessPoolExecutor, ShutdownOptions, TaskErrorKind};

use super::bomb::{Args, Bomb, Outcome, Reply, Stage, bombs, carry, judge};
use super::gate::Gate;
use super::tasks::pool_of;
use crate::support;

/// The ways to end a pool.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Wait,
    NoWait,
    NoWaitThenDrop,
    CancelPending,
    Kill,
    Drop,
}

impl End {
    /// Takes effect before this returns.
    fn begin(self, pool: &ProcessPoolExecutor) -> Option<procpool::Shutdown> {
        let options = ShutdownOptions::new();
        match self {
            End::Wait => Some(pool.shutdown(true)),
            End::NoWait | End::NoWaitThenDrop => {
                pool.shutdown(false).wait();
                None
            }
            End::CancelPending => Some(pool.shutdown_with(options.cancel_futures(true))),
            End::Kill => Some(pool.shutdown_with(options.kill(true))),
            End::Drop => None,
        }
    }

    /// What is pending may be cancelled instead.
    fn cancels_pending(self) -> bool {
        matches!(self, End::CancelPending | End::Kill | End::Drop)
    }

    /// What runs is cancelled instead.
    fn kills(self) -> bool {
        matches!(self, End::Kill | End::Drop)
    }
}

/// `None` if the task was cancelled and that is allowed.
#[track_caller]
fn judge_or_cancelled(end: End, bomb: &Option<Bomb>, outcome: Outcome) {
    match outcome {
        Err(error) if error.is_cancelled() => {
            assert!(end.cancels_pending(), "{end:?} cancels nothing, but did {bomb:?}");
        }
        outcome => judge(bomb.as_ref(), outcome),
    }
}

/// The pool ends right after bad and good tasks were submitted, whether its workers live already or not.
fn ends_with_all_told(end: End) {
    for warm in [false, true] {
        for bomb in bombs(None) {
            let pool = pool_of(2);
            if warm {
                pool.warm_up().wait().expect("two workers");
            }
            let all = [Some(bomb.clone()), None, Some(bomb.clone()), None, Some(bomb), None];
            let futures = all.clone().map(|bomb| pool.submit(carry, Args(bomb)));
            let shutdown = end.begin(&pool);
            let kept = (!matches!(end, End::Drop | End::NoWaitThenDrop)).then_some(pool);
            if let Some(shutdown) = shutdown {
                assert_eq!(shutdown.wait().leaked, []);
                assert!(futures.iter().all(|future| future.done()), "{end:?} was to wait");
            }
            for (bomb, future) in all.iter().zip(futures) {
                judge_or_cancelled(end, bomb, future.result());
            }
            if let Some(pool) = kept {
                pool.shutdown(true).wait();
                assert_eq!((pool.pending(), pool.worker_pids()), (0, Vec::new()));
            }
        }
    }
}

/// The pool ends while the user's code is about to fail: the bomb has reached its stage and its fuse burns.
fn ends_during(end: End) {
    for bomb in bombs(Some("")) {
        let gate = Gate::closed();
        let bomb = Bomb { fuse: Some(gate.path()), ..bomb };
        // Whoever submits holds the pool: it cannot be dropped before the arguments are encoded.
        if bomb.stage == Stage::ArgsEncode && matches!(end, End::Drop | End::NoWaitThenDrop) {
            continue;
        }
        let pool = pool_of(2);
        let args = Args(Some(bomb.clone()));
        let waiter = if bomb.stage == Stage::ArgsEncode {
            let pool = pool.clone();
            thread::spawn(move || pool.submit(carry, args).result())
        } else {
            let future = pool.submit(carry, args);
            thread::spawn(move || future.result())
        };
        gate.arrived();
        let shutdown = end.begin(&pool);
        let kept = (!matches!(end, End::Drop | End::NoWaitThenDrop)).then_some(pool);
        if bomb.is_ours() || end.kills() {
            // The pool has nothing to wait for: the user's code on the user's own thread is no task of it.
            if let Some(shutdown) = shutdown {
                shutdown.wait();
            }
            gate.open();
        } else {
            gate.open();
            if let Some(shutdown) = shutdown {
                shutdown.wait();
            }
        }
        let outcome = waiter.join().expect("no panic comes out of the pool");
        if end.kills() && !bomb.is_ours() {
            let error = outcome.map(|reply| reply.map(|Reply(bomb)| bomb)).expect_err("it was killed");
            assert!(matches!(error.kind(), TaskErrorKind::Cancelled { was_running: true, .. }), "{error}");
        } else {
            judge(Some(&bomb), outcome);
        }
        if let Some(pool) = kept {
            pool.shutdown(true).wait();
        }
    }
}

support::isolated! {
    timeout = 60;

    fn a_shutdown_that_waits_ends_with_every_task_told() { ends_with_all_told(End::Wait); }
    fn a_shutdown_that_does_not_wait_still_tells_every_task() { ends_with_all_told(End::NoWait); }
    fn a_shutdown_whose_pool_is_dropped_still_tells_every_task() { ends_with_all_told(End::NoWaitThenDrop); }
    fn a_shutdown_that_cancels_tells_every_task() { ends_with_all_told(End::CancelPending); }
    fn a_shutdown_that_kills_tells_every_task() { ends_with_all_told(End::Kill); }
    fn a_dropped_pool_tells_every_task() { ends_with_all_told(End::Drop); }

    fn a_shutdown_that_waits_while_a_fault_is_under_way() { ends_during(End::Wait); }
    fn a_shutdown_that_does_not_wait_while_a_fault_is_under_way() { ends_during(End::NoWait); }
    fn a_shutdown_and_a_drop_while_a_fault_is_under_way() { ends_during(End::NoWaitThenDrop); }
    fn a_shutdown_that_cancels_while_a_fault_is_under_way() { ends_during(End::CancelPending); }
    fn a_shutdown_that_kills_while_a_fault_is_under_way() { ends_during(End::Kill); }
    fn a_drop_while_a_fault_is_under_way() { ends_during(End::Drop); }
}
