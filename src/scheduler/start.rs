//! What a worker says before it is ready.

use crate::error::{HandshakeError, StartError};
use crate::launch;
use crate::task::Registry;
use crate::wire::frame::{Frame, Header, Kind};

use super::engine::Engine;
use super::job::{Initializer, Reply};
use super::verdict::refused_start;

/// How its start goes.
pub(super) enum Start {
    Up,
    Failed(StartError),
    OutOfTurn(Kind),
}

impl Engine {
    pub(super) fn judge_start(&self, frame: Frame) -> Start {
        let Frame { header: Header { kind, seq, nanos, .. }, body, handles } = frame;
        match kind {
            Kind::Ready if seq != Registry::get().fingerprint() => {
                Start::Failed(StartError::Handshake(HandshakeError::Version))
            }
            Kind::Ready => {
                let judge = |initializer: &Initializer| (initializer.judge)(&body, handles);
                match self.initializer.as_ref().map_or(Ok(()), judge) {
                    Ok(()) => Start::Up,
                    Err(message) => Start::Failed(StartError::Initializer { message }),
                }
            }
            Kind::StartRefused => Start::Failed(launch::start_refused(&body)),
            Kind::Panicked | Kind::ArgsRefused | Kind::ResultRefused | Kind::ResultTooLarge => {
                Start::Failed(refused_start(&Reply { kind, nanos, whole: false, first: 0, body, handles }))
            }
            _ => Start::OutOfTurn(kind),
        }
    }
}
