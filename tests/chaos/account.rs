//! The account: what was accepted, what came of it, and what was done to the workers.

use std::collections::BTreeMap;
use std::fmt;

/// Counts of one round, or of all.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) rounds: u64,
    pub(crate) accepted: u64,
    /// Outcomes by kind.
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
    /// What was done to workers from outside, by kind.
    pub(crate) injected: BTreeMap<&'static str, u64>,
    /// What tasks did to their own worker, by kind.
    pub(crate) crashes: BTreeMap<&'static str, u64>,
    /// Ends of workers, by what the pool said.
    pub(crate) ends: BTreeMap<&'static str, u64>,
    /// Bodies that ran more than once because that was asked for.
    pub(crate) retried: u64,
}

impl Account {
    pub(crate) fn add(&mut self, other: &Account) {
        self.rounds += other.rounds;
        self.accepted += other.accepted;
        self.retried += other.retried;
        for (mine, others) in [
            (&mut self.outcomes, &other.outcomes),
            (&mut self.injected, &other.injected),
            (&mut self.crashes, &other.crashes),
            (&mut self.ends, &other.ends),
        ] {
            for (kind, count) in others {
                *mine.entry(kind).or_default() += count;
            }
        }
    }

    /// Deaths that were brought about, from outside and inside.
    pub(crate) fn deaths(&self) -> u64 {
        let outside =
            self.injected.iter().filter(|(kind, _)| kind.starts_with("SIG")).map(|(_, count)| count);
        outside.chain(self.crashes.values()).sum()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} pools, {} tasks accepted, {} deaths injected",
            self.rounds,
            self.accepted,
            self.deaths()
        )?;
        for (title, rows) in [
            ("what was done to workers", &self.injected),
            ("what tasks did to their worker", &self.crashes),
            ("how workers ended", &self.ends),
            ("what came of the tasks", &self.outcomes),
        ] {
            writeln!(f, "  {title}")?;
            for (kind, count) in rows {
                writeln!(f, "    {count:>9}  {kind}")?;
            }
        }
        writeln!(f, "  bodies that ran again because it was asked for: {}", self.retried)?;
        write!(
            f,
            "the account balances: each task has one outcome, nothing ran twice unasked, nothing is unexplained"
        )
    }
}
