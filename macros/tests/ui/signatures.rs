//! Functions that cannot be tasks: each is refused where the trouble is, with a way out.

#![allow(unused_variables)]

use procpool::task;

#[task]
fn generic<T>(value: T) {}

#[task]
fn of_length<const N: usize>(bytes: [u8; N]) {}

#[task]
fn bounded<'a, 'b: 'a>(x: &'a str, y: &'b str) {}

#[task]
fn with_clause(value: u8)
where
    u8: Copy,
{
}

#[task]
fn opaque_argument(value: &impl ToString) {}

#[task]
fn opaque_result() -> impl Iterator<Item = u8> {
    0..1
}

#[task]
unsafe fn dangerous() {}

#[task]
extern "C" fn foreign() {}

#[task]
const fn early() {}

#[task]
fn changing(values: &mut Vec<u8>) {}

#[task]
fn changing_inside(values: Option<&mut [u8]>) {}

#[task]
fn kept_for_ever(text: &'static str) {}

#[task]
fn lends(text: &str) -> &str {
    text
}

#[task]
fn lends_inside(text: &str) -> Result<std::borrow::Cow<'_, str>, u8> {
    Ok(text.into())
}

#[task]
fn never() -> ! {
    std::process::exit(1)
}

#[task]
fn thirteen(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: u8, m: u8) {}

#[task]
fn configured(#[cfg(unix)] a: u8) {}

#[task]
#[unsafe(no_mangle)]
fn exported() {}

#[task]
fn several_at_once<T>(value: &mut T) -> &T {
    value
}

fn main() {
    dangerous_stays_callable();
}

fn dangerous_stays_callable() {
    // A refused function is still there, so that its callers get no errors of their own.
    unsafe { dangerous() }
    generic(1);
}
