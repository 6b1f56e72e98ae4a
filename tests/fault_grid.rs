//! Whatever strikes a worker or its parent at whatever point: at most one task is lost, the loss is told truly, the
//! neighbours run exactly once, the pool goes on, and nothing is left behind.

mod support;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use procpool::__private::Point;
use procpool::{
    ExitCause, Fault, Faults, ProcessPoolExecutor, Ran, TaskOptions, WorkerEndReason, WorkerEvent, task,
};
use support::{Census, Event, Ledger};

const TASKS: u64 = 12;
/// So many times at most, until the fault has struck.
const MOST_ROUNDS: u64 = 20;

#[task]
fn work(ledger: &str, id: u64) -> Vec<u64> {
    Ledger::record(ledger, id, Event::Started);
    std::thread::sleep(Duration::from_millis(1));
    Ledger::record(ledger, id, Event::Finished);
    vec![id; 2_000]
}

#[task]
fn prepare() -> Result<(), String> {
    Ok(())
}

const BOOT: [Point; 5] =
    [Point::BootStart, Point::BootChannel, Point::BootPrepared, Point::BootInitializer, Point::BootReady];
const LIFE: [Point; 10] = [
    Point::Idle,
    Point::Request,
    Point::Claimed,
    Point::BodyBefore,
    Point::BodyAfter,
    Point::Finished,
    Point::Encoded,
    Point::ReplyBytes,
    Point::Replied,
    Point::Exit,
];
const FATAL: [Fault; 4] = [Fault::Kill, Fault::Abort, Fault::Exit(0), Fault::Exit(3)];
const PAUSE: Fault = Fault::Sleep(Duration::from_millis(100));

/// How many tasks a fault may cost at a point, the first time that the first worker comes there.
fn cost(point: Point, fault: Fault) -> RangeInclusive<usize> {
    use Point::{
        BodyAfter, BodyBefore, Claimed, Encoded, Exit, Finished, Idle, Replied, ReplyBytes, Request,
    };
    let starting = BOOT.contains(&point);
    match (point, fault) {
        (_, Fault::Sleep(_)) => 0..=0,
        _ if starting => 0..=0,
        // What has not started goes elsewhere; what was said counts.
        (Idle | Request | Claimed | Replied | Exit, Fault::Kill | Fault::Abort | Fault::Exit(_)) => 0..=0,
        (ReplyBytes, Fault::CutReply(_)) => 1..=1,
        (BodyBefore | BodyAfter | Finished | Encoded, Fault::Kill | Fault::Abort | Fault::Exit(_)) => 1..=1,
        (Idle | Request | Replied, Fault::Error) => 0..=0,
        (Encoded, Fault::Error) => 1..=1,
        // The worker goes on until it wants to use the channel, or is found out.
        _ => 0..=1,
    }
}

/// Whether anything can happen: inside of a call an error has no place to go, and between the first byte of a reply and
/// its end there is no other way to strike than to cut it.
fn is_possible(point: Point, fault: Fault) -> bool {
    use Point::{BodyAfter, BodyBefore, Claimed, Exit, Finished, ReplyBytes};
    match point {
        ReplyBytes => false,
        // To end well is what a worker does there.
        Exit => ![Fault::Error, Fault::Exit(0)].contains(&fault),
        Claimed | BodyBefore | BodyAfter | Finished => fault != Fault::Error,
        _ => true,
    }
}

/// Whether a worker ends before its time of such a fault.
fn is_fatal(fault: Fault) -> bool {
    !matches!(fault, Fault::Sleep(_) | Fault::Error)
}

