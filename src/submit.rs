//! The way of a task into the pool: encoded, accepted, or refused.

use std::sync::Arc;

use async_lock::SemaphoreGuardArc;

use crate::error::{Refusal, TaskError};
use crate::future::TaskFuture;
use crate::nested::{inherit, is_unwanted, unwanted};
use crate::options::TaskOptions;
use crate::scheduler::engine::{Engine, Gate};
use crate::scheduler::job::Job;
use crate::scheduler::machine::Cancel;
use crate::scheduler::slot::Slot;
use crate::task::{Registry, Task, guarded};
use crate::wire::codec::{self, EncodeError};
use crate::worker::current::{self, Running};

/// A handle of a pool, with the options of what is submitted through it.
#[derive(Clone)]
pub(crate) struct Submitter {
    handle: Arc<Handle>,
    pub(crate) options: TaskOptions,
}

/// Counts the handles of a pool by its `Arc`. Futures and the supervisor hold the engine only.
struct Handle {
    engine: Arc<Engine>,
    /// The largest message, in bytes.
    limit: usize,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.engine.abandon();
    }
}

/// A task whose arguments have been encoded.
pub(crate) struct Prepared {
    job: Job,
    /// How hard its future cancels it.
    cancel: Cancel,
    /// The task that submits it, if one does.
    outer: Option<Arc<Running>>,
}

impl Submitter {
    pub(crate) fn new(engine: Arc<Engine>, limit: usize, options: TaskOptions) -> Submitter {
        Submitter { handle: Arc::new(Handle { engine, limit }), options }
    }

    /// Another handle of the same pool.
    pub(crate) fn with(&self, options: TaskOptions) -> Submitter {
        Submitter { handle: Arc::clone(&self.handle), options: options.or(&self.options) }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.handle.engine
    }

    /// Takes a place among the pending tasks, if they are bounded.
    pub(crate) fn room(&self) -> Result<Option<SemaphoreGuardArc>, Refusal> {
        if let Some(refusal) = self.engine().refusal() {
            return Err(refusal);
        }
        match &self.engine().gate {
            None => Ok(None),
            Some(Gate { room, max_pending }) => match room.try_acquire_arc() {
                Some(permit) => Ok(Some(permit)),
                None => Err(Refusal::Full { max_pending: *max_pending }),
            },
        }
    }

    /// Encodes the arguments, on the caller's thread.
    pub(crate) fn prepare<T: Task>(&self, _task: T, args: &T::Args<'_>) -> Result<Prepared, Refusal> {
        let mut body = Vec::new();
        let limit = self.handle.limit;
        let encoded = guarded(|| match codec::encode(args, &mut body, limit) {
            Err(EncodeError::Refused(message)) => Err(Refusal::Encode { message }),
            Err(EncodeError::TooLarge) => {
                Err(Refusal::TooLarge { size: codec::size(args), limit: limit as u64 })
            }
            Ok(()) => Ok(()),
        });
        encoded.unwrap_or_else(|payload| {
            Err(Refusal::Encode { message: payload.while_doing("encoding the arguments") })
        })?;
        let outer = current::running();
        let inherited = outer.as_ref().and_then(|outer| outer.deadline);
        let options = self.options.for_task(T::ENTRY, outer.is_some(), inherited);
        let job = Job {
            slot: Arc::new(Slot::new(T::NAME)),
            task: Registry::get().number(T::ENTRY),
            body: Arc::new(body),
            timeout: options.timeout,
            deadline: options.deadline,
            cooperates: options.cooperates(),
            terms: options.terms.clone(),
            fault: 0,
            permit: None,
        };
        Ok(Prepared { job, cancel: options.cancel(), outer })
    }

    /// Submits one task into a place that was taken for it.
    pub(crate) fn accept<R>(
        &self,
        permit: Option<SemaphoreGuardArc>,
        Prepared { mut job, cancel, outer }: Prepared,
    ) -> Result<TaskFuture<R>, Refusal> {
        if is_unwanted(outer.as_ref()) {
            return Ok(TaskFuture::refused(unwanted(job.slot.task)));
        }
        job.permit = permit.map(Arc::new);
        let slot = Arc::clone(&job.slot);
        let engine = Arc::clone(self.engine());
        let task = engine.submit(vec![job])?[0];
        inherit(outer.as_ref(), &slot, &engine, task, cancel);
        Ok(TaskFuture::accepted(slot, engine, task, cancel))
    }

    /// Submits what belongs together. A `map` bounds itself and passes the gate.
    pub(crate) fn accept_together<R>(&self, prepared: Vec<Prepared>) -> Vec<TaskFuture<R>> {
        // They come from one thread, which works for one task.
        if is_unwanted(prepared.first().and_then(|one| one.outer.as_ref())) {
            return prepared.iter().map(|one| TaskFuture::refused(unwanted(one.job.slot.task))).collect();
        }
        let (parts, jobs): (Vec<_>, Vec<_>) = prepared
            .into_iter()
            .map(|Prepared { job, cancel, outer }| ((Arc::clone(&job.slot), cancel, outer), job))
            .unzip();
        match self.engine().submit(jobs) {
            Ok(tasks) => parts
                .into_iter()
                .zip(tasks)
                .map(|((slot, cancel, outer), task)| {
                    inherit(outer.as_ref(), &slot, self.engine(), task, cancel);
                    TaskFuture::accepted(slot, Arc::clone(self.engine()), task, cancel)
                })
                .collect(),
            Err(reason) => parts
                .into_iter()
                .map(|(slot, ..)| TaskFuture::refused(TaskError::not_run(slot.task, reason.clone().into())))
                .collect(),
        }
    }
}
