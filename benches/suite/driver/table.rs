//! The tables, in Markdown.

use std::fmt::Write as _;
use std::path::Path;

use super::machine;
use super::options::Options;
use super::plan::{Better, Contestant, Kind, Metric, Workload};
use super::results::{Figures, Results, Spread};

/// A figure with about three digits that count.
pub(super) fn short(figure: f64) -> String {
    let size = figure.abs();
    if size >= 1e6 {
        format!("{:.3} million", figure / 1e6).replacen(".000", "", 1)
    } else if size >= 10_000.0 {
        format!("{} {:03}", figure.round() as i64 / 1000, figure.round() as i64 % 1000)
    } else if size >= 100.0 {
        format!("{figure:.0}")
    } else if size >= 10.0 {
        format!("{figure:.1}")
    } else if size >= 0.1 || size == 0.0 {
        format!("{figure:.2}")
    } else {
        format!("{figure:.4}")
    }
}

fn with_unit(figure: f64, metric: &Metric) -> String {
    let space = if metric.unit.is_empty() || metric.unit.starts_with('/') { "" } else { " " };
    format!("{}{space}{}", short(figure), metric.unit)
}

fn with_spread(spread: Spread) -> String {
    if spread.least == spread.most {
        return short(spread.median);
    }
    format!("{} ({} to {})", short(spread.median), short(spread.least), short(spread.most))
}

/// All that is to be told of one run.
pub(super) fn page(
    results: &Results,
    workloads: &[&Workload],
    contestants: &[Contestant],
    skipped: &[(String, String)],
    options: &Options,
) -> String {
    let mut page = String::new();
    for (name, fact) in machine::facts() {
        let _ = writeln!(page, "* {name}: {fact}");
    }
    let _ = writeln!(page, "* rounds: {}{}\n", options.rounds, if options.quick { ", quick" } else { "" });
    for (name, reason) in skipped {
        let _ = writeln!(page, "SKIPPED: {name}: {reason}\n");
    }
    summary(&mut page, results, workloads, contestants);
    for workload in workloads {
        detail(&mut page, results, workload, contestants);
    }
    page
}

fn summary(page: &mut String, results: &Results, workloads: &[&Workload], contestants: &[Contestant]) {
    page.push_str(
        "| workload | better | procpool | by the raw limit | by the best of threads | by the best of processes |\n\
         |---|---|---|---|---|---|\n",
    );
    let ours =
        contestants.iter().find(|contestant| contestant.kind == Kind::Procpool).expect("procpool takes part");
    for workload in workloads {
        for metric in workload.metrics.iter().filter(|metric| metric.main) {
            let Some(figures) = results.of(workload, metric, ours) else { continue };
            let versus = |kind| {
                let other = results.best(workload, metric, contestants, kind);
                other.map_or_else(|| "–".to_owned(), |other| ratio(&figures, &other, metric))
            };
            let _ = writeln!(
                page,
                "| {}: {} | {} | **{}** | {} | {} | {} |",
                workload.name,
                metric.name,
                if metric.better == Better::More { "more" } else { "less" },
                with_unit(figures.spread().median, metric),
                versus(Kind::Raw),
                versus(Kind::Thread),
                versus(Kind::Process),
            );
        }
    }
    page.push('\n');
}

fn ratio(ours: &Figures<'_>, other: &Figures<'_>, metric: &Metric) -> String {
    let theirs = with_unit(other.spread().median, metric);
    match ours.by(other) {
        Some(ratio) => format!("**{}** {} {theirs}", short(ratio.median), other.contestant),
        None => format!("{} {theirs}", other.contestant),
    }
}

fn detail(page: &mut String, results: &Results, workload: &Workload, contestants: &[Contestant]) {
    let _ = writeln!(page, "### {}\n\n{}\n", workload.name, capital(workload.title));
    let given = |metric: &&Metric| contestants.iter().any(|one| results.of(workload, metric, one).is_some());
    let metrics: Vec<&Metric> = workload.metrics.iter().filter(given).collect();
    let heads: String = metrics.iter().map(|metric| format!(" {} |", metric.name)).collect();
    let _ = writeln!(page, "| |{heads}\n|---|{}", "---|".repeat(metrics.len()));
    for contestant in contestants.iter().filter(|contestant| contestant.does(workload)) {
        let figures: Vec<_> = metrics
            .iter()
            .map(|metric| results.of(workload, metric, contestant).map(|found| found.spread()))
            .collect();
        if figures.iter().all(Option::is_none) && results.error(workload, contestant).is_none() {
            continue;
        }
        let cells: String = figures
            .into_iter()
            .map(|figure| format!(" {} |", figure.map_or("–".to_owned(), with_spread)))
            .collect();
        let _ = writeln!(page, "| {} |{cells}", contestant.name);
    }
    page.push('\n');
    for contestant in contestants {
        if let Some(error) = results.error(workload, contestant) {
            let _ = writeln!(page, "FAILED: {}: {error}\n", contestant.name);
        }
    }
}

fn capital(title: &str) -> String {
    let mut letters = title.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect::<String>() + ".")
        .unwrap_or_default()
}

const BEGIN: &str = "<!-- figures: begin -->";
const END: &str = "<!-- figures: end -->";

/// Puts the tables between two marks of `benches/README.md`.
pub(super) fn into_readme(page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/README.md");
    let text = std::fs::read_to_string(&path).expect("benches/README.md");
    let (before, rest) = text.split_once(BEGIN).expect("the mark where the figures begin");
    let (_, after) = rest.split_once(END).expect("the mark where the figures end");
    let text = format!("{before}{BEGIN}\n{}\n{END}{after}", page.trim_end());
    std::fs::write(&path, text).expect("benches/README.md is written");
}
