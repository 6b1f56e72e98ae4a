//! Instructions for each task, counted by callgrind: a figure that does not depend on what else the machine does.
//!
//! What is counted is the calling thread's own part: what runs inside of `submit`, `result` and the drop of a future, and
//! nothing of the pool's thread or of the worker, whose work is bundled by chance. The kernel's part of a system call is
//! not counted either. The worker is a thread here (`Builder::inline`), as valgrind knows no process descriptors; the
//! caller's path is the same.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, exit};

use super::options::Options;
use super::peers::{said, target};
use super::{COUNTED, build, machine, run};

const TASKS: u64 = 1000;

/// How much more than its limit a count may be: another compiler's mood, not another design.
const TOLERANCE: f64 = 0.02;

/// The functions of `ours/counted.rs`, and what they are to the reader.
const COUNTS: [(&str, &str); 4] = [
    ("counted_submit", "submit to an idle worker"),
    ("counted_submit_behind", "submit behind a busy worker"),
    ("counted_result", "result of a task that is done"),
    ("counted_drop", "drop of a task that waits"),
];

fn limits_path() -> PathBuf {
    build::root().join("benches/instructions.txt")
}

/// Counts, prints, and compares with the limits, or writes them anew.
pub(super) fn instructions(options: &Options) {
    let counted = match count() {
        Ok(counted) => counted,
        Err(reason) => {
            println!("SKIPPED: instruction counts: {reason}");
            return;
        }
    };
    if options.renew {
        let mut text = String::from(
            "# Instructions of the caller for each task, at most: `cargo bench -- --instructions` compares, with 2 % to\n\
             # spare, and `cargo bench -- --instructions --renew` writes this file anew.\n",
        );
        let _ = writeln!(text, "# {}", machine::says("rustc", &["--version"]).unwrap_or_default());
        for (name, count) in &counted {
            let _ = writeln!(text, "{name} {count:.0}");
        }
        fs::write(limits_path(), text).expect("benches/instructions.txt is written");
    }
    let limits = fs::read_to_string(limits_path()).expect("benches/instructions.txt");
    let mut grown = false;
    println!("| instructions for each task | counted | limit |\n|---|---|---|");
    for (name, count) in counted {
        let about = COUNTS.iter().find(|(known, _)| *known == name).expect("a count that is known").1;
        let line =
            limits.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).expect("a limit for each");
        let limit: f64 = line.parse().expect("a number");
        let over = count > limit * (1.0 + TOLERANCE);
        grown |= over;
        println!("| {about} | {count:.0} | {limit:.0}{} |", if over { ", **exceeded**" } else { "" });
    }
    if grown {
        eprintln!(
            "a task costs more instructions than its limit: find out why, or, if it is worth that, renew the limits with \
             `cargo bench -- --instructions --renew` and say why in the commit"
        );
        exit(1);
    }
}

/// The counts for each task; `Err` if this machine cannot count.
fn count() -> Result<Vec<(&'static str, f64)>, String> {
    for tool in ["valgrind", "callgrind_annotate"] {
        let there = Command::new(tool).arg("--version").output();
        there.map_err(|error| format!("{tool} does not start: {error}"))?;
    }
    run::progress("building what is counted");
    // Without this, rustix reads the clock's page of the kernel, which valgrind hides.
    let program = build::suite("counted", build::root(), "--cfg rustix_use_libc").unwrap_or_else(|reason| {
        eprintln!("{reason}");
        exit(1)
    });
    run::progress("counting");
    let out = target().join("bench-builds/callgrind.out");
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--quiet"]).arg(format!("--callgrind-out-file={}", out.display()));
    said(valgrind.arg(&program).args([COUNTED, &TASKS.to_string()]))
        .map_err(|reason| format!("valgrind cannot run it: {reason}"))?;
    let mut annotate = Command::new("callgrind_annotate");
    let output = annotate.args(["--inclusive=yes", "--threshold=100", "--auto=no"]).arg(&out).output();
    let text = output.map_err(|error| error.to_string())?.stdout;
    let text = String::from_utf8_lossy(&text);
    run::progress("");
    Ok(COUNTS.map(|(name, _)| (name, of_function(&text, name) / TASKS as f64)).to_vec())
}

/// The instructions of a function and of all that it calls.
fn of_function(text: &str, name: &str) -> f64 {
    let place = format!("counted::{name} [");
    let line =
        text.lines().find(|line| line.contains(&place)).unwrap_or_else(|| panic!("{name} was counted"));
    let digits: String = line
        .trim_start()
        .chars()
        .take_while(|&c| c.is_ascii_digit() || c == ',')
        .filter(|&c| c != ',')
        .collect();
    digits.parse().expect("a count")
}
