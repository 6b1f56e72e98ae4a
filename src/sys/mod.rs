//! The operating system: descriptors, sockets, shared memory, processes, the start of the program. Linux.
//!
//! All unsafe code of the crate is here, except for the link section of the task table.
#![allow(unsafe_code)]

pub(crate) mod available;
pub(crate) mod barrier;
pub(crate) mod clock;
pub(crate) mod cover;
pub(crate) mod cpus;
pub(crate) mod fd;
pub(crate) mod fork;
pub(crate) mod frozen;
#[cfg_attr(all(test, shuttle), allow(dead_code, reason = "the model checker has its own"))]
pub(crate) mod futex;
pub(crate) mod interrupt;
#[cfg_attr(all(test, shuttle), allow(dead_code, reason = "the model checker has its own"))]
pub(crate) mod keeper;
pub(crate) mod leaf;
pub(crate) mod limits;
pub(crate) mod map;
pub(crate) mod numbers;
pub(crate) mod oom;
pub(crate) mod own_pid;
pub(crate) mod pages;
pub(crate) mod per_process;
pub(crate) mod plain;
pub(crate) mod process;
pub(crate) mod ready;
#[cfg(feature = "sandbox")]
pub(crate) mod sandbox;
pub(crate) mod socket;
pub(crate) mod source;
pub(crate) mod spare;
pub(crate) mod spill;
pub(crate) mod stack;
pub(crate) mod start;
pub(crate) mod thread_number;
pub(crate) mod threads;
