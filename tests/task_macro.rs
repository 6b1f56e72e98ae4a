//! `#[task]` takes every function that can cross to another process, and its users' lints stay quiet.

#![forbid(unsafe_code)]
#![deny(
    warnings,
    elided_lifetimes_in_paths,
    missing_debug_implementations,
    missing_docs,
    rust_2018_idioms,
    single_use_lifetimes,
    trivial_casts,
    unreachable_pub,
    unused_lifetimes,
    unused_qualifications,
    clippy::all
)]

#[path = "task_macro/attributes.rs"]
mod attributes;
#[path = "task_macro/shadows.rs"]
mod shadows;

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::CStr;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, Waker};

use procpool::{Task, task};
use serde::{Deserialize, Serialize};

/// Accepts what `submit` accepts, and says which task it is for.
fn takes<T: Task>(_task: T, _args: T::Args<'_>) -> &'static str {
    T::NAME
}

/// Accepts a task with just this result.
fn gives<T: Task<Output = R>, R>(_task: T, _result: R) {}

/// The value of a future that never waits.
fn ready<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future waits"),
    }
}

#[task]
fn nothing() {}

/// Counts.
#[task]
pub fn count(text: &str, n: u64) -> u64 {
    text.len() as u64 + n
}

#[task]
fn is_prime(n: u64) -> bool {
    n > 1 && (2..n).all(|divisor| !n.is_multiple_of(divisor))
}

#[test]
fn a_task_is_still_an_ordinary_function() {
    nothing();
    assert_eq!(count("abc", 3), 6);
    assert_eq!([2, 3, 4].map(*is_prime), [true, true, false]);
    assert_eq!(format!("{count:?}"), "count");
}

#[test]
fn arguments_are_none_one_or_a_tuple_and_literals_need_no_type() {
    let text = String::from("x");
    takes(nothing, ());
    takes(is_prime, 112_272_535_095_293);
    takes(count, (&text, 3));
    gives(nothing, ());
    gives(is_prime, true);
    gives(count, 6);
}

mod names {
    use super::{Task, takes, task};

    #[task]
    pub(super) fn by_path() {}

    #[task(name = "chosen")]
    pub(crate) fn by_choice() {}

    #[task]
    fn r#type() {}

