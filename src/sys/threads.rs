//! Whether there is room for more threads.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Fails unless so many more threads can be started now.
pub(crate) fn headroom(count: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        // They are all there until the gate opens.
        let _closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
        let pass = || drop(gate.lock());
        (0..count).try_for_each(|_| thread::Builder::new().spawn_scoped(scope, pass).map(drop))
    })
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
