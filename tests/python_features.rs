//! Every call of Python's `multiprocessing` and `concurrent.futures` is accounted for, by a test that exists or by a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../src/features.md");

/// The calls of each class; the measured faults are under `W`, for the first letter of their heading.
const ROWS: [(char, usize); 12] = [
    ('A', 19),
    ('B', 18),
    ('C', 4),
    ('D', 9),
    ('E', 8),
    ('F', 5),
    ('G', 8),
    ('H', 5),
    ('I', 8),
    ('J', 15),
    ('K', 8),
    ('W', 15),
];

/// The heading's letter, what stands first in the row, and what stands last, of each row.
fn rows() -> Vec<(char, &'static str, &'static str)> {
    let mut rows = Vec::new();
    let mut letter = '?';
    for line in PAGE.lines() {
        if let Some(heading) = line.strip_prefix("## ").or_else(|| line.strip_prefix("# ")) {
            letter = heading.chars().next().expect("headings have a text");
        }
        let Some(cells) = line.strip_prefix("| ").and_then(|row| row.strip_suffix(" |")) else { continue };
        let (first, _) = cells.split_once(" | ").expect("a row has several cells");
        let (_, last) = cells.rsplit_once(" | ").expect("a row has several cells");
        if last != "shown by" {
            rows.push((letter, first, last));
        }
    }
    rows
}

/// Names of tests, as they stand between backticks: a file, perhaps modules, and a function.
fn tests(text: &str) -> impl Iterator<Item = &str> {
    let plain = |piece: &&str| {
        piece.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c))
    };
    text.split('`').skip(1).step_by(2).filter(|piece| piece.contains("::")).filter(plain)
}

/// The file of a test, here or beside the macros, and those of the modules that belong to it.
fn sources(file: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let inside = fs::read_dir(root.join("tests").join(file)).into_iter().flatten();
    let inside = inside.map(|entry| entry.expect("an entry").path());
    let whole = ["tests", "macros/tests"].map(|tests| root.join(tests).join(file).with_extension("rs"));
    inside.filter(|path| path.is_file()).chain(whole).collect()
}

#[test]
fn every_call_has_a_test_that_exists_or_a_reason() {
    let mut wrong = Vec::new();
    let mut known = BTreeMap::new();
    for (_, call, shown) in rows() {
        let reason = shown.starts_with("none: ") || shown.starts_with("not yet");
        if !reason && tests(shown).next().is_none() {
            wrong.push(format!("{call} has neither a test nor a reason: {shown}"));
        }
        for test in tests(shown) {
            let (file, _) = test.split_once("::").expect("a file");
            let (_, name) = test.rsplit_once("::").expect("a name");
            let text = known.entry(file).or_insert_with(|| {
                let sources = sources(file).into_iter().filter(|path| path.exists());
                sources.map(|path| fs::read_to_string(path).expect("text")).collect::<String>()
            });
            if !text.contains(&format!("fn {name}()")) {
                wrong.push(format!("{call} is said to be shown by `{test}`, which does not exist"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_call_went_missing_and_none_is_there_twice() {
    let rows = rows();
    for (letter, count) in ROWS {
        let found = rows.iter().filter(|(of, _, _)| *of == letter).count();
        assert_eq!(found, count, "rows under {letter}");
    }
    assert_eq!(rows.len(), ROWS.iter().map(|(_, count)| count).sum(), "rows that belong nowhere");
    let calls: BTreeSet<_> = rows.iter().map(|(letter, call, _)| (letter, call)).collect();
    assert_eq!(calls.len(), rows.len(), "a row is there twice");
}
