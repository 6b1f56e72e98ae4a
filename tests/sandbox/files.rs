//! Files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use procpool::{Sandbox, task};

use super::Ends::With;
use super::{Act, Place, confined, contrast, forbidden, number};

/// A directory that is removed with what is in it.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new() -> Dir {
        let path = std::env::temp_dir().join(format!("scratch-sandbox-{}", std::process::id()));
        fs::create_dir(&path).expect("a new directory");
        fs::write(path.join("old"), "old").expect("a file");
        Dir(path)
    }

    pub(crate) fn place(&self, name: &str) -> Place {
        Place { path: self.0.join(name), ..Place::here() }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[task]
fn read(place: Place) -> Act {
    fs::read(&place.path).map(drop).map_err(number)
}

#[task]
fn list(place: Place) -> Act {
    fs::read_dir(&place.path).map(drop).map_err(number)
}

#[task]
fn write(place: Place) -> Act {
    fs::write(&place.path, "new").map_err(number)
}

#[task]
fn remove(place: Place) -> Act {
    fs::remove_file(&place.path).map_err(number)
}

#[task]
fn truncate(place: Place) -> Act {
    rustix::fs::open(
        &place.path,
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::TRUNC,
        rustix::fs::Mode::empty(),
    )
    .map(drop)
    .map_err(|errno| errno.raw_os_error())
}

#[task]
fn change_mode(place: Place) -> Act {
    fs::set_permissions(&place.path, fs::Permissions::from_mode(0o600)).map_err(number)
}

#[task]
fn change_times(place: Place) -> Act {
    let file = fs::File::open(&place.path).map_err(number)?;
    file.set_modified(std::time::UNIX_EPOCH).map_err(number)
}

#[task]
fn link_symbolically(place: Place) -> Act {
    std::os::unix::fs::symlink("/etc/passwd", &place.path).map_err(number)
}

#[task]
fn make_directory(place: Place) -> Act {
    fs::create_dir(&place.path).map_err(number)
}

#[task]
fn rename_here(place: Place) -> Act {
    let other = place.path.with_file_name("renamed");
    fs::rename(&place.path, &other).map_err(number)?;
    fs::rename(&other, &place.path).map_err(number)
}

#[task]
fn memory_of_the_parent(place: Place) -> Act {
    fs::OpenOptions::new().write(true).open(format!("/proc/{}/mem", place.pid)).map(drop).map_err(number)
}

#[task]
fn environment_of_the_parent(place: Place) -> Act {
    fs::read(format!("/proc/{}/environ", place.pid)).map(drop).map_err(number)
}

#[task]
fn what_is_always_there(_place: Place) -> Act {
    for path in ["/dev/urandom", "/dev/zero"] {
        let mut bytes = [0; 16];
        std::io::Read::read_exact(&mut fs::File::open(path).map_err(number)?, &mut bytes).map_err(number)?;
    }
    fs::write("/dev/null", "away").map_err(number)?;
    for path in ["/proc/self/maps", "/proc/self/status", "/proc/self/stat", "/proc/self/statm"] {
        fs::read(path).map_err(number)?;
    }
    fs::File::open(std::env::current_exe().map_err(number)?).map(drop).map_err(number)
}

fn passwd() -> Place {
    Place { path: "/etc/passwd".into(), ..Place::here() }
}

forbidden! {
    no_file_can_be_read: read, passwd(), With(libc::EACCES);
    no_directory_can_be_listed: list, Place { path: "/etc".into(), ..Place::here() }, With(libc::EACCES);
    the_environment_of_the_parent_cannot_be_read: environment_of_the_parent, Place::here(), With(libc::EACCES);
    the_memory_of_the_parent_cannot_be_opened: memory_of_the_parent, Place::here(), With(libc::EACCES);
}

fn in_directory(
    act: impl for<'a> procpool::Task<Args<'a> = Place, Output = Act>,
    name: &str,
    ends: super::Ends,
) {
    let dir = Dir::new();
    contrast(act, &dir.place(name), Sandbox::required(), ends);
}

crate::support::isolated! {
    timeout = 60;

    fn no_file_can_be_made() {
        let dir = Dir::new();
        contrast(write, &dir.place("new"), Sandbox::required(), With(libc::EACCES));
    }

    fn no_file_can_be_changed() {
        in_directory(write, "old", With(libc::EACCES));
    }

    fn no_file_can_be_truncated() {
        in_directory(truncate, "old", With(libc::EACCES));
    }

    fn modes_cannot_be_changed() {
        in_directory(change_mode, "old", With(libc::EPERM));
    }

    fn no_file_can_be_renamed() {
        in_directory(rename_here, "old", With(libc::EACCES));
    }

    fn no_file_can_be_removed() {
        let dir = Dir::new();
        let pool = confined(Sandbox::required());
        let place = dir.place("old");
        assert_eq!(pool.submit(remove, place.clone()).result().expect("an answer"), Err(libc::EACCES));
        assert!(place.path.exists());
        assert_eq!(super::free().submit(remove, place.clone()).result().expect("an answer"), Ok(()));
        assert!(!place.path.exists());
    }

    fn what_may_be_read_can_be_read_and_no_more() {
        let dir = Dir::new();
        let pool = confined(Sandbox::required().read(&dir.0));
        let run = |act: Result<Act, _>| act.expect("an answer");
        assert_eq!(run(pool.submit(read, dir.place("old")).result()), Ok(()));
        assert_eq!(run(pool.submit(list, dir.place("")).result()), Ok(()));
        assert_eq!(run(pool.submit(write, dir.place("old")).result()), Err(libc::EACCES));
        assert_eq!(run(pool.submit(write, dir.place("new")).result()), Err(libc::EACCES));
        assert_eq!(run(pool.submit(remove, dir.place("old")).result()), Err(libc::EACCES));
        assert_eq!(run(pool.submit(truncate, dir.place("old")).result()), Err(libc::EACCES));
        assert_eq!(run(pool.submit(change_mode, dir.place("old")).result()), Err(libc::EPERM));
        assert_eq!(run(pool.submit(change_times, dir.place("old")).result()), Err(libc::EPERM));
        assert_eq!(run(pool.submit(read, passwd()).result()), Err(libc::EACCES));
        assert_eq!(fs::read(dir.0.join("old")).expect("text"), b"old");
        assert_eq!(run(super::free().submit(change_times, dir.place("old")).result()), Ok(()));
    }

    fn what_may_be_written_can_be_written_and_holds_no_traps() {
        let dir = Dir::new();
        let pool = confined(Sandbox::required().write(&dir.0));
        let run = |act: Result<Act, _>| act.expect("an answer");
        assert_eq!(run(pool.submit(write, dir.place("new")).result()), Ok(()));
        assert_eq!(run(pool.submit(read, dir.place("new")).result()), Ok(()));
        assert_eq!(run(pool.submit(truncate, dir.place("new")).result()), Ok(()));
        assert_eq!(run(pool.submit(make_directory, dir.place("inner")).result()), Ok(()));
        assert_eq!(run(pool.submit(rename_here, dir.place("old")).result()), Ok(()));
        assert_eq!(run(pool.submit(remove, dir.place("old")).result()), Ok(()));
        assert_eq!(run(pool.submit(link_symbolically, dir.place("link")).result()), Err(libc::EACCES));
        assert_eq!(run(super::free().submit(link_symbolically, dir.place("link")).result()), Ok(()));
        assert_eq!(run(pool.submit(read, dir.place("link")).result()), Err(libc::EACCES), "the way out is closed");
        assert_eq!(run(pool.submit(read, passwd()).result()), Err(libc::EACCES));
        assert!(dir.0.join("new").exists() && dir.0.join("inner").is_dir() && !dir.0.join("old").exists());
    }

    fn one_file_can_be_allowed() {
        let dir = Dir::new();
        let pool = confined(Sandbox::required().read(dir.0.join("old")));
        assert_eq!(pool.submit(read, dir.place("old")).result().expect("an answer"), Ok(()));
        assert_eq!(pool.submit(list, dir.place("")).result().expect("an answer"), Err(libc::EACCES));
    }

    fn a_relative_path_is_one_of_the_parent() {
        let dir = Dir::new();
        std::env::set_current_dir(&dir.0).expect("the directory");
        let sandbox = Sandbox::required().read("old");
        std::env::set_current_dir(Path::new("/")).expect("the root");
        let pool = confined(sandbox);
        assert_eq!(pool.submit(read, dir.place("old")).result().expect("an answer"), Ok(()));
    }

    fn what_libraries_count_on_is_there() {
        let pool = confined(Sandbox::required());
        assert_eq!(pool.submit(what_is_always_there, Place::here()).result().expect("an answer"), Ok(()));
        // The kernel forgets what it knew of /proc when it needs the memory; the sandbox must not.
        if fs::write("/proc/sys/vm/drop_caches", "2").is_err() {
            println!("SKIPPED: only root may drop the caches");
        }
        assert_eq!(pool.submit(what_is_always_there, Place::here()).result().expect("an answer"), Ok(()));
    }
}
