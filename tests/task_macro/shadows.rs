//! Names that the expansion may not take from its surroundings.

#![allow(dead_code, unused_macros)]

use super::task;

mod core {}
mod std {}
mod procpool {}
mod serde {}
struct Option;
struct Vec;
struct Box;
trait Clone {}
trait Deref {}
trait Future {}
macro_rules! concat {
    () => {};
}
macro_rules! line {
    () => {};
}

#[task(timeout = "1s")]
async fn shadowed(numbers: &[u64], argument_1: &str) -> u64 {
    numbers[0] + argument_1.len() as u64
}

#[test]
fn shadowed_names_do_not_reach_the_expansion() {
    assert_eq!(super::ready(shadowed(&[1], "x")), 2);
}
