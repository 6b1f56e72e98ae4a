//! The table in `README.md` and the tests in these files are about the same things.

use std::collections::BTreeSet;
use std::process::Command;

const TABLE: &str = include_str!("README.md");

/// What stands between single backticks and is the path of a test.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|piece| piece.contains("::"))
}

/// The case and what is said of it, for each row of the tables.
fn rows() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.lines().filter_map(|line| {
        let (case, here) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        (case != "case").then_some((case, here))
    })
}

/// All tests of this program, as the program itself lists them.
fn tests() -> BTreeSet<String> {
    let program = std::env::current_exe().expect("the test binary knows its own path");
    let list = Command::new(program).arg("--list").output().expect("it starts again");
    let list = String::from_utf8(list.stdout).expect("names are text");
    list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[test]
fn every_case_has_a_test_that_exists_or_a_reason() {
    let tests = tests();
    let mut cases = BTreeSet::new();
    for (case, here) in rows() {
        assert!(case.contains("test_"), "{case} is no case");
        let reason = here.strip_prefix("none: ").is_some_and(|reason| !reason.is_empty());
        assert_ne!(reason, paths(here).next().is_some(), "{case} has a test or a reason, not both: {here}");
        for path in paths(here) {
            assert!(tests.contains(path), "{case} is said to be `{path}`, which does not exist");
        }
        assert!(cases.insert(case), "{case} is there twice");
    }
    assert_eq!(cases.len(), 131, "cases went missing from the table");
}

#[test]
fn every_test_is_in_the_table() {
    let named: BTreeSet<&str> = paths(TABLE).collect();
    let tests = tests();
    let ours = tests.iter().filter(|test| !test.starts_with("table::"));
    let missing: Vec<_> = ours.filter(|test| !named.contains(test.as_str())).collect();
    assert!(missing.is_empty(), "not in the table: {missing:#?}");
    let stale: Vec<_> = named.iter().filter(|path| !tests.contains(**path)).collect();
    assert!(stale.is_empty(), "in the table, and nowhere else: {stale:#?}");
}
