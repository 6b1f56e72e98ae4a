//! Workers that are threads of this program, for debugging.

use std::ffi::OsStr;

use crate::error::StartError;
use crate::limits::Limits;

use super::{Builder, WorkerStdio};

/// The environment variable that makes pools inline that do not say what they are.
const SWITCH: &str = "PROCPOOL_INLINE";

impl Builder {
    /// Runs the tasks on threads of this program, for debugging: breakpoints in tasks are hit, a profiler sees them, and
    /// no process is started. The default is processes, unless the environment variable `PROCPOOL_INLINE` is 1. What
    /// the program says here goes before the variable.
    ///
    /// Everything else stays: arguments and results are encoded, panics are caught, tasks wait in the same queue, retries,
    /// deadlines and callbacks work. What needs processes does not:
    ///
    /// * A task that crashes, exits or overflows its stack takes the program with it.
    /// * A task cannot be killed. At its timeout, or at a [`kill`](crate::TaskFuture::kill), its outcome is told, its
    ///   [`context`](crate::context) says that it is cancelled, and its thread is given up
    ///   ([`ExitCause::Abandoned`](crate::ExitCause::Abandoned)); another takes its place. If the task does not look, it
    ///   goes on until it ends, beside its own next attempt if it is retried, and after the end of the pool; so long its
    ///   thread stays. There is no SIGTERM: that step of an [`Escalation`](crate::Escalation) is only waited for.
    /// * Workers share the memory, environment and directory of the program: [`env`](Builder::env),
    ///   [`current_dir`](Builder::current_dir) and [`max_worker_rss`](Builder::max_worker_rss) do nothing, and an
    ///   initializer runs once in every thread. [`worker_pids`](crate::ProcessPoolExecutor::worker_pids) is empty, and
    ///   the process of a [`WorkerEvent`](crate::WorkerEvent) is this program.
    /// * With [`spin`](Builder::spin), it is threads of this program that look.
    /// * To tell where a task panicked, the program's panic hook is put behind one that remembers it.
    /// * [`stdout`](Builder::stdout), [`stderr`](Builder::stderr), [`limits`](Builder::limits), a sandbox and faults are errors of [`build`](Builder::build).
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn process() -> u32 {
    ///     std::process::id()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().inline(true).build()?;
    /// assert_eq!(pool.submit(process, ()).result()?, std::process::id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn inline(mut self, inline: bool) -> Builder {
        self.inline = Some(inline);
        self
    }

    /// Whether the pool is to be inline, and can be.
    pub(super) fn is_inline(&self) -> Result<bool, StartError> {
        let inline = match self.inline {
            Some(inline) => inline,
            None => switched_on(std::env::var_os(SWITCH).as_deref())?,
        };
        if !inline {
            return Ok(false);
        }
        let needs_a_process = |what| {
            Err(StartError::invalid(format!(
                "{what} cannot be kept by an inline pool, whose workers are threads of this program: leave out the \
                 one or the other"
            )))
        };
        if self.stdio != [WorkerStdio::Inherit; 2] {
            return needs_a_process("output of its own");
        }
        if self.limits != Limits::new() {
            return needs_a_process("limits");
        }
        #[cfg(feature = "sandbox")]
        if self.sandbox.is_some() {
            return needs_a_process("a sandbox");
        }
        #[cfg(feature = "faults")]
        if !self.faults.is_empty() {
            return needs_a_process("a script of faults");
        }
        Ok(true)
    }
}

fn switched_on(value: Option<&OsStr>) -> Result<bool, StartError> {
    match value.map(OsStr::as_encoded_bytes) {
        None | Some(b"" | b"0") => Ok(false),
        Some(b"1") => Ok(true),
        Some(other) => Err(StartError::invalid(format!(
            "{SWITCH} is {:?}: it must be 1 or 0",
            String::from_utf8_lossy(other)
        ))),
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_switch_is_on_off_or_a_mistake() {
        let told =
            |value: Option<&str>| switched_on(value.map(OsStr::new)).map_err(|error| error.to_string());
        assert_eq!([None, Some(""), Some("0"), Some("1")].map(told), [false, false, false, true].map(Ok));
        assert_eq!(told(Some("yes")), Err("PROCPOOL_INLINE is \"yes\": it must be 1 or 0".to_owned()));
    }
}
