//! Workers: how many there are, whose they are, and what one leaves behind when it ends.

use procpool::{ExitCause, ProcessPoolExecutor, Refusal, StartError, TaskErrorKind, TaskFuture, task};
use serde::{Deserialize, Serialize};

use super::gate::{self, Gate};
use super::tasks::{echo, pool_of, product};
use crate::support::{self, Event, FdLimit, Ledger, Signal, kill};

#[task]
fn pid_after(gate: &str, n: u64) -> (u32, u64) {
    let pid = std::process::id();
    gate::pass(gate, u64::from(pid));
    (pid, n)
}

#[task]
fn quit(code: i32) {
    std::process::exit(code)
}

/// Where this panics is told to the caller.
#[task]
fn complain(about: u32) {
    panic!("complaint {about}") // the place
}

const PLACE: u32 = line!() - 3;

/// Records its own end in whatever process that happens.
#[derive(Serialize, Deserialize)]
struct Guest {
    ledger: String,
    id: u64,
}

impl Drop for Guest {
    fn drop(&mut self) {
        Ledger::record(&self.ledger, self.id, Event::Finished);
    }
}

#[task]
fn host(guest: Guest) -> u64 {
    guest.id
}

support::isolated! {
    fn a_killed_worker_costs_its_task_and_the_pool_goes_on() {
        let gate = Gate::closed();
        let pool = pool_of(5);
        let future = pool.submit(pid_after, (&gate.path(), 1));
        let pid = u32::try_from(gate.arrived()).expect("a process id");
        assert!(pool.worker_pids().contains(&pid));
        kill(pid, Signal::TERM);
        let error = future.result().expect_err("its worker was killed");
        let exit = error.exit().expect("a death");
        assert_eq!(exit.pid(), pid);
        assert!(matches!(exit.cause(), ExitCause::Signal { number: libc::SIGTERM, .. }), "{error}");
        assert_eq!(pool.submit(product, (2, 8)).result().expect("the pool goes on"), 16);
        pool.shutdown(true).wait();
    }

    fn a_killed_worker_is_told_to_its_own_task_only() {
        let gate = Gate::closed();
        let pool = pool_of(3);
        let futures = [0, 1, 2].map(|n| pool.submit(pid_after, (&gate.path(), n)));
        let victim = u32::try_from(gate.arrived()).expect("a process id");
        gate.arrived();
        gate.arrived();
        kill(victim, Signal::KILL);
        gate.open();
        let results = futures.map(|future| future.result());
        let mut deaths = 0;
        for (n, result) in (0..).zip(results) {
            match result {
                Ok((pid, value)) => assert!(pid != victim && value == n),
                Err(error) => {
                    deaths += 1;
                    assert_eq!(error.exit().expect("a death").pid(), victim);
                }
            }
        }
        assert_eq!(deaths, 1);
        pool.shutdown(true).wait();
    }

    fn a_panic_is_told_with_its_text_and_its_place() {
        let pool = pool_of(1);
        let error = pool.submit(complain, 123).result().expect_err("it panicked");
        let panic = error.panic().expect("a panic");
        assert_eq!(panic.message(), "complaint 123");
        let place = panic.location().expect("a place");
        assert!(place.contains(&format!("process_pool.rs:{PLACE}:")), "{place}");
        let text = error.to_string();
        assert!(text.contains("complaint 123") && text.contains(place), "{text}");
        pool.shutdown(true).wait();
    }

    fn an_abrupt_end_is_told_with_its_code() {
        let pool = pool_of(1);
        let error = pool.submit(quit, 99).result().expect_err("it exited");
        assert_eq!(error.exit().expect("a death").cause(), ExitCause::Code(99));
        assert!(error.to_string().contains("exited with code 99"), "{error}");
        pool.shutdown(true).wait();
    }

    fn arguments_are_dropped_in_the_worker_before_the_result_is_there() {
        let ledger = Ledger::create();
        let pool = pool_of(1);
        let guest = Guest { ledger: ledger.path(), id: 7 };
        let here = std::process::id();
        assert_eq!(pool.submit(host, guest).result().expect("a value"), 7);
        let entries = ledger.entries();
        let (here, there): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.pid == here);
        assert_eq!((here.len(), there.len()), (1, 1), "here after it was encoded, and in the worker");
        pool.shutdown(true).wait();
    }

    fn never_more_workers_than_asked_for_however_much_is_in_line() {
        let gate = Gate::closed();
        let pool = pool_of(4);
        let futures: Vec<_> = (0..60).map(|n| pool.submit(pid_after, (&gate.path(), n))).collect();
        let mut pids: Vec<_> = (0..4).map(|_| gate.arrived()).collect();
        assert_eq!(pool.worker_pids().len(), 4);
        gate.open();
        let pid_of = |future: TaskFuture<(u32, u64)>| u64::from(future.result().expect("a value").0);
        let mut seen: Vec<_> = futures.into_iter().map(pid_of).collect();
        for list in [&mut pids, &mut seen] {
            list.sort_unstable();
            list.dedup();
        }
        assert_eq!((pids.len(), &seen), (4, &pids), "the same four did it all");
        pool.shutdown(true).wait();
    }

    fn an_idle_worker_is_used_before_another_is_started() {
        let pool = pool_of(4);
        for (a, b) in [(21, 2), (6, 7), (3, 14)] {
            assert_eq!(pool.submit(product, (a, b)).result().expect("a value"), 42);
        }
        assert_eq!(pool.worker_pids().len(), 1);
        pool.shutdown(true).wait();
    }

    fn idle_workers_are_used_when_there_is_more_than_one_task() {
        let pool = pool_of(5);
        assert_eq!(pool.submit(product, (12, 7)).result().expect("a value"), 84);
        let mut aside = Vec::new();
        for n in [33, 18, 0] {
            aside.push(pool.submit(product, (n, 25)));
            assert_eq!(pool.submit(product, (n, 2)).result().expect("a value"), 2 * n);
        }
        assert!(pool.worker_pids().len() <= 3, "{:?}", pool.worker_pids());
        let aside: Vec<_> = aside.into_iter().map(|future| future.result().expect("a value")).collect();
        assert_eq!(aside, [825, 450, 0]);
        pool.shutdown(true).wait();
    }

    fn a_pool_that_cannot_be_made_says_so() {
        let limit = FdLimit::leaving(0);
        let refused = ProcessPoolExecutor::new().expect_err("no descriptors");
        drop(limit);
        assert!(!matches!(refused, StartError::Invalid { .. }), "{refused}");
        let pool = pool_of(1);
        assert_eq!(pool.submit(echo, 1).result().expect("a value"), 1);
        pool.shutdown(true).wait();
    }

    fn a_pool_that_cannot_start_workers_tells_each_item() {
        let pool = pool_of(2);
        let limit = FdLimit::leaving(0);
        let results: Vec<_> = pool.map(product, [(2, 3); 10]).into_iter().collect();
        drop(limit);
        assert_eq!(results.len(), 10);
        for result in results {
            let error = result.expect_err("no worker");
            assert!(matches!(error.kind(), TaskErrorKind::PoolBroken(_)), "{error}");
        }
        let refused = pool.try_submit(echo, 1).expect_err("broken for good");
        assert!(matches!(refused.reason(), Refusal::PoolBroken(_)), "{refused}");
        pool.shutdown(true).wait();
    }
}
