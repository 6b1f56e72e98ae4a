//! What a worker gives up for good, before any code of the program runs and before a second thread exists: a
//! thread that is there earlier would keep what the others lose.
//!
//! Order matters. Without new privileges the kernel lets anybody confine itself; landlock needs files to be
//! opened; the system calls come last, since they take away what the steps before need.

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
compile_error!("the feature `sandbox` knows the system calls of x86-64, aarch64 and riscv64 only");

mod arguments;
mod calls;
mod files;
mod filter;

use std::ffi::OsString;
use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

use crate::error::{Gap, Protection};

/// What a worker may still do. Everything else is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// Whether a worker that cannot be confined to this must not start.
    pub(crate) required: bool,
    pub(crate) read: Vec<OsString>,
    pub(crate) write: Vec<OsString>,
    pub(crate) execute: Vec<OsString>,
    pub(crate) network: bool,
}

/// What has been enforced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Enforced {
    /// The version of landlock that is at work; 0 for none.
    pub(crate) landlock: u32,
    pub(crate) gaps: Vec<Gap>,
}

/// Confines the calling thread, and with it all that it will ever start. Does as much as the kernel can, and says
/// what it could not; an error is a path of the policy that cannot be opened.
pub(crate) fn enforce(policy: &Policy) -> Result<Enforced, String> {
    let mut gaps = Vec::new();
    let mut note = |protections: &[Protection], message: String| {
        gaps.extend(protections.iter().map(|&protection| Gap { protection, message: message.clone() }));
    };
    match threads() {
        Ok(1) => {}
        Ok(count) => note(
            &Protection::ALL,
            format!("{count} threads run already, and those that came first stay outside of the sandbox"),
        ),
        Err(error) => note(&Protection::ALL, format!("cannot count the threads of this process: {error}")),
    }
    if let Err(error) = drop_privileges() {
        note(&[Protection::Privileges], error.to_string());
    }

    let landlock = match files::restrict(policy) {
        Ok(version) => version,
        Err(files::Failure::Path(message)) => return Err(message),
        Err(files::Failure::System(message)) => {
            note(&[Protection::Files], message);
            0
        }
    };
    if (1..files::TRUNCATION).contains(&landlock) {
        let message = format!(
            "landlock is of version {landlock}: it lets files be truncated that must not be written (needed: \
             version {}, Linux 6.2)",
            files::TRUNCATION
        );
        note(&[Protection::Files], message);
    }
    let signals_are_scoped = landlock >= files::SIGNALS;
    if !policy.execute.is_empty() && !signals_are_scoped {
        let message = format!(
            "without landlock of version {} (Linux 6.12), workers that may start programs may also send signals \
             to any process of this user",
            files::SIGNALS
        );
        note(&[Protection::Processes], message);
    }
    if !policy.execute.is_empty() && landlock == 0 {
        note(&[Protection::Programs], "without landlock any program can be started".to_owned());
    }

    let allowed = arguments::Allowed {
        programs: !policy.execute.is_empty(),
        network: policy.network,
        signals_are_scoped,
        own: std::process::id(),
    };
    if let Err(message) = filter::install(&allowed) {
        let all = Protection::ALL.into_iter().filter(|&protection| protection != Protection::Privileges);
        note(&all.collect::<Vec<_>>(), message);
    }
    Ok(Enforced { landlock, gaps })
}

fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// No program that is started from now on has more rights than this process, and this process has no more than
/// any of its user.
fn drop_privileges() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    // Only a process that has the right to may shrink this set; for the others, what `exec` could give back from
    // it stays out of reach because of the line above.
    for bit in 0..u64::BITS {
        let _ =
            rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << bit));
    }
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets)?;
    // Ambient capabilities are a part of the permitted ones and went with them.
    Ok(())
}
