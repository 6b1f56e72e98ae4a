//! How this test binary becomes a program with one thread, before libtest has others; and the tasks of the programs.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;

use procpool::{
    Builder, ProcessPoolExecutor, Shared, SharedMemory, StartMethod, current_process, parent_process, task,
};
use serde::{Deserialize, Serialize};

use crate::programs;
use crate::support::{Event, Ledger, Signal, procfs};

/// Says which program this process is.
pub(crate) const PROGRAM: &str = "FORK_START_PROGRAM";

#[used]
// SAFETY: the section holds pointers to functions that take at most these arguments. The one of the library, by which a
// worker knows itself, has a number and comes before.
#[unsafe(link_section = ".init_array")]
static BEFORE_LIBTEST: extern "C" fn() = before_libtest;

extern "C" fn before_libtest() {
    let Ok(name) = std::env::var(PROGRAM) else { return };
    // SAFETY: nothing else runs yet, and nothing is open but what came from whoever has started the tests.
    unsafe {
        std::env::remove_var(PROGRAM);
        libc::close_range(3, libc::c_uint::MAX, 0);
    }
    let ended = std::panic::catch_unwind(|| programs::run(&name));
    std::process::exit(if ended.is_ok() { 0 } else { 101 });
}

pub(crate) fn forks() -> Builder {
    ProcessPoolExecutor::builder().max_workers(2).start_method(StartMethod::Fork)
}

pub(crate) static LOADED: OnceLock<Vec<u8>> = OnceLock::new();
pub(crate) static NUMBER: AtomicU32 = AtomicU32::new(0);
pub(crate) static FILE: OnceLock<File> = OnceLock::new();
pub(crate) static SLICE: OnceLock<Shared<[u64]>> = OnceLock::new();
pub(crate) static MEMORY: OnceLock<SharedMemory> = OnceLock::new();

thread_local! {
    pub(crate) static OF_THE_THREAD: Cell<u32> = const { Cell::new(0) };
}

#[task]
pub(crate) fn own_pid() -> u32 {
    std::process::id()
}

/// A static, a variable of the thread, and how much was loaded.
#[task]
pub(crate) fn globals() -> (u32, u32, usize) {
    use std::sync::atomic::Ordering::Relaxed;
    // What one worker changes, the others do not see.
    let number = NUMBER.fetch_add(100, Relaxed);
    (number, OF_THE_THREAD.get(), LOADED.get().map_or(0, Vec::len))
}

#[task]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[task]
pub(crate) fn directory() -> std::path::PathBuf {
    std::env::current_dir().expect("there is one")
}

/// The sum of what was loaded, and how many bytes of memory are this process's own.
#[task]
pub(crate) fn use_what_was_loaded() -> (u64, u64) {
    let sum = LOADED.get().expect("it was loaded").iter().map(|&byte| u64::from(byte)).sum();
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").expect("the kernel tells");
    let own = text.lines().filter(|line| line.starts_with("Private_"));
    let kib = own.map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    (sum, kib.map(|kib| kib.expect("a number")).sum::<u64>() << 10)
}

/// What a worker finds itself in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    /// Descriptors, and where they lead to.
    pub(crate) fds: Vec<(u32, String)>,
    pub(crate) leads_its_group: bool,
    pub(crate) comm: String,
    pub(crate) name: String,
    pub(crate) parent: Option<u32>,
    pub(crate) threads: usize,
    /// Masks of signals: blocked, ignored, handled.
    pub(crate) blocked: u64,
    pub(crate) ignored: u64,
    pub(crate) handled: u64,
    pub(crate) input: Vec<u8>,
    pub(crate) marks: Vec<String>,
}

pub(crate) fn mask(field: &str) -> u64 {
    let text = procfs::status_field(std::process::id(), field).expect("the kernel tells");
    u64::from_str_radix(&text, 16).expect("a mask")
}

