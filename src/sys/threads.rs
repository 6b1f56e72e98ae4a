//! Whether there is room for more threads.

use std::io;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

/// Threads that are there and do nothing, so that others can take their place.
#[derive(Debug)]
pub(crate) struct Reserved {
    gate: Option<mpsc::Sender<()>>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// Fails unless so many more threads can be started now. They start meanwhile.
pub(crate) fn reserve(count: usize) -> io::Result<Reserved> {
    let (gate, closed) = mpsc::channel();
    let closed = Arc::new(Mutex::new(closed));
    let mut reserved = Reserved { gate: Some(gate), threads: Vec::new() };
    for _ in 0..count {
        let closed = Arc::clone(&closed);
        // Nobody sends anything: it opens when the other end is gone.
        let pass = move || drop(closed.lock().map(|closed| closed.recv()));
        reserved.threads.push(thread::Builder::new().spawn(pass)?);
    }
    Ok(reserved)
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.gate = None;
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
