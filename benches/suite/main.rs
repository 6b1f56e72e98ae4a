//! Measures procpool beside the limits of the machine and beside its peers, in one run: `cargo bench -- --help`.
//!
//! This program is the driver, and it is procpool's and the raw limits' contestant when it is started again as such.
//! `README.md` in the folder above says what is measured, and what a reader should not conclude from it.

#![allow(unreachable_pub, reason = "a program exports nothing, and `pub` marks what its modules may use")]

mod contest;
mod driver;
mod ours;
mod raw;

use std::env;

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    if words.is_empty() {
        // This is how `cargo test --all-targets` starts it, which wants no ten minutes of measuring.
        return println!("`cargo bench` measures; see `cargo bench -- --help`");
    }
    let words: Vec<String> = words.into_iter().filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [raw::OTHER_SIDE, kind] => raw::be_other_side(kind),
        [driver::CONTESTANT, contestant, workload, size] => {
            let size = contest::Size::named(size).expect("the driver knows the sizes");
            let known = match contestant {
                "procpool" => ours::run(workload, size),
                _ => raw::run(contestant, workload, size),
            };
            assert!(known, "{contestant} and {workload} are known");
        }
        [driver::COUNTED, tasks] => ours::counted(tasks.parse().expect("a number of tasks")),
        _ => driver::main(&words),
    }
}
