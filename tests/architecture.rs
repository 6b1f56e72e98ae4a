//! The house: floors without cycles, unsafe code at its address, and dependencies behind their door.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The floors of `src/`, lowest first. A file uses lower floors, or files to its right on its own.
const FLOORS: [&[&str]; 7] = [
    &["faults", "sys", "park", "luck", "primitive", "worker_event", "error"],
    &["wire"],
    &["task", "transport", "descriptor", "shared", "sync"],
    &["worker", "queue", "pipe"],
    &["launch"],
    &["scheduler"],
    &[
        "manager",
        "process",
        "pool",
        "executor",
        "map",
        "submit",
        "options",
        "completed",
        "future",
        "context",
        "nested",
        "limits",
    ],
];

/// Edges that the floors do not allow, and why they exist all the same.
const EXCEPTIONS: [(&str, &str, &str); 1] =
    [("sys", "worker", "the hook that runs before `main` hands over to the worker")];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// The sources of the library with the top-level module each belongs to. Tests beside the code are left out.
fn modules() -> Vec<(String, PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules = Vec::new();
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).expect("below src");
        let first = inside.iter().next().expect("a name").to_str().expect("text");
        let module = first.trim_end_matches(".rs").to_owned();
        let is_test = |name: &str| {
            ["test", "model", "search", "world", "fuzz", "interleavings"]
                .iter()
                .any(|test| name.starts_with(test))
        };
        if module == "lib" || inside.iter().filter_map(|part| part.to_str()).any(is_test) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        let code = text.split("#[cfg(test)]\nmod test {").next().expect("a beginning").to_owned();
        modules.push((module, path, code));
    }
    modules
}

/// Lines that are not comments.
fn code_lines(code: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(code.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The top-level modules that a line names by `crate::`.
fn used(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn a_file_uses_lower_floors_only() {
    let mut place = BTreeMap::new();
    for (floor, names) in FLOORS.iter().enumerate() {
        for (column, name) in names.iter().enumerate() {
            place.insert(*name, (floor, column));
        }
    }
    let mut wrong = Vec::new();
    for (module, path, code) in modules() {
        let &(floor, column) = place.get(module.as_str()).unwrap_or_else(|| panic!("{module} has no floor"));
        for (number, line) in code_lines(&code) {
            for name in used(line) {
                let Some(&(other_floor, other_column)) = place.get(name) else { continue };
                let allowed = name == module
                    || other_floor < floor
                    || (other_floor == floor && other_column > column)
                    || EXCEPTIONS.iter().any(|(from, to, _)| (*from, *to) == (module.as_str(), name));
                if !allowed {
                    wrong.push(format!("{}:{number}: {module} uses {name}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_has_an_address() {
    for (module, path, code) in modules() {
        for (number, line) in code_lines(&code) {
            let has = line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl");
            assert!(!has || module == "sys", "{}:{number}: unsafe code outside of sys", path.display());
        }
    }
}

#[test]
fn each_dependency_stands_behind_one_door() {
    for (name, doors) in [
        ("postcard", &["wire/codec.rs"][..]),
        ("async_process", &["launch/child.rs"]),
        ("landlock", &["sys/sandbox/files.rs"]),
        ("seccompiler", &["sys/sandbox/filter.rs"]),
        ("linkme", &["task/registry.rs", "lib.rs"]),
        ("bytemuck", &["sync/plain.rs"]),
        ("slab", &["scheduler/machine/mod.rs", "scheduler/machine/dispatch.rs"]),
    ] {
        for (_, path, code) in modules() {
            let named = code_lines(&code).any(|(_, line)| line.contains(&format!("{name}::")));
            let allowed = doors.iter().any(|door| path.ends_with(door));
            assert!(!named || allowed, "{} names {name}, which belongs in {doors:?}", path.display());
        }
    }
}

#[test]
fn the_pure_half_of_the_scheduler_reads_no_clock_and_touches_no_system() {
    let pure = ["appointments", "backlog", "machine", "policy", "roster"];
    for (module, path, code) in modules() {
        let is_pure = module == "scheduler"
            && path
                .iter()
                .filter_map(|part| part.to_str())
                .any(|part| pure.contains(&part.trim_end_matches(".rs")));
        if !is_pure {
            continue;
        }
        for (number, line) in code_lines(&code) {
            for word in [
                "Instant::now",
                "crate::sys",
                "std::thread",
                "std::sync::M",
                "std::sync::R",
                "std::fs",
                "std::process",
            ] {
                assert!(!line.contains(word), "{}:{number}: {word} in the pure half", path.display());
            }
        }
    }
}

/// The lints know functions; this knows the clock's other names as well.
#[test]
fn nobody_reads_the_wall_clock() {
    for (_, path, code) in modules() {
        for (number, line) in code_lines(&code) {
            for word in ["SystemTime", "Realtime", "CLOCK_REALTIME", "libc::gettimeofday", "libc::time("] {
                assert!(
                    !line.contains(word),
                    "{}:{number}: {word}, which jumps when it is set",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn a_file_fits_in_a_head() {
    for (_, path, code) in modules() {
        let lines = code_lines(&code).count();
        let says_why = code.lines().take(12).any(|line| line.contains("This file is long"));
        assert!(
            lines <= 400 || says_why,
            "{} has {lines} lines of code and does not say why",
            path.display()
        );
    }
}

#[test]
fn a_benchmark_fits_in_a_head_and_uses_what_people_use() {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches");
    let found = sources(&benches);
    assert!(found.iter().any(|path| path.ends_with("suite/main.rs")), "the suite is here");
    for path in found {
        let code = fs::read_to_string(&path).expect("text");
        let lines = code_lines(&code).count();
        assert!(lines <= 400, "{} has {lines} lines of code", path.display());
        let named =
            code_lines(&code).find(|(_, line)| line.contains("__private") || line.contains("procpool::fuzz"));
        assert!(named.is_none(), "{} measures what nobody calls: {named:?}", path.display());
    }
}

#[test]
fn the_changelog_names_the_current_version() {
    let changelog =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("CHANGELOG.md")).expect("a changelog");
    assert!(changelog.contains(&format!("## {}", env!("CARGO_PKG_VERSION"))));
}

/// Tests that are about something else than a promise of the page.
const NO_PROMISES: [&str; 14] = [
    "architecture",
    "bad_input",
    "context",
    "cpython",
    "examples",
    "inline_mode",
    "map",
    "python_features",
    "support_itself",
    "task_macro",
    "tokio_server",
    "user_faults",
    "worker_state",
    "sandbox",
];

#[test]
fn each_promise_names_its_tests_and_each_test_its_promise() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("PROMISES.md")).expect("the page of promises");
    assert!(!page.contains('@'), "a figure is missing");
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains("**"));
    let named: Vec<_> = rows
        .flat_map(|row| row.rsplit(" | ").next().expect("a column").split('`').skip(1).step_by(2))
        .filter(|name| !name.contains('/'))
        .collect();
    let exists = |name: &&str| root.join("tests").join(name).with_extension("rs").exists();
    let missing: Vec<_> = named.iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
    for entry in fs::read_dir(root.join("tests")).expect("the tests") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_str().expect("text");
        if path.extension().is_some_and(|extension| extension == "rs") && !NO_PROMISES.contains(&name) {
            assert!(named.contains(&name), "{name} proves no promise of PROMISES.md");
        }
    }
}
