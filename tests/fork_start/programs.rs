//! What the programs do. A panic is their failure.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use procpool::{
    ExitCause, HandshakeError, ProcessPoolExecutor, Ran, Shared, SharedMemory, StartError, TaskErrorKind,
    TaskOptions, WorkerStdio,
};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::support::{Ledger, Signal, eventually, kill, procfs};
use crate::tasks::*;

const SOON: Duration = Duration::from_secs(10);
const REAPED: Duration = Duration::from_secs(2);

pub(crate) fn run(name: &str) {
    let (descriptors, threads) = (procfs::fds(std::process::id()).len(), own_threads());
    assert_eq!(threads, 1, "a program as it begins");
    match name {
        "globals" => globals_of_the_program(),
        "memory" => memory(),
        "surroundings" => return surroundings(),
        "files" => files(),
        "output" => output(),
        "shared" => return shared(),
        "failures" => failures(),
        "signals" => return signals(),
        "one after another" => one_after_another(),
        "main thread ends" => main_thread_ends(),
        "template dies" => template_dies(),
        "template stops" => template_stops(),
        "preload" => preload(),
        "busy and idle" => busy_and_idle(false),
        "stopped" => busy_and_idle(true),
        "loads for ever" => loads_for_ever(),
        _ => unreachable!("{name}"),
    }
    // What is not said to stay is given back.
    eventually("its threads have ended", REAPED, || own_threads() == 1);
    assert_eq!(procfs::fds(std::process::id()).len(), descriptors);
    assert_eq!(children(), Vec::<u32>::new());
}

fn own_threads() -> usize {
    procfs::threads(std::process::id()).len()
}

fn children() -> Vec<u32> {
    procfs::children_of(std::process::id())
}

/// The children of this process that are no workers of the pool.
fn others(pool: &ProcessPoolExecutor) -> Vec<u32> {
    let workers = pool.worker_pids();
    children().into_iter().filter(|pid| !workers.contains(pid)).collect()
}

fn end(pool: &ProcessPoolExecutor) {
    let report = pool.shutdown(true).wait();
    assert_eq!(report.leaked, []);
    eventually("nobody is left", REAPED, || children().is_empty());
}

fn globals_of_the_program() {
    NUMBER.store(5, Relaxed);
    OF_THE_THREAD.set(6);
    LOADED.set(vec![1; 7]).expect("once");
    let pool = forks().max_tasks_per_child(1).env("ADDED", "yes").env_remove("REMOVED").current_dir("/");
    // SAFETY: nobody else reads the environment.
    unsafe { std::env::set_var("REMOVED", "no") };
    let pool = pool.build().expect("a pool");
    NUMBER.store(50, Relaxed);
    OF_THE_THREAD.set(60);
    // Workers that were made later are copies of the same.
    for _ in 0..4 {
        assert_eq!(pool.submit(globals, ()).result().expect("a value"), (5, 6, 7));
    }
    assert_eq!(pool.submit(variable, "ADDED").result().expect("a value").as_deref(), Some("yes"));
    assert_eq!(pool.submit(variable, "REMOVED").result().expect("a value"), None);
    assert_eq!(pool.submit(directory, ()).result().expect("a value"), std::path::Path::new("/"));
    assert_eq!((std::env::var_os("ADDED"), std::env::var("REMOVED").as_deref()), (None, Ok("no")));
    end(&pool);
}

fn memory() {
    const BYTES: usize = 32 << 20;
    LOADED.set((0..BYTES).map(|n| n as u8).collect()).expect("once");
    let pool = forks().max_workers(4).build().expect("a pool");
    pool.warm_up().wait().expect("workers");
    let expected = (0..BYTES).map(|n| u64::from(n as u8)).sum::<u64>();
    for result in (0..16).map(|_| pool.submit(use_what_was_loaded, ())).collect::<Vec<_>>() {
        let (sum, own) = result.result().expect("a value");
        assert_eq!(sum, expected);
        assert!(own < BYTES as u64 / 2, "{own} bytes are its own");
    }
    end(&pool);
}

extern "C" fn at_exit() {
    let _ = rustix::io::write(rustix::stdio::stdout(), b"exit handler\n");
}

extern "C" fn nothing(_: libc::c_int) {}

