//! A sandboxed worker reaches nothing that it was not given, and is a worker in all else.
//!
//! Every forbidden act is tried twice, by a worker without a sandbox and by one that has it, so that none of these
//! tests passes because the act would have failed anyway.

mod support;

#[path = "sandbox/files.rs"]
mod files;
#[path = "sandbox/kernel.rs"]
mod kernel;
#[path = "sandbox/network.rs"]
mod network;
#[path = "sandbox/pool.rs"]
mod pool;
#[path = "sandbox/processes.rs"]
mod processes;
#[path = "sandbox/starting.rs"]
mod starting;

use std::io;
use std::path::PathBuf;

use procpool::{ExitCause, ProcessPoolExecutor, Sandbox, Task, TaskErrorKind};
use serde::{Deserialize, Serialize};

/// What an act needs to know of the test.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The process of the test, which is the worker's parent.
    pub(crate) pid: i32,
    pub(crate) path: PathBuf,
    pub(crate) port: u16,
    /// An address in the memory of the test.
    pub(crate) address: usize,
}

impl Place {
    /// Makes the process lead its group, which may be one of another PID namespace before. It fails if it does already.
    pub(crate) fn here() -> Place {
        let _ = rustix::process::setpgid(None, None);
        Place { pid: std::process::id().cast_signed(), ..Place::default() }
    }
}

/// What came of an act: nothing, or the number of the system's error.
pub(crate) type Act = Result<(), i32>;

/// How an act is to end in the sandbox.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ends {
    With(i32),
    /// The worker dies of SIGSYS.
    Deadly,
}

/// The number of an error of the system.
pub(crate) fn number(error: io::Error) -> i32 {
    error.raw_os_error().unwrap_or(-1)
}

/// Judges the answer of a system call.
pub(crate) fn answer(value: i64) -> Result<i64, i32> {
    if value < 0 { Err(number(io::Error::last_os_error())) } else { Ok(value) }
}

pub(crate) fn free() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool")
}

pub(crate) fn confined(sandbox: Sandbox) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(1).sandbox(sandbox).build().expect("a sandboxed pool")
}

/// Whether an act that succeeds without the sandbox is refused in it. Where the act cannot succeed on this machine,
/// nothing is known, and that is said.
pub(crate) fn contrast<T>(act: T, place: &Place, sandbox: Sandbox, ends: Ends)
where
    T: for<'a> Task<Args<'a> = Place, Output = Act>,
{
    let without = free().submit(act, place.clone()).result().expect("an answer");
    if let Err(number) = without {
        let privileged = rustix::process::geteuid().is_root();
        assert!(!privileged, "without a sandbox it fails as well: {}", io::Error::from_raw_os_error(number));
        println!("SKIPPED: only root may do this here");
        return;
    }
    let within = confined(sandbox).submit(act, place.clone()).result();
    match (ends, within) {
        (Ends::With(expected), Ok(Err(number))) => assert_eq!(
            number,
            expected,
            "{} instead of {}",
            io::Error::from_raw_os_error(number),
            io::Error::from_raw_os_error(expected)
        ),
        (Ends::Deadly, Err(error)) => match error.kind() {
            TaskErrorKind::WorkerDied(exit) => {
                assert!(matches!(exit.cause(), ExitCause::Signal { number: libc::SIGSYS, .. }), "{exit:?}");
            }
            other => panic!("{other:?}"),
        },
        (_, within) => panic!("{within:?} instead of {ends:?}"),
    }
}

/// Acts that a sandbox with no exceptions refuses.
macro_rules! forbidden {
    ($($name:ident: $act:path, $place:expr, $ends:expr;)+) => {
        crate::support::isolated! {
            timeout = 60;
            $(fn $name() {
                crate::contrast($act, &$place, procpool::Sandbox::required(), $ends);
            })+
        }
    };
}
pub(crate) use forbidden;
