//! Making workers exist.

mod child;

pub(crate) use child::{EnvChange, Launched, Process, Worker, launch};
