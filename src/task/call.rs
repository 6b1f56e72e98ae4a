//! One call of a task: bytes in, the user's function, bytes out, and nothing the user's code does gets past it.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use super::Task;
use crate::sys::plain;
use crate::sys::source::LEAD_MAX;
use crate::transport::Message;
use crate::wire::attach::{self, Handles};
use crate::wire::codec::{self, EncodeError, Source};

/// The arguments of one call, on their way to the function. Passed to the code that `#[task]` writes.
#[doc(hidden)]
pub struct Call<'a> {
    args: &'a Source<'a>,
    /// The handles that the arguments hold.
    handles: Handles,
    /// Where the encoded result goes.
    output: &'a mut Message,
    /// The largest result that may be sent, in bytes.
    limit: usize,
    /// The output may be the result's own memory.
    may_be_whole: bool,
    stages: &'a dyn Stages,
}

/// Is told how far a call has come.
pub(crate) trait Stages {
    /// The arguments are decoded, the body starts.
    fn starting(&self);
    /// The body has ended, by returning or by panicking.
    fn ended(&self);
}

/// How a call ended. The result itself, if there is one, is in the output of the [`Call`].
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

impl<'a> Call<'a> {
    pub(crate) fn new(
        args: &'a Source<'a>,
        handles: Handles,
        output: &'a mut Message,
        limit: usize,
        stages: &'a dyn Stages,
    ) -> Call<'a> {
        Call { args, handles, output, limit, may_be_whole: false, stages }
    }

    /// The result need not be copied to be sent.
    pub(crate) fn may_be_whole(self) -> Call<'a> {
        Call { may_be_whole: true, ..self }
    }

    /// [`Call::run`] of the task `T`, whose own bounds say that its result can be encoded. So a compiler that
    /// finds it cannot be, says so once.
    #[doc(hidden)]
    pub fn run_as<T: Task, A: Deserialize<'a>>(self, body: impl FnOnce(A) -> T::Output) -> Reply {
        self.run(body)
    }

    /// Decodes the arguments, calls `body`, encodes what it returns. Each of the three may panic.
    #[doc(hidden)]
    pub fn run<A, R>(self, body: impl FnOnce(A) -> R) -> Reply
    where
        A: Deserialize<'a>,
        R: Serialize,
    {
        let decode = || codec::decode_borrowed::<A>(self.args);
        let args = match guarded(|| attach::offer(self.handles, decode)) {
            Ok(Ok(args)) => args,
            Ok(Err(message)) => return Reply::ArgsDecode(message),
            Err(payload) => return Reply::ArgsDecode(payload.while_doing("decoding the arguments")),
        };
        self.stages.starting();
        let result = guarded(|| body(args));
        self.stages.ended();
        let result = match result {
            Ok(result) => result,
            Err(payload) => return Reply::Panicked(payload),
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
        let Message { bytes, handles } = self.output;
        let encoded = guarded(move || match codec::encode_attached(&result, bytes, self.limit) {
            Err(EncodeError::TooLarge) => Err(Reply::ResultTooLarge(codec::size(&result))),
            Err(EncodeError::Refused(message)) => Err(Reply::ResultEncode(message)),
            Ok(held) => {
                *handles = held;
                Ok(())
            }
        });
        match encoded {
            Ok(Ok(())) => Reply::Ok,
            Ok(Err(reply)) => reply,
            Err(payload) => Reply::ResultEncode(payload.while_doing("encoding the result")),
        }
    }
}

impl fmt::Debug for Call<'_> {
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
