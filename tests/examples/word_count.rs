//! The word counter: right totals, whatever the files and whatever dies.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use crate::scratch::Scratch;
use crate::{Output, run, support};

/// A tree in which every number is known: `many` files of text, among them empty and odd ones.
fn tree(many: usize) -> Scratch {
    let scratch = Scratch::new();
    for number in 0..many {
        let text = "The whale, the sea; the WHALE. ".repeat(number % 7);
        scratch.write(&format!("{}/{number}.txt", number % 5), text);
    }
    scratch
}

/// How often the word is in the table.
#[track_caller]
fn times(output: &Output, word: &str) -> usize {
    let row = output.stdout.lines().find_map(|line| line.trim().strip_suffix(word)?.strip_suffix("  "));
    let row = row.unwrap_or_else(|| panic!("no {word:?} in the table:\n{}{}", output.stdout, output.stderr));
    row.replace(',', "").parse().expect("a number of times")
}

/// From here on, mode 000 also stops what this thread starts as root; false if that cannot be had.
fn modes_hold_for_root(unreadable: &Path) -> bool {
    for capability in [CapabilitySet::DAC_OVERRIDE, CapabilitySet::DAC_READ_SEARCH] {
        // Whoever is not root lacks them, and may not drop them; the probe below tells.
        let _ = remove_capability_from_bounding_set(capability);
    }
    !Command::new("cat").arg(unreadable).output().expect("cat can be started").status.success()
}

