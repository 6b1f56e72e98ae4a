//! A set that many processes use.

use std::borrow::Borrow;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::call::MethodCall;
use super::dict::{RawDictProxy, all};
use super::parcel::Parcel;
use super::{Manager, with_key};

/// A set in a [`Manager`], which many processes use: Python's `Manager().set()`, new in 3.14. A dictionary without
/// values, so what is said of [`DictProxy`](super::DictProxy) holds.
///
/// # Examples
///
/// ```
/// use procpool::Manager;
///
/// let manager = Manager::new()?;
/// let seen = manager.set::<String>().result()?;
/// assert!(seen.insert("a.txt").result()?);
/// assert!(!seen.insert("a.txt").result()?, "somebody was here before");
/// assert_eq!(seen.to_vec().result()?, ["a.txt"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct SetProxy<T> {
    raw: RawDictProxy,
    #[serde(skip)]
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for SetProxy<T> {
    fn clone(&self) -> Self {
        SetProxy { raw: self.raw.clone(), of: PhantomData }
    }
}

fn is_there(reply: Parcel) -> Result<bool, String> {
    Ok(reply.open::<Option<Parcel>>()?.is_some())
}

impl<T: Serialize + DeserializeOwned> SetProxy<T> {
    pub(super) fn new(manager: &Manager) -> MethodCall<Self> {
        RawDictProxy::new(manager).reading(|reply| Ok(SetProxy { raw: reply.open()?, of: PhantomData }))
    }

    /// Puts a value in, and says whether it is new. Python's `add`.
    pub fn insert<Q>(&self, value: &Q) -> MethodCall<bool>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let is_new = |reply| is_there(reply).map(|there| !there);
        with_key("insert", value, is_new, |value| self.raw.insert(value, Parcel::default()).reading(is_new))
    }

    /// Takes a value out, and says whether it was there. Python's `discard`.
    pub fn remove<Q>(&self, value: &Q) -> MethodCall<bool>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        with_key("remove", value, is_there, |value| self.raw.remove(value).reading(is_there))
    }

    /// Whether this value is there. Python's `value in s`.
    pub fn contains<Q>(&self, value: &Q) -> MethodCall<bool>
    where
        T: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        with_key("contains", value, Parcel::open, |value| self.raw.contains_key(value))
    }

    /// How many values there are.
    pub fn len(&self) -> MethodCall<usize> {
        self.raw.len()
    }

    /// All values, of one moment, in the order in which they came.
    pub fn to_vec(&self) -> MethodCall<Vec<T>> {
        self.raw.keys().reading(all)
    }

    /// Takes all values out.
    pub fn clear(&self) -> MethodCall<()> {
        self.raw.clear()
    }
}
