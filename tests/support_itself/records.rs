//! The ledger tells what ran, from many writers at once, and complains about anything but once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;

use crate::support::{Census, Event, Ledger, Program, isolated, program};

/// What a failed assertion says.
fn complaint(assertion: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(assertion)).expect_err("the assertion fails");
    *payload.downcast::<String>().expect("a formatted message")
}

program! {
    /// Writes as one task after another would, beside others that do the same.
    fn a_writer() {
        let path = std::env::var("LEDGER").expect("a ledger to write to");
        let first: u64 = std::env::var("FIRST").expect("a number").parse().expect("a number");
        for id in first..first + 500 {
            Ledger::record(&path, id, Event::Started);
            Ledger::record(&path, id, Event::Finished);
        }
    }
}

isolated! {
    fn a_ledger_holds_what_was_recorded() {
        let ledger = Ledger::create();
        Ledger::record(&ledger.path(), 7, Event::Started);
        Ledger::record(&ledger.path(), 7, Event::Finished);
        Ledger::record(&ledger.path(), u64::MAX, Event::Started);
        let entries = ledger.entries();
        assert_eq!(entries.iter().map(|entry| entry.id).collect::<Vec<_>>(), [7, 7, u64::MAX]);
        assert!(entries.iter().all(|entry| entry.pid == std::process::id()));
        assert!(entries.is_sorted_by_key(|entry| entry.at));
        assert_eq!((ledger.starts(7), ledger.finishes(7)), (1, 1));
        assert_eq!((ledger.starts(u64::MAX), ledger.finishes(u64::MAX)), (1, 0));
        ledger.assert_ran_exactly_once([7]);
        ledger.assert_never_ran(8);
    }

    fn two_runs_no_run_and_half_a_run_are_not_one_run() {
        let ledger = Ledger::create();
        for event in [Event::Started, Event::Finished, Event::Started, Event::Finished] {
            Ledger::record(&ledger.path(), 1, event);
        }
        Ledger::record(&ledger.path(), 2, Event::Started);
        Ledger::record(&ledger.path(), 3, Event::Started);
        Ledger::record(&ledger.path(), 3, Event::Finished);
        let text = complaint(|| ledger.assert_ran_exactly_once(0..4));
        assert!(text.contains("task 0: 0 starts, 0 finishes"), "{text}");
        assert!(text.contains("task 1: 2 starts, 2 finishes"), "{text}");
        assert!(text.contains("task 2: 1 starts, 0 finishes"), "{text}");
        assert!(!text.contains("task 3"), "{text}");
        let text = complaint(|| ledger.assert_never_ran(2));
        assert!(text.contains("task 2 should never have run"), "{text}");
    }

    fn writers_in_many_processes_and_threads_lose_nothing() {
        let ledger = Ledger::create();
        let start = |first: u64| {
            let writer = Program::named("records::a_writer").env("LEDGER", ledger.path());
            writer.env("FIRST", first.to_string()).spawn()
        };
        let mut writers = [start(0), start(500)];
        thread::scope(|scope| {
            for id in [1000, 1001, 1002] {
                let path = ledger.path();
                scope.spawn(move || {
                    Ledger::record(&path, id, Event::Started);
                    Ledger::record(&path, id, Event::Finished);
                });
            }
        });
        for writer in &mut writers {
            assert!(writer.wait(std::time::Duration::from_secs(20)).success());
        }
        ledger.assert_ran_exactly_once(0..1003);
        assert_eq!(ledger.entries().len(), 2006);
    }

    fn a_ledger_is_removed_when_it_is_dropped() {
        let ledger = Ledger::create();
        let path = ledger.path();
        assert!(Path::new(&path).exists());
        drop(ledger);
        assert!(!Path::new(&path).exists());
        let text = complaint(|| Ledger::record(&path, 1, Event::Started));
        assert!(text.contains("the ledger of a test that still runs"), "{text}");
    }

    fn a_ledger_that_is_not_dropped_shows_in_the_census() {
        let baseline = Census::take();
        let ledger = Ledger::create();
        let leftovers = baseline.leftovers();
        assert!(leftovers.len() == 1 && leftovers[0].contains("/ledger-"), "{leftovers:?}");
        drop(ledger);
        baseline.assert_clean();
    }
}
