//! Eight threads submit while the pool is shut down and, perhaps, a worker is killed.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use procpool::{ExitCause, ProcessPoolExecutor, Refusal, TaskErrorKind, TaskFuture};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use super::support::{self, Census, Signal, procfs};
use super::{Way, double};

fn rounds() -> u64 {
    std::env::var("PROCPOOL_ROUNDS").map_or(200, |rounds| rounds.parse().expect("a number of rounds"))
}

fn patience() -> u64 {
    60 + rounds()
}

/// How the accepted tasks of one round ended.
#[derive(Debug, Default)]
struct Tally {
    values: usize,
    cancelled: usize,
    died: usize,
}

/// Eight threads submit, at some moment the pool is shut down, and with `murder` a worker is killed meanwhile.
fn race(way: Way, murder: bool) {
    support::warmed_up(|| {
        one_race(Way::Wait, false, 0);
    });
    let baseline = Census::take();
    let mut all = Tally::default();
    for round in 0..rounds() {
        let tally = one_race(way, murder, round);
        all.values += tally.values;
        all.cancelled += tally.cancelled;
        all.died += tally.died;
        baseline.assert_clean();
    }
    println!("{way:?}, murder {murder}: {all:?}");
    assert!(all.values > 0, "no round got as far as one value");
}

fn one_race(way: Way, murder: bool, round: u64) -> Tally {
    let dice = mixed(round);
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
    // Half of the rounds begin with workers, the others shut down while workers start.
    if dice & 1 == 0 || murder {
        pool.warm_up().wait().expect("two workers");
    }
    let accepted = AtomicUsize::new(0);
    // Half of the moments are times, the others are so many tasks done, which a slow machine reaches as well.
    let until_the_moment = || {
        if dice & 4 == 0 {
            let end = Instant::now() + Duration::from_nanos((dice >> 8) % 4_000_000);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        } else {
            let enough = 1 + (dice >> 8) as usize % 200;
            while accepted.load(Ordering::Relaxed).saturating_sub(pool.pending()) < enough {
                thread::yield_now();
            }
        }
    };
    let victim = murder.then(|| {
        let pid = pool.worker_pids()[(dice >> 1) as usize & 1];
        let pid = Pid::from_raw(i32::try_from(pid).expect("a process number")).expect("not 0");
        pidfd_open(pid, PidfdFlags::empty()).expect("it lives")
    });
    let begin = Barrier::new(10);
    let (tally, report) = thread::scope(|scope| {
        let submitters: Vec<_> =
            (0..8).map(|_| scope.spawn(|| submit_until_refused(&pool, &begin, &accepted))).collect();
        scope.spawn(|| {
            begin.wait();
            if let Some(victim) = &victim {
                until_the_moment();
                // The shutdown may have been faster.
                let _ = pidfd_send_signal(victim, Signal::KILL);
            }
        });
        begin.wait();
        until_the_moment();
        let began = Instant::now();
        let report = pool.shutdown_with(way.options()).wait();
        assert!(began.elapsed() < Duration::from_secs(10), "{way:?} took {:?}", began.elapsed());
        assert_eq!(
            procfs::children_of(std::process::id()),
            [0; 0],
            "workers are left when the shutdown returns"
        );
        assert_eq!(pool.pending(), 0);
        let mut tally = Tally::default();
        for submitter in submitters {
            for (n, future) in submitter.join().expect("no panic") {
                assert!(future.done(), "{way:?}: a task was accepted and is not resolved after the shutdown");
                count(&mut tally, n, future, way, murder);
            }
        }
        (tally, report)
    });
    assert_eq!(report.leaked, [0; 0]);
    assert_eq!(report.cancelled, tally.cancelled, "{way:?}: {report:?}, {tally:?}");
    let began = Instant::now();
    assert_eq!(pool.shutdown(true).wait(), report, "the second call changes nothing");
    assert!(began.elapsed() < Duration::from_secs(1), "the second call had nothing to wait for");
    tally
}

/// What one thread got accepted. It keeps a few tasks in flight, so that it is the pool that sets the pace.
fn submit_until_refused(
    pool: &ProcessPoolExecutor,
    begin: &Barrier,
    count: &AtomicUsize,
) -> Vec<(u64, TaskFuture<u64>)> {
    let mut accepted = Vec::new();
    begin.wait();
    for n in 0.. {
        match pool.try_submit(double, n) {
            Ok(future) => {
                accepted.push((n, future));
                count.fetch_add(1, Ordering::Relaxed);
            }
            Err(refused) => {
                assert!(matches!(refused.reason(), Refusal::PoolClosed), "{refused:?}");
                return accepted;
            }
        }
        while accepted.len() as u64 >= 16 && !accepted[accepted.len() - 16].1.done() && pool.pending() > 64 {
            thread::yield_now();
        }
    }
    unreachable!("the pool is shut down before the numbers run out")
}

fn count(tally: &mut Tally, n: u64, future: TaskFuture<u64>, way: Way, murder: bool) {
    match future.result() {
        Ok(value) => {
            assert_eq!(value, 2 * n);
            tally.values += 1;
        }
        Err(error) => match error.kind() {
            TaskErrorKind::Cancelled { .. } if way != Way::Wait => tally.cancelled += 1,
            TaskErrorKind::WorkerDied(exit) if murder => {
                assert!(matches!(exit.cause(), ExitCause::Signal { number: libc::SIGKILL, .. }), "{error}");
                tally.died += 1;
            }
            _ => panic!("{way:?}, murder {murder}: {error:?}"),
        },
    }
}

support::isolated! {
    timeout = patience();

    fn a_shutdown_that_waits() {
        race(Way::Wait, false);
    }

    fn a_shutdown_that_waits_while_a_worker_is_killed() {
        race(Way::Wait, true);
    }

    fn a_shutdown_that_cancels() {
        race(Way::Cancel, false);
    }

    fn a_shutdown_that_cancels_while_a_worker_is_killed() {
        race(Way::Cancel, true);
    }

    fn a_shutdown_that_kills() {
        race(Way::Kill, false);
    }

    fn a_shutdown_that_kills_while_a_worker_is_killed() {
        race(Way::Kill, true);
    }
}

/// A number that looks random, the same for the same round.
fn mixed(round: u64) -> u64 {
    let mut z = round.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
