//! What the lock of an engine protects.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::job::{Job, Reply};
use super::lane::Link;
use super::later::Later;
use super::loose::Batches;
use super::machine::{Effect, LaneNo, Machine, TaskNo};

/// What the supervisor is to do.
#[derive(Debug)]
pub(crate) enum Command {
    Launch(LaneNo),
    Terminate(LaneNo),
    Kill(LaneNo),
    Listen(LaneNo),
}

pub(super) type Brain = Machine<Job, Reply>;
pub(super) type BrainEffect = Effect<Job, Reply>;

pub(super) struct Core {
    pub(super) machine: Brain,
    /// The links to the workers that exist, by lane.
    pub(super) links: Vec<Option<Arc<Link>>>,
    pub(super) batches: Batches,
    pub(super) commands: Vec<Command>,
    /// When the supervisor looks at the clock again, if nobody calls it before.
    pub(super) armed: Option<Instant>,
    /// Those who wait for workers to be up, or for the pool to end.
    pub(super) watchers: Vec<Waker>,
    /// The template of the workers is there, or may be.
    pub(super) has_template: bool,
    /// Kept between steps for its memory.
    pub(super) effects: Vec<BrainEffect>,
    /// When this step was taken, once that was asked.
    pub(super) moment: Option<Instant>,
}

impl Core {
    /// When this step was taken: all that happens in it happens at once, as a look at the clock takes its time.
    pub(super) fn now(&mut self) -> Instant {
        *self.moment.get_or_insert_with(Instant::now)
    }

    /// Something for the supervisor to do.
    pub(super) fn order(&mut self, command: Command, later: &mut Later) {
        self.commands.push(command);
        later.call = true;
    }

    pub(super) fn link(&self, lane: LaneNo) -> Option<&Arc<Link>> {
        self.links.get(lane.0)?.as_ref()
    }

    /// The link to the worker that is at this task.
    pub(super) fn worker_at(&self, task: TaskNo) -> Option<(LaneNo, Arc<Link>)> {
        let (lane, seq) = self.machine.worker_of(task)?;
        let is_front = self.machine.outstanding(lane).next() == Some(seq);
        is_front.then(|| Some((lane, Arc::clone(self.link(lane)?)))).flatten()
    }

    pub(super) fn set_link(&mut self, lane: LaneNo, link: Option<Arc<Link>>) {
        if self.links.len() <= lane.0 {
            self.links.resize_with(lane.0 + 1, || None);
        }
        self.links[lane.0] = link;
    }
}
