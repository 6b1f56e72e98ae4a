//! What a step of the machine leaves to be done when its lock is released: system calls, and the user's code.

use std::sync::Arc;
use std::task::Waker;

use smallvec::SmallVec;

use crate::faults::Point;
use crate::worker_event::WorkerEvent;

use super::engine::Engine;
use super::gate::Admission;
use super::job::Job;
use super::lane::Link;
use super::slot::Told;

/// What is left to do once the lock is released.
#[derive(Default)]
#[must_use = "those who wait have to be told"]
pub(super) struct Later {
    pub(super) told: Vec<Told>,
    pub(super) events: Vec<WorkerEvent>,
    /// Dropped outside: their permits wake those who wait for room.
    pub(super) jobs: SmallVec<[Job; 1]>,
    /// Likewise.
    pub(super) permits: Vec<Admission>,
    pub(super) links: SmallVec<[Arc<Link>; 2]>,
    pub(super) wakers: Vec<Waker>,
    pub(super) call: bool,
    pub(super) closed: bool,
}

impl Later {
    /// Has somebody told that a task has ended, if anybody waits for that.
    pub(super) fn tell(&mut self, told: Told) {
        if !told.is_empty() {
            self.told.push(told);
        }
    }

    /// Has what was put in line for a worker sent.
    pub(super) fn flush(&mut self, link: &Arc<Link>) {
        if !self.links.iter().any(|known| Arc::ptr_eq(known, link)) {
            self.links.push(Arc::clone(link));
        }
    }
}

impl Engine {
    /// Calls and wakes those who are concerned, the user's code among them.
    pub(super) fn finish(&self, later: Later) {
        if later.call {
            self.poller.call();
        }
        for link in later.links {
            let _ = self.worker.faults.hit(Point::Send);
            link.flush(&self.poller);
        }
        if let Some(observer) = &self.observer {
            for event in &later.events {
                let _ = crate::task::guarded(|| observer.0(event));
            }
        }
        // Before anybody is told: who hears that a task has ended finds the descriptors of its arguments closed.
        drop((later.jobs, later.permits));
        for told in later.told {
            told.tell();
        }
        for waker in later.wakers {
            let _ = crate::task::guarded(|| waker.wake());
        }
        if later.closed
            && let Some(gate) = &self.gate
        {
            gate.open_for_all();
        }
    }
}
