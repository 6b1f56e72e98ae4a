//! The tables of [`calls`] and [`arguments`] as seccomp filters. The only file that names seccompiler.
//!
//! Three filters, of which the kernel takes the strictest answer: death for some calls, EPERM for some arguments,
//! ENOSYS for all that is unknown. The filters begin with a check that the call is made in the form of this machine,
//! and kill otherwise: the 32-bit forms have other numbers.

use std::collections::BTreeMap;
use std::fmt::Display;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use super::arguments::{self, Allowed, Is};
use super::calls;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Takes away all system calls but those that are allowed, from the calling thread and what it starts.
pub(super) fn install(allowed: &Allowed) -> Result<(), String> {
    let failed = |error: &dyn Display| format!("seccomp failed: {error}");
    let programs = programs(allowed).map_err(|error| failed(&error))?;
    for program in programs {
        apply_filter(&program).map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// In the order in which they are installed: the last one takes away what installs filters.
fn programs(allowed: &Allowed) -> Result<[BpfProgram; 3], seccompiler::BackendError> {
    let mut refused = Rules::new();
    for (call, conditions) in arguments::refused(allowed) {
        let rules = refused.entry(call).or_default();
        if !conditions.is_empty() {
            rules.push(SeccompRule::new(conditions.iter().map(condition).collect::<Result<_, _>>()?)?);
        }
    }
    let fatal = calls::FATAL.iter().map(|&call| (call, Vec::new())).collect();
    let known = calls::known().map(|call| (call, Vec::new())).collect();

    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let program = |rules, mismatch, matching| {
        BpfProgram::try_from(SeccompFilter::new(rules, mismatch, matching, architecture)?)
    };
    Ok([
        program(fatal, SeccompAction::Allow, SeccompAction::KillProcess)?,
        program(refused, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32))?,
        program(known, SeccompAction::Errno(libc::ENOSYS as u32), SeccompAction::Allow)?,
    ])
}

fn condition(is: &Is) -> Result<SeccompCondition, seccompiler::BackendError> {
    let (argument, width, operator, value) = match *is {
        Is::Not(argument, value) => (argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value),
        Is::Masked(argument, mask, value) => {
            (argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
        }
        Is::Address(argument) => (argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0),
    };
    SeccompCondition::new(argument, width, operator, value)
}
