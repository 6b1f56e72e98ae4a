//! All figures of all rounds.

use std::collections::BTreeMap;

use super::plan::{Better, Contestant, Kind, Metric, Workload};
use super::run::Said;

type Place = (&'static str, String, String);

#[derive(Debug, Default)]
pub(super) struct Results {
    /// By workload, metric and contestant: a figure for each round that gave one.
    figures: BTreeMap<Place, BTreeMap<usize, f64>>,
    /// By workload and contestant: what went wrong.
    errors: BTreeMap<(&'static str, String), String>,
    /// Procpool itself or a limit was not measured: that is not a peer's trouble but ours.
    failed: bool,
}

/// The figures of one contestant for one metric.
#[derive(Clone, Debug)]
pub(super) struct Figures<'a> {
    pub(super) contestant: &'a str,
    pub(super) rounds: BTreeMap<usize, f64>,
}

pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => figures[middle],
        _ => (figures[middle - 1] + figures[middle]) / 2.0,
    }
}

/// Smallest, median, largest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) most: f64,
}

impl Spread {
    pub(super) fn of(figures: Vec<f64>) -> Option<Spread> {
        let least = figures.iter().copied().min_by(f64::total_cmp)?;
        let most = figures.iter().copied().max_by(f64::total_cmp)?;
        Some(Spread { least, median: median(figures), most })
    }
}

impl Figures<'_> {
    pub(super) fn spread(&self) -> Spread {
        Spread::of(self.rounds.values().copied().collect()).expect("figures are kept if there is one")
    }

    /// The ratio of each round that both have done, so that a change of the machine between rounds does not count.
    pub(super) fn by(&self, other: &Figures<'_>) -> Option<Spread> {
        let pairs = self.rounds.iter().filter_map(|(round, one)| Some(one / other.rounds.get(round)?));
        Spread::of(pairs.filter(|ratio| ratio.is_finite()).collect())
    }
}

impl Results {
    pub(super) fn note(
        &mut self,
        workload: &'static Workload,
        contestant: &Contestant,
        round: usize,
        said: Said,
    ) {
        for (metric, figure) in said.figures {
            let place = (workload.name, metric, contestant.name.clone());
            self.figures.entry(place).or_default().insert(round, figure);
        }
        if let Some(error) = said.error {
            eprintln!("{} failed in {}: {error}", contestant.name, workload.name);
            self.failed |= matches!(contestant.kind, Kind::Procpool | Kind::Raw);
            self.errors.insert((workload.name, contestant.name.clone()), error);
        }
    }

    pub(super) fn of<'a>(
        &self,
        workload: &Workload,
        metric: &Metric,
        contestant: &'a Contestant,
    ) -> Option<Figures<'a>> {
        let place = (workload.name, metric.name.to_owned(), contestant.name.clone());
        let rounds = self.figures.get(&place)?.clone();
        Some(Figures { contestant: &contestant.name, rounds })
    }

    /// The best of a kind.
    pub(super) fn best<'a>(
        &self,
        workload: &Workload,
        metric: &Metric,
        contestants: &'a [Contestant],
        kind: Kind,
    ) -> Option<Figures<'a>> {
        let of_kind = contestants.iter().filter(|contestant| contestant.kind == kind);
        let figures = of_kind.filter_map(|contestant| self.of(workload, metric, contestant));
        let order = |one: &Figures<'_>, other: &Figures<'_>| {
            let order = one.spread().median.total_cmp(&other.spread().median);
            if metric.better == Better::More { order.reverse() } else { order }
        };
        figures.min_by(order)
    }

    pub(super) fn error(&self, workload: &Workload, contestant: &Contestant) -> Option<&str> {
        self.errors.get(&(workload.name, contestant.name.clone())).map(String::as_str)
    }

    pub(super) fn failed(&self) -> bool {
        self.failed
    }
}