    #[test]
    fn a_task_is_named_by_its_path_or_as_it_says() {
        assert_eq!(takes(by_path, ()), "task_macro::names::by_path");
        assert_eq!(takes(by_choice, ()), "chosen");
        assert_eq!(takes(r#type, ()), "task_macro::names::type");
        assert_eq!(<by_path as Task>::NAME, "task_macro::names::by_path");
        r#type();
    }
}

#[test]
fn functions_of_one_name_in_different_scopes_are_different_tasks() {
    fn first() -> u8 {
        #[task]
        fn inner() -> u8 {
            1
        }
        takes(inner, ());
        inner()
    }
    fn second() -> u8 {
        #[task]
        fn inner() -> u8 {
            2
        }
        takes(inner, ());
        inner()
    }
    assert_eq!((first(), second()), (1, 2));
    names::by_path();
    names::by_choice();
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Owned {
    text: String,
}

#[derive(Serialize, Deserialize)]
struct Lending<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

#[task]
fn lent(
    bytes: &[u8],
    numbers: &[u64],
    path: &Path,
    zero: &CStr,
    owned: &Owned,
    map: &HashMap<String, u8>,
) -> PathBuf {
    path.join(format!("{}{}{}{}{}", bytes.len(), numbers.len(), zero.count_bytes(), owned.text, map.len()))
}

#[task]
fn nested(
    maybe: Option<&str>,
    pair: (&str, u8),
    cow: Cow<'_, str>,
    own: Lending<'_>,
    list: &[&str],
) -> String {
    format!("{maybe:?}{pair:?}{cow}{}{list:?}", own.text)
}

#[task]
fn with_lifetimes<'a, 'b>(x: &'a str, y: &'a str, z: Cow<'b, str>, w: &'b str) -> usize {
    fn longer<'c>(x: &'c str, y: &'c str) -> &'c str {
        if x.len() > y.len() { x } else { y }
    }
    longer(x, y).len() + longer(&z, w).len()
}

const WIDTH: usize = 3;

#[task]
fn array(bytes: [u8; WIDTH & 3], boxed: Option<Box<str>>, (): ()) -> [u8; WIDTH] {
    assert!(boxed.is_none());
    bytes
}

#[test]
fn arguments_can_be_borrowed() {
    let (text, owned) = (String::from("b"), Owned { text: "o".into() });
    let map = HashMap::new();
    takes(lent, (text.as_bytes(), &[1, 2], Path::new("p"), c"z", &owned, &map));
    assert_eq!(lent(b"b", &[1, 2], Path::new("p"), c"z", &owned, &map), Path::new("p/121o0"));
    let own = || Lending { text: Cow::Borrowed(&text) };
    takes(nested, (Some(&text), (&text, 1), Cow::Borrowed(&text), own(), &[&text]));
    assert_eq!(nested(None, (&text, 1), "c".into(), own(), &[]), "None(\"b\", 1)cb[]");
    takes(with_lifetimes, (&text, "ab", Cow::Borrowed("z"), &text));
    assert_eq!(with_lifetimes(&text, "ab", Cow::Borrowed("z"), &text), 3);
    takes(array, ([1, 2, 3], None, ()));
    assert_eq!(array([1, 2, 3], None, ()), [1, 2, 3]);
}

#[task]
fn patterns((a, b): (u8, u8), mut c: u8, _: u8, [d, ..]: [u8; 2], Owned { text }: Owned) -> String {
    c += a + b + d;
    format!("{c}{text}")
}

#[task]
#[allow(clippy::too_many_arguments)]
#[rustfmt::skip]
fn twelve(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: &str) -> usize {
    usize::from(a + b + c + d + e + f + g + h + i + j + k) + l.len()
}

#[test]
fn arguments_can_be_patterns() {
    assert_eq!(patterns((1, 2), 3, 4, [5, 6], Owned { text: "t".into() }), "11t");
    takes(patterns, ((1, 2), 3, 4, [5, 6], Owned { text: "t".into() }));
    takes(twelve, (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "a"));
    assert_eq!(twelve(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, "a"), 12);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Refused {
    Negative,
}

#[task]
fn root(n: f64) -> Result<f64, Refused> {
    if n < 0.0 { Err(Refused::Negative) } else { Ok(n.sqrt()) }
}

#[task]
fn borrowed_for_ever(n: u8) -> Cow<'static, str> {
    if n == 0 { "zero".into() } else { n.to_string().into() }
}

#[test]
fn results_can_be_results() {
    gives(root, Err(Refused::Negative));
    assert_eq!(root(4.0), Ok(2.0));
    assert_eq!(root(-4.0), Err(Refused::Negative));
    gives(borrowed_for_ever, "".into());
    assert_eq!(borrowed_for_ever(0), "zero");
}

#[task]
async fn greet(name: &str, title: Cow<'_, str>, times: usize) -> String {
    std::future::ready(()).await;
    format!("{title} {name}").repeat(times)
}

#[task]
async fn countdown(n: u64) -> u64 {
    if n == 0 { 0 } else { 1 + countdown(n - 1).await }
}

#[task]
async fn pause() {}

#[test]
fn a_task_can_be_async() {
    let name = String::from("x");
    takes(greet, (&name, "Dr".into(), 2));
    gives(greet, String::new());
    assert_eq!(ready(greet(&name, "Dr".into(), 2)), "Dr xDr x");
    assert_eq!(ready(countdown(3)), 3);
    ready(pause());
    takes(pause, ());
}

#[task]
fn factorial(n: u64) -> u64 {
    assert!(takes(factorial, n).ends_with("factorial"));
    if n == 0 { 1 } else { n * factorial(n - 1) }
}

fn call() -> u8 {
    7
}

#[allow(non_upper_case_globals)]
const __PROCPOOL: u8 = 1;

#[task]
fn uses_its_neighbours() -> u8 {
    call() + __PROCPOOL
}

#[test]
fn the_body_sees_the_task_and_its_neighbours_and_nothing_else() {
    assert_eq!(factorial(5), 120);
    assert_eq!(uses_its_neighbours(), 8);
}

#[task(timeout = "1m30s", on_cancel = "kill", name = "with all options")]
fn options() {}

mod renamed {
    pub(super) mod deep {
        pub(crate) use ::procpool as pool;
    }
}

#[task(crate = renamed::deep::pool)]
async fn elsewhere(text: &str, numbers: &[u8]) -> usize {
    text.len() + numbers.len()
}

#[test]
fn options_are_taken() {
    options();
    assert_eq!(takes(options, ()), "with all options");
    assert_eq!(<options as Task>::ENTRY.timeout_ms, Some(90_000));
    assert_eq!(
        <options as Task>::ENTRY.on_cancel.map(|written| format!("{written:?}")).as_deref(),
        Some("Kill")
    );
    assert!(<options as Task>::ENTRY.named);
    assert!(!<count as Task>::ENTRY.named);
    assert_eq!(<count as Task>::ENTRY.timeout_ms, None);
    assert!(<count as Task>::ENTRY.on_cancel.is_none());
    takes(elsewhere, ("", &[]));
    assert_eq!(ready(elsewhere("a", &[1])), 2);
}

#[test]
fn an_entry_says_where_its_task_is_and_what_it_takes() {
    let entry = <count as Task>::ENTRY;
    assert_eq!(entry.name, "task_macro::count");
    assert_eq!(entry.signature, "fn count(text: &str, n: u64) -> u64");
    assert!(entry.file.ends_with("task_macro.rs"));
    assert!(entry.line > 1);
}

macro_rules! identities {
    ($($name:ident: $ty:ty => $result:ty),*) => {$(
        #[task]
        fn $name(value: $ty, _: u8) -> $result {
            value.to_owned()
        }
    )*};
}

identities!(id_text: &str => String, id_numbers: &[u64] => Vec<u64>, id_path: &'_ Path => PathBuf, id_byte: u8 => u8);

#[test]
fn a_macro_can_make_tasks() {
    takes(id_text, ("x", 0));
    takes(id_numbers, (&[1], 0));
    takes(id_path, (Path::new("x"), 0));
    takes(id_byte, (1, 0));
    assert_eq!(id_text("x", 0), "x");
    assert_eq!(id_numbers(&[1], 0), [1]);
    assert_eq!(id_path(Path::new("x"), 0), Path::new("x"));
    assert_eq!(id_byte(1, 0), 1);
}
