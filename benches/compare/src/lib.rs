//! What the programs of the peers share: the workloads of the suite, and their command line.

#[path = "../../suite/contest/mod.rs"]
pub mod contest;
pub mod lanes;

use contest::{Contestant, Size};

/// The workload and the size that the driver has asked for.
pub fn asked() -> (String, Size) {
    let words: Vec<String> = std::env::args().collect();
    let [.., workload, size] = &words[..] else { panic!("started by the driver only") };
    (workload.clone(), Size::named(size).expect("the driver knows the sizes"))
}

/// Does the workload that was asked for.
pub fn main<C: Contestant>() {
    let (workload, size) = asked();
    assert!(contest::run::<C>(&workload, size), "{workload} is known");
}
