//! The programs of Python's tutorials, in Rust: what each has to print.

use crate::{number, run_plain};

examples! {
    two_processes: fn two_processes_run_at_the_same_time_and_both_are_waited_for() {
        let output = run_plain("two_processes");
        let rounds = |name: &str| -> Vec<String> {
            output.stdout.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
        };
        assert_eq!(rounds("A: "), ["A: round 1 of 2", "A: round 2 of 2"]);
        assert_eq!(rounds("B: "), ["B: round 1 of 3", "B: round 2 of 3", "B: round 3 of 3"]);
        let first = output.line("first exited with code 0: 2 rounds done by process");
        let second = output.line("Process-2 exited with code 0: 3 rounds done by process");
        assert_ne!(number(first), number(second));
    }

    process_with_state: fn process_with_state_gives_its_state_back() {
        assert_eq!(
            run_plain("process_with_state").stdout,
            "low: [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]\n\
             low as it was left here: []\n\
             high: [1000003, 1000033, 1000037, 1000039]\n\
             high as it was left here: []\n"
        );
    }

    pool_squares: fn pool_squares_are_in_the_order_of_the_numbers_whatever_the_chunks() {
        assert_eq!(
            run_plain("pool_squares").stdout,
            "map: [1, 4, 9, 16, 25, 36, 49, 64, 81, 100]\n\
             map in chunks: [1, 4, 9, 16, 25, 36, 49, 64, 81, 100]\n\
             starmap: [6, 20, 42]\n\
             all processes have ended: true\n"
        );
    }

    apply_async_cubes: fn apply_async_cubes_catches_each_failure_where_it_is() {
        let output = run_plain("apply_async_cubes");
        assert_eq!((output.line("2:"), output.line("3:"), output.line("-5:")), ("8", "27", "-125"));
        assert_eq!(output.line("2000: refused:"), "the cube of 2000 is too large");
        assert!(output.line("13: a panic:").contains("nobody has thought of 13"), "{}", output.stdout);
        assert!(output.line("666: a crash:").contains("SIGABRT"), "{}", output.stdout);
        assert!(output.line("get_timeout:").contains("not done yet"), "{}", output.stdout);
        assert!(output.line("after terminate:").contains("cancelled"), "{}", output.stdout);
    }

    pool_callbacks: fn pool_callbacks_have_all_been_called_when_the_pool_has_ended() {
        let output = run_plain("pool_callbacks");
        output.line("5 callbacks were called");
        assert!(output.line("1000 / 0 failed:").contains("divide by zero"), "{}", output.stdout);
        assert_eq!(output.line("1000 / 1 is"), "1000");
        assert_eq!(output.line("1000 / 4 is"), "250");
        assert_eq!(output.line("1000 / 8 is"), "125");
        assert_eq!(output.line("all at once:"), "[100, 50, 20]");
    }

    imap_unordered_images: fn imap_unordered_images_are_all_done_but_for_the_broken_one() {
        let output = run_plain("imap_unordered_images");
        let (done, rest) = output.stdout.split_at(output.stdout.find("failed").expect("one fails"));
        assert_eq!(
            done,
            "stripes-1: 60 × 60\n\
             stripes-2: 60 × 30\n\
             stripes-3: 60 × 20\n\
             stripes-4: 60 × 15\n\
             stripes-5: 60 × 12\n\
             stripes-6: 60 × 10\n"
        );
        assert!(rest.starts_with("failed: broken: ") && rest.ends_with("\n6 thumbnails of 7 files\n"), "{rest}");
        assert!(output.stderr.contains("7 of 7"), "{}", output.stderr);
    }

    chunked_sum: fn chunked_sum_is_that_of_one_process() {
        let output = run_plain("chunked_sum");
        assert!(output.line("10 parts:").starts_with("[5000050000, 15000050000,"), "{}", output.stdout);
        for line in ["the sum of all:", "the same in place:", "to compare, in this process:"] {
            assert_eq!(output.line(line), "500000500000");
        }
    }

    apply_against_apply_async: fn apply_against_apply_async_gives_the_same_and_both_times() {
        let output = run_plain("apply_against_apply_async");
        for line in ["apply, one by one:", "apply_async, all at once:"] {
            let time = output.line(line).strip_prefix("[1, 4, 9, 16] in ").expect("the squares, and a time");
            assert!(number(time) > 0 && time.ends_with('s'), "{time}");
        }
    }

    submit_map_as_completed: fn submit_map_as_completed_gives_every_result() {
        let output = run_plain("submit_map_as_completed");
        assert_eq!((output.line("submit:"), output.line("map:")), ("1024", "[1, 8, 27, 64, 125]"));
        // In the order of their times, on a machine that has one to spare.
        let completed = output.stdout.lines().filter_map(|line| line.strip_prefix("as_completed: "));
        let mut completed: Vec<_> = completed.collect();
        completed.sort_unstable();
        assert_eq!(completed, ["twice 1 is 2", "twice 2 is 4", "twice 3 is 6"]);
        assert_eq!(output.line("tasks that are left:"), "0");
    }
}
