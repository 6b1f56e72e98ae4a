//! Every example runs, ends well, and prints what it is there to show.

// The examples rely on the hook before `main`.
#![cfg(feature = "auto-init")]

#[path = "examples/binary.rs"]
mod binary;
#[path = "examples/scratch.rs"]
mod scratch;
mod support;
#[path = "examples/word_count.rs"]
mod word_count;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use scratch::Scratch;

/// What a finished example has to show.
struct Output {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Output {
    #[track_caller]
    fn expect_code(self, code: i32) -> Output {
        let Output { stdout, stderr, .. } = &self;
        assert_eq!(self.code, Some(code), "\n--- stdout\n{stdout}\n--- stderr\n{stderr}");
        self
    }

    /// The line that starts so, without that start.
    #[track_caller]
    fn line(&self, start: &str) -> &str {
        let found = self.stdout.lines().find_map(|line| line.strip_prefix(start));
        found
            .unwrap_or_else(|| panic!("no line starts with {start:?}:\n{}{}", self.stdout, self.stderr))
            .trim()
    }
}

/// Runs an example on two workers, so that the same happens on any machine.
fn run<A: AsRef<OsStr>>(example: &str, arguments: impl IntoIterator<Item = A>) -> Output {
    let output = Command::new(binary::of(example))
        .args(arguments)
        .env("PROCPOOL_MAX_WORKERS", "2")
        .stdin(Stdio::null())
        .output()
        .expect("the example starts");
    let text = |bytes| String::from_utf8(bytes).expect("examples print text");
    Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Runs an example without arguments; it has to end well.
#[track_caller]
fn run_plain(example: &str) -> Output {
    run(example, [""; 0]).expect_code(0)
}

/// The last number in a text.
fn number(text: &str) -> usize {
    let digits = text.split(|c: char| !c.is_ascii_digit()).rfind(|part| !part.is_empty());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no number in {text:?}"))
}

/// Tests of examples by their names; the names are also checked against the directory.
macro_rules! examples {
    ($($example:ident: fn $name:ident() $body:block)+) => {
        pub(crate) const EXAMPLES: &[&str] = &[$(stringify!($example)),+];

        crate::support::isolated! {
            timeout = 180;
            $(fn $name() $body)+
        }
    };
}

/// The programs of Python's tutorials. Down here because it uses the macro.
#[path = "examples/tutorials.rs"]
mod tutorials;

/// Tested in files of their own.
const ELSEWHERE: [&str; 2] = ["tokio_server", "word_count"];

#[test]
fn no_example_is_forgotten() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries =
        fs::read_dir(dir).expect("there are examples").map(|entry| entry.expect("they can be listed"));
    let names = entries.map(|entry| entry.path().file_stem().expect("a name").to_string_lossy().into_owned());
    let tested = EXAMPLES.iter().chain(tutorials::EXAMPLES).chain(&ELSEWHERE).map(|name| (*name).to_owned());
    assert_eq!(names.collect::<BTreeSet<_>>(), tested.collect());
}

examples! {
    hello: fn hello_greets_from_another_process() {
        let output = run_plain("hello");
        assert_ne!(number(output.line("this is process")), number(output.line("hello world, from process")));
    }

    primes: fn primes_gives_the_answers_of_pythons_documentation() {
        assert_eq!(
            run_plain("primes").stdout,
            "112272535095293 is prime: true\n\
             112582705942171 is prime: true\n\
             112272535095293 is prime: true\n\
             115280095190773 is prime: true\n\
             115797848077099 is prime: true\n\
             1099726899285419 is prime: false\n"
        );
    }

    producer_consumer: fn producer_consumer_gets_every_item_and_survives_a_crash() {
        let output = run_plain("producer_consumer");
        assert_eq!(output.line("items:"), "40 of 40, each of them once");
        assert_eq!(output.line("after a crash:"), "5 items, and the end");
        assert_eq!(output.line("not joined before all is done:"), "20 done");
    }

    shared_counter: fn shared_counter_loses_nothing_and_the_lock_of_a_dead_worker_goes_on() {
        let output = run_plain("shared_counter");
        assert_eq!(output.line("under the lock:"), "80000 of 80000");
        assert_eq!(output.line("without it:"), "80000 of 80000");
        assert_eq!(output.line("a worker died with the lock:"), "true");
        assert_eq!(output.line("the next one is told, and sees"), "80000");
    }
    survive_a_crash: fn survive_a_crash_works_after_every_crash() {
        let output = run_plain("survive_a_crash");
        let work = output.stdout.lines().filter_map(|line| line.strip_prefix("work: done by worker "));
        let workers: Vec<_> = work.collect();
        assert_eq!(workers.len(), 5, "{}", output.stdout);
        // Three deaths, then a panic, which the worker survives.
        let distinct: BTreeSet<_> = workers.iter().collect();
        assert_eq!(distinct.len(), 4, "{workers:?}");
        assert_eq!(workers[3], workers[4]);
        assert!(output.line("abort:").contains("killed by signal 6 (SIGABRT)"));
        assert!(output.line("exit:").contains("exited with code 3"));
        assert!(output.line("overflow the stack:").contains("killed by signal"));
        assert!(output.line("panic:").contains("only this one is caught inside the worker"));
        assert!(output.line("abort:").ends_with("did the body run? Maybe"));
    }

    deadline: fn deadline_stops_what_never_ends() {
        let output = run_plain("deadline");
        assert_eq!(output.line("27:"), "111 steps");
        assert!(output.line("0: given up after").contains("allowed 300ms"));
        assert_eq!(output.line("97:"), "118 steps");
    }

    cancel: fn cancel_kills_what_runs_and_never_starts_what_does_not() {
        let output = run_plain("cancel");
        assert!(output.line("no result within").ends_with("running: true"));
        assert!(output.line("queued.cancel():").starts_with("true"));
        assert!(output.line("endless.cancel():").starts_with("false"));
        assert_eq!(output.line("endless.kill():"), "true");
        assert!(output.line("queued:").ends_with("cancelled before it started"));
        assert!(output.line("endless:").ends_with("cancelled while it was running"));
        let (before, after) = (output.line("the worker is process"), output.line("and the pool goes on:"));
        assert!(after.starts_with("hello world"));
        assert_ne!(number(before), number(after));
    }

    cooperate: fn cooperate_stops_early_and_returns_what_it_has() {
        let output = run_plain("cooperate");
        assert_eq!(output.line("below 1000, in this process:"), "[6, 28, 496]");
        assert!(output.line("not done within 1s; search.cancel():").starts_with("false"));
        assert!(output.line("it returned what it had:").starts_with("[6, 28"), "{}", output.stdout);
        assert!(number(output.line("and stopped at")) > 28);
    }

    as_completed: fn as_completed_gives_the_slowest_last_though_it_was_first() {
        let output = run_plain("as_completed");
        output.line("4294967297 is 641 × 6700417");
        output.line("600851475143 is 71 × 8462696833");
        output.line("2147483647 is a prime");
        output.line("67280421310721 is a prime");
        let last = output.stdout.lines().last().expect("five lines");
        assert!(last.starts_with("1125897289598449 is 33554393 × 33554393"), "{}", output.stdout);
    }

    pipeline: fn pipeline_draws_in_order_and_holds_few_items() {
        let output = run_plain("pipeline");
        let rows: Vec<_> = output.stdout.lines().take(25).collect();
        // The picture is symmetric, so a row out of place shows.
        assert!(rows.iter().eq(rows.iter().rev()), "{}", output.stdout);
        assert!(rows[12].contains("@@@@@@@@@@") && !rows[0].contains('@'), "{}", output.stdout);
        // Two stages of four each, and the one that is being printed.
        let most = number(output.line("25 rows of an endless input; never more than"));
        assert!((1..=9).contains(&most), "{most} items were on their way");
    }

    search_files: fn search_files_finds_lines_and_says_what_it_could_not_search() {
        let scratch = Scratch::new();
        scratch.write("a.txt", "one\ntwo needles\n");
        scratch.write("deep/down/b.txt", "needle\n\nanother needle");
        scratch.write("empty", "");
        scratch.write("binary", b"\xff needle \xfe".as_slice());
        let output = run("search_files", ["needle".as_ref(), scratch.path().as_os_str()]).expect_code(0);
        let (lines, end) = output.stdout.split_at(output.stdout.find("3 lines").expect("a sum"));
        assert_eq!(
            lines,
            "a.txt:2: two needles\ndeep/down/b.txt:1: needle\ndeep/down/b.txt:3: another needle\n"
        );
        assert_eq!(end, "3 lines in 4 files contain \"needle\"\n");
        assert!(output.stderr.starts_with("binary was not searched: "), "{}", output.stderr);

        let nowhere = run("search_files", ["needle", "/nonexistent/directory"]).expect_code(2);
        assert!(nowhere.stderr.starts_with("/nonexistent/directory cannot be searched: "), "{}", nowhere.stderr);

        let plain = run_plain("search_files");
        assert!(plain.stdout.contains("search_files.rs:14: #[task]"), "{}", plain.stdout);
    }

    blur_images: fn blur_images_writes_blurred_pictures_and_goes_on_after_a_bad_one() {
        let plain = run_plain("blur_images");
        plain.line("12 of 12 pictures blurred");
        let (first, _) = plain.stdout.split_once(" (320 × 200").expect("a picture with its size");
        let made_in = Path::new(first).parent().expect("pictures are in a directory");
        assert!(first.ends_with(".blurred.png") && !made_in.exists(), "left over: {first}");

        let scratch = Scratch::new();
        let (edge, broken) = (scratch.path().join("edge.png"), scratch.path().join("broken.png"));
        let black_and_white = |x, _| image::Luma([if x < 32 { 0_u8 } else { 255 }]);
        image::GrayImage::from_fn(64, 16, black_and_white).save(&edge).expect("a picture can be written");
        scratch.write("broken.png", "this is no picture");
        let output = run("blur_images", [&broken, &edge]).expect_code(1);
        output.line("1 of 2 pictures blurred");
        assert!(output.stderr.contains("broken.png"), "{}", output.stderr);

        let blurred = image::open(scratch.path().join("edge.blurred.png")).expect("it was written").into_luma8();
        assert_eq!(blurred.dimensions(), (64, 16));
        let row: Vec<u8> = (0..64).map(|x| blurred.get_pixel(x, 8).0[0]).collect();
        assert!(row.is_sorted() && row[0] < 8 && row[63] > 247, "{row:?}");
        assert!((64..192).contains(&row[31]) && (64..192).contains(&row[32]), "no blurred edge: {row:?}");
    }
}
