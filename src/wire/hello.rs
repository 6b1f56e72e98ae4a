//! What a worker is told before it exists: the message waits in its socket when it starts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::faults::Rules;
use crate::sys::fd::Inherited;
use crate::sys::limits::Bounds;

/// The environment variable by which a process suspects that it is a worker; see [`mark`]. It is removed before
/// any other code of the program runs.
pub(crate) const MARKER: &str = "PROCPOOL_WORKER";

/// Bytes of a hello on the wire, at most. The kernel hands out no more than the first buffer of a message that has
/// descriptors at a look, and that holds some 48 KiB.
pub(crate) const HELLO_MAX: usize = 32 << 10;

/// Pools may be nested in tasks so deep.
pub(crate) const MAX_DEPTH: u32 = 10;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Equal to what the marker says, so that a stranger's socket is not taken for ours.
    pub(crate) nonce: [u8; 16],
    /// The worker's place in its pool.
    pub(crate) index: usize,
    /// How many pools this worker is nested in.
    pub(crate) depth: u32,
    /// The largest body of a frame.
    pub(crate) limit: u64,
    /// It is no worker: it makes copies of itself that are.
    pub(crate) template: bool,
    /// It is a process of its own and no worker of a pool: it runs one task and ends.
    pub(crate) alone: Option<Alone>,
    /// An `Init` frame follows, to be run before the worker is ready.
    pub(crate) initializer: bool,
    /// Above so many bytes of resident memory it asks to be replaced; 0 is no bound.
    pub(crate) max_rss: u64,
    /// How long it looks for the next task before it sleeps, if that is set.
    pub(crate) spin: Option<Duration>,
    /// What it puts itself under before anything else runs in it.
    pub(crate) bounds: Bounds,
    /// The faults that are to strike it.
    pub(crate) faults: Rules,
    /// Descriptors that would leak into the worker.
    pub(crate) inherited: Vec<Inherited>,
    /// What the worker may still do, before it runs anything of the program.
    #[cfg(feature = "sandbox")]
    pub(crate) sandbox: Option<Confinement>,
}

impl Hello {
    /// Whether the worker ends with its parent.
    pub(crate) fn is_tied(&self) -> bool {
        self.alone.as_ref().is_none_or(|alone| alone.daemon)
    }
}

/// What a process of its own knows of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Alone {
    pub(crate) name: String,
    /// Its number among its parent's children, after its parent's own path.
    pub(crate) path: String,
    /// The build that numbers its task: its task is in its socket already, and it runs that of the same build only.
    pub(crate) fingerprint: u64,
    /// It ends with its parent.
    pub(crate) daemon: bool,
}

/// The sandbox of a worker.
#[cfg(feature = "sandbox")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confinement {
    pub(crate) policy: crate::sys::sandbox::Policy,
    /// It is there to tell what can be enforced, and ends then.
    pub(crate) probe: bool,
}

/// Why a worker cannot be as it was asked to be: what it says in `StartRefused`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refused {
    Limits(String),
    Sandbox(String),
    /// The template cannot be copied.
    Fork(String),
}

/// What the marker of a worker says: the nonce in hexadecimal digits, and who starts it.
pub(crate) fn mark(nonce: &[u8; 16], parent: u32) -> String {
    let hex: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}-{parent}")
}

/// Who started the process that has this marker, if it is one.
pub(crate) fn marked_by(marker: &str) -> Option<u32> {
    marker.split_once('-')?.1.parse().ok()
}
