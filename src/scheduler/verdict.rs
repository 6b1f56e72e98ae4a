//! What the caller gets for what a worker said, or for its end.

use crate::error::{CodecSide, Panic, Ran, StartError, TaskError, TaskErrorKind, What};
use crate::wire::codec;
use crate::wire::frame::Kind;

use super::job::{Job, Reply};
use super::machine::Verdict;
use super::slot::Outcome;

/// What the last attempt came to, with those before it if it failed as well.
pub(crate) fn outcome(job: &Job, last: Verdict<Reply>, earlier: Vec<Verdict<Reply>>, limit: u64) -> Outcome {
    let task = job.slot.task;
    match attempt(task, last, limit) {
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

/// What one attempt came to.
pub(crate) fn attempt(task: &'static str, verdict: Verdict<Reply>, limit: u64) -> Outcome {
    let failed = |ran, kind| Outcome::Failed(TaskError::new(task, ran, kind));
    let Reply { kind, nanos, body, handles } = match verdict {
        Verdict::Replied(reply) => reply,
        Verdict::Failed(ran, kind) => return failed(ran, kind),
    };
    let codec = |what, side, ran| match codec::decode::<String>(&body) {
        Ok(message) => failed(ran, TaskErrorKind::Codec { what, side, message }),
        Err(message) => failed(ran, TaskErrorKind::Protocol { message }),
    };
    match kind {
        Kind::Done | Kind::Failed => Outcome::Value { bytes: body, handles, nanos },
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
