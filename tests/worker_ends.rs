//! What a worker does at its end, in destructors and exit handlers, delays nobody for longer than a stop may take, and
//! changes the outcome of no task (F52).

#![allow(unsafe_code, reason = "exit handlers of C")]

mod support;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, ShutdownOptions, task};
use support::{Event, Ledger, eventually, procfs, tagged_pids};

const HARD: Duration = Duration::from_secs(2);
/// What these pools give their workers to end.
const STOP: Duration = Duration::from_secs(1);

/// The id of a handler's beginning.
const ENDING: u64 = 1000;

/// Where the handler records itself.
static LEDGER: std::sync::OnceLock<String> = std::sync::OnceLock::new();

fn record() {
    Ledger::record(LEDGER.get().expect("set before"), ENDING, Event::Started);
}

extern "C" fn sleep_at_exit() {
    record();
    std::thread::sleep(Duration::from_secs(60));
}

extern "C" fn abort_at_exit() {
    record();
    std::process::abort();
}

/// The panic cannot leave a function of C, so it ends the process.
extern "C" fn panic_at_exit() {
    record();
    panic!("a handler that panics");
}

/// A destructor of the thread that serves.
struct Slow;

impl Drop for Slow {
    fn drop(&mut self) {
        record();
        std::thread::sleep(Duration::from_secs(60));
    }
}

thread_local! {
    static SLOW: RefCell<Option<Slow>> = const { RefCell::new(None) };
}

/// The program's initializer leaves its end for later, as one that opens a connection would.
#[task]
fn end_by(ledger: &str, how: &str) {
    LEDGER.set(ledger.to_owned()).expect("once per worker");
    let handler = match how {
        "sleep" => sleep_at_exit,
        "abort" => abort_at_exit,
        "panic" => panic_at_exit,
        _ => {
            SLOW.set(Some(Slow));
            return;
        }
    };
    // SAFETY: the handler is a function of this program, and stays.
    assert_eq!(unsafe { libc::atexit(handler) }, 0);
}

#[task]
fn note(ledger: &str, id: u64) -> u64 {
    Ledger::record(ledger, id, Event::Started);
    Ledger::record(ledger, id, Event::Finished);
    id
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

support::isolated! {
    timeout = 60;

    fn a_shutdown_is_bounded_whatever_workers_do_at_their_end() {
        for how in ["sleep", "abort", "panic", "destructor"] {
            let ledger = Ledger::create();
            let path = ledger.path();
            let pool = ProcessPoolExecutor::builder()
                .max_workers(2)
                .stop_timeout(STOP)
                .initializer(end_by, (path.as_str(), how))
                .build()
                .expect("a pool");
            pool.warm_up().wait().expect("two workers");
            let futures: Vec<_> = (0..20).map(|id| pool.submit(note, (path.as_str(), id))).collect();
            let began = Instant::now();
            let report = pool.shutdown(true).wait();
            println!("{how}: {:?}", began.elapsed());
            assert!(began.elapsed() < STOP + HARD, "{how}: {:?}", began.elapsed());
            assert_eq!((report.cancelled, report.killed, report.leaked), (0, 0, Vec::new()), "{how}");
            for (id, future) in (0..).zip(futures) {
                assert_eq!(future.result().expect("its outcome is its own"), id, "{how}");
            }
            ledger.assert_ran_exactly_once(0..20);
            // One that ended badly while another had work was replaced, if that was quicker.
            assert!(ledger.starts(ENDING) >= 2, "{how}: both workers came to their end");
            assert!(tagged_pids().is_empty(), "{how}");
        }
    }

    fn a_worker_that_is_slow_to_end_is_replaced_in_time() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let pool = ProcessPoolExecutor::builder()
            .max_workers(1)
            .max_tasks_per_child(1)
            .stop_timeout(STOP)
            .initializer(end_by, (path.as_str(), "sleep"))
            .build()
            .expect("a pool");
        for id in 0..3 {
            let began = Instant::now();
            assert_eq!(pool.submit(note, (path.as_str(), id)).result().expect("a value"), id);
            assert!(began.elapsed() < STOP + 2 * HARD, "{:?}", began.elapsed());
        }
        ledger.assert_ran_exactly_once(0..3);
        pool.shutdown(true).wait();
    }

    fn a_shutdown_that_kills_and_a_drop_do_not_wait_for_it_at_all() {
        for drops in [false, true] {
            let ledger = Ledger::create();
            let path = ledger.path();
            let pool = ProcessPoolExecutor::builder()
                .max_workers(1)
                .initializer(end_by, (path.as_str(), "sleep"))
                .build()
                .expect("a pool");
            let worker = pool.submit(own_pid, ()).result().expect("a value");
            let began = Instant::now();
            if drops {
                drop(pool);
            } else {
                pool.shutdown_with(ShutdownOptions::new().kill(true)).wait();
            }
            eventually("the worker is gone", HARD, || !procfs::is_alive(worker));
            assert!(began.elapsed() < HARD, "{:?}", began.elapsed());
        }
    }
}
