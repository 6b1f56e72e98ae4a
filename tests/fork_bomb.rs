//! No program becomes a fork bomb: not one that forgets `init`, and not one whose tasks make pools (F22, F35).

mod fixtures;
mod support;

use std::fs;
use std::time::Duration;

use fixtures::{ended, program, tests_with};
use procpool::{ProcessPoolExecutor, task};
use support::{Event, Ledger, Signal, eventually, kill, procfs};

/// What `explicit` prints in one of its modes, and how many processes came to its `main`.
fn explicit(mode: &str) -> (String, usize) {
    let count = Ledger::create();
    let (told, code) =
        ended(program("explicit").arg("parent").env("FIXTURE", mode).env("FIXTURE_COUNT", count.path()));
    assert_eq!(code, Some(0), "{told}");
    (told, fs::read_to_string(count.path()).expect("lines").lines().count())
}

const REFUSED: &str = "no pool: NotInitialised\n";

tests_with! {
    Explicit;

    fn without_init_there_is_no_pool_and_no_process() {
        assert_eq!(explicit("never"), (REFUSED.to_owned(), 1));
    }

    fn a_pool_before_init_is_refused_in_the_parent_and_in_the_worker() {
        // What comes before `init` runs in the worker too, where it is refused just the same.
        let (told, processes) = explicit("after the pool");
        assert_eq!(told, format!("{REFUSED}{REFUSED}42\n"));
        assert_eq!(processes, 2);
    }

    fn workers_that_never_call_init_break_the_pool_after_a_few_tries() {
        if support::templates_by_default() {
            return println!("SKIPPED: a template that cannot start is the error of build");
        }
        let (told, processes) = explicit("not in workers");
        assert!(told.starts_with(REFUSED) && told.contains("\nno value: "), "{told}");
        assert_eq!(processes, 4, "the parent and three tries");
    }

    fn workers_that_have_lost_their_instructions_have_no_workers() {
        if support::templates_by_default() {
            return println!("SKIPPED: a template that cannot start is the error of build");
        }
        // `main` reads standard input before `init`, which then cannot recognise the worker.
        let (told, processes) = explicit("after reading");
        assert!(told.starts_with(REFUSED) && told.contains("\nno value: "), "{told}");
        assert_eq!(processes, 4, "the parent and three tries");
    }
}

/// Makes a pool in a task in a pool in a task. Returns how many pools there were, or why there was none.
#[task]
fn nest(more: u32) -> Result<u32, String> {
    if more == 0 {
        return Ok(0);
    }
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().map_err(|error| format!("{error:?}"))?;
    let below = pool.submit(nest, more - 1).result().map_err(|error| error.to_string())??;
    Ok(below + 1)
}

/// The same, with a last task that tells that it runs, and waits to be killed.
#[task]
fn nest_and_wait(ledger: &str, more: u32) {
    let Some(more) = more.checked_sub(1) else {
        Ledger::record(ledger, 0, Event::Started);
        loop {
            std::thread::park();
        }
    };
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
    pool.submit(nest_and_wait, (ledger, more)).result().expect("nothing: it is killed");
}

support::isolated! {
    fn pools_nest_ten_deep_and_no_deeper() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        // The first of them is this one.
        assert_eq!(pool.submit(nest, 9).result().expect("a value"), Ok(9));
        let refused = pool.submit(nest, 10).result().expect("a value").expect_err("eleven");
        assert_eq!(refused, "TooDeep { limit: 10 }");
        assert_eq!(pool.submit(nest, 9).result().expect("a value"), Ok(9), "nothing is left of the refusal");
    }

    fn a_killed_worker_takes_along_all_that_is_nested_in_it() {
        let ledger = Ledger::create();
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let future = pool.submit(nest_and_wait, (ledger.path().as_str(), 3));
        eventually("the innermost task runs", Duration::from_secs(20), || ledger.starts(0) == 1);
        let top = pool.worker_pids()[0];
        let below = procfs::descendants_of(top);
        let workers = below.iter().filter(|process| !process.is_template()).count();
        assert_eq!(workers, 3, "{below:?}");
        kill(top, Signal::KILL);
        eventually("the whole tree is gone", Duration::from_secs(2), || {
            below.iter().all(|process| procfs::process(process.pid).is_none_or(|now| now.start != process.start || now.state == 'Z'))
        });
        assert!(future.result().expect_err("its worker was killed").is_worker_died());
        assert_eq!(pool.submit(nest, 1).result().expect("the pool goes on"), Ok(1));
    }
}