/// Some tasks, each of which has an outcome that is true. Says how many it cost.
fn play_round(pool: &ProcessPoolExecutor, ledger: &Ledger, first: u64, what: &str) -> usize {
    let path = ledger.path();
    let futures: Vec<_> = (first..first + TASKS).map(|id| pool.submit(work, (path.as_str(), id))).collect();
    let mut lost = 0;
    for (id, future) in (first..).zip(futures) {
        let outcome = future.result();
        let (starts, finishes) = (ledger.starts(id), ledger.finishes(id));
        assert!(starts <= 1, "{what}: task {id} started {starts} times");
        match outcome {
            Ok(value) => {
                assert_eq!((starts, finishes), (1, 1), "{what}: task {id} has a value");
                assert_eq!(value, vec![id; 2_000], "{what}: task {id}");
            }
            Err(error) => {
                lost += 1;
                match error.ran() {
                    Ran::No => assert_eq!(starts, 0, "{what}: {error}"),
                    Ran::Maybe => {}
                    Ran::Yes => assert_eq!((starts, finishes), (1, 1), "{what}: {error}"),
                }
                assert!(!error.is_timeout(), "{what}: nothing hangs: {error}");
            }
        }
    }
    lost
}

/// Plays one case, and says how many tasks it cost. What a worker is made to do must be seen.
fn play(workers: usize, faults: Faults, fault: Fault, what: &str) -> usize {
    play_to_the_end(workers, faults, fault, what, 0, 0)
}

/// The same if the fault costs so many tasks at least, and so many workers may still die when it has been seen that it
/// strikes.
fn play_to_the_end(
    workers: usize,
    faults: Faults,
    fault: Fault,
    what: &str,
    least: usize,
    more: u64,
) -> usize {
    let baseline = Census::take();
    let ledger = Ledger::create();
    let path = ledger.path();
    let unplanned = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&unplanned);
    let began = Instant::now();
    let pool = ProcessPoolExecutor::builder()
        .max_workers(workers)
        .initializer(prepare, ())
        .on_worker_event(move |event| {
            let planned = [WorkerEndReason::Shutdown, WorkerEndReason::MaxTasks];
            let happened = match event {
                WorkerEvent::Started { .. } => false,
                WorkerEvent::Ended { reason, cause, .. } => {
                    !planned.contains(reason) || !matches!(cause, ExitCause::Code(0))
                }
                _ => true,
            };
            seen.fetch_add(usize::from(happened), Ordering::SeqCst);
        })
        .faults(faults)
        .task_options(TaskOptions::new().timeout(Duration::from_secs(20)))
        .build()
        .expect("a pool");
    let mut lost = 0;
    // Another worker may do all of the tasks before the one that is to suffer is up, or has had its share.
    for round in 0..MOST_ROUNDS {
        let struck = if is_fatal(fault) { unplanned.load(Ordering::SeqCst) > 0 } else { lost >= least };
        if round > 0 && struck {
            break;
        }
        if round > 0 {
            pool.warm_up().wait().unwrap_or_else(|error| panic!("{what}: the pool goes on: {error}"));
        }
        lost += play_round(&pool, &ledger, round * TASKS, what);
    }
    for n in 0..=more {
        match pool.submit(work, (path.as_str(), MOST_ROUNDS * TASKS + n)).result() {
            Ok(value) => {
                assert_eq!(value.len(), 2_000, "{what}");
                break;
            }
            Err(error) if n == more => panic!("{what}: the pool goes on: {error}"),
            Err(_) => lost += 1,
        }
    }
    assert!(pool.shutdown(true).wait().leaked.is_empty(), "{what}");
    drop((pool, ledger));
    baseline.assert_clean();
    match fault {
        // Beside another worker nobody need wait for the one that pauses.
        Fault::Sleep(pause) if workers == 1 => assert!(began.elapsed() >= pause, "{what}: it did not strike"),
        _ if is_fatal(fault) => assert!(unplanned.load(Ordering::SeqCst) > 0, "{what}: it did not strike"),
        _ => {}
    }
    lost
}

fn warm() {
    support::warmed_up(|| {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        pool.warm_up().wait().expect("a worker");
        pool.shutdown(true).wait();
    });
}

fn grid(points: &[Point], faults: &[Fault], name: &str) {
    warm();
    let mut cases = 0;
    for workers in [1, 2] {
        for &point in points {
            for &fault in faults.iter().filter(|&&fault| is_possible(point, fault)) {
                let what = format!("{fault:?} at {point:?}, {workers} workers");
                let (faults, costs) = (Faults::new().at(point, 1, Some(1), fault), cost(point, fault));
                let lost = play_to_the_end(workers, faults, fault, &what, *costs.start(), 0);
                assert!(costs.contains(&lost), "{what}: {lost} tasks were lost");
                cases += 1;
            }
        }
    }
    println!("{name}: {cases} cases");
}