support::isolated! {
    timeout = 180;

    fn word_count_counts_and_compares_with_one_process() {
        let scratch = tree(70);
        let output = run("word_count", [scratch.path()]).expect_code(0);
        // Ten files each of 0 to 6 repetitions.
        assert_eq!((times(&output, "the"), times(&output, "whale"), times(&output, "sea")), (630, 420, 210));
        assert_eq!(output.stdout.lines().next().map(str::trim), Some("630  the"), "{}", output.stdout);
        assert!(output.line("counted").starts_with("70 text files, 6.51 kB, below "), "{}", output.stdout);
        assert_eq!(output.line("left out"), "0 binary, 0 unreadable");
        assert!(output.line("one process").ends_with("MB/s"));
        assert!(output.line("pool of 2").ends_with("MB/s"));
        assert!(output.line("speed-up").contains("the same files, read once before"));
        assert_eq!(output.line("totals"), "the same, word by word");
        assert!(!output.stdout.contains("lost"), "{}", output.stdout);
        assert_eq!(output.stderr, "", "a bar is drawn on terminals only");
    }

    fn word_count_gives_the_same_totals_when_workers_die() {
        let scratch = tree(70);
        // Each of these is a batch of its own, the larger the earlier; every hundredth task is to crash. Text is
        // where it matters, the others are holes, which cost nothing and count as binary.
        for number in 0..=200 {
            let size = 1_300_000 - 1000 * number;
            let text = if number % 100 == 0 { "leviathan ".repeat(size / 10) } else { String::new() };
            let file = File::create(scratch.path().join(format!("large-{number}"))).expect("a file can be made");
            (&file).write_all(text.as_bytes()).expect("a file can be written");
            file.set_len(size as u64).expect("a file can have holes");
        }
        let arguments = [scratch.path().as_os_str(), OsStr::new("--crash")];
        let output = run("word_count", arguments).expect_code(0);
        assert_eq!(times(&output, "leviathan"), 130_000 + 120_000 + 110_000);
        assert_eq!(times(&output, "the"), 630);
        assert_eq!(output.line("left out"), "198 binary, 0 unreadable");
        assert_eq!(output.line("lost"), "tasks: 3 of 202, begun: 3; the first error:");
        assert!(output.stdout.contains("killed by signal 11 (SIGSEGV), while running the task"), "{}", output.stdout);
        assert_eq!(output.line("redone"), "tasks: 3");
        assert!(output.line("replaced").starts_with("workers: 3; "), "{}", output.stdout);
        assert_eq!(output.line("totals"), "the same, word by word");
    }

    fn word_count_survives_a_crash_of_its_only_batch() {
        let scratch = tree(7);
        let arguments = [scratch.path().as_os_str(), OsStr::new("--crash"), OsStr::new("--workers"), OsStr::new("1")];
        let output = run("word_count", arguments).expect_code(0);
        assert_eq!(times(&output, "the"), 63);
        assert_eq!(output.line("lost"), "tasks: 1 of 1, begun: 1; the first error:");
        assert_eq!(output.line("replaced"), "workers: 1; 2 took part, 1 alive at the end");
        assert!(output.line("pool of 1").ends_with("MB/s"));
    }

    fn word_count_leaves_out_what_is_no_text_and_says_so() {
        let scratch = Scratch::new();
        scratch.write("plain", "sea sea");
        scratch.write("empty", "");
        scratch.write("has a nul", "sea\0sea");
        scratch.write("not utf-8", b"sea \xff\xfe");
        scratch.write("greek", "θάλασσα θάλασσα");
        fs::write(scratch.path().join(OsStr::from_bytes(b"odd \xff name")), "sea").expect("any bytes make a name");
        symlink(scratch.path(), scratch.path().join("loop")).expect("a link can be made");
        rustix::fs::mkfifoat(rustix::fs::CWD, scratch.path().join("pipe"), rustix::fs::Mode::RWXU)
            .expect("a pipe can be made");
        let output = run("word_count", [scratch.path()]).expect_code(0);
        assert_eq!((times(&output, "sea"), times(&output, "θάλασσα")), (3, 2));
        assert!(output.line("counted").starts_with("4 text files,"), "{}", output.stdout);
        assert_eq!(output.line("left out"), "2 binary, 0 unreadable");
        assert_eq!(output.line("totals"), "the same, word by word");
    }

    fn word_count_goes_on_where_it_may_not_read() {
        let scratch = Scratch::new();
        scratch.write("plain", "sea sea");
        let file = scratch.write("secret", "sea");
        let dir = scratch.write("closed/inner", "sea").parent().expect("a directory").to_owned();
        let forbid = |mode: u32| {
            for path in [&file, &dir] {
                fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
            }
        };
        forbid(0o000);
        if modes_hold_for_root(&file) {
            let output = run("word_count", [scratch.path()]).expect_code(0);
            assert_eq!(times(&output, "sea"), 2);
            assert_eq!(output.line("left out"), "0 binary, 2 unreadable");
            for name in ["secret: Permission denied", "closed: Permission denied"] {
                assert!(output.stdout.contains(name), "{}", output.stdout);
            }
            assert_eq!(output.line("totals"), "the same, word by word");
        } else {
            eprintln!("skipped: this user reads files of mode 000, and cannot give that up");
        }
        forbid(0o700);
    }

    fn word_count_refuses_what_it_cannot_count() {
        let scratch = Scratch::new();
        let file = scratch.write("file", "sea");
        let (empty, missing) = (scratch.path().join("empty"), scratch.path().join("missing"));
        fs::create_dir(&empty).expect("a directory can be made");
        let refusals = [
            (empty, "there are no files here"),
            (missing, "No such file or directory"),
            (file, "Not a directory"),
        ];
        for (dir, reason) in refusals {
            let output = run("word_count", [&dir]).expect_code(2);
            let start = format!("word_count: {}: {reason}", dir.display());
            assert!(output.stderr.starts_with(&start), "{}", output.stderr);
            assert_eq!(output.stdout, "");
        }
        for arguments in [&["--workers"][..], &["--workers", "0"], &["--workers", "x"], &["--crush"], &["a", "b"]] {
            let output = run("word_count", arguments).expect_code(2);
            assert!(output.stderr.contains("usage: word_count [DIR] [--crash] [--workers N]"), "{}", output.stderr);
        }
    }

    fn word_count_without_fetched_sources_counts_the_current_directory() {
        let scratch = tree(7);
        let output = Command::new(crate::binary::of("word_count"))
            .current_dir(scratch.path())
            .env("CARGO_HOME", scratch.path().join("no-cargo-here"))
            .output()
            .expect("the example starts");
        let text = String::from_utf8(output.stdout).expect("it prints text");
        assert!(output.status.success(), "{text}");
        assert!(text.contains("no-cargo-here/registry/src does not exist: counting the current directory"), "{text}");
        assert!(text.contains("counted      7 text files"), "{text}");
    }
}
