//! One value that many processes use.

use std::marker::PhantomData;

use procpool_macros::managed;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::call::MethodCall;
use super::dict::one;
use super::parcel::Parcel;
use super::{Manager, with_parcel};

/// An encoded value.
struct RawValue(Parcel);

#[managed]
impl RawValue {
    pub(super) fn new(value: Parcel) -> RawValue {
        RawValue(value)
    }

    pub(super) fn get(&self) -> Parcel {
        self.0.clone()
    }

    pub(super) fn replace(&mut self, value: Parcel) -> Parcel {
        std::mem::replace(&mut self.0, value)
    }
}

/// One value in a [`Manager`], which many processes use: Python's `Manager().Value()`.
///
/// # Examples
///
/// ```
/// use procpool::Manager;
///
/// let manager = Manager::new()?;
/// let motto = manager.value(&"slow and steady".to_owned()).result()?;
/// assert_eq!(motto.replace(&"more haste".to_owned()).result()?, "slow and steady");
/// assert_eq!(motto.get().result()?, "more haste");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent, bound = "")]
pub struct ValueProxy<T> {
    raw: RawValueProxy,
    #[serde(skip)]
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for ValueProxy<T> {
    fn clone(&self) -> Self {
        ValueProxy { raw: self.raw.clone(), of: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> ValueProxy<T> {
    pub(super) fn new(manager: &Manager, value: &T) -> MethodCall<Self> {
        let made = |reply: Parcel| Ok(ValueProxy { raw: reply.open()?, of: PhantomData });
        with_parcel("new", value, made, |value| RawValueProxy::new(manager, value).reading(made))
    }

    /// The value.
    pub fn get(&self) -> MethodCall<T> {
        self.raw.get().reading(one)
    }

    /// Puts another value in its place.
    pub fn set(&self, value: &T) -> MethodCall<()> {
        with_parcel("set", value, |_| Ok(()), |value| self.raw.replace(value).reading(|_| Ok(())))
    }

    /// Puts another value in its place, and gives the one that was there.
    pub fn replace(&self, value: &T) -> MethodCall<T> {
        with_parcel("replace", value, one, |value| self.raw.replace(value).reading(one))
    }
}
