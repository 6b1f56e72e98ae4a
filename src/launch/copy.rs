//! A template that is a copy of this process, as it is now.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::StartError;
use crate::sys::fork::{self, Forked};
use crate::sys::oom::Seen;
use crate::sys::{fd, process, socket, threads};
use crate::transport::Board;
use crate::worker::{Copied, become_template};

use super::child::{self, DESCRIPTORS, Role};
use super::{EnvChange, Launched, Worker};

/// Copies this process, which must have one thread. The copy never returns from here.
pub(super) fn start(worker: &Worker) -> Result<Launched, StartError> {
    refuse_threads()?;
    let failed = |error| StartError::spawn("copy the program", error);
    fd::headroom(DESCRIPTORS).map_err(failed)?;
    let own = process::own_pidfd().map_err(failed)?;
    let (socket, theirs) = socket::pair().map_err(failed)?;
    let (board, page) = Board::create().map_err(failed)?;
    let hello = child::hello(worker, 0, None, [0; 16], Role::Template);
    let maker = std::process::id();
    // What is left there would be written by the copy as well.
    let _ = io::stdout().flush();
    fork::flush_c();
    let seen_before = Seen::so_far();
    let pid = match fork::fork_child().map_err(failed)? {
        Forked::Original(pid) => pid,
        Forked::Copy => {
            // What is above on this stack belongs to the program, which goes on in the original only.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                drop((socket, board));
                // As long as it has the program's descriptors.
                let redirected = redirect(worker);
                become_template(Copied { hello, maker, parent: own, socket: theirs, page }, || {
                    redirected.and_then(|()| surround(worker))
                })
            }));
            fork::leave(70)
        }
    };
    drop((own, theirs, page));
    let pidfd = process::pidfd(pid).inspect_err(|_| process::put_down(pid)).map_err(failed)?;
    let process = super::Process::Child(child::Process::new(pid, pidfd, seen_before, None));
    Ok(Launched { process, socket, board })
}

fn refuse_threads() -> Result<(), StartError> {
    let names =
        threads::names().map_err(|error| StartError::spawn("list the threads of the program", error))?;
    if names.len() == 1 {
        return Ok(());
    }
    Err(StartError::invalid(format!(
        "this program has {} threads ({}), and `StartMethod::Fork` can only copy a program with one: build the pool before \
         any other thread starts, or choose `StartMethod::ForkServer`, and load by `preload` what workers need",
        names.len(),
        names.join(", ")
    )))
}

/// Where workers write, for a copy of the program.
fn redirect(worker: &Worker) -> Result<(), String> {
    let stdout = worker.stdout.as_ref().map_or(Ok(()), rustix::stdio::dup2_stdout);
    let stderr = worker.stderr.as_ref().map_or(Ok(()), rustix::stdio::dup2_stderr);
    stdout.and(stderr).map_err(|errno| format!("the output of workers cannot be changed: {errno}"))
}

/// The surroundings of workers, for a copy of the program.
fn surround(worker: &Worker) -> Result<(), String> {
    for change in &worker.env {
        match change {
            EnvChange::Set(key, value) => fork::change_variable(key, Some(value)),
            EnvChange::Remove(key) => fork::change_variable(key, None),
            EnvChange::Clear => {
                std::env::vars_os().for_each(|(key, _)| fork::change_variable(&key, None));
            }
        }
    }
    let Some(dir) = &worker.current_dir else { return Ok(()) };
    std::env::set_current_dir(dir).map_err(|error| format!("`current_dir` is {}: {error}", dir.display()))
}
