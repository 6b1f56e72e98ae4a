//! The child's side: recognising a worker before `main`, and its life.

mod boot;
#[cfg(feature = "sandbox")]
mod confine;
pub(crate) mod panic;
mod serve;
mod vigil;

pub(crate) use boot::{depth, has_strayed, take_over_if_worker};
