//! Making workers exist.

mod child;
#[cfg(feature = "sandbox")]
mod probe;

pub(crate) use child::{EnvChange, Launched, Process, Worker, launch, start_refused};
#[cfg(feature = "sandbox")]
pub(crate) use probe::probe;
