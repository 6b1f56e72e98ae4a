//! Runs every contestant on every workload it can do, interleaved, and prints what came of it.

mod build;
mod commits;
mod instructions;
mod json;
mod machine;
mod options;
mod peers;
mod plan;
mod results;
mod run;
mod table;

use std::process::exit;
use std::time::Instant;

use options::{Mode, Options};
use plan::{Contestant, Workload};
use results::Results;
use run::Cell;

/// The first argument of a program that is started to be a contestant.
pub(crate) const CONTESTANT: &str = "--contestant";

/// The first argument of a program whose instructions are counted.
pub(crate) const COUNTED: &str = "--counted";

/// What takes longer than this in one round is measured in the first rounds only.
const SLOW: f64 = 2.5;
const ROUNDS_OF_SLOW: usize = 3;

pub(crate) fn main(words: &[&str]) {
    let options = match Options::read(words) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}");
            exit(2);
        }
    };
    match &options.mode {
        Mode::Help => print!("{}", options::HELP),
        Mode::Compare => compare(&options),
        Mode::Commits(before, after) => commits::commits(before, after, &options),
        Mode::Instructions => instructions::instructions(&options),
    }
}

fn compare(options: &Options) {
    let (contestants, skipped) = peers::ready(options);
    for (name, reason) in &skipped {
        println!("SKIPPED: {name}: {reason}");
    }
    let workloads = options.workloads();
    let results = measure(&workloads, &contestants, options);
    let page = table::page(&results, &workloads, &contestants, &skipped, options);
    println!("{page}");
    if let Some(path) = &options.json {
        json::write(path, &json::document(&results, &workloads, &contestants, &skipped));
    }
    if options.readme {
        table::into_readme(&page);
    }
    if results.failed() {
        exit(1);
    }
}

/// Round by round, each contestant in its turn, so that what disturbs the machine for a while disturbs all.
fn measure(workloads: &[&'static Workload], contestants: &[Contestant], options: &Options) -> Results {
    let mut results = Results::default();
    for workload in workloads {
        let begun = Instant::now();
        let able: Vec<_> = contestants.iter().filter(|contestant| contestant.does(workload)).collect();
        if workload.together {
            let cells: Vec<_> =
                able.iter().map(|contestant| Cell::start(contestant, workload, options)).collect();
            for (contestant, cell) in able.iter().zip(cells) {
                results.note(workload, contestant, 0, cell.finish());
            }
            eprintln!("{} took {} s", workload.name, begun.elapsed().as_secs());
            continue;
        }
        // Who hangs or fails does so in each round: it is told once and not waited for again.
        let mut rounds_of: Vec<_> = able.iter().map(|_| options.rounds).collect();
        for round in 0..options.rounds {
            for (contestant, rounds) in able.iter().zip(&mut rounds_of) {
                if round >= *rounds {
                    continue;
                }
                run::progress(&format!(
                    "{} {}/{} {}",
                    workload.name,
                    round + 1,
                    options.rounds,
                    contestant.name
                ));
                let samples = if options.quick { workload.samples.min(3) } else { workload.samples };
                let said: Vec<_> =
                    (0..samples).map(|_| Cell::start(contestant, workload, options).finish()).collect();
                let said = run::Said::middle(said);
                if said.seconds > SLOW {
                    *rounds = (*rounds).min(ROUNDS_OF_SLOW);
                }
                if said.error.is_some() {
                    *rounds = 0;
                }
                results.note(workload, contestant, round, said);
            }
        }
        run::progress("");
        eprintln!("{} took {} s", workload.name, begun.elapsed().as_secs());
    }
    results
}
