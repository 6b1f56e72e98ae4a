//! What the objects have of the kernel: words that processes share, sleep until one of them changes, marks in the words of
//! those who have died, and the sockets and files of queues. In a test build with `--cfg shuttle` it is that of
//! `model/kernel.rs`, in which processes are threads of a model checker and are killed at any step.

#[cfg(all(test, shuttle))]
mod kind {
    pub(crate) use crate::sync::model::kernel::{SharedWord, cover, futex, keeper, ready, socket, spill};
}

#[cfg(not(all(test, shuttle)))]
mod kind {
    pub(crate) use crate::sys::{cover, futex, keeper, ready, socket, spill};
    pub(crate) use std::sync::atomic::AtomicU64 as SharedWord;
}

pub(crate) use kind::{SharedWord, cover, futex, keeper, ready, socket, spill};
