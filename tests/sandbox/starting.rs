//! What cannot be enforced is an error or is told, and never passed over.

use std::collections::BTreeMap;

use procpool::{ProcessPoolExecutor, Protection, Sandbox, StartError, task};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};

use super::Place;
use super::files::Dir;

#[task]
fn answer(_place: Place) -> u32 {
    42
}

/// Makes a system call fail in this process and in what it starts, as a kernel without it would.
fn take_away(call: i64, errno: i32) {
    let filter = SeccompFilter::new(
        BTreeMap::from([(call, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.cast_unsigned()),
        std::env::consts::ARCH.try_into().expect("a known machine"),
    );
    let program = BpfProgram::try_from(filter.expect("a filter")).expect("a program");
    apply_filter_all_threads(&program).expect("installed");
}

fn build(sandbox: Sandbox) -> Result<ProcessPoolExecutor, StartError> {
    ProcessPoolExecutor::builder().max_workers(1).sandbox(sandbox).build()
}

fn refusal(sandbox: Sandbox) -> String {
    match build(sandbox.clone()) {
        Err(StartError::Sandbox { message, .. }) => {
            assert!(matches!(sandbox.probe(), Err(StartError::Sandbox { .. })), "the probe says the same");
            message
        }
        other => panic!("{other:?}"),
    }
}

fn works_without(missing: Protection, intact: Protection) {
    let report = Sandbox::best_effort().probe().expect("a report");
    println!("{report}");
    assert!(!report.is_complete() && !report.enforces(missing) && report.enforces(intact), "{report}");
    assert!(report.missing().any(|(protection, why)| protection == missing && !why.is_empty()));
    let pool = build(Sandbox::best_effort()).expect("a pool all the same");
    assert_eq!(pool.submit(answer, Place::here()).result().expect("a value"), 42);
}

crate::support::isolated! {
    timeout = 60;

    fn this_system_enforces_all_of_it() {
        let report = Sandbox::best_effort().probe().expect("a report");
        assert!(report.is_complete(), "{report}");
        assert!(report.landlock_version() >= Some(3), "{report:?}");
        assert_eq!(report.missing().count(), 0);
        assert_eq!(report.to_string(), "all of the sandbox is enforced");
    }

    fn without_landlock_required_is_refused_and_best_effort_says_so() {
        take_away(libc::SYS_landlock_create_ruleset, libc::ENOSYS);
        let message = refusal(Sandbox::required());
        assert!(message.contains("no protection of files: this kernel has no landlock"), "{message}");
        works_without(Protection::Files, Protection::Network);
        let programs = Sandbox::best_effort().execute("/").probe().expect("a report");
        assert!(!programs.enforces(Protection::Programs) && !programs.enforces(Protection::Processes), "{programs}");
    }

    fn with_landlock_switched_off_required_is_refused_and_best_effort_says_so() {
        take_away(libc::SYS_landlock_create_ruleset, libc::EOPNOTSUPP);
        let message = refusal(Sandbox::required());
        assert!(message.contains("no protection of files: landlock is switched off"), "{message}");
        works_without(Protection::Files, Protection::Network);
    }

    fn with_a_landlock_that_fails_late_required_is_refused_and_best_effort_says_so() {
        take_away(libc::SYS_landlock_restrict_self, libc::EPERM);
        let message = refusal(Sandbox::required());
        assert!(message.contains("no protection of files: landlock failed"), "{message}");
        works_without(Protection::Files, Protection::Network);
    }

    fn without_seccomp_required_is_refused_and_best_effort_says_so() {
        take_away(libc::SYS_seccomp, libc::EINVAL);
        let message = refusal(Sandbox::required());
        assert!(message.contains("no protection of network: seccomp failed"), "{message}");
        works_without(Protection::Network, Protection::Privileges);
    }

    fn with_capabilities_that_stay_required_is_refused_and_best_effort_says_so() {
        take_away(libc::SYS_capset, libc::EPERM);
        let message = refusal(Sandbox::required());
        assert!(message.contains("no protection of privileges"), "{message}");
        works_without(Protection::Privileges, Protection::Files);
    }

    fn a_system_that_changes_after_the_start_breaks_the_pool_and_runs_nothing() {
        let pool = build(Sandbox::required()).expect("a pool");
        take_away(libc::SYS_landlock_create_ruleset, libc::ENOSYS);
        let error = pool.submit(answer, Place::here()).result().expect_err("no worker");
        assert_eq!(error.ran(), procpool::Ran::No);
        match error.kind() {
            procpool::TaskErrorKind::PoolBroken(StartError::Sandbox { message, .. }) => {
                assert!(message.contains("no protection of files"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }

    fn a_path_that_is_not_there_is_an_error() {
        let dir = Dir::new();
        for sandbox in [Sandbox::required(), Sandbox::best_effort()] {
            let message = match build(sandbox.read(dir.0.join("missing"))) {
                Err(StartError::Sandbox { message, .. }) => message,
                other => panic!("{other:?}"),
            };
            assert!(message.starts_with("`read` names ") && message.contains("missing"), "{message}");
        }
    }

    fn paths_that_make_no_sense_are_errors() {
        let invalid = |sandbox| match build(sandbox) {
            Err(StartError::Invalid { message, .. }) => message,
            other => panic!("{other:?}"),
        };
        assert!(invalid(Sandbox::required().write("")).contains("is no path for a sandbox"));
        let long = (0..200).fold(Sandbox::required(), |sandbox, n| sandbox.read(format!("/{n:0>100}")));
        assert!(invalid(long).contains("over the limit of 16384"));
    }

    fn no_descriptor_is_inherited_by_accident() {
        let built = |builder: procpool::Builder| builder.max_workers(1).env(EARLY_FILE, "1").build().expect("a pool");
        let without = built(ProcessPoolExecutor::builder());
        assert_eq!(without.submit(read_what_leaked, Place::here()).result().expect("an answer"), Ok(()));
        let within = built(ProcessPoolExecutor::builder().sandbox(Sandbox::required()));
        assert_eq!(
            within.submit(read_what_leaked, Place::here()).result().expect("an answer"),
            Err(libc::EBADF)
        );
    }

    fn a_process_with_a_second_thread_is_not_confined() {
        // Safe in a process that has one thread by now, as the test's own has.
        let told = |sandbox: Sandbox| {
            ProcessPoolExecutor::builder().max_workers(1).env(EARLY, "1").sandbox(sandbox).build()
        };
        match told(Sandbox::required()) {
            Err(StartError::Sandbox { message, .. }) => assert!(message.contains("2 threads run already"), "{message}"),
            other => panic!("{other:?}"),
        }
        told(Sandbox::best_effort()).expect("a pool all the same");
    }
}

/// The variable that gives a process of this test a second thread before it looks whether it is a worker.
const EARLY: &str = "PROCPOOL_TEST_EARLY_THREAD";

/// The variable that gives a process of this test an open file, as if it had been inherited.
const EARLY_FILE: &str = "PROCPOOL_TEST_EARLY_FILE";

const LEAKED: i32 = 77;

#[task]
fn read_what_leaked(_place: Place) -> super::Act {
    rustix::io::dup(borrowed(LEAKED)).map(drop).map_err(rustix::io::Errno::raw_os_error)
}

#[allow(unsafe_code, reason = "a number that may be no descriptor has no other way in")]
fn borrowed(number: i32) -> std::os::fd::BorrowedFd<'static> {
    // SAFETY: whoever uses it gets EBADF if it is not open, which is what the test asks.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(number) }
}

mod early {
    #![allow(unsafe_code, reason = "what runs before the hook of the crate is no Rust")]

    use std::ffi::{CStr, c_char, c_int, c_void};

    extern "C" fn wait(_: *mut c_void) -> *mut c_void {
        loop {
            // SAFETY: waits for a signal, and ends with the process.
            unsafe { libc::pause() };
        }
    }

    extern "C" fn start(_: c_int, _: *const *const c_char, mut variables: *const *const c_char) {
        // SAFETY: the environment is a list of strings that ends with a null pointer, and `getenv` does not know it
        // yet; the thread runs a function of C's and needs nothing of Rust's.
        unsafe {
            while !(*variables).is_null() {
                let variable = CStr::from_ptr(*variables).to_bytes();
                if variable.starts_with(super::EARLY_FILE.as_bytes()) {
                    libc::dup2(libc::open(c"/etc/passwd".as_ptr(), libc::O_RDONLY), super::LEAKED);
                }
                if variable.starts_with(super::EARLY.as_bytes()) {
                    let mut thread = std::mem::zeroed();
                    libc::pthread_create(&raw mut thread, std::ptr::null(), wait, std::ptr::null_mut());
                }
                variables = variables.add(1);
            }
        }
    }

    #[used]
    // SAFETY: the section holds pointers to functions of this very type, called before all initialisers.
    #[unsafe(link_section = ".preinit_array")]
    static EARLY: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = start;
}
