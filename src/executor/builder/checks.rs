//! What makes no sense, or is not possible in this process, told before a pool is made.

use std::path::Path;
use std::time::Duration;

use crate::error::StartError;
use crate::launch::EnvChange;
use crate::scheduler::policy::Settings;
use crate::sys::{cpus, process, start};
use crate::task::Registry;
use crate::wire::hello::MAX_DEPTH;
use crate::worker;

use super::{Builder, default_workers, kernel};

/// More workers than any machine has use for: a number above it is a mistake.
const MAX_WORKERS: usize = 4096;

impl Builder {
    /// The settings of the scheduler, if all that was said makes sense.
    pub(super) fn settings(&self) -> Result<Settings, StartError> {
        let max_workers = match self.max_workers {
            Some(count) => count,
            None => default_workers()?,
        };
        check_max_workers(max_workers)?;
        if self.min_workers > max_workers {
            let message = format!(
                "`min_workers` is {} and `max_workers` {max_workers}: the minimum cannot be above the maximum",
                self.min_workers
            );
            return Err(StartError::invalid(message));
        }
        for (name, value) in [
            ("max_tasks_per_child", self.max_tasks_per_child),
            ("max_pending", self.max_pending),
            ("max_message_size", Some(self.max_message_size)),
            ("max_worker_rss", self.max_worker_rss.map(|bytes| usize::from(bytes > 0))),
        ] {
            if value == Some(0) {
                return Err(StartError::invalid(format!("`{name}` is 0: it must be at least 1")));
            }
        }
        for (name, limit) in
            [("max_worker_age", self.max_worker_age), ("stop_timeout", Some(self.stop_timeout))]
        {
            if limit.is_some_and(|limit| limit.is_zero()) {
                return Err(StartError::invalid(format!("`{name}` is zero: give a longer time")));
            }
        }
        if self.max_pending.is_some_and(|count| count > usize::MAX >> 9) {
            return Err(StartError::invalid(
                "`max_pending` is larger than any memory: leave it out for no bound",
            ));
        }
        for (name, limit) in [
            ("start_timeout", Some(self.start_timeout)),
            ("stop_timeout", Some(self.stop_timeout)),
            ("idle_timeout", self.idle_timeout),
            ("max_worker_age", self.max_worker_age),
            ("spin", self.spin),
        ] {
            if limit.is_some_and(|limit| limit > Duration::from_secs(365 * 86_400)) {
                return Err(StartError::invalid(format!(
                    "`{name}` is longer than a year: give a shorter one"
                )));
            }
        }
        check_surroundings(&self.env, self.current_dir.as_deref())?;
        Ok(Settings {
            max_workers,
            processors: cpus::affinity(),
            min_workers: self.min_workers,
            idle_timeout: self.idle_timeout,
            max_worker_age: self.max_worker_age,
            max_tasks_per_child: self.max_tasks_per_child.map(|count| count as u64),
            start_timeout: self.start_timeout,
            stop_timeout: self.stop_timeout,
        })
    }
}

/// Whether processes can be started in such surroundings.
pub(crate) fn check_surroundings(env: &[EnvChange], dir: Option<&Path>) -> Result<(), StartError> {
    if let Some(dir) = dir.filter(|dir| !dir.is_dir()) {
        let message =
            format!("`current_dir` is {}, which is no directory: name one that is there", dir.display());
        return Err(StartError::invalid(message));
    }
    for change in env {
        if let EnvChange::Set(key, _) | EnvChange::Remove(key) = change
            && (key.is_empty() || key.as_encoded_bytes().iter().any(|&byte| byte == b'=' || byte == 0))
        {
            let message = format!(
                "{key:?} is no name for an environment variable: it must not be empty, nor have a `=` in it"
            );
            return Err(StartError::invalid(message));
        }
    }
    Ok(())
}

pub(in crate::executor) fn check_max_workers(count: usize) -> Result<(), StartError> {
    if (1..=MAX_WORKERS).contains(&count) {
        return Ok(());
    }
    Err(StartError::invalid(format!("`max_workers` is {count}: it must be from 1 to {MAX_WORKERS}")))
}

/// Whether this program can have worker processes.
pub(crate) fn check_process() -> Result<(), StartError> {
    if !start::has_looked() || worker::has_strayed() {
        return Err(StartError::NotInitialised);
    }
    if process::would_be_secure() {
        return Err(StartError::invalid(
            "this program runs with more rights than the user who started it (set-user-id, set-group-id or file \
             capabilities): it cannot have worker processes, since they would have to trust that user",
        ));
    }
    kernel::check()
}

/// Whether there can be another pool here, and its tasks can be told apart.
pub(crate) fn check_nesting_and_tasks() -> Result<(), StartError> {
    if worker::place::here().depth >= MAX_DEPTH {
        return Err(StartError::TooDeep { limit: MAX_DEPTH });
    }
    match Registry::get().duplicate() {
        None => Ok(()),
        Some(duplicate) => Err(StartError::DuplicateTask {
            name: duplicate.name.clone(),
            first: duplicate.first.clone(),
            second: duplicate.second.clone(),
        }),
    }
}
