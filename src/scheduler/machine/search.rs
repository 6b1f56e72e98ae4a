//! Every history of a small world: two workers, a few tasks, and deaths, failed starts, cancellations, ends and
//! time-outs at any step.

use std::collections::{HashSet, VecDeque};

use super::world::{Budget, World};

/// Visits all states breadth first and returns their number. The world asserts what must hold in each; where
/// nothing more happens by itself, everything must be settled.
fn visit(start: World) -> usize {
    let mut seen = HashSet::from([start.fingerprint()]);
    let mut queue = VecDeque::from([start]);
    while let Some(world) = queue.pop_front() {
        // A world that has used up its ticks is cut off, not at rest.
        if world.moves(true).is_empty() && world.budget.ticks > 0 {
            world.assert_settled();
        }
        for next in world.moves(false) {
            let mut after = world.clone();
            after.play(next);
            if seen.insert(after.fingerprint()) {
                queue.push_back(after);
            }
        }
    }
    seen.len()
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
        ("2 tasks, a lie, a crash", 2, None, Budget { submits: 2, lies: 1, crashes: 1, ..NONE }),
        (
            "3 tasks, one worker, all kinds",
            1,
            None,
            Budget { submits: 3, crashes: 1, cancels: 1, closes: 1, ..NONE },
        ),
    ];
    let mut total = 0;
    for (name, lanes, endless, budget) in scopes {
        let states = visit(World::new(lanes, None, endless, budget));
        println!("{name}: {states} states");
        total += states;
    }
    println!("{total} states visited, 8 invariants checked in each");
    assert!(total > 100_000, "the scope has shrunk to {total} states");
}
