//! The harness is tested like everything else: each piece is seen failing as well as passing.

/// A test that passes when its body fails in a process of its own, and the failure is as `check` wants it.
macro_rules! fails {
    ($($(within $seconds:literal s:)? fn $name:ident() $body:block and then |$failure:ident| $check:block)+) => {$(
        #[test]
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            let seconds = [$($seconds,)? 30][0];
            let limit = std::time::Duration::from_secs(seconds);
            let $failure = crate::support::isolate::verdict(path, limit, || $body).expect_err("the body fails");
            $check
        }
    )+};
}

#[path = "support_itself/counting.rs"]
mod counting;
#[path = "support_itself/isolation.rs"]
mod isolation;
#[path = "support_itself/programs.rs"]
mod programs;
#[path = "support_itself/records.rs"]
mod records;
mod support;
#[path = "support_itself/world.rs"]
mod world;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{eventually, procfs};

/// Asserts that a report contains these parts, and shows it if not.
#[track_caller]
fn assert_tells(report: &str, parts: &[&str]) {
    for part in parts {
        assert!(report.contains(part), "the report does not tell {part:?}:\n{report}");
    }
}

/// A child that lives until it is killed.
fn sleeper() -> Child {
    let child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().expect("sleep can be started");
    // It exists a moment before the kernel knows its arguments.
    let is_itself = || procfs::command_line(child.id()).is_some_and(|line| line == "sleep 600");
    eventually("it is what it is to be", Duration::from_secs(10), is_itself);
    child
}

/// The same for a body that ends before it, or is killed. Returns its number.
#[allow(clippy::zombie_processes, reason = "the reaper of the test waits for it")]
fn abandoned_sleeper() -> u32 {
    sleeper().id()
}
