//! Processes that begin and end.

use std::time::{Duration, Instant};

use super::work::{Size, millis, percentile};
use super::{Contestant, WORKERS, emit};

/// The driver starts a fresh process for each sample of this.
pub fn start<C: Contestant>() {
    let begun = Instant::now();
    let mut contestant = C::start(WORKERS);
    let Some(result) = contestant.one(1) else { return };
    let took = begun.elapsed();
    assert_eq!(result, 2);
    emit("first_result_ms", millis(took));
}

pub fn spawn<C: Contestant>(size: Size) {
    spawn_of(size, "spawn_ms", C::spawn);
}

/// The median time until what is started has said its first word.
pub fn spawn_of(size: Size, figure: &str, spawn: fn(&mut dyn FnMut()) -> Option<()>) {
    let mut samples = Vec::new();
    for _ in 0..size.of(40, 8) {
        let begun = Instant::now();
        let mut said = None;
        if spawn(&mut || said = Some(begun.elapsed())).is_none() {
            return;
        }
        samples.push(said.expect("a process that says its first word"));
    }
    // The first one pays for what is made once in a program.
    samples.remove(0);
    emit(figure, millis(percentile(&mut samples, 0.5)));
}

/// Nobody who reports at all has needed as much.
const NEVER: Duration = Duration::from_secs(5);

pub fn crash<C: Contestant>() {
    for (workers, prefix) in [(WORKERS, ""), (1, "alone_")] {
        let (mut reported, mut next) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let mut contestant = C::start(workers);
            contestant.many(100);
            // What the start has stirred up comes to rest.
            std::thread::sleep(Duration::from_millis(20));
            let begun = Instant::now();
            match contestant.die() {
                None => return,
                Some(false) => return,
                Some(true) => {}
            }
            let told = Instant::now();
            reported.push(told - begun);
            // One that cannot go on says so by `None`.
            if contestant.one(1) == Some(2) {
                next.push(told.elapsed());
            }
            if told.elapsed() > NEVER {
                break;
            }
        }
        emit(&format!("{prefix}reported_ms"), millis(percentile(&mut reported, 0.5)));
        if !next.is_empty() {
            emit(&format!("{prefix}next_ms"), millis(percentile(&mut next, 0.5)));
        }
    }
}
