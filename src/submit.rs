//! The way of a task into the pool: encoded, accepted, or refused.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use serde::Serialize;

use crate::error::{Refusal, TaskError};
use crate::future::TaskFuture;
use crate::nested::{inherit, is_unwanted, unwanted};
use crate::options::{OnCancel, TaskOptions};
use crate::scheduler::chunk::{Chunk, Rest};
use crate::scheduler::encoded::Encoded;
use crate::scheduler::engine::Engine;
use crate::scheduler::gate::Admission;
use crate::scheduler::job::{Job, Order};
use crate::scheduler::loose::Number;
use crate::scheduler::machine::Cancel;
use crate::scheduler::slot::Slot;
use crate::sys::plain;
use crate::sys::source::LEAD_MAX;
use crate::task::{LARGE, Registry, Task, guarded};
use crate::transport::CALLS_MAX;
use crate::wire::codec::{self, EncodeError};
use crate::wire::records;
use crate::worker::current::{self, Running};

thread_local! {
    /// Memory to encode arguments in.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

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
    order: Order,
    /// How hard its future cancels it.
    cancel: Cancel,
    /// The task that submits it, if one does.
    outer: Option<Arc<Running>>,
}

/// Calls of one task that go to a worker as one.
#[derive(Default)]
pub(crate) struct Bundle {
    records: Vec<u8>,
    /// Bytes of the calls that are in it.
    whole: usize,
    calls: u32,
}

/// Calls that were submitted as one task.
pub(crate) struct Calling {
    pub(crate) engine: Arc<Engine>,
    pub(crate) part: Rest,
}

/// Puts the arguments of one task's calls into bundles.
#[derive(Clone, Copy)]
pub(crate) struct Packer {
    number: u32,
    /// The largest message, in bytes.
    limit: usize,
}

impl Packer {
    /// How many calls more, of one number each, can go with those that are in the bundle, which are such as well.
    #[inline]
    pub(crate) fn room_for_numbers<A>(self, bundle: &Bundle) -> usize {
        if self.number >= records::MARKS {
            return 0;
        }
        let bytes = self.limit.saturating_sub(bundle.records.len() + records::OVERHEAD);
        (bytes / size_of::<A>()).min((CALLS_MAX - 1 - bundle.calls) as usize)
    }

    /// Adds calls of one number each, for which there is room.
    #[inline]
    pub(crate) fn add_numbers<A>(self, numbers: &[A], bundle: &mut Bundle) {
        if bundle.calls == 0 {
            records::open_group(&mut bundle.records, self.number, size_of::<A>());
        }
        bundle.records.extend_from_slice(plain::memory_of_numbers(numbers));
        bundle.whole = bundle.records.len();
        bundle.calls += numbers.len() as u32;
    }

    /// Encodes the arguments of one more call. `false` if it must go alone, or cannot go at all. Encoding is the user's
    /// code: after a panic, [`Bundle::forget_begun`].
    #[inline]
    pub(crate) fn add<A: Serialize>(self, args: &A, bundle: &mut Bundle) -> bool {
        if bundle.calls + 1 == CALLS_MAX || self.number >= records::MARKS {
            return false;
        }
        let at = records::open(&mut bundle.records);
        let limit = self.limit.saturating_sub(at);
        let encoded = codec::encode_attached(args, &mut bundle.records, limit);
        let mut fits = encoded.is_ok_and(|handles| handles.is_empty());
        if fits {
            records::close(&mut bundle.records, at, self.number);
            fits = bundle.records.len() <= self.limit || bundle.calls == 0;
        }
        if fits {
            bundle.whole = bundle.records.len();
            bundle.calls += 1;
        } else {
            bundle.forget_begun();
        }
        fits
    }
}

