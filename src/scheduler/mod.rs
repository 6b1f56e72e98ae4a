//! Decides which worker runs which task, and what happens when one dies. The protocol is told in `README.md`.
//!
//! Events go in, effects come out; see [`machine::Machine`]. Nothing in the pure half performs I/O or reads the
//! clock, so every rule is a transcript in `machine/test.rs`.

// Pure: Event -> [Effect].
mod appointments;
mod backlog;
pub(crate) mod machine;
mod members;
pub(crate) mod policy;
mod roster;

// Acting.
mod accept;
pub(crate) mod chunk;
mod core;
mod divide;
pub(crate) mod encoded;
pub(crate) mod engine;
pub(crate) mod gate;
mod helper;
pub(crate) mod job;
mod lane;
mod later;
mod line;
mod listener;
pub(crate) mod loose;
pub(crate) mod output;
mod poller;
pub(crate) mod slot;
mod start;
mod station;
pub(crate) mod supervisor;
mod surroundings;
mod vanguard;
pub(crate) mod verdict;
mod watch;
