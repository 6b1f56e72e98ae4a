//! The command line.

use std::path::PathBuf;

use super::plan::{WORKLOADS, Workload};

pub(super) const HELP: &str = "\
cargo bench -- [options]

Measures procpool beside the limits of this machine and beside its peers, and prints one table.

  --only A,B       these workloads only: latency, async, throughput, map, bytes, start, spawn, crash, skew,
                   efficiency, memory, warmed, growth, locks, pipes, queues,
                   manager, idle
  --rounds N       so many rounds; the figures are their medians (5)
  --quick          a fraction of all, in one round: to see that everything works
  --no-peers       procpool and the raw limits only: nothing is installed
  --json FILE      all figures of all rounds, for programs
  --readme         puts the tables into benches/README.md

  --commits A B    compares two commits by procpool's workloads; `.` is what is here now

  --instructions   counts the caller's instructions for each task, by callgrind; fails if one exceeds the limit of
                   benches/instructions.txt by more than 2 %
  --renew          with that: writes the limits anew
";

#[derive(Debug, Eq, PartialEq)]
pub(super) enum Mode {
    Help,
    Compare,
    /// Two states of procpool instead of procpool and others.
    Commits(String, String),
    Instructions,
}

#[derive(Debug)]
pub(super) struct Options {
    pub(super) mode: Mode,
    pub(super) only: Option<Vec<String>>,
    pub(super) rounds: usize,
    pub(super) quick: bool,
    pub(super) peers: bool,
    pub(super) json: Option<PathBuf>,
    pub(super) readme: bool,
    pub(super) renew: bool,
}

impl Options {
    pub(super) fn read(words: &[&str]) -> Result<Options, String> {
        let mut options = Options {
            mode: Mode::Compare,
            only: None,
            rounds: 0,
            quick: false,
            peers: true,
            json: None,
            readme: false,
            renew: false,
        };
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value: see --help"));
            match word {
                "--help" | "-h" => options.mode = Mode::Help,
                "--only" => options.only = Some(value()?.split(',').map(str::to_owned).collect()),
                "--rounds" => {
                    options.rounds =
                        value()?.parse().ok().filter(|&rounds| rounds > 0).ok_or("--rounds needs a number")?
                }
                "--quick" => options.quick = true,
                "--no-peers" => options.peers = false,
                "--json" => options.json = Some(value()?.into()),
                "--commits" => options.mode = Mode::Commits(value()?.to_owned(), value()?.to_owned()),
                "--instructions" => options.mode = Mode::Instructions,
                "--renew" => options.renew = true,
                "--readme" => options.readme = true,
                _ => return Err(format!("{word} is no option: see --help")),
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.quick { 1 } else { 5 };
        }
        for name in options.only.iter().flatten() {
            if !WORKLOADS.iter().any(|workload| workload.name == name) {
                return Err(format!("{name} is no workload: see --help"));
            }
        }
        Ok(options)
    }

    pub(super) fn workloads(&self) -> Vec<&'static Workload> {
        let wanted = |workload: &&Workload| {
            self.only.as_ref().is_none_or(|only| only.iter().any(|name| name == workload.name))
        };
        WORKLOADS.iter().filter(wanted).collect()
    }

    pub(super) fn size(&self) -> &'static str {
        if self.quick { "quick" } else { "full" }
    }
}