impl Bundle {
    /// With room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Bundle {
        Bundle { records: Vec::with_capacity(bytes), ..Bundle::default() }
    }

    /// Nothing is left of a call whose arguments could not be encoded.
    pub(crate) fn forget_begun(&mut self) {
        self.records.truncate(self.whole);
    }

    pub(crate) fn calls(&self) -> u32 {
        self.calls
    }

    pub(crate) fn bytes(&self) -> usize {
        self.records.len()
    }
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

    /// Takes a place among the pending tasks, if they are bounded. If they are not, a pool that takes none says so later.
    pub(crate) fn room(&self) -> Result<Option<Admission>, Refusal> {
        let Some(gate) = &self.engine().gate else { return Ok(None) };
        if let Some(refusal) = self.engine().refusal() {
            return Err(refusal);
        }
        match gate.try_enter() {
            Some(permit) => Ok(Some(permit)),
            None => Err(Refusal::Full { max_pending: gate.max_pending }),
        }
    }

    /// Encodes the arguments, on the caller's thread.
    pub(crate) fn prepare<T: Task>(&self, task: T, args: &T::Args<'_>) -> Result<Prepared, Refusal> {
        if let Some(bytes) = plain::number_bytes(args).filter(|bytes| bytes.len() <= self.handle.limit) {
            return Ok(self.prepared(task, Encoded::copy(bytes)));
        }
        // Gone while it is in use: what encodes itself is the user's code, and may submit.
        let mut body = SCRATCH.take();
        body.clear();
        let limit = self.handle.limit;
        let encoded = guarded(|| match codec::encode_attached(args, &mut body, limit) {
            Err(EncodeError::Refused(message)) => Err(Refusal::Encode { message }),
            Err(EncodeError::TooLarge) => {
                Err(Refusal::TooLarge { size: codec::size(args), limit: limit as u64 })
            }
            Ok(handles) => Ok(handles),
        });
        let handles = encoded.unwrap_or_else(|payload| {
            Err(Refusal::Encode { message: payload.while_doing("encoding the arguments") })
        })?;
        let arguments = Encoded::take(&mut body, handles);
        SCRATCH.set(body);
        Ok(self.prepared(task, arguments))
    }

    /// Whether an argument of so many bytes is better not copied.
    pub(crate) fn is_large(&self, len: usize) -> bool {
        (LARGE..self.handle.limit.saturating_sub(LEAD_MAX)).contains(&len)
    }

    /// The same of the one argument that is a vector of bytes or a text, whose memory this is.
    pub(crate) fn prepare_whole<T: Task>(&self, task: T, mut bytes: Vec<u8>) -> Prepared {
        if bytes.capacity() - bytes.len() > bytes.len() / 4 {
            bytes.shrink_to_fit();
        }
        self.prepared(task, Encoded::whole(bytes))
    }

    fn prepared<T: Task>(&self, _task: T, arguments: Encoded) -> Prepared {
        let outer = current::running();
        let inherited = outer.as_ref().and_then(|outer| outer.deadline);
        let options = self.options.for_task(T::ENTRY, outer.is_some(), inherited);
        let order = Order {
            slot: Arc::new(Slot::new(T::NAME)),
            task: Registry::get().number(T::ENTRY),
            arguments,
            timeout: options.timeout,
            deadline: options.deadline,
            cooperates: options.cooperates(),
            terms: options.terms.clone(),
            fault: AtomicU8::new(0),
            chunk: None,
        };
        Prepared { order, cancel: options.cancel(), outer }
    }

    /// Whether several calls of this task may be one task for the pool: nothing is asked for that concerns a call for
    /// itself, but that it is not begun when nobody wants it any more.
    pub(crate) fn lets_calls_go_together<T: Task>(&self, _task: T) -> bool {
        let options = self.options.for_task(T::ENTRY, false, None);
        current::running().is_none()
            && self.engine().lets_calls_go_together
            && options.timeout.is_none()
            && options.terms.is_none()
            && options.on_cancel == OnCancel::Finish
    }

    /// How the arguments of this task's calls are put into bundles.
    pub(crate) fn packer<T: Task>(&self, _task: T) -> Packer {
        Packer {
            number: Registry::get().number(T::ENTRY).0,
            limit: self.handle.limit.min(records::RECORD_MAX - 1),
        }
    }

    /// Submits calls as one task. A `map` bounds itself and passes the gate.
    pub(crate) fn accept_calls<T: Task>(&self, _task: T, bundle: Bundle) -> Result<Calling, Refusal> {
        let Bundle { records, calls, .. } = bundle;
        let (job, chunk) = Job::calls(T::NAME, records, Chunk::new(calls, 0));
        let slot = Arc::clone(&job.slot);
        let engine = Arc::clone(self.engine());
        let task = engine.submit(job)?;
        Ok(Calling { engine, part: Rest { chunk, slot, task, calls } })
    }

    /// Submits one task into a place that was taken for it.
    pub(crate) fn accept<R>(
        &self,
        mut permit: Option<Admission>,
        Prepared { mut order, cancel, outer }: Prepared,
    ) -> Result<TaskFuture<R>, Refusal> {
        if is_unwanted(outer.as_ref()) {
            return Ok(TaskFuture::refused(unwanted(order.slot.task)));
        }
        let slot = Arc::clone(&order.slot);
        let engine = Arc::clone(self.engine());
        if outer.is_none() && engine.has_to_wait(&order) {
            match engine.put_in_line(order, permit) {
                Ok(call) => return Ok(TaskFuture::accepted(slot, engine, Number::Call(call), cancel)),
                Err(back) => (order, permit) = back,
            }
        }
        let task = engine.submit(Job::new(order, permit))?;
        inherit(outer.as_ref(), &slot, &engine, task, cancel);
        Ok(TaskFuture::accepted(slot, engine, Number::Task(task), cancel))
    }

    /// Submits what belongs together, as far as it could be prepared: a future for each, in their order.
    pub(crate) fn accept_each<R>(
        &self,
        task: &'static str,
        prepared: Vec<Result<Prepared, Refusal>>,
    ) -> Vec<TaskFuture<R>> {
        let refused = |reason: Refusal| TaskFuture::refused(TaskError::not_run(task, reason.into()));
        if prepared.len() == 1 {
            let alone = prepared.into_iter().map(|one| one.and_then(|one| self.accept(None, one)));
            return alone.map(|future| future.unwrap_or_else(refused)).collect();
        }
        let mut good = Vec::with_capacity(prepared.len());
        let places: Vec<_> = prepared.into_iter().map(|item| item.map(|item| good.push(item))).collect();
        let mut futures = self.accept_together(good).into_iter();
        let place = |place: Result<(), Refusal>| match place {
            Ok(()) => futures.next().expect("each prepared task has a future"),
            Err(reason) => refused(reason),
        };
        places.into_iter().map(place).collect()
    }

    /// Submits what belongs together. A `map` bounds itself and passes the gate.
    fn accept_together<R>(&self, prepared: Vec<Prepared>) -> Vec<TaskFuture<R>> {
        // They come from one thread, which works for one task.
        if is_unwanted(prepared.first().and_then(|one| one.outer.as_ref())) {
            return prepared.iter().map(|one| TaskFuture::refused(unwanted(one.order.slot.task))).collect();
        }
        let (parts, jobs): (Vec<_>, Vec<_>) = prepared
            .into_iter()
            .map(|Prepared { order, cancel, outer }| {
                ((Arc::clone(&order.slot), cancel, outer), Job::new(order, None))
            })
            .unzip();
        match self.engine().submit_together(jobs) {
            Ok(tasks) => parts
                .into_iter()
                .zip(tasks)
                .map(|((slot, cancel, outer), task)| {
                    inherit(outer.as_ref(), &slot, self.engine(), task, cancel);
                    TaskFuture::accepted(slot, Arc::clone(self.engine()), Number::Task(task), cancel)
                })
                .collect(),
            Err(reason) => parts
                .into_iter()
                .map(|(slot, ..)| TaskFuture::refused(TaskError::not_run(slot.task, reason.clone().into())))
                .collect(),
        }
    }
}
