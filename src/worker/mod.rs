//! The child's side: recognising a worker before `main`, and its life.

mod boot;
mod calls;
#[cfg(feature = "sandbox")]
mod confine;
pub(crate) mod current;
mod desk;
mod end;
mod letter;
pub(crate) mod panic;
pub(crate) mod place;
mod serve;
mod template;
mod thread;
mod vigil;

pub(crate) use boot::{has_strayed, take_over_if_worker};
pub(crate) use desk::Desk;
pub(crate) use serve::{Serve, Work};
pub(crate) use template::{Copied, become_template};
pub(crate) use thread::serve_here;
