//! With more rights than whoever starts it, a program takes orders from nobody.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use super::forger::Letter;
use super::{becomes_a_worker, ended, fixtures, program, support};

/// Some other user, who need not exist.
const OTHER: u32 = 65_534;

/// A copy of the program, owned by another user.
struct Copy(PathBuf);

impl Copy {
    /// With the set-user-id bit.
    fn privileged() -> Copy {
        Copy::with_mode(0o4755)
    }

    fn plain() -> Copy {
        Copy::with_mode(0o755)
    }

    fn with_mode(mode: u32) -> Copy {
        let name = format!("{}-copy-{mode:o}", support::tag().expect("a test of its own"));
        let copy = Copy(std::env::temp_dir().join(name));
        fs::copy(program("hooked").get_program(), &copy.0).expect("a copy");
        chown(&copy.0, Some(OTHER), None).expect("root may give files away");
        fs::set_permissions(&copy.0, fs::Permissions::from_mode(mode)).expect("our file");
        copy
    }

    fn command(&self) -> Command {
        fixtures::command(self.0.clone())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // The census tells if it stays.
        let _ = fs::remove_file(&self.0);
    }
}

/// A test that needs root, and a folder for temporary files in which the set-user-id bit counts.
fn as_root(test: &'static str, body: fn()) {
    let missing = if !rustix::process::geteuid().is_root() {
        Some("only root can make a program of another user")
    } else if rustix::fs::statvfs(std::env::temp_dir())
        .is_ok_and(|folder| folder.f_flag.contains(rustix::fs::StatVfsMountFlags::NOSUID))
    {
        Some("the folder for temporary files is mounted nosuid")
    } else if support::procfs::status_field(std::process::id(), "NoNewPrivs").as_deref() == Some("1") {
        Some("this process may not gain rights")
    } else {
        None
    };
    match missing.map_or_else(|| fixtures::Fixture::Hooked.ready(), |reason| Err(reason.to_owned())) {
        Ok(()) => support::isolate::run(test, std::time::Duration::from_secs(60), body),
        Err(reason) => fixtures::skip(test, &reason),
    }
}

#[test]
fn a_set_user_id_program_is_never_a_worker() {
    as_root(concat!(module_path!(), "::a_set_user_id_program_is_never_a_worker"), || {
        let (plain, privileged) = (Copy::plain(), Copy::privileged());
        assert!(becomes_a_worker(&mut plain.command(), &Letter::right()), "without the bit it is one");
        assert!(!becomes_a_worker(&mut privileged.command(), &Letter::right()));
    });
}

#[test]
fn a_set_user_id_program_has_no_workers() {
    as_root(concat!(module_path!(), "::a_set_user_id_program_has_no_workers"), || {
        let (plain, privileged) = (Copy::plain(), Copy::privileged());
        assert_eq!(ended(plain.command().env("FIXTURE", "pool")), ("Ok(42)\n".to_owned(), Some(0)));
        // Its workers would not recognise themselves, and each would be the program once more.
        let (told, code) = ended(privileged.command().env("FIXTURE", "pool"));
        assert!(told.starts_with("this program runs with more rights"), "{told}");
        assert_eq!(code, Some(1));
    });
}

#[test]
fn another_users_process_is_nobodys_parent() {
    as_root(concat!(module_path!(), "::another_users_process_is_nobodys_parent"), || {
        // We made the socket as root. The other way round is what this is about: a program that somebody else may
        // start as root, by a rule that does not count as a gain of rights when it begins.
        let copy = Copy::plain();
        assert!(!becomes_a_worker(copy.command().uid(OTHER).gid(OTHER), &Letter::right()));
    });
}
