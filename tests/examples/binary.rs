//! Where the examples' programs are; they are made if they are not there, or older than what they are made of.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// The program of this example, of the same profile as this test.
pub(crate) fn of(example: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows its own path");
    // target/PROFILE/deps/TEST
    let profile = test.ancestors().nth(2).expect("cargo puts tests two levels below its target directory");
    let program = profile.join("examples").join(example);
    // `cargo test` has made all examples before it runs a test; `cargo test --test NAME` makes none.
    let made = modified(&program);
    if made.is_none_or(|made| sources().iter().any(|source| modified(source) > Some(made))) {
        build_all(profile);
    }
    assert!(program.exists(), "cargo made no {}", program.display());
    program
}

fn build_all(profile: &Path) {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--examples", "--target-dir"]);
    cargo.arg(profile.parent().expect("a profile's directory is in the target directory"));
    let name = profile.file_name().and_then(|name| name.to_str()).expect("profiles have plain names");
    cargo.args(["--profile", if name == "debug" { "dev" } else { name }]);
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo can be started");
    assert!(status.success(), "cargo could not build the examples: {status}");
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for dir in ["src", "macros/src", "examples"] {
        add_sources(&root.join(dir), &mut sources);
    }
    sources
}

fn add_sources(dir: &Path, sources: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the sources are there") {
        let path = entry.expect("the sources can be listed").path();
        if path.is_dir() {
            add_sources(&path, sources);
        } else {
            sources.push(path);
        }
    }
}
