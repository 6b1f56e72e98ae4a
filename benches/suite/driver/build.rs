//! Builds this suite with another state of the library, in a small package of its own: the workloads are the same
//! whatever that state has in its own folder of benchmarks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::peers::{said, target};

/// The root of the repository.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Builds it as `name` with the library in a folder. The path of the program, or why there is none.
pub(super) fn suite(name: &str, library: &Path, flags: &str) -> Result<PathBuf, String> {
    let package = target().join("bench-builds").join(name);
    let manifest = format!(
        "[workspace]\n\n[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [[bin]]\nname = \"{name}\"\npath = {:?}\n\n[dependencies]\nprocpool = {{ path = {library:?} }}\nlibc = \"0.2\"\n\
         rustix = {{ version = \"1\", features = [\"fs\", \"mm\", \"pipe\", \"process\", \"thread\"] }}\nserde = \"1\"\n\
         tokio = {{ version = \"1\", features = [\"rt-multi-thread\", \"time\"] }}\n",
        root().join("benches/suite/main.rs"),
    );
    let written = fs::create_dir_all(&package)
        .and_then(|()| fs::write(package.join("Cargo.toml"), manifest))
        // The versions that the library itself is tested with.
        .and_then(|()| fs::copy(root().join("Cargo.lock"), package.join("Cargo.lock")));
    written.map_err(|error| format!("{} cannot be written: {error}", package.display()))?;
    let built = target().join("bench-builds/target").join(if flags.is_empty() { "plain" } else { "counted" });
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--quiet", "--target-dir"]).arg(&built).current_dir(&package);
    command.env("RUSTFLAGS", flags).env_remove("CARGO_BUILD_TARGET");
    said(&mut command)
        .map_err(|reason| format!("the suite does not build with {}: {reason}", library.display()))?;
    Ok(built.join("release").join(name))
}
