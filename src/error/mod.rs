//! What can go wrong, in three types by moment: [`StartError`] (there is no pool), [`SubmitError`] (the task was
//! refused), [`TaskError`] (the task was accepted and has no value). With channels, in two: [`SendError`] and
//! [`RecvError`]; with queues, [`PutError`], [`GetError`] and [`JoinError`].

mod channel;
mod exit;
mod queue;
mod running;
#[cfg(feature = "sandbox")]
mod sandbox;
mod start;
mod submit;
mod task;
mod wait;

pub use channel::{RecvError, SendError};
pub use exit::{ExitCause, LimitHit, Panic, Phase, WorkerExit};
pub use queue::{GetError, JoinError, PutError};
pub use running::StillRunning;
#[cfg(feature = "sandbox")]
pub(crate) use sandbox::Gap;
#[cfg(feature = "sandbox")]
pub use sandbox::Protection;
pub use start::{HandshakeError, StartError};
pub use submit::{Refusal, SubmitError};
pub use task::{CodecSide, Ran, TaskError, TaskErrorKind, What};
pub use wait::{CompletedTimeout, WaitTimeout};
