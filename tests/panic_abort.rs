//! In a program built with `panic = "abort"` a panic costs its worker, and is told all the same (F07).

mod fixtures;
mod support;

use fixtures::{ended, program, tests_with};

tests_with! {
    Aborting;

    fn the_abort_comes_with_the_text_and_the_place_of_the_panic() {
        let (told, code) = ended(program("aborting").env("RUST_BACKTRACE", "0"));
        assert_eq!(code, Some(0), "{told}");
        let lines: Vec<_> = told.lines().collect();
        let expected = [
            ("number 11", "15:19"),
            ("called `Result::unwrap()` on an `Err` value: ParseIntError { kind: InvalidDigit }", "16:45"),
            ("non-string payload", "17:14"),
        ];
        assert_eq!(lines.len(), 2 * expected.len(), "{told}");
        for (pair, (message, place)) in lines.chunks(2).zip(expected) {
            let fields: Vec<_> = pair[0].split('|').collect();
            assert_eq!(fields[0], "killed by signal 6 (SIGABRT)");
            assert_eq!(fields[1], message);
            assert!(fields[2].ends_with(&format!("src/main.rs:{place}\")")), "{}", fields[2]);
            // Its body had started, and nobody can say how far it came.
            assert_eq!((fields[3], fields[4]), ("Running", "Maybe"));
            assert_eq!(pair[1], "42", "the pool goes on");
        }
    }
}
