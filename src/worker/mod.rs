//! The child's side: recognising a worker before `main`, and its life.

pub(crate) mod bell;
mod boot;
#[cfg(feature = "sandbox")]
mod confine;
pub(crate) mod current;
pub(crate) mod panic;
mod serve;
mod vigil;

pub(crate) use boot::{depth, has_strayed, index, take_over_if_worker};
