//! What stands for an object that another process keeps.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::call::MethodCall;
use super::parcel::Parcel;
use super::peer::Peer;
use super::table;
use super::talk::Request;
use crate::pipe::Link;
use crate::sys::socket;
use crate::task::{Registry, Task};
use crate::wire::attach::Handle;

/// Stands for a `T` that another process keeps, or this one.
///
/// It is what [`#[managed]`](macro@crate::managed) puts into the proxies that it writes, and what they have in common: use
/// it through those.
///
/// The object lives as long as any proxy of it does: in whatever process, in a message on its way, inside of another
/// object. Clones share a descriptor; each process that receives a proxy has one of its own. Two objects that hold
/// proxies of each other are never dropped, as with `Arc`.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, managed, task};
///
/// struct Progress {
///     done: u32,
/// }
///
/// #[managed]
/// impl Progress {
///     pub fn add(&mut self, items: u32) -> u32 {
///         self.done += items;
///         self.done
///     }
/// }
///
/// /// Reports to an object in the program that submitted it.
/// #[task]
/// fn work(progress: ProgressProxy, items: u32) -> Result<(), String> {
///     progress.add(items).result().map_err(|error| error.to_string())?;
///     Ok(())
/// }
///
/// let progress = ProgressProxy::host(Progress { done: 0 })?;
/// let pool = ProcessPoolExecutor::new()?;
/// for done in [3, 4].map(|items| pool.submit(work, (progress.clone(), items))) {
///     done.result()??;
/// }
/// assert_eq!(progress.add(0).result()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Proxy<T> {
    pub(super) place: Arc<Place>,
    of: PhantomData<fn() -> T>,
}

/// Where an object is.
#[derive(Debug)]
pub(super) struct Place {
    table: u64,
    pub(super) object: u64,
    pub(super) door: Arc<Link>,
    pub(super) peer: Arc<Peer>,
}

/// A proxy on the wire.
#[derive(Serialize, Deserialize)]
struct Wire(u64, u64, Handle);

impl<T> Proxy<T> {
    pub(super) fn new(table: u64, object: u64, door: Handle) -> io::Result<Proxy<T>> {
        let peer = Peer::get((socket::packet_maker(door.as_fd())?, table));
        let place = Place { table, object, door: Arc::new(Link::new(door)), peer };
        Ok(Proxy { place: Arc::new(place), of: PhantomData })
    }

    /// Has this process keep `value`, on threads of its own, as long as there are proxies of it.
    ///
    /// # Errors
    ///
    /// If there is no room for descriptors or a thread, and in a copy, made by `fork`, of a process that keeps objects.
    pub fn host(value: T) -> io::Result<Proxy<T>>
    where
        T: Send + Sync + 'static,
    {
        table::host(value)
    }

    /// Has methods be called again after one that changes the object has panicked, as
    /// [`Mutex::clear_poison`](std::sync::Mutex::clear_poison) does.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Manager, TaskErrorKind, managed};
    ///
    /// struct Account(u32);
    ///
    /// #[managed]
    /// impl Account {
    ///     pub fn open() -> Account {
    ///         Account(10)
    ///     }
    ///     pub fn withdraw(&mut self, amount: u32) {
    ///         self.0 = self.0.checked_sub(amount).expect("money");
    ///     }
    ///     pub fn balance(&self) -> u32 {
    ///         self.0
    ///     }
    /// }
    ///
    /// let manager = Manager::new()?;
    /// let account = AccountProxy::open(&manager).result()?;
    /// assert!(account.withdraw(11).result().unwrap_err().is_panic());
    /// assert!(matches!(account.balance().result().unwrap_err().kind(), TaskErrorKind::Poisoned));
    /// account.proxy().clear_poison().result()?;
    /// assert_eq!(account.balance().result()?, 10);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clear_poison(&self) -> MethodCall<()> {
        let request = Request::ClearPoison { object: self.place.object };
        MethodCall::new("clear_poison", &self.place, request, |_| Ok(()))
    }

    /// Calls a method; what `#[managed]` writes.
    #[doc(hidden)]
    pub fn call<M: Task>(&self, _method: M, args: &M::Args<'_>) -> MethodCall<M::Output> {
        match Parcel::of(M::NAME, args) {
            Err(error) => MethodCall::failed(M::NAME, error, Parcel::open),
            Ok(args) => {
                let task = Registry::get().number(M::ENTRY).0;
                let request = Request::Call { object: self.place.object, task, args };
                MethodCall::new(M::NAME, &self.place, request, Parcel::open)
            }
        }
    }
}

impl<T> Clone for Proxy<T> {
    fn clone(&self) -> Proxy<T> {
        Proxy { place: Arc::clone(&self.place), of: PhantomData }
    }
}

/// Equal are proxies of one object.
impl<T> PartialEq for Proxy<T> {
    fn eq(&self, other: &Proxy<T>) -> bool {
        self.place.object == other.place.object && Arc::ptr_eq(&self.place.peer, &other.place.peer)
    }
}

impl<T> Eq for Proxy<T> {}

impl<T> Serialize for Proxy<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Place { table, object, door, .. } = &*self.place;
        Wire(*table, *object, door.handle.clone()).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Proxy<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Proxy<T>, D::Error> {
        let Wire(table, object, door) = Wire::deserialize(deserializer)?;
        if !socket::is_of_packets(door.as_fd()) {
            return Err(D::Error::custom("the descriptor is no door of an object"));
        }
        Proxy::new(table, object, door).map_err(D::Error::custom)
    }
}

impl<T> fmt::Debug for Proxy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("of", &std::any::type_name::<T>())
            .field("object", &self.place.object)
            .finish_non_exhaustive()
    }
}
