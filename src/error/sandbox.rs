//! What a sandbox protects, and where it does not.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kind of thing that a sandboxed worker cannot reach.
///
/// # Examples
///
/// ```
/// use procpool::Protection;
///
/// assert_eq!(Protection::Files.to_string(), "files");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Protection {
    /// Files and directories.
    Files,
    /// The network, and local sockets that have a name.
    Network,
    /// Other processes: their memory, and signals to them.
    Processes,
    /// Starting programs.
    Programs,
    /// The rest of the kernel: system calls that a task has no use for.
    Kernel,
    /// Privileges: capabilities, and programs with more rights than this one.
    Privileges,
}

impl Protection {
    pub(crate) const ALL: [Protection; 6] = [
        Protection::Files,
        Protection::Network,
        Protection::Processes,
        Protection::Programs,
        Protection::Kernel,
        Protection::Privileges,
    ];
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protection::Files => "files",
            Protection::Network => "network",
            Protection::Processes => "processes",
            Protection::Programs => "programs",
            Protection::Kernel => "kernel",
            Protection::Privileges => "privileges",
        })
    }
}

/// A protection that this system cannot give, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Gap {
    pub(crate) protection: Protection,
    pub(crate) message: String,
}
