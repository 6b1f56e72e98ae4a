//! The figures for programs.

use std::fmt::Write as _;
use std::path::Path;

use super::machine;
use super::plan::{Better, Contestant, Workload};
use super::results::Results;

/// Text as a value of JSON.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted + "\""
}

fn object<'a>(members: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let members: Vec<_> =
        members.into_iter().map(|(name, value)| format!("{}: {value}", quoted(name))).collect();
    format!("{{{}}}", members.join(", "))
}

/// Writes it, or ends the program with the reason.
pub(super) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap_or_else(|error| {
        eprintln!("{} cannot be written ({error}): name a file in a folder that is there", path.display());
        std::process::exit(1);
    });
}

pub(super) fn document(
    results: &Results,
    workloads: &[&Workload],
    contestants: &[Contestant],
    skipped: &[(String, String)],
) -> String {
    let mut figures = Vec::new();
    for workload in workloads {
        for metric in workload.metrics {
            for contestant in contestants {
                let Some(found) = results.of(workload, metric, contestant) else { continue };
                let rounds: Vec<_> = found.rounds.values().map(f64::to_string).collect();
                let better = match metric.better {
                    Better::Less => "less",
                    Better::More => "more",
                    Better::Neither => "neither",
                };
                figures.push(object([
                    ("workload", quoted(workload.name)),
                    ("metric", quoted(metric.name)),
                    ("contestant", quoted(&contestant.name)),
                    ("unit", quoted(metric.unit)),
                    ("better", quoted(better)),
                    ("median", found.spread().median.to_string()),
                    ("rounds", format!("[{}]", rounds.join(", "))),
                ]));
            }
        }
    }
    let facts = object(machine::facts().iter().map(|(name, fact)| (*name, quoted(fact))));
    let skipped = object(skipped.iter().map(|(name, reason)| (name.as_str(), quoted(reason))));
    let figures = figures.join(",\n    ");
    format!(
        "{{\n  \"machine\": {facts},\n  \"skipped\": {skipped},\n  \"figures\": [\n    {figures}\n  ]\n}}\n"
    )
}
