//! A list that many processes use.

use std::marker::PhantomData;

use procpool_macros::managed;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::call::MethodCall;
use super::dict::{all, some};
use super::parcel::Parcel;
use super::{Manager, with_parcel};

/// Encoded values.
#[derive(Default)]
struct RawList(Vec<Parcel>);

#[managed]
impl RawList {
    pub(super) fn new() -> RawList {
        RawList::default()
    }

    pub(super) fn push(&mut self, value: Parcel) {
        self.0.push(value);
    }

    pub(super) fn extend(&mut self, values: Vec<Parcel>) {
        self.0.extend(values);
    }

    pub(super) fn pop(&mut self) -> Option<Parcel> {
        self.0.pop()
    }

    pub(super) fn insert(&mut self, index: usize, value: Parcel) {
        self.0.insert(index.min(self.0.len()), value);
    }

    pub(super) fn remove(&mut self, index: usize) -> Option<Parcel> {
        (index < self.0.len()).then(|| self.0.remove(index))
    }

    pub(super) fn get(&self, index: usize) -> Option<Parcel> {
        self.0.get(index).cloned()
    }

    pub(super) fn set(&mut self, index: usize, value: Parcel) -> Option<Parcel> {
        self.0.get_mut(index).map(|place| std::mem::replace(place, value))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn to_vec(&self) -> Vec<Parcel> {
        self.0.clone()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// A list in a [`Manager`], which many processes use: Python's `Manager().list()`.
///
/// Each method is one step for all others, as of a [`DictProxy`](super::DictProxy). Where Python raises an `IndexError`,
/// there is `None`.
///
/// # Examples
///
/// ```
/// use procpool::Manager;
///
/// let manager = Manager::new()?;
/// let words = manager.list::<String>().result()?;
/// words.push(&"world".to_owned()).result()?;
/// words.insert(0, &"hello".to_owned()).result()?;
/// assert_eq!(words.to_vec().result()?, ["hello", "world"]);
/// assert_eq!(words.set(7, &"out of it".to_owned()).result()?, None);
/// assert_eq!(words.remove(0).result()?, Some("hello".to_owned()));
///
/// // A list of lists: each is one for all who have its proxy.
/// let table = manager.list().result()?;
/// table.push(&words).result()?;
/// words.push(&"again".to_owned()).result()?;
/// assert_eq!(table.get(0).result()?.expect("a row").len().result()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct ListProxy<T> {
    raw: RawListProxy,
    #[serde(skip)]
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for ListProxy<T> {
    fn clone(&self) -> Self {
        ListProxy { raw: self.raw.clone(), of: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> ListProxy<T> {
    pub(super) fn new(manager: &Manager) -> MethodCall<Self> {
        RawListProxy::new(manager).reading(|reply| Ok(ListProxy { raw: reply.open()?, of: PhantomData }))
    }

    /// Puts a value at the end. Python's `append`.
    pub fn push(&self, value: &T) -> MethodCall<()> {
        with_parcel("push", value, Parcel::open, |value| self.raw.push(value))
    }

    /// Puts all of these at the end, in one step.
    pub fn extend<'a>(&self, values: impl IntoIterator<Item = &'a T>) -> MethodCall<()>
    where
        T: 'a,
    {
        match values.into_iter().map(|value| Parcel::of("extend", value)).collect() {
            Ok(values) => self.raw.extend(values),
            Err(error) => MethodCall::failed("extend", error, Parcel::open),
        }
    }

    /// Takes the last value out.
    pub fn pop(&self) -> MethodCall<Option<T>> {
        self.raw.pop().reading(some)
    }

    /// Puts a value before the one at this place; at the end, if there are not so many, as Python does.
    pub fn insert(&self, index: usize, value: &T) -> MethodCall<()> {
        with_parcel("insert", value, Parcel::open, |value| self.raw.insert(index, value))
    }

    /// Takes the value at this place out. Python's `pop(index)`.
    pub fn remove(&self, index: usize) -> MethodCall<Option<T>> {
        self.raw.remove(index).reading(some)
    }

    /// The value at this place. Python's `l[index]`.
    pub fn get(&self, index: usize) -> MethodCall<Option<T>> {
        self.raw.get(index).reading(some)
    }

    /// Puts a value in the place of another, and gives that. `None` if there is no such place, and nothing has changed.
    pub fn set(&self, index: usize, value: &T) -> MethodCall<Option<T>> {
        with_parcel("set", value, some, |value| self.raw.set(index, value).reading(some))
    }

    /// How many values there are.
    pub fn len(&self) -> MethodCall<usize> {
        self.raw.len()
    }

    /// All values, of one moment. Python's `l[:]`.
    pub fn to_vec(&self) -> MethodCall<Vec<T>> {
        self.raw.to_vec().reading(all)
    }

    /// Takes all values out.
    pub fn clear(&self) -> MethodCall<()> {
        self.raw.clear()
    }
}
