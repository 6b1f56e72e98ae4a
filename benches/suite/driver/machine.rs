//! Where and when it was measured.

use std::fs;
use std::process::Command;

/// The first line that a command says.
pub(super) fn says(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Names and what they are here.
pub(super) fn facts() -> Vec<(&'static str, String)> {
    let unknown = || "unknown".to_owned();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let root = env!("CARGO_MANIFEST_DIR");
    let commit = says("git", &["-C", root, "rev-parse", "--short", "HEAD"]).map(|commit| {
        let changed = says("git", &["-C", root, "status", "--porcelain", "--", "src", "macros", "benches"]);
        if changed.is_some() { format!("{commit} and changes") } else { commit }
    });
    vec![
        ("machine", format!("{} x {}", cores, processor().unwrap_or_else(unknown))),
        ("system", says("uname", &["-srm"]).unwrap_or_else(unknown)),
        ("rustc", says("rustc", &["--version"]).unwrap_or_else(unknown)),
        ("python", says("python3", &["--version"]).unwrap_or_else(unknown)),
        ("date", says("date", &["-u", "+%F %H:%M UTC"]).unwrap_or_else(unknown)),
        ("commit", commit.unwrap_or_else(unknown)),
        (
            "load",
            fs::read_to_string("/proc/loadavg").map_or_else(|_| unknown(), |text| text.trim().to_owned()),
        ),
    ]
}
