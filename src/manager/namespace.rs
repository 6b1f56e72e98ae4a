//! Named values that many processes use.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::call::MethodCall;
use super::dict::{RawDictProxy, all, some};
use super::parcel::Parcel;
use super::{Manager, with_parcel};

/// Named values of any types in a [`Manager`], which many processes use: Python's `Manager().Namespace()`.
///
/// The type of a value is that of whoever asks for it: another one than was put in is an error, or nonsense, as with any
/// data of which two programs think differently. Where the names are known, a struct of your own with
/// [`#[managed]`](macro@crate::managed) methods has the compiler check them.
///
/// # Examples
///
/// ```
/// use procpool::Manager;
///
/// let manager = Manager::new()?;
/// let settings = manager.namespace().result()?;
/// settings.set("depth", &3_u32).result()?;
/// settings.set("title", "small").result()?;
/// assert_eq!(settings.get::<u32>("depth").result()?, Some(3));
/// assert_eq!(settings.get::<String>("title").result()?, Some("small".to_owned()));
/// assert_eq!(settings.names().result()?, ["depth", "title"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NamespaceProxy {
    raw: RawDictProxy,
}

impl NamespaceProxy {
    pub(super) fn new(manager: &Manager) -> MethodCall<NamespaceProxy> {
        RawDictProxy::new(manager).reading(|reply| Ok(NamespaceProxy { raw: reply.open()? }))
    }

    /// Gives a value this name, in place of another.
    pub fn set<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> MethodCall<()> {
        with_parcel(
            "set",
            name,
            |_| Ok(()),
            |name| {
                with_parcel(
                    "set",
                    value,
                    |_| Ok(()),
                    |value| self.raw.insert(name, value).reading(|_| Ok(())),
                )
            },
        )
    }

    /// The value of this name.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> MethodCall<Option<T>> {
        with_parcel("get", name, some, |name| self.raw.get(name).reading(some))
    }

    /// Takes a name away, and says whether it was there.
    pub fn remove(&self, name: &str) -> MethodCall<bool> {
        let was_there = |reply: Parcel| Ok(reply.open::<Option<Parcel>>()?.is_some());
        with_parcel("remove", name, was_there, |name| self.raw.remove(name).reading(was_there))
    }

    /// All names, in the order in which they came.
    pub fn names(&self) -> MethodCall<Vec<String>> {
        self.raw.keys().reading(all)
    }
}