fn handle(signal: Signal, handler: extern "C" fn(libc::c_int)) {
    // SAFETY: the handlers of these programs do what a handler may.
    unsafe { libc::signal(signal.as_raw(), handler as *const () as libc::sighandler_t) };
}

/// Those that are no real-time signals, of which the C library uses some for its threads.
const STANDARD: u64 = (1 << 31) - 1;

fn surroundings() {
    // SAFETY: what is registered writes to a descriptor; the masks and the texts are ours.
    unsafe {
        libc::atexit(at_exit);
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut mask, libc::SIGUSR2);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut());
        libc::printf(c"ended, ".as_ptr());
    }
    handle(Signal::USR1, nothing);
    handle(Signal::CHILD, nothing);
    print!("begun, ");
    let (blocked, handled) = (mask("SigBlk"), mask("SigCgt") & STANDARD);
    for _ in 0..2 {
        let pool = forks().max_workers(1).build().expect("a pool");
        let found = pool.submit(look, ()).result().expect("a value");
        assert!(found.fds.iter().map(|&(fd, _)| fd).eq([0, 1, 2, 500, 501]), "{:?}", found.fds);
        assert_eq!(found.fds[0].1, "/dev/null");
        assert!(found.leads_its_group);
        assert_eq!((found.comm.as_str(), found.name.as_str()), ("procpool:0", "PoolWorker-1"));
        assert_eq!(found.parent, Some(std::process::id()));
        assert_eq!(found.threads, 2, "with its vigil");
        assert_eq!(found.blocked, 0);
        assert_eq!(found.ignored & bit(Signal::HUP), bit(Signal::HUP), "as `exec` leaves it");
        assert_eq!(found.handled & (bit(Signal::USR1) | bit(Signal::CHILD)), 0);
        assert_eq!((found.input, found.marks), (Vec::new(), Vec::new()));
        let told = pool.submit(variable, "VARIABLE").result().expect("a value");
        assert_eq!(told.as_deref(), Some("of the program"));
        let worker = pool.worker_pids()[0];
        assert!(children().contains(&worker), "it is ours to wait for");
        assert_eq!(mask("SigBlk"), blocked, "the program's own mask is as it was");
        assert_eq!(mask("SigCgt") & STANDARD, handled);
        end(&pool);
        eventually("its threads have ended", REAPED, || own_threads() == 1);
    }
}

fn output() {
    print!("begun, ");
    let pool = forks().max_workers(1).stdout(WorkerStdio::Captured { bytes: 100 }).build().expect("a pool");
    pool.submit(say, "of a worker").result().expect("it goes somewhere");
    assert_eq!(pool.stdout().expect("it is kept"), b"of a worker\n");
    println!("of the program");
    end(&pool);
}

fn files() {
    let file = memfd_create("of-the-program", MemfdFlags::empty()).expect("a file");
    FILE.set(File::from(file)).expect("once");
    let (mut out, into) = std::io::pipe().expect("a pipe");
    let pool = forks().build().expect("a pool");
    pool.warm_up().wait().expect("workers");
    drop(into);
    assert_eq!(out.read(&mut [0]).expect("an end"), 0, "nobody else has the other end");
    let (error, number, another) = pool.submit(write_to_the_file, ()).result().expect("a value");
    assert_eq!(error, Some(libc::EBADF));
    assert_ne!(number, another, "a number that the program has an object for is nobody else's");
    let found = pool.submit(look, ()).result().expect("a value");
    let of_use = found.fds.iter().filter(|(_, to)| to != "/dev/null").map(|&(fd, _)| fd);
    assert!(of_use.eq([1, 2, 500, 501]), "{:?}", found.fds);
    FILE.get().expect("it is there").write_all(b"of the program").expect("it is open here");
    end(&pool);
    drop(out);
    // The file stays open, and is counted by whoever has called this.
    let taken = rustix::io::dup(FILE.get().expect("it is there").as_fd()).expect("a number");
    drop(taken);
    close_the_file();
}

/// It lasts as long as the program, for which nobody else uses its number.
fn close_the_file() {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    let number = FILE.get().expect("it is there").as_raw_fd();
    // SAFETY: the static is not used any more.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
}

