//! Two commits side by side: procpool's own workloads, interleaved, with this suite for both.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, exit};

use super::options::Options;
use super::peers::{said, target};
use super::plan::{Better, Contestant, Kind, Metric, Program};
use super::results::Spread;
use super::table::short;
use super::{build, json, machine, measure, run};

/// Differences up to this are noise, whatever the rounds say.
const NOISE: f64 = 0.05;

/// With fewer rounds than these, that all of them agree is chance too often.
const ENOUGH: usize = 5;

pub(super) fn commits(before: &str, after: &str, options: &Options) {
    let ready = |name: &str, label: &str| {
        contestant(name, label).unwrap_or_else(|reason| {
            eprintln!("{reason}");
            exit(1)
        })
    };
    let contestants = [ready(before, "before"), ready(after, "after")];
    let workloads = options.workloads();
    let results = measure(&workloads, &contestants, options);
    let mut page = String::new();
    for (name, fact) in machine::facts() {
        let _ = writeln!(page, "* {name}: {fact}");
    }
    let _ = writeln!(page, "* rounds: {}\n", options.rounds);
    let [before, after] = &contestants;
    let _ = writeln!(
        page,
        "| workload | better | {} | {} | after / before (least to most of the rounds) | |\n|---|---|---|---|---|---|",
        before.name, after.name
    );
    for workload in &workloads {
        for metric in workload.metrics {
            let (Some(one), Some(other)) =
                (results.of(workload, metric, before), results.of(workload, metric, after))
            else {
                continue;
            };
            let (Some(ratio), one, other) = (other.by(&one), one.spread(), other.spread()) else { continue };
            let _ = writeln!(
                page,
                "| {}: {} | {} | {} | {} | **{}** ({} to {}) | {} |",
                workload.name,
                metric.name,
                match metric.better {
                    Better::Less => "less",
                    Better::More => "more",
                    Better::Neither => "",
                },
                short(one.median),
                short(other.median),
                short(ratio.median),
                short(ratio.least),
                short(ratio.most),
                verdict(ratio, options.rounds, metric),
            );
        }
    }
    println!("{page}");
    if let Some(path) = &options.json {
        json::write(path, &json::document(&results, &workloads, &contestants, &[]));
    }
    if results.failed() {
        exit(1);
    }
}

/// A change is one if each of enough rounds says so, and if it is more than noise.
fn verdict(ratio: Spread, rounds: usize, metric: &Metric) -> &'static str {
    if rounds < ENOUGH {
        return "";
    }
    let less = ratio.most < 1.0 && ratio.median < 1.0 - NOISE;
    let more = ratio.least > 1.0 && ratio.median > 1.0 + NOISE;
    match metric.better {
        Better::Less if less => "better",
        Better::Less if more => "**worse**",
        Better::More if more => "better",
        Better::More if less => "**worse**",
        _ => "",
    }
}

/// Builds a commit in a folder of its own; `.` is what is here now.
fn contestant(commit: &str, label: &str) -> Result<Contestant, String> {
    if commit == "." {
        run::progress("building what is here now");
        let program = build::suite("suite-here", build::root(), "")?;
        return Ok(Contestant::new(&format!("{label}: here"), Kind::Procpool, Program::Other(program), &[]));
    }
    let root = build::root().display().to_string();
    let named = format!("{commit}^{{commit}}");
    let short = machine::says("git", &["-C", &root, "rev-parse", "--verify", "--short", &named])
        .ok_or(format!("{commit} is no commit of this repository"))?;
    let tree: PathBuf = target().join("bench-builds/trees").join(&short);
    if !tree.join("Cargo.toml").exists() {
        // An archive and no work tree of git's, so that the repository does not remember it.
        let archive = tree.with_extension("tar");
        std::fs::create_dir_all(&tree)
            .map_err(|error| format!("{} cannot be made: {error}", tree.display()))?;
        said(Command::new("git").args(["-C", &root, "archive", &short, "--output"]).arg(&archive))
            .and_then(|()| said(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&tree)))
            .map_err(|reason| format!("{commit} cannot be checked out: {reason}"))?;
    }
    run::progress(&format!("building {short}"));
    let program = build::suite(&format!("suite-{short}"), &tree, "")?;
    Ok(Contestant::new(&format!("{label}: {short}"), Kind::Procpool, Program::Other(program), &[]))
}