pub(crate) fn bit(signal: Signal) -> u64 {
    1 << (signal.as_raw() - 1)
}

#[task]
pub(crate) fn look() -> Found {
    let own = std::process::id();
    let group = rustix::process::getpgrp().as_raw_nonzero().get().unsigned_abs();
    let (mut input, marks) = (Vec::new(), std::env::vars().map(|(name, _)| name));
    let listed = |(_, to): &(u32, String)| !to.starts_with("/proc/");
    let fds = procfs::fds(own).into_iter().filter(listed).collect();
    std::io::stdin().read_to_end(&mut input).expect("a standard input");
    Found {
        fds,
        leads_its_group: group == own,
        comm: std::fs::read_to_string("/proc/self/comm").expect("a name").trim_end().to_owned(),
        name: current_process().name(),
        parent: parent_process().filter(|parent| parent.is_alive()).map(|parent| parent.pid()),
        threads: procfs::threads(own).len(),
        blocked: mask("SigBlk"),
        ignored: mask("SigIgn"),
        handled: mask("SigCgt"),
        input,
        marks: marks.filter(|name| name == "PROCPOOL_WORKER").collect(),
    }
}

/// Writes to the program's file: the error, and the number that the next file gets.
#[task]
pub(crate) fn write_to_the_file() -> (Option<i32>, i32, i32) {
    use std::os::fd::AsRawFd;
    let mut file = FILE.get().expect("it was opened");
    let error = file.write(b"of a worker").expect_err("it is closed here").raw_os_error();
    let another = File::create("/dev/null").expect("another file");
    (error, file.as_raw_fd(), another.as_raw_fd())
}

/// Reads the slice, adds to the memory, and gives both.
#[task]
pub(crate) fn use_shared() -> (Shared<[u64]>, SharedMemory) {
    let (slice, memory) = (SLICE.get().expect("it was made"), MEMORY.get().expect("it was made"));
    memory.words()[0].fetch_add(slice.iter().sum(), std::sync::atomic::Ordering::Relaxed);
    (slice.clone(), memory.clone())
}

/// Loads something, or fails in some way.
#[task]
pub(crate) fn load(how: &str) -> Result<(), String> {
    match how {
        "loads" => LOADED.set(vec![1; 1000]).map_err(|_| "twice".to_owned()),
        "refuses" => Err("there is no model".to_owned()),
        "panics" => panic!("no model at all"),
        "exits" => std::process::exit(5),
        "hangs" => {
            // Whoever has started the program may be waiting for this.
            println!();
            loop {
                std::thread::park();
            }
        }
        "threads" => {
            std::thread::spawn(|| {
                loop {
                    std::thread::park();
                }
            });
            Ok(())
        }
        _ => unreachable!("{how}"),
    }
}

struct PanicsAgain;

impl Drop for PanicsAgain {
    fn drop(&mut self) {
        panic!("and once more");
    }
}

fn overflow(n: u64) -> u64 {
    if std::hint::black_box(n) == u64::MAX { 0 } else { overflow(n + 1) + 1 }
}

#[task]
pub(crate) fn fail(how: &str) {
    match how {
        "panic" => panic!("no luck"),
        "exit" => std::process::exit(3),
        "abort" => std::process::abort(),
        // SAFETY: not at all, and that is the point.
        "crash" => unsafe { std::ptr::null_mut::<u8>().write_volatile(1) },
        "overflow" => {
            overflow(0);
        }
        "double panic" => {
            let _again = PanicsAgain;
            panic!("the first one");
        }
        "spin" => loop {
            std::hint::spin_loop();
        },
        _ => unreachable!("{how}"),
    }
}

#[task]
pub(crate) fn park(ledger: &str, id: u64) {
    Ledger::record(ledger, id, Event::Started);
    loop {
        std::thread::park();
    }
}

#[task]
pub(crate) fn say(text: &str) {
    println!("{text}");
}