fn shared() {
    SLICE.set(Shared::from_slice(&[1, 2, 3]).expect("memory")).expect("once");
    MEMORY.set(SharedMemory::create(64).expect("memory")).expect("once");
    let pool = forks().build().expect("a pool");
    for round in 1..4 {
        let (slice, memory) = pool.submit(use_shared, ()).result().expect("a value");
        assert_eq!(slice.as_ptr(), SLICE.get().expect("it is there").as_ptr(), "the very same memory");
        assert_eq!(memory.words()[0].load(Relaxed), 6 * round);
        assert_eq!(MEMORY.get().expect("it is there").words()[0].load(Relaxed), 6 * round);
    }
    end(&pool);
}

fn failures() {
    let pool = forks().build().expect("a pool");
    for _ in 0..3 {
        let error = pool.submit(fail, "panic").result().expect_err("a panic");
        assert_eq!(error.panic().expect("a panic").message(), "no luck");
        let ends =
            [("exit", 0, 3), ("abort", 6, 0), ("crash", 11, 0), ("overflow", 6, 0), ("double panic", 6, 0)];
        let ends: Vec<_> = ends.into_iter().map(|end| (end, pool.submit(fail, end.0))).collect();
        for ((how, signal, code), future) in ends {
            let error = future.result().expect_err("a death");
            assert_eq!(error.ran(), Ran::Maybe);
            match error.exit().expect("an exit").cause() {
                ExitCause::Signal { number, .. } => assert_eq!(number, signal, "{how}"),
                other => assert_eq!(other, ExitCause::Code(code), "{how}"),
            }
            let words = error.panic().map(|words| words.message().to_owned());
            match how {
                "overflow" => assert_eq!(words.as_deref(), Some("stack overflow")),
                "double panic" => assert_eq!(words.as_deref(), Some("and once more")),
                _ => {}
            }
        }
        let late = pool.with(TaskOptions::new().timeout(Duration::from_millis(100))).submit(fail, "spin");
        assert!(late.result().expect_err("too long").is_timeout());
        assert_ne!(pool.submit(own_pid, ()).result().expect("the pool goes on"), std::process::id());
    }
    end(&pool);
}

static PROGRAM_ITSELF: AtomicU32 = AtomicU32::new(0);
static COUNT: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    if std::process::id() != PROGRAM_ITSELF.load(Relaxed) {
        // A copy has no handlers of the program.
        std::process::abort();
    }
    COUNT.fetch_add(1, Relaxed);
}

/// A process that sends signals to the group of this one, all the time and slowly enough to let it go on.
fn sender() -> u32 {
    // SAFETY: this process has one thread; the copy makes system calls only.
    let pid = unsafe { libc::fork() };
    if pid != 0 {
        return u32::try_from(pid).expect("one more process");
    }
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    // SAFETY: to ignore a signal runs no code.
    unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
    loop {
        let _ = rustix::process::kill_current_process_group(Signal::USR1);
        thread::sleep(Duration::from_micros(30));
    }
}

fn signals() {
    PROGRAM_ITSELF.store(std::process::id(), Relaxed);
    handle(Signal::USR1, count);
    rustix::process::setpgid(None, None).expect("a group of its own");
    let sender = sender();
    eventually("signals come", SOON, || COUNT.load(Relaxed) > 0);
    for _ in 0..30 {
        let pool = forks().max_workers(1).build().expect("a pool");
        assert_ne!(pool.submit(own_pid, ()).result().expect("a value"), std::process::id());
        pool.shutdown(true).wait();
        eventually("its threads have ended", REAPED, || own_threads() == 1);
    }
    kill(sender, Signal::KILL);
    rustix::process::wait(rustix::process::WaitOptions::empty()).expect("it ends");
}

fn one_after_another() {
    for round in 0..5 {
        NUMBER.store(round, Relaxed);
        let pool = forks().build().expect("a pool");
        assert_eq!(pool.submit(globals, ()).result().expect("a value").0, round);
        let refused = forks().build().expect_err("the first one has a thread").to_string();
        assert!(refused.contains("2 threads"), "{refused}");
        end(&pool);
        eventually("its threads have ended", REAPED, || own_threads() == 1);
    }
}

fn main_thread_ends() {
    let pool = forks().max_workers(1).build().expect("a pool");
    let first = pool.submit(own_pid, ()).result().expect("a value");
    thread::spawn(move || {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let leader = || procfs::state(std::process::id());
            eventually("the main thread has ended", SOON, || leader() == Some('Z'));
            for _ in 0..3 {
                pool.submit(fail, "crash").result().expect_err("a death");
                assert_ne!(pool.submit(own_pid, ()).result().expect("a value"), first);
            }
            end(&pool);
        }));
        std::process::exit(if done.is_ok() { 0 } else { 101 });
    });
    // SAFETY: ends this thread alone; what is on its stack stays there.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
}

