//! Faults on demand: named points in the code at which a process dies, stalls, fails or cuts a frame short, if a
//! script says so. Without the feature `faults` the points are nothing at all.

#[cfg(not(feature = "faults"))]
mod absent;
#[cfg(feature = "faults")]
mod present;
#[cfg(feature = "faults")]
mod script;

#[cfg(not(feature = "faults"))]
pub(crate) use absent::{Rules, Script, bytes, hit, keep_channel, task};
#[cfg(feature = "faults")]
pub(crate) use present::{arm, bytes, hit, keep_channel, task};
#[cfg(feature = "faults")]
pub use script::{Fault, Faults};
#[cfg(feature = "faults")]
pub(crate) use script::{Rules, Script};

/// Where a fault may strike. In a worker, in the order of its life; then in the parent.
#[doc(hidden)]
#[cfg_attr(feature = "faults", derive(Debug, serde::Serialize, serde::Deserialize))]
#[derive(Clone, Copy, PartialEq, Eq)]
#[allow(unreachable_pub, reason = "named by the tests of the feature")]
pub enum Point {
    /// Before anything else that a worker does.
    BootStart,
    /// Its channel is in place.
    BootChannel,
    /// The other initialisers of the program have run.
    BootPrepared,
    /// Before its initializer.
    BootInitializer,
    /// Before it says that it is ready.
    BootReady,
    /// It waits for the next frame.
    Idle,
    /// So many bytes of the next frame have been read.
    RequestBytes,
    /// A task has arrived and has not been taken up.
    Request,
    /// It has been taken up, its arguments are decoded, its body has not started.
    Claimed,
    /// The shared page says that the body has started.
    BodyBefore,
    /// The body has ended, and the shared page does not say so.
    BodyAfter,
    /// The shared page says that the body has ended; the result is not encoded.
    Finished,
    /// The reply has been encoded.
    Encoded,
    /// So many bytes of the reply have been sent.
    ReplyBytes,
    /// The reply has been sent.
    Replied,
    /// It was asked to end.
    Exit,
    /// The parent is about to make a process.
    SpawnBefore,
    /// It has made one, and does not watch it yet.
    SpawnAfter,
    /// It is about to send frames.
    Send,
    /// It is about to read frames.
    Receive,
    /// A process has ended, and has not been reaped.
    Reap,
    /// An outcome is about to be told.
    Settle,
}
