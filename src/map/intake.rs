//! How items get into the pool: taken from the input as there is room for them, and put together where that pays.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::stream::Stream;

use super::Map;
use super::calls::Calls;
use super::window::Piece;
use crate::error::TaskError;
use crate::future::TaskFuture;
use crate::submit::Bundle;
use crate::sys::plain;
use crate::task::Task;
use crate::wire::records;

/// Where items come from.
pub(super) struct Source<S> {
    stream: Pin<Box<S>>,
    pub(super) ended: bool,
    /// The input panicked; the results of what came before go first.
    pub(super) panic: Option<Box<dyn Any + Send>>,
}

/// What of the user's runs while items are put together.
#[derive(Clone, Copy)]
enum At {
    Input,
    Encoding,
    Drop,
}

/// Why no more items are put together.
enum Packed {
    Enough,
    /// The input has no more, for now or at all, or is slow.
    All {
        ended: bool,
    },
    /// The last one cannot go with others.
    NotThis,
}

/// How many items go to a worker together.
pub(super) struct Chunks {
    pub(super) fixed: Option<usize>,
    /// The size that follows the measured length of the items.
    adapted: usize,
}

/// Work that an adaptive chunk should hold, and how many items at the most.
const CHUNK: (Duration, usize) = (Duration::from_millis(1), 8192);
/// The same where each item is to go for itself: as much as of tasks that are submitted one by one.
const SINGLE: (Duration, usize) = (Duration::from_micros(200), 512);
/// Items between two looks at the clock.
const LOOKS: usize = 32;
/// A chunk is closed with so many bytes: with a last item of 1 KiB at the most, it goes beside the ring.
const CHUNK_BYTES: usize = 127 << 10;

impl Chunks {
    /// Of one item each, until it is known how long they take.
    pub(super) fn new() -> Chunks {
        Chunks { fixed: None, adapted: 1 }
    }

    fn size(&self) -> usize {
        self.fixed.filter(|_| !self.are_single()).unwrap_or(self.adapted)
    }

    /// Each item is to go for itself: together they go only as far as nobody notices.
    fn are_single(&self) -> bool {
        self.fixed == Some(1)
    }

    fn adapts(&self) -> bool {
        self.fixed.is_none() || self.are_single()
    }

    /// How long it may take to put a chunk together whose size is nobody's wish: with a slow input, what is there goes.
    fn patience(&self) -> Option<Duration> {
        self.adapts().then_some(if self.are_single() { SINGLE.0 } else { CHUNK.0 })
    }

    /// Items that keep a worker busy while the results of others are fetched.
    fn ahead(&self) -> usize {
        self.size().max(self.adapted)
    }

    /// An item ran this long: grow by doubling, shrink at once.
    pub(super) fn note(&mut self, ran_for: Duration) {
        let (time, most) = if self.are_single() { SINGLE } else { CHUNK };
        let fitting = (time.as_nanos() / ran_for.as_nanos().max(1)).clamp(1, most as u128) as usize;
        self.adapted = fitting.min(2 * self.adapted);
    }
}

