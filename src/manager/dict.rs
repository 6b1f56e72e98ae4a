//! A dictionary that many processes use.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;

use procpool_macros::managed;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::call::MethodCall;
use super::parcel::Parcel;
use super::{Manager, with_key, with_parcel};

/// Encoded values by encoded keys, in the order in which the keys came.
#[derive(Default)]
pub(super) struct RawDict {
    places: HashMap<Vec<u8>, u64>,
    items: BTreeMap<u64, (Parcel, Parcel)>,
    next: u64,
}

#[managed]
impl RawDict {
    pub(super) fn new() -> RawDict {
        RawDict::default()
    }

    pub(super) fn insert(&mut self, key: Parcel, value: Parcel) -> Option<Parcel> {
        if let Some(&place) = self.places.get(&key.bytes) {
            return self.items.insert(place, (key, value)).map(|(_, before)| before);
        }
        self.places.insert(key.bytes.clone(), self.next);
        self.items.insert(self.next, (key, value));
        self.next += 1;
        None
    }

    pub(super) fn extend(&mut self, items: Vec<(Parcel, Parcel)>) {
        for (key, value) in items {
            self.insert(key, value);
        }
    }

    pub(super) fn get(&self, key: Parcel) -> Option<Parcel> {
        self.item(&key).map(|(_, value)| value.clone())
    }

    pub(super) fn get_or_insert(&mut self, key: Parcel, value: Parcel) -> Parcel {
        if let Some(known) = self.get(key.clone()) {
            return known;
        }
        self.insert(key, value.clone());
        value
    }

    pub(super) fn remove(&mut self, key: Parcel) -> Option<Parcel> {
        let place = self.places.remove(&key.bytes)?;
        self.items.remove(&place).map(|(_, value)| value)
    }

    pub(super) fn contains_key(&self, key: Parcel) -> bool {
        self.places.contains_key(&key.bytes)
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn keys(&self) -> Vec<Parcel> {
        self.items.values().map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn values(&self) -> Vec<Parcel> {
        self.items.values().map(|(_, value)| value.clone()).collect()
    }

    pub(super) fn items(&self) -> Vec<(Parcel, Parcel)> {
        self.items.values().cloned().collect()
    }

    pub(super) fn clear(&mut self) {
        *self = RawDict { next: self.next, ..RawDict::default() };
    }
}

impl RawDict {
    fn item(&self, key: &Parcel) -> Option<&(Parcel, Parcel)> {
        self.items.get(self.places.get(&key.bytes)?)
    }
}

/// A dictionary in a [`Manager`], which many processes use: Python's `Manager().dict()`.
///
/// Its items are in the order in which their keys came, as in Python. Two keys are the same if they encode the same, so a
/// borrowed key must encode as the owned one does, as `str` for `String` and `[T]` for `Vec<T>`. A key holds no handles. What
/// is asked for as a whole can hold [253](crate::Descriptor) proxies or descriptors.
/// Values may hold handles and proxies: a [`ListProxy`](super::ListProxy) in a dictionary is one list for all who get it.
/// In Python, so is a list that was put in by its proxy; a plain one is a copy that nobody sees the changes of.
///
/// Each method is one step for all others. What takes several, such as adding to a number, can be interrupted by
/// others in between: such an object is one of your own, by [`#[managed]`](macro@crate::managed).
///
/// # Examples
///
/// ```
/// use procpool::Manager;
///
/// let manager = Manager::new()?;
/// let ages = manager.dict::<String, u32>().result()?;
/// assert_eq!(ages.insert("Ada", &36).result()?, None);
/// assert_eq!(ages.insert("Ada", &37).result()?, Some(36));
/// assert_eq!(ages.get("Ada").result()?, Some(37));
/// assert_eq!(ages.get("Bob").result()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct DictProxy<K, V> {
    raw: RawDictProxy,
    #[serde(skip)]
    of: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Clone for DictProxy<K, V> {
    fn clone(&self) -> Self {
        DictProxy { raw: self.raw.clone(), of: PhantomData }
    }
}

/// The value, if there is one.
pub(super) fn some<T: DeserializeOwned>(reply: Parcel) -> Result<Option<T>, String> {
    reply.open::<Option<Parcel>>()?.map(Parcel::open).transpose()
}

/// The values, in their order.
pub(super) fn all<T: DeserializeOwned>(reply: Parcel) -> Result<Vec<T>, String> {
    reply.open::<Vec<Parcel>>()?.into_iter().map(Parcel::open).collect()
}

/// Itself, which was sent as an encoded value.
pub(super) fn one<T: DeserializeOwned>(reply: Parcel) -> Result<T, String> {
    reply.open::<Parcel>()?.open()
}

fn pairs<K: DeserializeOwned, V: DeserializeOwned>(reply: Parcel) -> Result<Vec<(K, V)>, String> {
    let items = reply.open::<Vec<(Parcel, Parcel)>>()?.into_iter();
    items.map(|(key, value)| Ok((key.open()?, value.open()?))).collect()
}

impl<K, V> DictProxy<K, V>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned,
{
    pub(super) fn new(manager: &Manager) -> MethodCall<Self> {
        RawDictProxy::new(manager).reading(|reply| Ok(DictProxy { raw: reply.open()?, of: PhantomData }))
    }

    /// Puts a value in, and gives the one that was there under this key. The key keeps its place.
    pub fn insert<Q>(&self, key: &Q, value: &V) -> MethodCall<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        with_key("insert", key, some, |key| {
            with_parcel("insert", value, some, |value| self.raw.insert(key, value).reading(some))
        })
    }

    /// The value under this key. Python's `get`, and `d[key]`.
    pub fn get<Q>(&self, key: &Q) -> MethodCall<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        with_key("get", key, some, |key| self.raw.get(key).reading(some))
    }

