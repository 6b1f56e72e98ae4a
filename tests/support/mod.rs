//! The common ground of the integration tests: own process, watchdog, census, ledger.
//!
//! * [`isolated!`] gives every test body a process of its own, watched from outside and counted at the end.
//! * [`program!`] makes a small parent program out of a function, for tests in which a parent must die.
//! * [`Census`] knows what a process holds; [`Ledger`] knows what tasks did, from their own hand.
//! * [`procfs`], [`tagged_pids`], [`eventually`], [`kill`], [`hog`] and [`FdLimit`] look at the world and push it.
//!
//! ```text
//! cargo test ─ watchdog ─ reaper ─ the test body ─ workers and programs
//!              limit,     adopts    baseline, body, census       (all of these carry FAULT_TAG)
//!              autopsy    and reaps what escapes
//! ```
//!
//! All of them are the same test binary, started again with `--exact` and a role in the environment. The
//! reaper plays init for its test: an orphan goes to it, stays visible as its descendant, and is reaped when
//! it ends, so a zombie that the census finds is one that the code under test forgot. Nothing here runs at
//! load time, and no part of the crate under test is used.

#![allow(dead_code, unused_imports, unused_macros, reason = "each test binary uses a part of this module")]
#![allow(unreachable_pub, reason = "a test binary exports nothing, and `pub` marks what tests may use")]

mod census;
mod eventually;
mod family;
mod guards;
pub mod isolate;
mod ledger;
pub mod procfs;
pub mod program;
mod role;
mod scale;
pub mod terminal;
pub mod tracer;
mod watchdog;

pub use census::{Census, no_census, warmed_up};
pub use eventually::eventually;
pub use family::{kill, nothing_left, tag, tagged_pids, tagged_with, tagged_workers, templates_by_default};
pub use guards::{FdLimit, Hog, hog};
pub(crate) use isolate::isolated;
pub use ledger::{Entry, Event, Ledger};
pub(crate) use program::program;
pub use program::{Program, Setup};
pub use rustix::process::Signal;
pub use scale::{Random, rounds};
