//! One call of a task: bytes in, the user's function, bytes out, and nothing the user's code does gets past it.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use super::{Task, traces};
use crate::sys::plain;
use crate::sys::source::LEAD_MAX;
use crate::transport::{Message, Run};
use crate::wire::attach::{self, Handles};
use crate::wire::codec::{self, EncodeError, Source};

/// The arguments of one call, or of several calls of one function, on their way to that. Passed to the code that
/// `#[task]` writes.
#[doc(hidden)]
pub struct Call<'c, 'a> {
    args: &'a Source<'a>,
    calls: Calls<'c, 'a>,
}

enum Calls<'c, 'a> {
    One(One<'c>),
    Several(&'c mut (dyn Several<'a> + 'c)),
}

/// One call, by itself.
struct One<'c> {
    /// The handles that the arguments hold.
    handles: Handles,
    /// Where the encoded result goes.
    output: &'c mut Message,
    /// The largest result that may be sent, in bytes.
    limit: usize,
    /// The output may be the result's own memory.
    may_be_whole: bool,
    stages: &'c dyn Stages,
}

/// Is told how far a call has come.
pub(crate) trait Stages {
    /// The arguments are decoded, the body starts.
    fn starting(&self);
    /// The body has ended, by returning or by panicking.
    fn ended(&self);
}

/// Calls of one function, one after the other.
pub(crate) trait Several<'a> {
    /// Takes up the next call, and gives its arguments. `None` if there is no other for now. With `starts`, the body
    /// starts: there is nothing to decode.
    fn next(&mut self, starts: bool) -> Option<&'a [u8]>;
    /// The arguments are decoded, the body starts.
    fn starting(&mut self);
    /// The body has ended, by returning or by panicking.
    fn ended(&mut self);
    /// The largest result that may be sent, in bytes.
    fn limit(&self) -> usize;
    /// Where the encoded result goes.
    fn output(&mut self) -> &mut Message;
    /// The result has been encoded.
    fn returned(&mut self);
    /// The body has ended by returning this number, as it is in memory.
    fn returned_number(&mut self, bytes: &[u8]);
    /// The next calls, if nothing has to be done for each of them but to call: they are given numbers, here as they are in
    /// memory, and return numbers, each of so many bytes.
    fn numbers(&mut self, given: usize, returned: usize) -> Option<(Run<'_>, &'a [u8])>;
    /// Calls of these have been taken up and have returned these numbers; if one `panicked`, it was taken up after them.
    fn ran(&mut self, returned: &[u8], panicked: bool);
}

/// How a call ended, or of several calls the last one. The result itself, if there is one, is in the output of the
/// [`Call`].
#[doc(hidden)]
#[derive(Debug)]
pub enum Reply {
    Ok,
    /// The output is the memory of the result, a vector of bytes or a text.
    Whole,
    Panicked(Payload),
    ArgsDecode(String),
    ResultEncode(String),
    ResultTooLarge(u64),
}

/// What a panic threw: its text, if it was text.
#[doc(hidden)]
#[derive(Debug)]
pub struct Payload(pub Option<String>);

impl<'c, 'a> Call<'c, 'a> {
    pub(crate) fn new(
        args: &'a Source<'a>,
        handles: Handles,
        output: &'c mut Message,
        limit: usize,
        stages: &'c dyn Stages,
    ) -> Call<'c, 'a> {
        Call { args, calls: Calls::One(One { handles, output, limit, may_be_whole: false, stages }) }
    }

    /// The result need not be copied to be sent.
    pub(crate) fn may_be_whole(mut self) -> Call<'c, 'a> {
        if let Calls::One(one) = &mut self.calls {
            one.may_be_whole = true;
        }
        self
    }

    /// Calls until there is no other, or until one does not return a value: [`Reply::Ok`], or why not. The source is for
    /// the arguments of one after the other.
    pub(crate) fn several(args: &'a Source<'a>, calls: &'c mut (dyn Several<'a> + 'c)) -> Call<'c, 'a> {
        Call { args, calls: Calls::Several(calls) }
    }

    /// [`Call::run`] of the task `T`, whose own bounds say that its result can be encoded. So a compiler that
    /// finds it cannot be, says so once.
    #[doc(hidden)]
    pub fn run_as<T: Task, A: Deserialize<'a>>(self, body: impl Fn(A) -> T::Output) -> Reply {
        self.run(body)
    }

    /// Decodes the arguments, calls `body`, encodes what it returns. Each of the three may panic.
    #[doc(hidden)]
    pub fn run<A, R>(self, body: impl Fn(A) -> R) -> Reply
    where
        A: Deserialize<'a>,
        R: Serialize,
    {
        match self.calls {
            Calls::One(one) => one.run(self.args, body),
            Calls::Several(calls) => run_several(calls, self.args, body),
        }
    }
}

