//! The watch over the template of the workers, if they are copies of one.

use std::os::fd::{AsFd, OwnedFd};

use crate::launch::ForkServer;

use super::engine::Engine;
use super::later::Later;
use super::machine::LaneNo;
use super::poller::{Token, What};

/// Stands for the template, where others stand for a lane.
pub(super) const TEMPLATE: Token = Token { what: What::Ended, lane: LaneNo(0x3fff_ffff), life: u32::MAX };

/// Readable when the template has ended, if it is watched.
#[derive(Default)]
pub(super) struct Watch(Option<OwnedFd>);

impl Watch {
    /// From now on hears of the end of the template, if there is a new one.
    pub(super) fn keep(&mut self, engine: &Engine) {
        let Some(ended) = engine.worker.forks.as_ref().and_then(ForkServer::unwatched) else { return };
        // If it cannot be watched, its end is found out when the next worker is needed.
        if engine.poller.add(ended.as_fd(), TEMPLATE).is_ok() {
            self.0 = Some(ended);
        }
    }

    /// The template has ended: sees to it that no zombie is left.
    pub(super) fn ended(&mut self, engine: &Engine) {
        let Some(ended) = self.0.take() else { return };
        engine.poller.remove(ended.as_fd());
        if let Some(forks) = &engine.worker.forks {
            forks.bury();
        }
    }
}

impl Engine {
    /// The pool has ended, and so has the template of its workers.
    pub(super) fn template_has_ended(&self) {
        let wakers = {
            let mut core = self.core();
            core.has_template = false;
            std::mem::take(&mut core.watchers)
        };
        self.finish(Later { wakers, ..Later::default() });
    }
}
