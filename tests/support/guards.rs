//! Conditions that hold until a guard is dropped: a busy processor, a shortage of descriptors.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::procfs;

/// Keeps one processor busy until it is dropped.
#[derive(Debug)]
pub struct Hog {
    enough: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Keeps one processor busy from now on.
pub fn hog() -> Hog {
    let enough = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&enough);
    let burn = move || {
        while !seen.load(Ordering::Relaxed) {
            spin_loop();
        }
    };
    let thread = thread::Builder::new().name("hog".to_owned()).spawn(burn).expect("one more thread");
    Hog { enough, thread: Some(thread) }
}

impl Drop for Hog {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a hog cannot fail");
        }
    }
}

/// Leaves this process a certain number of descriptors until it is dropped. Children inherit the limit.
#[derive(Debug)]
pub struct FdLimit {
    before: Rlimit,
}

impl FdLimit {
    /// From now on exactly `free` more descriptors can be made, if no other thread opens or closes one meanwhile.
    pub fn leaving(free: usize) -> Self {
        let before = getrlimit(Resource::Nofile);
        let open = procfs::fds(std::process::id());
        // The limit is on the numbers, not on their count, and a new descriptor takes the lowest free number.
        let limit = (0..).filter(|fd| !open.contains_key(fd)).nth(free).map(u64::from);
        setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: before.maximum })
            .expect("a limit may be lowered");
        Self { before }
    }
}

impl Drop for FdLimit {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.before).expect("a limit may be raised to what it was");
    }
}
