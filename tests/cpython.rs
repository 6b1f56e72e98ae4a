//! What the tests of Python's `concurrent.futures` ask of its process pool, asked of this one.
//!
//! `cpython/README.md` has the table: each case of theirs, and the test of ours that has its meaning, or the reason
//! why it has none here.

#![allow(unreachable_pub, reason = "a test binary exports nothing, and `pub` marks what its files share")]

#[path = "cpython/bomb.rs"]
mod bomb;
#[path = "cpython/callbacks.rs"]
mod callbacks;
#[path = "cpython/completed.rs"]
mod completed;
#[path = "cpython/deadlock.rs"]
mod deadlock;
#[path = "cpython/deadlock_big.rs"]
mod deadlock_big;
#[path = "cpython/deadlock_end.rs"]
mod deadlock_end;
#[path = "cpython/deadlock_program.rs"]
mod deadlock_program;
#[path = "cpython/executor.rs"]
mod executor;
#[path = "cpython/forced.rs"]
mod forced;
#[path = "cpython/future.rs"]
mod future;
#[path = "cpython/gate.rs"]
mod gate;
#[path = "cpython/initializer.rs"]
mod initializer;
#[path = "cpython/mapping.rs"]
mod mapping;
#[path = "cpython/process_pool.rs"]
mod process_pool;
#[path = "cpython/recycling.rs"]
mod recycling;
#[path = "cpython/shutdown.rs"]
mod shutdown;
mod support;
#[path = "cpython/table.rs"]
mod table;
#[path = "cpython/tasks.rs"]
mod tasks;
