//! Types that serde does not know: said at the type, once per missing trait.

#![allow(unused_variables)]

use procpool::task;

struct Plain;

#[derive(serde::Serialize)]
struct OneWay;

#[task]
fn takes(value: Plain) {}

#[task]
fn takes_among_others(text: &str, value: &[Plain], n: u64) {}

#[task]
fn takes_one_way(value: &OneWay) {}

#[task]
fn gives() -> Plain {
    Plain
}

#[task]
async fn gives_among_others(n: u64) -> (u64, Plain) {
    (n, Plain)
}

fn main() {}