fn template_dies() {
    let pool = forks().build().expect("a pool");
    pool.warm_up().wait().expect("workers");
    let template = others(&pool);
    assert_eq!(template.len(), 1);
    kill(template[0], Signal::KILL);
    eventually("it is waited for", REAPED, || procfs::state(template[0]).is_none());
    for _ in 0..10 {
        assert_ne!(pool.submit(own_pid, ()).result().expect("workers go on"), std::process::id());
    }
    for _ in 0..2 {
        pool.submit(fail, "crash").result().expect_err("a death");
    }
    let error = pool.submit(own_pid, ()).result().expect_err("no worker");
    match error.kind() {
        TaskErrorKind::PoolBroken(cause) => assert!(cause.to_string().contains("ForkServer"), "{cause}"),
        other => panic!("{other:?}"),
    }
    end(&pool);
}

fn template_stops() {
    let ledger = Ledger::create();
    let pool = forks().start_timeout(Duration::from_millis(200)).build().expect("a pool");
    let (template, path) = (others(&pool), ledger.path());
    let busy = pool.submit(park, (path.as_str(), 0));
    eventually("it runs", SOON, || ledger.starts(0) == 1);
    kill(template[0], Signal::STOP);
    let mut waiting = pool.submit(own_pid, ());
    // Longer than it takes to give up on the first attempt, so that a copy is owed.
    assert!(waiting.result_timeout(Duration::from_millis(700)).is_err());
    kill(template[0], Signal::CONT);
    assert_ne!(waiting.result().expect("it goes on"), std::process::id());
    assert!(busy.kill());
    pool.submit(own_pid, ()).result().expect("a value");
    eventually("nobody is there but the template and workers", REAPED, || others(&pool) == template);
    end(&pool);
}

fn preload() {
    let failure = |how: &str| {
        let pool = forks().preload(load, how).start_timeout(Duration::from_millis(500)).build();
        eventually("nobody is left", REAPED, || children().is_empty());
        pool.expect_err("the template cannot be had")
    };
    let initializer = |how: &str| match failure(how) {
        StartError::Initializer { message, .. } => message,
        other => panic!("{how}: {other:?}"),
    };
    assert_eq!(initializer("refuses"), "there is no model");
    assert!(initializer("panics").starts_with("it panicked: no model at all"));
    match failure("exits") {
        StartError::Handshake(HandshakeError::Died { cause, .. }) => assert_eq!(cause, ExitCause::Code(5)),
        other => panic!("{other:?}"),
    }
    assert!(matches!(failure("hangs"), StartError::Handshake(HandshakeError::TimedOut { .. })));
    let pool = forks().preload(load, "threads").build().expect("a pool");
    let error = pool.submit(own_pid, ()).result().expect_err("no worker");
    match error.kind() {
        TaskErrorKind::PoolBroken(cause) => {
            assert!(cause.to_string().contains("2 threads (procpool:forks, "), "{cause}")
        }
        other => panic!("{other:?}"),
    }
    end(&pool);
    eventually("its threads have ended", REAPED, || own_threads() == 1);
    let pool = forks().preload(load, "loads").build().expect("a pool");
    assert_eq!(pool.submit(globals, ()).result().expect("a value").2, 1000);
    assert_eq!(LOADED.get(), None, "in the copy only");
    end(&pool);
}

/// Says whom to stop, and waits to be killed.
fn busy_and_idle(stopped: bool) {
    let ledger = Ledger::create();
    let pool = forks().build().expect("a pool");
    pool.warm_up().wait().expect("workers");
    let path = ledger.path();
    pool.submit(park, (path.as_str(), 0)).detach();
    eventually("it runs", SOON, || ledger.starts(0) == 1);
    drop(ledger);
    let stop = if stopped { children() } else { Vec::new() };
    println!("{}", stop.iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
    loop {
        thread::park();
    }
}

/// What is loaded says when it is.
fn loads_for_ever() {
    let pool = forks().preload(load, "hangs").start_timeout(Duration::from_secs(600)).build();
    unreachable!("{pool:?}");
}
