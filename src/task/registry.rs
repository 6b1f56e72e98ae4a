//! The table of all tasks of this program, filled by the linker.
//!
//! Both sides of the boundary run the same program, so both sort the same entries into the same order: a
//! task's number is its place in that order, and the hand-shake compares [`Registry::fingerprint`]. Nothing on
//! the wire is an address.

use std::any::Any;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Call, Reply};

/// Every `#[task]` of the program; the attribute adds to it.
#[doc(hidden)]
#[linkme::distributed_slice]
pub static TASKS: [Entry];

/// One registered task. Made by `#[task]` only.
#[doc(hidden)]
#[derive(Debug)]
pub struct Entry {
    pub name: &'static str,
    /// `name = "…"` was written; such a name must be unique in the program.
    pub named: bool,
    /// The signature as written, so that a changed argument type changes the fingerprint.
    pub signature: &'static str,
    pub file: &'static str,
    pub line: u32,
    pub column: u32,
    pub run: fn(Call<'_, '_>) -> Reply,
    /// Milliseconds of `timeout = "…"`.
    pub timeout_ms: Option<u64>,
    /// `on_cancel = "…"`.
    pub on_cancel: Option<WrittenOnCancel>,
    /// `retries = …`.
    pub retries: Option<u32>,
    /// It returns a `Result`.
    pub fallible: bool,
    /// It is a method: whether of this object.
    pub method: Option<fn(&dyn Any) -> bool>,
    #[doc(hidden)]
    pub number: Numbered,
}

/// What `on_cancel = "…"` may say.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum WrittenOnCancel {
    Finish,
    Cooperate,
    Kill,
}

/// Tells, of the type that a task returns, whether it is a `Result`: the constant of the type itself is found
/// before that of the trait.
#[doc(hidden)]
#[derive(Debug)]
pub struct Returns<T>(std::marker::PhantomData<T>);

impl<T, E> Returns<Result<T, E>> {
    #[doc(hidden)]
    pub const A_RESULT: bool = true;
}

#[doc(hidden)]
pub trait ReturnsAnything {
    #[doc(hidden)]
    const A_RESULT: bool = false;
}

impl<T> ReturnsAnything for Returns<T> {}

/// Where the registry leaves an entry's number.
#[doc(hidden)]
#[derive(Debug)]
pub struct Numbered(AtomicU32);

impl Numbered {
    #[doc(hidden)]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Numbered(AtomicU32::new(u32::MAX))
    }
}

/// A task on the wire: its place in the sorted table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskNumber(pub(crate) u32);

/// Two tasks that claim one name.
#[derive(Clone, Debug)]
pub(crate) struct Duplicate {
    pub(crate) name: String,
    pub(crate) first: String,
    pub(crate) second: String,
}

/// The sorted table.
#[derive(Debug)]
pub(crate) struct Registry {
    entries: Vec<&'static Entry>,
    duplicate: Option<Duplicate>,
    fingerprint: u64,
}

impl Registry {
    /// The table of this program; sorted and numbered at the first call.
    pub(crate) fn get() -> &'static Registry {
        static REGISTRY: OnceLock<Registry> = OnceLock::new();
        REGISTRY.get_or_init(|| Registry::new(&TASKS))
    }

    fn new(tasks: &'static [Entry]) -> Registry {
        let mut entries: Vec<_> = tasks.iter().collect();
        entries.sort_by_key(|entry| (entry.name, entry.file, entry.line, entry.column));
        let mut hasher = DefaultHasher::new();
        env!("CARGO_PKG_VERSION").hash(&mut hasher);
        for (number, entry) in (0..).zip(&entries) {
            entry.number.0.store(number, Ordering::Relaxed);
            (entry.name, entry.signature, entry.file, entry.line, entry.column).hash(&mut hasher);
        }
        // Functions in different scopes of one module may share a name; a name that somebody chose may not.
        let duplicate = entries
            .windows(2)
            .find(|pair| pair[0].name == pair[1].name && pair.iter().any(|entry| entry.named))
            .map(|pair| Duplicate {
                name: pair[0].name.to_owned(),
                first: pair[0].place(),
                second: pair[1].place(),
            });
        Registry { entries, duplicate, fingerprint: hasher.finish() }
    }

    /// A name that two tasks claim, if there is one.
    pub(crate) fn duplicate(&self) -> Option<&Duplicate> {
        self.duplicate.as_ref()
    }

    /// The task with this number.
    #[inline]
    pub(crate) fn entry(&self, number: TaskNumber) -> Option<&'static Entry> {
        self.entries.get(usize::try_from(number.0).ok()?).copied()
    }

    /// The number of a task.
    #[inline]
    pub(crate) fn number(&self, entry: &'static Entry) -> TaskNumber {
        TaskNumber(entry.number.0.load(Ordering::Relaxed))
    }

    /// Equal in two processes when their task tables are.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl Entry {
    /// Its attribute says nothing of how it is run.
    #[inline]
    pub(crate) fn has_no_options(&self) -> bool {
        self.timeout_ms.is_none() && self.on_cancel.is_none() && self.retries.is_none()
    }

    /// `file:line`, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn entry(name: &'static str, named: bool, line: u32) -> Entry {
        Entry {
            name,
            named,
            signature: "fn()",
            file: "src/x.rs",
            line,
            column: 1,
            run: |call| call.run(|()| ()),
            timeout_ms: None,
            on_cancel: None,
            retries: None,
            fallible: false,
            method: None,
            number: Numbered::new(),
        }
    }

    fn registry(entries: Vec<Entry>) -> Registry {
        Registry::new(Box::leak(entries.into_boxed_slice()))
    }

    #[test]
    fn two_tasks_of_one_chosen_name_are_told_with_both_places() {
        let table = registry(vec![entry("a", true, 3), entry("b", false, 4), entry("a", false, 9)]);
        let duplicate = table.duplicate().unwrap();
        assert_eq!(
            (duplicate.name.as_str(), duplicate.first.as_str(), duplicate.second.as_str()),
            ("a", "src/x.rs:3", "src/x.rs:9")
        );
    }

    #[test]
    fn functions_of_one_name_in_different_scopes_are_different_tasks() {
        let table = registry(vec![entry("a", false, 9), entry("a", false, 3)]);
        assert!(table.duplicate().is_none());
        assert_eq!(table.entry(TaskNumber(0)).unwrap().line, 3);
        assert_eq!(table.number(table.entry(TaskNumber(1)).unwrap()), TaskNumber(1));
        assert!(table.entry(TaskNumber(2)).is_none());
    }

    #[test]
    fn the_fingerprint_follows_the_table() {
        let one = registry(vec![entry("a", false, 9)]);
        let same = registry(vec![entry("a", false, 9)]);
        let moved = registry(vec![entry("a", false, 10)]);
        assert_eq!(one.fingerprint(), same.fingerprint());
        assert_ne!(one.fingerprint(), moved.fingerprint());
    }
}