support::isolated! {
    timeout = 120;

    fn a_worker_that_dies_during_its_start_costs_nothing() {
        grid(&BOOT, &[FATAL[0], FATAL[1], FATAL[2], Fault::Error, PAUSE], "start");
    }

    fn a_worker_that_dies_at_a_task_costs_that_task_at_most() {
        grid(&LIFE, &FATAL, "life and death");
    }

    fn pauses_cost_nothing_and_errors_what_they_must() {
        grid(&LIFE, &[PAUSE, Fault::Error], "pauses and errors");
    }

    fn a_worker_that_spoils_its_channel_costs_its_task_at_most() {
        grid(&LIFE[..9], &[Fault::CloseChannel, Fault::Garbage], "a spoiled channel");
    }

    fn a_reply_may_be_cut_at_any_byte() {
        warm();
        let whole = 40 + 2_000 * 2;
        for bytes in [0, 1, 3, 4, 7, 8, 9, 39, 40, 41, 1_000, whole / 2, 2_000] {
            let what = format!("a reply cut after {bytes} bytes");
            let fault = Fault::CutReply(bytes);
            let lost = play(2, Faults::new().at(Point::ReplyBytes, 1, Some(1), fault), fault, &what);
            assert_eq!(lost, 1, "{what}");
        }
    }

    fn a_request_may_be_cut_at_any_byte() {
        warm();
        for (nth, workers) in [(1, 1), (2, 1), (1, 2), (2, 2), (3, 2)] {
            for bytes in [0, 1, 3, 4, 7, 8, 9, 39, 40, 41, 60] {
                // The first frame asks for the initializer, and is shorter.
                let bytes = if nth == 1 { bytes.min(40) } else { bytes };
                let what = format!("frame {nth} cut after {bytes} bytes, {workers} workers");
                let fault = Fault::CutRequest(bytes);
                let faults = Faults::new().at(Point::RequestBytes, nth, Some(1), fault);
                assert_eq!(play(workers, faults, fault, &what), 0, "{what}");
            }
        }
    }

    fn the_parent_meets_errors_and_pauses() {
        warm();
        for workers in [1, 2] {
            for (point, fault) in [
                (Point::SpawnBefore, Fault::Error),
                (Point::SpawnAfter, Fault::Error),
                (Point::SpawnBefore, PAUSE),
                (Point::SpawnAfter, PAUSE),
                (Point::Send, PAUSE),
                (Point::Receive, PAUSE),
                (Point::Reap, PAUSE),
                (Point::Settle, PAUSE),
            ] {
                // The second start is that of the second worker.
                for nth in 1..=workers as u32 {
                    let what = format!("{fault:?} at {point:?} for the {nth}. time, {workers} workers");
                    let faults = Faults::new().at(point, nth, None, fault);
                    assert_eq!(play(workers, faults, fault, &what), 0, "{what}");
                }
            }
            for nth in [1, 3, 5] {
                let what = format!("reading fails for the {nth}. time, {workers} workers");
                let faults = Faults::new().at(Point::Receive, nth, None, Fault::Error);
                // Replies come together: so it may be the one that is played last which is not read.
                let lost = play_to_the_end(workers, faults, Fault::Error, &what, 0, 1);
                assert!(lost <= 1, "{what}: {lost} tasks were lost");
            }
        }
    }

    fn every_second_worker_dies_and_all_tasks_are_accounted_for() {
        warm();
        for point in [Point::Request, Point::BodyAfter, Point::Replied] {
            let faults = (1..20).step_by(2).fold(Faults::new(), |faults, launch| {
                faults.at(point, 2, Some(launch), Fault::Kill)
            });
            let lost = play_to_the_end(2, faults, Fault::Kill, "every second worker dies", 0, 9);
            assert!(lost <= 10, "{lost} tasks were lost");
        }
    }
}
