//! A worker that is there to tell what a sandbox can enforce, and ends then.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::error::{HandshakeError, StartError};
use crate::sys::process;
use crate::sys::sandbox::Enforced;
use crate::transport::{Inbound, Received};
use crate::wire::codec;
use crate::wire::frame::{Frame, Kind};

use super::{Launched, Worker, launch, start_refused};

/// Bytes of an answer, at most. There is one message per kind of protection.
const ANSWER_MAX: u64 = 64 << 10;

/// Starts a worker that confines itself as its sandbox asks and reports. It runs nothing of the program, and is gone
/// when this returns.
pub(crate) fn probe(worker: &Worker, limit: Duration) -> Result<Enforced, StartError> {
    let Launched { process: probe, socket, board: _board } = launch(worker, 0)?;
    let ended = process::ends_by(probe.ended(), Instant::now() + limit);
    if !matches!(ended, Ok(true)) {
        probe.kill();
        let _ = process::wait_for_end(probe.ended());
    }
    // All that it said is in the socket now.
    let answer = Inbound::new(ANSWER_MAX).next(socket.as_fd(), false);
    let exit = probe.reap();
    let handshake = |error| Err(StartError::Handshake(error));
    match answer {
        Ok(Received::Frame(Frame { header, body, .. })) if header.kind == Kind::Ready => {
            codec::decode(&body).or_else(|message| handshake(HandshakeError::Protocol { message }))
        }
        Ok(Received::Frame(Frame { header, body, .. })) if header.kind == Kind::StartRefused => {
            Err(start_refused(&body))
        }
        Ok(Received::Nothing | Received::End) => match ended {
            Ok(true) => handshake(HandshakeError::Died { cause: exit.cause }),
            Ok(false) => handshake(HandshakeError::TimedOut { limit }),
            Err(error) => Err(StartError::spawn("watch a worker process", error)),
        },
        Ok(Received::Frame(Frame { header, .. })) => {
            let message = format!("a frame {:?} out of turn", header.kind);
            handshake(HandshakeError::Protocol { message })
        }
        Ok(Received::Malformed { malformed, .. }) => {
            handshake(HandshakeError::Protocol { message: malformed.to_string() })
        }
        Err(error) => Err(StartError::spawn("hear a worker process", error)),
    }
}
