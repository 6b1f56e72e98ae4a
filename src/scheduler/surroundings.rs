//! What need not be known at the start of a worker: it is looked up soon after, when nobody waits for that start any more.

use std::collections::VecDeque;
use std::time::Instant;

use crate::launch::AFTERWARDS;
use crate::sys::cpus;

use super::engine::Engine;
use super::machine::LaneNo;

/// The workers that nobody has looked around for.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    due: VecDeque<(Instant, LaneNo)>,
    /// The machine has been told which share of the processors is there for it.
    are_processors_known: bool,
}

impl Surroundings {
    pub(super) fn has_started(&mut self, lane: LaneNo) {
        self.due.push_back((Instant::now() + AFTERWARDS, lane));
    }

    /// When the next one is due.
    pub(super) fn until(&self) -> Option<Instant> {
        self.due.front().map(|&(at, _)| at)
    }

    /// One whose time has come.
    pub(super) fn next(&mut self, now: Instant, engine: &Engine) -> Option<LaneNo> {
        let (_, lane) = self.due.pop_front_if(|(at, _)| *at <= now)?;
        if !self.are_processors_known {
            self.are_processors_known = true;
            engine.may_use(cpus::available());
        }
        Some(lane)
    }
}
