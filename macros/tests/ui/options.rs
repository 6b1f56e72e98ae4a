//! Options that are not understood.

use procpool::task;

const NAME: &str = "name";

#[task(retry = 2)]
fn unknown() {}

#[task(name = "a", timeout = "1s", name = "b")]
fn repeated() {}

#[task(name = "")]
fn nameless() {}

#[task(name = NAME)]
fn named_by_a_constant() {}

#[task(timeout = "0s")]
fn no_time() {}

#[task(timeout = "30")]
fn no_unit() {}

#[task(timeout = 30)]
fn no_text() {}

#[task(timeout)]
fn no_value() {}

#[task(timeout = "9999999999999h")]
fn too_much_time() {}

#[task(on_cancel = "stop")]
fn stops() {}

#[task("name")]
fn literal() {}

#[task(name = "a" timeout = "1s")]
fn no_comma() {}

fn main() {}