    /// The value under this key; if there is none, this one is put in. Python's `setdefault`.
    pub fn get_or_insert<Q>(&self, key: &Q, value: &V) -> MethodCall<V>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        with_key("get_or_insert", key, one, |key| {
            with_parcel("get_or_insert", value, one, |value| self.raw.get_or_insert(key, value).reading(one))
        })
    }

    /// Takes a value out. Python's `pop`.
    pub fn remove<Q>(&self, key: &Q) -> MethodCall<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        with_key("remove", key, some, |key| self.raw.remove(key).reading(some))
    }

    /// Whether there is such a key. Python's `key in d`.
    pub fn contains_key<Q>(&self, key: &Q) -> MethodCall<bool>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        with_key("contains_key", key, Parcel::open, |key| self.raw.contains_key(key))
    }

    /// How many items there are.
    pub fn len(&self) -> MethodCall<usize> {
        self.raw.len()
    }

    /// The keys, in their order.
    pub fn keys(&self) -> MethodCall<Vec<K>> {
        self.raw.keys().reading(all)
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> MethodCall<Vec<V>> {
        self.raw.values().reading(all)
    }

    /// Keys and values, in the order of the keys, all of one moment.
    pub fn items(&self) -> MethodCall<Vec<(K, V)>> {
        self.raw.items().reading(pairs)
    }

    /// Puts all of these in, in one step. Python's `update`.
    pub fn extend<'a>(&self, items: impl IntoIterator<Item = (&'a K, &'a V)>) -> MethodCall<()>
    where
        K: 'a,
        V: 'a,
    {
        let parcel = |(key, value)| Ok((Parcel::of_key("extend", key)?, Parcel::of("extend", value)?));
        match items.into_iter().map(parcel).collect() {
            Ok(items) => self.raw.extend(items),
            Err(error) => MethodCall::failed("extend", error, Parcel::open),
        }
    }

    /// Takes all items out.
    pub fn clear(&self) -> MethodCall<()> {
        self.raw.clear()
    }
}
