//! Which files can be reached, by landlock. The only file that names it.

use std::ffi::{OsStr, OsString};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, OwnedFd};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::fs::{FileType, Mode, OFlags};

use super::Policy;

/// The version of landlock that also keeps files from being truncated.
pub(super) const TRUNCATION: u32 = 3;

/// The version of landlock that also keeps signals and abstract sockets inside.
pub(super) const SIGNALS: u32 = 6;

/// The newest version whose rights are known here. Older kernels enforce a part of them.
const NEWEST: ABI = ABI::V9;

/// What any program may look at: randomness and zeros say nothing, and what is told of the process itself it knows
/// (`pthread_getattr_np` reads `maps`, backtraces read the program).
const READABLE: [&str; 8] = [
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
    "/proc/self/exe",
    "/proc/self/maps",
    "/proc/self/stat",
    "/proc/self/statm",
    "/proc/self/status",
];

const WRITABLE: [&str; 1] = ["/dev/null"];

/// Why files are not protected.
pub(super) enum Failure {
    /// A path of the policy cannot be opened: a mistake, whatever the kernel can do.
    Path(String),
    System(String),
}

/// Denies all files but those of the policy, TCP if the network is denied, and signals and abstract sockets to the
/// outside. Gives the version of landlock that the kernel has.
pub(super) fn restrict(policy: &Policy) -> Result<u32, Failure> {
    let read = AccessFs::from_read(NEWEST) & !BitFlags::from(AccessFs::Execute);
    // No symbolic links, fifos, sockets or devices: they are traps for those who come later.
    let write = AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    let always =
        READABLE.iter().map(|path| (path, read)).chain(WRITABLE.iter().map(|path| (path, read | write)));
    // What this system does not have needs no rule.
    let always = always
        .filter_map(|(path, access)| Some(Rule { file: open(path.as_ref()).ok()?, access, asked: false }));
    let mut rules: Vec<Rule> = always.collect();
    let granted = [
        ("read", &policy.read, read),
        ("write", &policy.write, read | write),
        ("execute", &policy.execute, read | AccessFs::Execute),
    ];
    for (what, paths, access) in granted {
        for path in paths {
            rules.push(Rule { file: open_granted(what, path).map_err(Failure::Path)?, access, asked: true });
        }
    }
    confine(rules, policy.network).map_err(Failure::System)
}

struct Rule {
    file: OwnedFd,
    access: BitFlags<AccessFs>,
    /// The policy asks for it. Without the others tasks are only a little poorer.
    asked: bool,
}

fn open(path: &OsStr) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

fn open_granted(what: &str, path: &OsString) -> Result<OwnedFd, String> {
    open(path).map_err(|errno| format!("`{what}` names {}, which cannot be opened: {errno}", path.display()))
}

fn confine(rules: Vec<Rule>, network: bool) -> Result<u32, String> {
    let lacking = |error: &dyn std::fmt::Display| format!("landlock failed: {error}");
    let create = || {
        let ruleset =
            Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?.scope(Scope::from_all(NEWEST))?;
        let ruleset = if network { ruleset } else { ruleset.handle_access(AccessNet::from_all(NEWEST))? };
        ruleset.create()
    };
    let mut ruleset: RulesetCreated = create().map_err(|error| lacking(&error))?;
    for Rule { file, access, asked } in rules {
        let stat = rustix::fs::fstat(&file).map_err(|error| lacking(&error))?;
        let is_dir = FileType::from_raw_mode(stat.st_mode).is_dir();
        let access = if is_dir { access } else { access & AccessFs::from_file(NEWEST) };
        let added = (&mut ruleset).add_rule(PathBeneath::new(file.as_fd(), access)).map(drop);
        // A file of no file system, such as a program that was started from memory, cannot have a rule.
        added.or_else(|error| if asked { Err(lacking(&error)) } else { Ok(()) })?;
        if is_of_proc(&file) {
            // A rule is tied to an inode, and those of /proc live no longer than somebody looks at them.
            let _stays = ManuallyDrop::new(file);
        }
    }
    let status = ruleset.restrict_self().map_err(|error| lacking(&error))?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, LandlockStatus::NotImplemented) => {
            Err("this kernel has no landlock (needed: Linux 5.13, built with it)".to_owned())
        }
        (RulesetStatus::NotEnforced, _) => {
            Err("landlock is switched off on this system (the kernel's `lsm=` names no landlock)".to_owned())
        }
        (_, LandlockStatus::Available { effective_abi, .. }) => Ok(effective_abi as u32),
        (_, status) => Err(format!("landlock does not tell what it enforces: {status:?}")),
    }
}

fn is_of_proc(file: &OwnedFd) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type == rustix::fs::PROC_SUPER_MAGIC)
}
