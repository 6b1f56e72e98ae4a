//! A worker under a debugger is a worker that stands still: it is waited for, it can be killed, and its death is told
//! while the debugger still holds it (F76).

#![allow(unsafe_code, reason = "ptrace")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use procpool::{ExitCause, ProcessPoolExecutor, Ran, task};
use support::{Program, Signal, eventually, kill, nothing_left, procfs};

const PATIENCE: Duration = Duration::from_secs(20);
const DETECT: Duration = Duration::from_secs(2);

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

#[task]
fn wait_for(path: &str) -> u32 {
    while Path::new(path).exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::process::id()
}

support::program! {
    /// Takes hold of the main thread of a process, as a debugger does, stops it, and lets go of it when a file is gone.
    fn a_debugger() -> i32 {
        let worker: i32 = std::env::var("WORKER").expect("a worker").parse().expect("a number");
        let file = std::env::var("HOLD").expect("a file");
        let null = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: the calls take numbers and null pointers only.
        unsafe {
            if libc::ptrace(libc::PTRACE_SEIZE, worker, null, null) != 0 {
                println!("refused: {}", std::io::Error::last_os_error());
                return 1;
            }
            assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, worker, null, null), 0);
            assert_eq!(libc::waitpid(worker, std::ptr::null_mut(), libc::__WALL), worker);
        }
        println!("held");
        while Path::new(&file).exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        // SAFETY: as above. It may have died meanwhile.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, worker, null, null) };
        7
    }
}

struct Hold {
    file: String,
    debugger: Program,
}

/// `None`, and a line that says so, where nobody may trace.
fn hold(worker: u32) -> Option<Hold> {
    let file = std::env::temp_dir().join(format!("hold-{}", std::process::id()));
    std::fs::write(&file, "").expect("a file");
    let file = file.to_str().expect("text").to_owned();
    let mut debugger =
        Program::named("a_debugger").env("WORKER", worker.to_string()).env("HOLD", &file).spawn();
    let line = debugger.next_line(PATIENCE).expect("a line");
    if line != "held" {
        println!("SKIPPED: {line}");
        let _ = std::fs::remove_file(&file);
        return None;
    }
    assert_eq!(procfs::state(worker), Some('t'), "stopped by its tracer");
    Some(Hold { file, debugger })
}

impl Hold {
    fn let_go(mut self) {
        std::fs::remove_file(&self.file).expect("a file of ours");
        self.debugger.wait(PATIENCE);
    }
}

support::isolated! {
    timeout = 60;

    fn a_worker_that_a_debugger_holds_goes_on_when_it_is_let_go() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let worker = pool.submit(own_pid, ()).result().expect("a value");
        for dies in [false, true] {
            let Some(mut held) = hold(worker) else { return };
            let futures: Vec<_> = (0..10).map(|_| pool.submit(own_pid, ())).collect();
            std::thread::sleep(Duration::from_millis(300));
            assert!(futures.iter().all(|future| !future.done()), "they are waited for");
            if dies {
                held.debugger.kill();
                std::fs::remove_file(&held.file).expect("a file of ours");
            } else {
                held.let_go();
            }
            for future in futures {
                assert_eq!(future.result().expect("a value"), worker);
            }
        }
        assert_eq!(pool.worker_pids(), [worker]);
    }

    fn a_held_worker_that_is_killed_is_told_and_replaced_at_once_and_collected_later() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let worker = pool.submit(own_pid, ()).result().expect("a value");
        let file = std::env::temp_dir().join(format!("busy-{}", std::process::id()));
        std::fs::write(&file, "").expect("a file");
        let running = pool.submit(wait_for, file.to_str().expect("text"));
        eventually("it runs", PATIENCE, || running.running());
        let Some(held) = hold(worker) else { return };
        let began = Instant::now();
        kill(worker, Signal::KILL);
        let error = running.result().expect_err("it died");
        assert!(began.elapsed() < DETECT, "told after {:?}", began.elapsed());
        println!("{error}");
        assert_eq!(error.ran(), Ran::Maybe);
        // The status belongs to the debugger until it lets go.
        match error.exit().expect("a death").cause() {
            ExitCause::Unknown | ExitCause::Signal { number: libc::SIGKILL, .. } => {}
            other => panic!("{other:?}"),
        }
        assert_ne!(pool.submit(own_pid, ()).result().expect("another worker"), worker);
        assert_eq!(procfs::state(worker), Some('Z'), "the debugger keeps what is left of it");
        held.let_go();
        eventually("it is collected", DETECT, || procfs::state(worker).is_none());
        std::fs::remove_file(&file).expect("a file of ours");
        pool.shutdown(true).wait();
        nothing_left(DETECT);
    }

    fn a_shutdown_that_kills_ends_although_a_debugger_holds_the_worker() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let worker = pool.submit(own_pid, ()).result().expect("a value");
        let Some(held) = hold(worker) else { return };
        let endless = pool.submit(own_pid, ());
        let began = Instant::now();
        let report = pool.shutdown_with(procpool::ShutdownOptions::new().kill(true)).wait();
        assert!(began.elapsed() < DETECT, "{:?}", began.elapsed());
        assert_eq!(report.leaked, Vec::<u32>::new());
        assert!(endless.result().expect_err("it was killed").is_cancelled());
        held.let_go();
        eventually("it is collected", DETECT, || procfs::state(worker).is_none());
    }
}