impl<'a, T, S> Map<'a, T, S>
where
    T: Task,
    S: Stream<Item = T::Args<'a>>,
{
    /// How many more items may be held, and how many of them go together.
    fn room(&self) -> (usize, usize) {
        // Four chunks for each worker.
        let shares = 4 * self.pool.engine().max_workers();
        let most = self.buffersize.unwrap_or_else(|| self.chunks.ahead().saturating_mul(shares));
        let chunk = match self.chunks.adapts() {
            true => self.chunks.size().min(most / shares),
            false => self.chunks.size(),
        };
        (most.saturating_sub(self.window.len()), chunk.max(1))
    }

    /// Takes items from the input and submits them, in chunks.
    #[inline]
    pub(super) fn fill(&mut self, context: &mut Context<'_>) {
        if self.window.len() <= self.enough {
            self.take_in(context);
        }
    }

    fn take_in(&mut self, context: &mut Context<'_>) {
        loop {
            let (room, chunk) = self.room();
            // A full chunk or nothing, unless nothing else is on its way.
            if self.source.ended || room == 0 || (room < chunk && self.window.len() > 0) {
                // As long as so many are held, there is no room for another chunk.
                self.enough = self.window.len().saturating_sub(chunk.saturating_sub(room).max(1));
                return;
            }
            let size = chunk.min(room);
            let more = match self.together && size > 1 {
                true if plain::is_number::<T::Args<'a>>() => self.fill_with_numbers(context, size),
                true => self.fill_together(context, size),
                false => self.fill_each(context, size),
            };
            if !more {
                self.enough = usize::MAX;
                return;
            }
        }
    }

    /// Submits so many items as tasks of their own. Says whether the input has more for now.
    fn fill_each(&mut self, context: &mut Context<'_>, size: usize) -> bool {
        let mut prepared = Vec::new();
        let mut more = true;
        while more && prepared.len() < size {
            match self.source.poll_next(context) {
                Poll::Ready(Some(args)) => {
                    prepared.push(self.pool.prepare(self.task, &args));
                    more = self.source.let_go(args);
                }
                Poll::Ready(None) | Poll::Pending => more = false,
            }
        }
        for future in self.pool.accept_each(T::NAME, prepared) {
            self.window.push(Piece::One(future));
        }
        more
    }

    /// Submits so many items as one task, as far as they can be. Says whether the input has more for now.
    fn fill_together(&mut self, context: &mut Context<'_>, size: usize) -> bool {
        let packer = self.pool.packer(self.task);
        let until = self.chunks.patience().map(|patience| Instant::now() + patience);
        let looks = if self.chunks.are_single() { 1 } else { LOOKS as u32 };
        let mut bundle = Bundle::default();
        let mut left = size;
        // Not under the guard: what it holds is not dropped while something of the user's unwinds.
        let mut item = None;
        while left > 0 {
            let mut at = At::Input;
            let stream = &mut self.source.stream;
            let packed = catch_unwind(AssertUnwindSafe(|| {
                while left > 0 && bundle.bytes() < CHUNK_BYTES {
                    at = At::Input;
                    let args = match stream.as_mut().poll_next(context) {
                        Poll::Ready(Some(args)) => args,
                        Poll::Ready(None) => return Packed::All { ended: true },
                        Poll::Pending => return Packed::All { ended: false },
                    };
                    left -= 1;
                    at = At::Encoding;
                    if !packer.add(item.insert(args), &mut bundle) {
                        return Packed::NotThis;
                    }
                    at = At::Drop;
                    item = None;
                    if until
                        .is_some_and(|until| bundle.calls().is_multiple_of(looks) && until <= Instant::now())
                    {
                        return Packed::All { ended: false };
                    }
                }
                Packed::Enough
            }));
            let packed = packed.unwrap_or_else(|panic| match at {
                At::Input | At::Drop => {
                    self.source.fail(panic);
                    Packed::All { ended: true }
                }
                At::Encoding => {
                    // It is told when the same happens to the call alone. Its own end is the user's code as well.
                    std::mem::forget(panic);
                    bundle.forget_begun();
                    Packed::NotThis
                }
            });
            self.send(std::mem::take(&mut bundle));
            match packed {
                Packed::Enough => {}
                Packed::All { ended } => {
                    self.source.ended |= ended;
                    return false;
                }
                Packed::NotThis => {
                    // Alone it goes all the same, or says why not.
                    if let Some(args) = item.take()
                        && !self.fill_alone(args)
                    {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// The same of items that are numbers: of the user's code only the input runs, so they are put together many at a time.
    fn fill_with_numbers(&mut self, context: &mut Context<'_>, size: usize) -> bool {
        let packer = self.pool.packer(self.task);
        let until = self.chunks.patience().map(|patience| Instant::now() + patience);
        let looks = if self.chunks.are_single() { 1 } else { LOOKS };
        let empty = |left: usize| {
            let bytes = left.saturating_mul(size_of::<T::Args<'a>>()).saturating_add(records::OVERHEAD);
            Bundle::with_capacity(bytes.min(CHUNK_BYTES + looks * size_of::<T::Args<'a>>()))
        };
        let mut bundle = empty(size);
        let mut numbers = Vec::with_capacity(looks);
        let mut left = size;
        while left > 0 {
            let room = packer.room_for_numbers::<T::Args<'a>>(&bundle);
            if room == 0 && bundle.calls() == 0 {
                return self.fill_each(context, left);
            }
            let most = left.min(looks).min(room);
            let stream = &mut self.source.stream;
            let polled = catch_unwind(AssertUnwindSafe(|| {
                while numbers.len() < most {
                    match stream.as_mut().poll_next(context) {
                        Poll::Ready(Some(number)) => numbers.push(number),
                        Poll::Ready(None) => return Some(true),
                        Poll::Pending => return Some(false),
                    }
                }
                None
            }));
            packer.add_numbers(&numbers, &mut bundle);
            left -= numbers.len();
            numbers.clear();
            let ended = match polled {
                Ok(None) if until.is_some_and(|until| until <= Instant::now()) => Some(false),
                Ok(None) => None,
                Ok(ended) => ended,
                Err(panic) => {
                    self.source.fail(panic);
                    Some(true)
                }
            };
            if ended.is_some() || left == 0 || most == room || bundle.bytes() >= CHUNK_BYTES {
                let next = if ended.is_some() || left == 0 { Bundle::default() } else { empty(left) };
                self.send(std::mem::replace(&mut bundle, next));
            }
            if let Some(ended) = ended {
                self.source.ended |= ended;
                return false;
            }
        }
        true
    }

    /// Submits one item as a task of its own. Says whether the input has more for now.
    fn fill_alone(&mut self, args: T::Args<'a>) -> bool {
        let alone = vec![self.pool.prepare(self.task, &args)];
        for future in self.pool.accept_each(T::NAME, alone) {
            self.window.push(Piece::One(future));
        }
        self.source.let_go(args)
    }

    fn send(&mut self, bundle: Bundle) {
        let calls = bundle.calls();
        if calls == 0 {
            return;
        }
        match self.pool.accept_calls(self.task, bundle) {
            Ok(calling) => {
                let calls = Calls::new(calling, self.window.is_unordered());
                self.window.push(Piece::Calls(calls));
            }
            Err(reason) => {
                for _ in 0..calls {
                    let error = TaskError::not_run(T::NAME, reason.clone().into());
                    self.window.push(Piece::One(TaskFuture::refused(error)));
                }
            }
        }
    }
}

impl<S: Stream> Source<S> {
    pub(super) fn new(stream: S) -> Source<S> {
        Source { stream: Box::pin(stream), ended: false, panic: None }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let next = catch_unwind(AssertUnwindSafe(|| self.stream.as_mut().poll_next(context)));
        match next {
            Ok(Poll::Ready(None)) => self.ended = true,
            Ok(next) => return next,
            Err(panic) => self.fail(panic),
        }
        Poll::Ready(None)
    }

    /// Drops an item that has been encoded. A panic in its `Drop` is one of the input: says whether there was none.
    fn let_go(&mut self, item: S::Item) -> bool {
        catch_unwind(AssertUnwindSafe(|| drop(item))).map_err(|panic| self.fail(panic)).is_ok()
    }

    fn fail(&mut self, panic: Box<dyn Any + Send>) {
        self.ended = true;
        self.panic = Some(panic);
    }
}