impl One<'_> {
    fn run<'a, A, R>(self, args: &'a Source<'a>, body: impl Fn(A) -> R) -> Reply
    where
        A: Deserialize<'a>,
        R: Serialize,
    {
        let decode = || codec::decode_borrowed::<A>(args);
        let args = match guarded(|| attach::offer(self.handles, decode)) {
            Ok(Ok(args)) => args,
            Ok(Err(message)) => return Reply::ArgsDecode(message),
            Err(payload) => return At::Decoding.panicked(payload),
        };
        self.stages.starting();
        let result = guarded(|| body(args));
        self.stages.ended();
        let result = match result {
            Ok(result) => result,
            Err(payload) => return At::Body.panicked(payload),
        };
        let fits = |len| (LARGE..self.limit.saturating_sub(LEAD_MAX)).contains(&len);
        let result = match plain::into_bytes(result, |len| self.may_be_whole && fits(len)) {
            Ok(bytes) => {
                self.output.bytes = bytes;
                return Reply::Whole;
            }
            Err(result) => result,
        };
        // Dropped inside the guard as well: the user's `Drop` is the user's code.
        let encoded = guarded(move || encode(&result, self.output, self.limit));
        encoded.unwrap_or_else(|payload| At::Encoding.panicked(payload))
    }
}

/// What of the user's runs.
#[derive(Clone, Copy)]
enum At {
    Decoding,
    Body,
    /// In one of many, of which each is nothing but its body.
    Run,
    Encoding,
}

impl At {
    fn panicked(self, payload: Payload) -> Reply {
        match self {
            At::Decoding => Reply::ArgsDecode(payload.while_doing("decoding the arguments")),
            At::Body | At::Run => Reply::Panicked(payload),
            At::Encoding => Reply::ResultEncode(payload.while_doing("encoding the result")),
        }
    }
}

/// One guard is for all of them.
fn run_several<'a, A, R>(calls: &mut dyn Several<'a>, source: &'a Source<'a>, body: impl Fn(A) -> R) -> Reply
where
    A: Deserialize<'a>,
    R: Serialize,
{
    let (at, limit) = (Cell::new(At::Decoding), calls.limit());
    let mut returned = Vec::new();
    let ended = guarded(|| {
        loop {
            if plain::is_number::<A>() && plain::is_number::<R>() {
                at.set(At::Run);
                call_numbers(calls, &body, &mut returned);
                calls.ran(plain::memory_of_numbers(&returned), false);
                returned.clear();
            }
            at.set(At::Decoding);
            let Some(args) = calls.next(plain::is_number::<A>()) else { break };
            let args = match plain::number_of(args) {
                Some(number) => number,
                None => {
                    source.refill(args);
                    match codec::decode_borrowed::<A>(source) {
                        Ok(args) => args,
                        Err(message) => return Reply::ArgsDecode(message),
                    }
                }
            };
            if !plain::is_number::<A>() {
                calls.starting();
            }
            at.set(At::Body);
            let result = body(args);
            if let Some(bytes) = plain::number_bytes(&result)
                && bytes.len() <= limit
            {
                calls.returned_number(bytes);
                continue;
            }
            calls.ended();
            at.set(At::Encoding);
            match encode(&result, calls.output(), limit) {
                Reply::Ok => drop(result),
                reply => return reply,
            }
            calls.returned();
        }
        Reply::Ok
    });
    ended.unwrap_or_else(|payload| {
        if let At::Run = at.get() {
            calls.ran(plain::memory_of_numbers(&returned), true);
        }
        if let At::Run | At::Body = at.get() {
            calls.ended();
        }
        at.get().panicked(payload)
    })
}

/// Calls while that is all that has to be done, until a call has left something behind that has to be looked after.
#[inline]
fn call_numbers<A, R>(calls: &mut dyn Several<'_>, body: impl Fn(A) -> R, returned: &mut Vec<R>) {
    let Some((mut run, args)) = calls.numbers(size_of::<A>(), size_of::<R>()) else { return };
    for number in plain::numbers_of(args).into_iter().flatten() {
        if !run.take() {
            return;
        }
        let result = body(number);
        run.leave(plain::number_bytes(&result).unwrap_or_default());
        returned.push(result);
        if traces::are_there() {
            return;
        }
    }
}

/// Appends a result to the output.
fn encode<R: Serialize>(result: &R, output: &mut Message, limit: usize) -> Reply {
    match codec::encode_attached(result, &mut output.bytes, limit) {
        Err(EncodeError::TooLarge) => Reply::ResultTooLarge(codec::size(result)),
        Err(EncodeError::Refused(message)) => Reply::ResultEncode(message),
        Ok(handles) => {
            output.handles = handles;
            Reply::Ok
        }
    }
}

impl fmt::Debug for Call<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("args", &self.args.left()).finish_non_exhaustive()
    }
}

impl Payload {
    fn new(payload: Box<dyn Any + Send>) -> Payload {
        let payload = match payload.downcast::<&'static str>() {
            Ok(text) => return Payload(Some((*text).to_owned())),
            Err(payload) => payload,
        };
        match payload.downcast::<String>() {
            Ok(text) => Payload(Some(*text)),
            Err(payload) => {
                // A foreign payload may panic in its `Drop`, outside of any guard: leak it instead.
                std::mem::forget(payload);
                Payload(None)
            }
        }
    }

    pub(crate) fn while_doing(self, what: &str) -> String {
        format!("panicked while {what}: {}", self.0.as_deref().unwrap_or("non-string payload"))
    }
}

/// Below this size, a copy into memory that is there costs less than memory of its own.
pub(crate) const LARGE: usize = 16 << 10;

/// Runs user code and turns a panic into its payload.
pub(crate) fn guarded<R>(run: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(run)).map_err(Payload::new)
}
