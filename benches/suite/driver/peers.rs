//! Builds and installs the peers, into folders of their own below `target/`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::options::Options;
use super::plan::{self, Contestant};
use super::run;

/// The last one before the change that one of the peers does not bear.
const OLD_RUST: &str = "1.92.0";

fn benches() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches")
}

/// Cargo's target folder: this program is at `release/deps` in it.
pub(super) fn target() -> PathBuf {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        let path = std::env::current_exe().expect("the path of this program");
        path.ancestors().nth(3).expect("a target folder").to_owned()
    };
    TARGET.get_or_init(find).clone()
}

/// Where the peers in Rust are built.
pub(super) fn folder() -> PathBuf {
    target().join("bench-peers")
}

/// Where the peer is built that needs an older compiler.
pub(super) fn old_folder() -> PathBuf {
    target().join("bench-peers-old")
}

fn environment() -> PathBuf {
    target().join("bench-python")
}

/// Python with the peers' packages.
pub(super) fn python() -> PathBuf {
    environment().join("bin/python")
}

/// Where Python keeps what it compiles, so that it writes nothing beside the sources.
pub(super) fn python_cache() -> PathBuf {
    environment().join("cache")
}

pub(super) fn python_program() -> PathBuf {
    benches().join("python/contestant.py")
}

/// Who can take part, and who cannot for what reason.
pub(super) fn ready(options: &Options) -> (Vec<Contestant>, Vec<(String, String)>) {
    let (mut contestants, mut skipped) = (plan::own(), Vec::new());
    if !options.peers {
        return (contestants, skipped);
    }
    run::progress("building the peers");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--locked", "--quiet", "--bins", "--target-dir"]).arg(folder());
    let built = build_peers(&mut cargo);
    for peer in plan::peers() {
        match &built {
            Ok(()) => contestants.push(peer),
            Err(reason) => skipped.push((peer.name, format!("was not built: {reason}"))),
        }
    }
    let peer = plan::old_peer();
    run::progress(&format!("building {} with Rust {OLD_RUST}", peer.name));
    match build_old_peer(&peer.name) {
        Ok(()) => contestants.push(peer),
        Err(reason) => skipped.push((peer.name, format!("was not built with Rust {OLD_RUST}: {reason}"))),
    }
    run::progress("installing the peers of Python");
    let made = make_environment();
    for (peer, package) in plan::python() {
        let ready = made.clone().and_then(|()| package.map_or(Ok(()), install));
        match ready {
            Ok(()) => contestants.push(peer),
            Err(reason) => skipped.push((peer.name, reason)),
        }
    }
    run::progress("");
    (contestants, skipped)
}

fn build_peers(cargo: &mut Command) -> Result<(), String> {
    // With a target given, cargo would build to another place than the one in which we look.
    said(cargo.current_dir(benches().join("compare")).env_remove("CARGO_BUILD_TARGET"))
}

/// Installs an older compiler into a folder of ours, if it is not there, and builds the peer that needs it.
fn build_old_peer(name: &str) -> Result<(), String> {
    let rustup = |words: &[&str]| {
        let mut command = Command::new("rustup");
        command.env("RUSTUP_HOME", target().join("bench-rustup")).env_remove("RUSTUP_TOOLCHAIN").args(words);
        command
    };
    if said(&mut rustup(&["run", OLD_RUST, "cargo", "--version"])).is_err() {
        said(&mut rustup(&["toolchain", "install", OLD_RUST, "--profile", "minimal", "--no-self-update"]))?;
    }
    let mut cargo =
        rustup(&["run", OLD_RUST, "cargo", "build", "--release", "--locked", "--quiet", "--bin", name]);
    build_peers(cargo.arg("--target-dir").arg(old_folder()))
}

fn make_environment() -> Result<(), String> {
    if python().exists() {
        return Ok(());
    }
    said(Command::new("python3").args(["-m", "venv"]).arg(environment()))
        .map_err(|reason| format!("there is no Python with `venv`: {reason}"))
}

/// Installs a package in the version that `requirements.txt` names, unless it is there.
fn install(package: &str) -> Result<(), String> {
    let required =
        std::fs::read_to_string(benches().join("python/requirements.txt")).expect("the requirements");
    let exact =
        required.lines().find(|line| line.starts_with(&format!("{package}=="))).expect("a version for each");
    let marker = environment().join(format!("{exact}.installed"));
    if marker.exists() {
        return Ok(());
    }
    said(Command::new(python()).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        exact,
    ]))
    .map_err(|reason| format!("{exact} cannot be installed: {reason}"))?;
    std::fs::write(marker, "").map_err(|error| error.to_string())
}

/// Runs a command; what it says last if it fails.
pub(super) fn said(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let first =
        text.lines().find(|line| line.contains("rror")).or(text.lines().last()).unwrap_or("it failed");
    Err(first.trim().to_owned())
}
