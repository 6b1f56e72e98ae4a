//! Workers are always the program that runs, whatever has become of its file (F27).

mod fixtures;
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fixtures::{program, tests_with};
use support::{Signal, eventually, kill, procfs, tagged_pids};

const FIRST: &str = "build: first";
const OTHER: &str = "build: other";

/// Another build of the same program: alike in all but what its tasks return.
fn other_build() -> Vec<u8> {
    let mut bytes = fs::read(program("hooked").get_program()).expect("it was built");
    let found = bytes.windows(FIRST.len()).position(|window| window == FIRST.as_bytes()).expect("its build");
    bytes[found..found + OTHER.len()].copy_from_slice(OTHER.as_bytes());
    bytes
}

/// Writes a program that is like the first one in all but its bytes.
fn write_program(path: &Path, bytes: &[u8]) {
    fs::copy(program("hooked").get_program(), path).expect("a copy");
    fs::write(path, bytes).expect("room for it");
}

/// Starts a copy of the program, does something to its file, kills its worker, and returns what builds its workers
/// were then: one that is a replacement, one below it, one of a new pool.
fn builds_after(folder: &Path, change: impl FnOnce(&Path)) -> Vec<String> {
    let path = folder.join("program");
    fs::copy(program("hooked").get_program(), &path).expect("a copy");
    let mut command = fixtures::command(path.clone());
    let mut child = command
        .env("FIXTURE", "builds")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines =
        BufReader::new(child.stdout.take().expect("a pipe")).lines().map(|line| line.expect("text"));
    let worker: u32 = lines.next().expect("a line").parse().expect("a number");
    assert_eq!(lines.next().as_deref(), Some(FIRST));
    change(&path);
    kill(worker, Signal::KILL);
    eventually("it is dead", Duration::from_secs(2), || !procfs::is_alive(worker));
    child.stdin.take().expect("a pipe").write_all(b"go on\n").expect("room in the pipe");
    let builds = lines.collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(17));
    eventually("nothing is left", Duration::from_secs(2), || tagged_pids().is_empty());
    // Whoever starts the program anew gets what is there now.
    let _ = fs::remove_file(path);
    builds
}

fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("{}-builds", support::tag().expect("a test of its own")));
    fs::create_dir(&folder).expect("a fresh name");
    folder
}

tests_with! {
    Hooked;

    fn an_upgrade_on_disk_changes_nothing_for_a_program_that_runs() {
        let folder = folder();
        let other = other_build();
        // The other build works, and is another one: else this test would prove nothing.
        let path = folder.join("other");
        write_program(&path, &other);
        let mut command = fixtures::command(path.clone());
        let output = command.env("FIXTURE", "builds").output().expect("it starts");
        let told = String::from_utf8_lossy(&output.stdout).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(told, [OTHER; 4]);

        // As package managers do it, as a compiler does it, and as somebody does it who cleans up.
        let renamed = builds_after(&folder, |running| fs::rename(&path, running).expect("it is there"));
        assert_eq!(renamed, [FIRST; 3]);
        let rewritten = builds_after(&folder, |running| {
            fs::remove_file(running).expect("it is there");
            write_program(running, &other);
        });
        assert_eq!(rewritten, [FIRST; 3]);
        let removed = builds_after(&folder, |running| fs::remove_file(running).expect("it is there"));
        assert_eq!(removed, [FIRST; 3]);
        let no_program = builds_after(&folder, |running| {
            fs::remove_file(running).expect("it is there");
            fs::write(running, "no program").expect("room for it");
        });
        assert_eq!(no_program, [FIRST; 3]);
        let moved = folder.join("moved");
        let moved_away = builds_after(&folder, |running| fs::rename(running, &moved).expect("it is there"));
        assert_eq!(moved_away, [FIRST; 3]);
        fs::remove_dir_all(folder).expect("it is ours");
    }
}
