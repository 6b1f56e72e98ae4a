//! The faults of this worker, and how they strike.

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use crate::sys::per_process::PerProcess;
use crate::sys::process;

use super::Point;
use super::script::{Fault, Rules};

struct Armed {
    rules: Rules,
    hits: Vec<AtomicU32>,
    /// The rule of the task that runs, counted from 1; 0 is none.
    task: AtomicU8,
}

/// A copy of a process has its own, or none.
static ARMED: PerProcess<Armed> = PerProcess::new();

/// Another descriptor of the worker's channel, for faults that spoil it.
static CHANNEL: PerProcess<OwnedFd> = PerProcess::new();

pub(crate) fn keep_channel(channel: &OwnedFd) {
    if let Ok(channel) = channel.try_clone() {
        let _ = CHANNEL.get_or_make(|| Ok::<_, Infallible>(channel));
    }
}

/// The faults of this process from now on.
pub(crate) fn arm(rules: Rules) {
    let hits = rules.iter().map(|_| AtomicU32::new(0)).collect();
    let _ = ARMED.get_or_make(|| Ok::<_, Infallible>(Armed { rules, hits, task: AtomicU8::new(0) }));
}

/// The worker takes up a task that brings this fault.
pub(crate) fn task(fault: u8) {
    if let Some(armed) = ARMED.get() {
        armed.task.store(fault, Ordering::Relaxed);
    }
}

/// The fault that strikes at this point now.
fn due(point: Point) -> Option<Fault> {
    let armed = ARMED.get()?;
    for (at, (rule, hits)) in (1..).zip(armed.rules.iter().zip(&armed.hits)) {
        let Some(rule) = rule.as_ref().filter(|rule| rule.point == point) else { continue };
        if rule.is_of_a_task() {
            if armed.task.load(Ordering::Relaxed) == at {
                armed.task.store(0, Ordering::Relaxed);
                return Some(rule.fault);
            }
        } else if hits.fetch_add(1, Ordering::Relaxed) + 1 == rule.nth {
            return Some(rule.fault);
        }
    }
    None
}

/// The worker is at this point.
pub(crate) fn hit(point: Point) -> io::Result<()> {
    due(point).map_or(Ok(()), strike)
}

/// The bytes of a reply or a request after which the worker is killed, if it is.
pub(crate) fn bytes(point: Point) -> Option<usize> {
    match due(point)? {
        Fault::CutReply(bytes) | Fault::CutRequest(bytes) => Some(bytes),
        _ => None,
    }
}

pub(super) fn strike(fault: Fault) -> io::Result<()> {
    match fault {
        Fault::Kill | Fault::CutReply(_) | Fault::CutRequest(_) => process::die(),
        Fault::Abort => std::process::abort(),
        Fault::Exit(code) => std::process::exit(code),
        Fault::Stall => loop {
            std::thread::park();
        },
        Fault::Sleep(time) => {
            let (nobody, wait) = std::sync::mpsc::channel::<()>();
            // It is the time that is waited for, in a place where no event comes.
            let _ = wait.recv_timeout(time);
            drop(nobody);
            Ok(())
        }
        Fault::CloseChannel | Fault::Garbage => {
            let Some(channel) = CHANNEL.get() else { return Ok(()) };
            if fault == Fault::CloseChannel {
                return Ok(rustix::net::shutdown(channel, rustix::net::Shutdown::Both)?);
            }
            rustix::io::write(channel, &[0xff; 64])?;
            strike(Fault::Stall)
        }
        Fault::Error => Err(io::Error::other("a fault of the script")),
    }
}
