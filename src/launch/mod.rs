//! Making workers exist.

mod child;
pub(crate) mod hello;

pub(crate) use child::{EnvChange, Launched, Process, Worker, launch};
