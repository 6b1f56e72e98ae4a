//! What the caller gets for what a worker said, or for its end.

use crate::error::{CodecSide, Panic, Ran, StartError, TaskError, TaskErrorKind, What};
use crate::task::{Payload, guarded};
use crate::transport::Message;
use crate::wire::attach::{self, Handles};
use crate::wire::codec;
use crate::wire::frame::Kind;

use super::encoded::Encoded;
use super::job::{Job, Reply};
use super::later::Later;
use super::machine::Verdict;
use super::slot::Outcome;

/// What the last attempt came to, with those before it if it failed as well.
pub(super) fn outcome(
    job: &Job,
    last: Verdict<Reply>,
    earlier: Vec<Verdict<Reply>>,
    limit: u64,
    later: &mut Later,
) -> Outcome {
    let task = job.slot.task;
    match attempted(job, last, limit, later) {
        Outcome::Failed(error) if !earlier.is_empty() => {
            let earlier = earlier.into_iter().map(|verdict| match attempt(task, verdict, limit) {
                Outcome::Failed(error) => error,
                Outcome::Value { .. } => TaskError::new(task, Ran::Yes, TaskErrorKind::Failed),
            });
            Outcome::Failed(error.after(earlier.collect()))
        }
        outcome => outcome,
    }
}

/// What is wrong with a worker whose results are too few or too many.
pub(crate) const UNTOLD: &str = "results that are not those of the calls it was given";

/// The value of a reply with these handles. Decoding it is the user's code.
pub(crate) fn decoded<T>(
    task: &'static str,
    handles: Handles,
    decode: impl FnOnce() -> Result<T, String>,
) -> Result<T, TaskError> {
    match guarded(|| attach::offer(handles, decode)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(message)) => Err(undecodable(task, message)),
        Err(payload) => Err(undecodable_by_panic(task, payload)),
    }
}

/// There is a result, but no value of it.
pub(crate) fn undecodable(task: &'static str, message: String) -> TaskError {
    let kind = TaskErrorKind::Codec { what: What::Result, side: CodecSide::Decode, message };
    TaskError::new(task, Ran::Yes, kind)
}

/// The same, because decoding it panicked.
pub(crate) fn undecodable_by_panic(task: &'static str, payload: Payload) -> TaskError {
    undecodable(task, payload.while_doing("decoding the result"))
}

/// The kind of reply that a record of results is marked as.
pub(crate) fn kind_of(mark: u32) -> Option<Kind> {
    u8::try_from(mark).ok().and_then(Kind::of_tag)
}

/// Why there is no value of one of several calls.
pub(crate) fn failed_call(task: &'static str, kind: Option<Kind>, bytes: &[u8], limit: u64) -> TaskError {
    use Kind::{ArgsRefused, Panicked, ResultRefused, ResultTooLarge};
    let Some(kind @ (Panicked | ArgsRefused | ResultRefused | ResultTooLarge)) = kind else {
        return untold(task);
    };
    let nanos = if kind == Kind::ResultTooLarge { codec::decode(bytes).unwrap_or_default() } else { 0 };
    let reply =
        Reply { kind, nanos, whole: false, first: 0, body: bytes.to_vec(), handles: Handles::default() };
    match attempt(task, Verdict::Replied(reply), limit) {
        Outcome::Failed(error) => error,
        Outcome::Value { .. } => untold(task),
    }
}

pub(crate) fn untold(task: &'static str) -> TaskError {
    TaskError::new(task, Ran::Maybe, TaskErrorKind::Protocol { message: UNTOLD.to_owned() })
}

/// What one attempt came to.
fn attempted(job: &Job, verdict: Verdict<Reply>, limit: u64, later: &mut Later) -> Outcome {
    let task = job.slot.task;
    match (&job.chunk, verdict) {
        (Some(chunk), Verdict::Replied(Reply { kind: Kind::Done, nanos, first, body, handles, .. })) => {
            match chunk.finish(first, Message { bytes: body, handles }, later) {
                Ok(()) => Outcome::Value { encoded: Encoded::default(), nanos },
                Err(()) => Outcome::Failed(untold(task)),
            }
        }
        (_, verdict) => attempt(task, verdict, limit),
    }
}

/// The same of one call.
pub(crate) fn attempt(task: &'static str, verdict: Verdict<Reply>, limit: u64) -> Outcome {
    let failed = |ran, kind| Outcome::Failed(TaskError::new(task, ran, kind));
    let Reply { kind, nanos, whole, mut body, handles, .. } = match verdict {
        Verdict::Replied(reply) => reply,
        Verdict::Failed(ran, kind) => return failed(ran, kind),
    };
    let codec = |what, side, ran| match codec::decode::<String>(&body) {
        Ok(message) => failed(ran, TaskErrorKind::Codec { what, side, message }),
        Err(message) => failed(ran, TaskErrorKind::Protocol { message }),
    };
    match kind {
        Kind::Done if whole && handles.is_empty() => Outcome::Value { encoded: Encoded::whole(body), nanos },
        Kind::Done | Kind::Failed => Outcome::Value { encoded: Encoded::take(&mut body, handles), nanos },
        Kind::Panicked => match codec::decode::<Panic>(&body) {
            Ok(panic) => failed(Ran::Yes, TaskErrorKind::Panicked(panic)),
            Err(message) => failed(Ran::Maybe, TaskErrorKind::Protocol { message }),
        },
        Kind::ArgsRefused => codec(What::Args, CodecSide::Decode, Ran::No),
        Kind::ResultRefused => codec(What::Result, CodecSide::Encode, Ran::Yes),
        _ => failed(Ran::Yes, TaskErrorKind::TooLarge { what: What::Result, size: nanos, limit }),
    }
}

/// Why an initializer's reply means that the worker cannot work.
pub(crate) fn refused_start(reply: &Reply) -> StartError {
    let message = match reply.kind {
        Kind::Panicked => codec::decode::<Panic>(&reply.body).map(|panic| format!("it panicked: {panic}")),
        Kind::ArgsRefused => codec::decode(&reply.body).map(|text: String| format!("its arguments: {text}")),
        Kind::ResultRefused => codec::decode(&reply.body).map(|text: String| format!("its result: {text}")),
        _ => Ok("its result is too large".to_owned()),
    };
    StartError::Initializer { message: message.unwrap_or_else(|garbled| garbled) }
}
