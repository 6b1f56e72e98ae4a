//! Every history of a small world: two workers, a few tasks, and deaths, failed starts, cancellations, ends and
//! time-outs at any step.

use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread::available_parallelism;

use super::world::{Budget, World};

/// Visits all states breadth first and returns their number, and how many of them are at rest. The world asserts what
/// must hold in each; where nothing more happens by itself, everything must be settled.
fn visit(start: World) -> (usize, usize) {
    let mut resting = 0;
    let mut seen = HashSet::from([start.fingerprint()]);
    let mut queue = VecDeque::from([start]);
    while let Some(world) = queue.pop_front() {
        // A world that has used up its ticks is cut off, not at rest.
        if world.moves(true).is_empty() && world.budget.ticks > 0 {
            world.assert_settled();
            resting += 1;
        }
        for next in world.moves(false) {
            let mut after = world.clone();
            after.play(next);
            if seen.insert(after.fingerprint()) {
                queue.push_back(after);
            }
        }
    }
    (seen.len(), resting)
}

const NONE: Budget = Budget {
    submits: 0,
    crashes: 0,
    failed_launches: 0,
    cancels: 0,
    closes: 0,
    ticks: 0,
    lies: 0,
    retries: 0,
    resizes: 0,
    keeps: None,
    hurries: false,
    calls: false,
};

#[test]
fn every_small_history_keeps_every_promise() {
    let scopes = [
        ("2 tasks, 2 crashes", 2, None, Budget { submits: 2, crashes: 2, ticks: 1, ..NONE }),
        ("3 tasks, 1 crash", 2, None, Budget { submits: 3, crashes: 1, ..NONE }),
        ("2 tasks, a crash, a cancellation", 2, None, Budget { submits: 2, crashes: 1, cancels: 1, ..NONE }),
        ("2 tasks, a crash, an end", 2, None, Budget { submits: 2, crashes: 1, closes: 1, ..NONE }),
        ("2 tasks, a cancellation, an end", 2, None, Budget { submits: 2, cancels: 1, closes: 1, ..NONE }),
        (
            "1 task, failed starts",
            1,
            None,
            Budget { submits: 1, failed_launches: 3, closes: 1, ticks: 4, ..NONE },
        ),
        ("2 tasks, a deadline, a crash", 1, Some(0), Budget { submits: 2, crashes: 1, ticks: 5, ..NONE }),
        ("2 tasks, a deadline, an end", 1, Some(0), Budget { submits: 2, closes: 1, ticks: 4, ..NONE }),
        (
            "1 task, a retry, 2 crashes, an end",
            1,
            None,
            Budget { submits: 1, crashes: 2, closes: 1, retries: 1, ticks: 3, ..NONE },
        ),
        (
            "2 tasks, a retry, a crash, a cancellation",
            2,
            None,
            Budget { submits: 2, crashes: 1, cancels: 1, retries: 1, ticks: 1, ..NONE },
        ),
        (
            "3 tasks, a deadline, a cancellation",
            1,
            Some(0),
            Budget { submits: 3, cancels: 1, ticks: 3, ..NONE },
        ),
        (
            "2 tasks, 2 changes of size, a crash",
            2,
            None,
            Budget { submits: 2, resizes: 2, crashes: 1, ..NONE },
        ),
        (
            "1 task, a change of size, a crash",
            2,
            None,
            Budget { submits: 1, resizes: 1, crashes: 1, ticks: 2, ..NONE },
        ),
        ("2 tasks, one worker is kept", 2, None, Budget { submits: 2, keeps: Some(1), ticks: 2, ..NONE }),
        (
            "1 task, one worker is kept, a change of size",
            2,
            None,
            Budget { submits: 1, keeps: Some(1), resizes: 1, ticks: 3, ..NONE },
        ),
        (
            "1 task, one worker is kept, a crash",
            1,
            None,
            Budget { submits: 1, keeps: Some(1), crashes: 1, ticks: 4, ..NONE },
        ),
        (
            "1 task, no worker is kept, a crash, an end",
            1,
            None,
            Budget { submits: 1, keeps: Some(0), crashes: 1, closes: 1, ticks: 3, ..NONE },
        ),
        (
            "2 tasks in a hurry, a crash",
            1,
            None,
            Budget { submits: 2, hurries: true, crashes: 1, ticks: 3, ..NONE },
        ),
        (
            "1 task in a hurry, a retry, a crash, a cancellation",
            1,
            None,
            Budget { submits: 1, hurries: true, retries: 1, crashes: 1, cancels: 1, ticks: 4, ..NONE },
        ),
        ("2 tasks of many calls", 2, None, Budget { submits: 2, ticks: 3, calls: true, ..NONE }),
        (
            "1 task of many calls, a crash",
            2,
            None,
            Budget { submits: 1, crashes: 1, ticks: 4, calls: true, ..NONE },
        ),
        (
            "1 task of many calls, a change of size",
            2,
            None,
            Budget { submits: 1, resizes: 1, ticks: 3, calls: true, ..NONE },
        ),
        ("2 tasks, a lie, a crash", 2, None, Budget { submits: 2, lies: 1, crashes: 1, ..NONE }),
        (
            "3 tasks, one worker, all kinds",
            1,
            None,
            Budget { submits: 3, crashes: 1, cancels: 1, closes: 1, ..NONE },
        ),
    ];
    let (scopes, total) = (Mutex::new(scopes.into_iter()), AtomicUsize::new(0));
    let work = || {
        let next = || scopes.lock().expect("nobody panics with it").next();
        while let Some((name, lanes, endless, budget)) = next() {
            let (states, resting) = visit(World::new(lanes, None, endless, budget));
            println!("{name}: {states} states, {resting} at rest");
            total.fetch_add(states, Relaxed);
        }
    };
    std::thread::scope(|threads| {
        (0..available_parallelism().map_or(1, usize::from)).for_each(|_| drop(threads.spawn(work)));
    });
    let total = total.into_inner();
    println!("{total} states visited, 11 invariants checked in each");
    assert!(total > 100_000, "the scope has shrunk to {total} states");
}
