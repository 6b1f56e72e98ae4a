//! The ways of a task to the machine: at once, with others, or by the line.

use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::error::Refusal;
use crate::wire::records;

use super::core::Brain;
use super::engine::Engine;
use super::gate::Admission;
use super::job::{Job, Order};
use super::line::Refused;
use super::machine::{Spec, TaskNo};
use super::members::CallNo;

/// A task with more bytes of arguments does not wait for others.
const ARGUMENTS_MAX: usize = 1 << 10;

impl Engine {
    /// Accepts a task.
    pub(crate) fn submit(&self, job: Job) -> Result<TaskNo, Refusal> {
        self.submit_by(|machine, now| self.accept(machine, now, job, 0))
    }

    /// Accepts tasks that belong together, in one step: all of them or none.
    pub(crate) fn submit_together(&self, jobs: Vec<Job>) -> Result<Vec<TaskNo>, Refusal> {
        self.submit_by(|machine, now| {
            let bundle = if jobs.len() > 1 { machine.bundle() } else { 0 };
            jobs.into_iter().map(|job| self.accept(machine, now, job, bundle)).collect()
        })
    }

    /// Accepts something behind all that waits in line.
    fn submit_by<T>(
        &self,
        accept: impl FnOnce(&mut Brain, Instant) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        self.drive(|core, effects, later| {
            self.hand_on_all(core, later);
            let now = core.now();
            let accepted = accept(&mut core.machine, now);
            core.machine.dispatch(now, effects);
            accepted
        })
    }

    fn accept(&self, machine: &mut Brain, now: Instant, job: Job, bundle: u64) -> Result<TaskNo, Refusal> {
        let fault = self.worker.faults.next_task();
        if fault > 0 {
            job.fault.store(fault, Ordering::Relaxed);
        }
        let Order { timeout, cooperates, ref terms, ref arguments, .. } = *job;
        let divisible = job.chunk.is_some();
        let spec = Spec {
            bytes: arguments.len(),
            timeout,
            bundle,
            cooperates,
            divisible,
            quick: false,
            terms: terms.clone(),
        };
        machine.submit(now, job, spec)
    }

    /// Whether a task is to wait in line for others, as far as can be seen from here.
    pub(crate) fn has_to_wait(&self, order: &Order) -> bool {
        self.line.is_held()
            && order.timeout.is_none()
            && order.deadline.is_none()
            && order.terms.is_none()
            && !order.cooperates
            && order.arguments.len() <= ARGUMENTS_MAX.min(self.batch_bytes())
            && !order.arguments.is_attached()
            && !order.arguments.is_whole()
            && order.task.0 < records::MARKS
    }

    /// Puts a task in line that [has to wait](Engine::has_to_wait). Gives it back if it need not any more.
    pub(crate) fn put_in_line(&self, order: Order, permit: Option<Admission>) -> Result<CallNo, Refused> {
        self.line.put(order, permit)
    }
}
