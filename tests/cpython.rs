//! What the tests of Python's `concurrent.futures` ask of its process pool, asked of this one.
//!
//! `cpython/README.md` has the table: each case of theirs, and the test of ours that has its meaning, or the reason
//! why it has none here.

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
#[path = "cpython/future.rs"]
mod future;
#[path = "cpython/gate.rs"]
mod gate;
#[path = "cpython/initializer.rs"]
mod initializer;
#[path = "cpython/mapping.rs"]
mod mapping;
mod support;
#[path = "cpython/tasks.rs"]
mod tasks;
