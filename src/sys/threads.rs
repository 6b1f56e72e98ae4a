//! Whether there is room for more threads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread;

/// Threads that are there and do nothing, so that others can take their place.
#[derive(Debug, Default)]
pub(crate) struct Reserved {
    over: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// Fails unless so many more threads can be started now. They start meanwhile.
pub(crate) fn reserve(count: usize) -> io::Result<Reserved> {
    let mut reserved = Reserved::default();
    for _ in 0..count {
        let over = Arc::clone(&reserved.over);
        let wait = move || {
            while !over.load(Acquire) {
                thread::park();
            }
        };
        reserved.threads.push(thread::Builder::new().spawn(wait)?);
    }
    Ok(reserved)
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.over.store(true, Release);
        // All of them first, so that nobody waits for one after the other to wake up.
        self.threads.iter().for_each(|thread| thread.thread().unpark());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The threads of this process by their names, the calling one among them.
pub(crate) fn names() -> io::Result<Vec<String>> {
    let name = |entry: io::Result<std::fs::DirEntry>| {
        // One that has ended meanwhile has no name any more.
        let name = std::fs::read_to_string(entry?.path().join("comm")).unwrap_or_default();
        Ok(name.trim_end().to_owned())
    };
    std::fs::read_dir("/proc/self/task")?.map(name).collect()
}
