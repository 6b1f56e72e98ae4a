//! A process that keeps objects, which other processes call by their methods: Python's `Manager`, and what others call an
//! actor.
//!
//! `table.rs` is the side that keeps, with `object.rs` for one call; `proxy.rs` and `call.rs` the side that asks, with
//! `peer.rs` for its lines; `talk.rs` is what goes between them. A method is a task, with the object besides its arguments.

#![allow(unsafe_code, reason = "`#[task]` puts its entry into a section of the program")]

mod call;
mod dict;
mod list;
mod namespace;
mod object;
mod parcel;
mod peer;
mod proxy;
mod set;
mod table;
mod talk;
mod value;

use std::fmt;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde::{Serialize, de::DeserializeOwned};

pub use call::MethodCall;
pub use dict::DictProxy;
pub use list::ListProxy;
pub use namespace::NamespaceProxy;
pub use object::{is, with_mut, with_ref};
pub use proxy::Proxy;
pub use set::SetProxy;
pub use value::ValueProxy;

use crate::error::{ExitCause, StartError};
use crate::process::{ChildProcess, Process, ProcessHandle};
use crate::sys::socket;
use crate::wire::attach::Handle;
use parcel::Parcel;
use procpool_macros::task;

/// The process of a manager, before it is started.
type ManagerProcess = Process<Result<(), String>>;

/// The object that a manager begins with.
const ROOT: u64 = 1;

/// How long the objects of a manager that has ended may take to be dropped.
const GRACE: Duration = Duration::from_secs(1);

/// A process that keeps objects: Python's `Manager`, with `Proxy`s that are typed.
///
/// Makes dictionaries, lists and other things that many processes use at a time, and objects of the program's own types,
/// which [`#[managed]`](macro@crate::managed) writes the proxies for. A proxy can be passed to any worker and process, and be
/// kept in other objects; an object lives as long as there is a proxy of it, which the kernel watches, so that nothing is
/// left behind by a process that was killed.
///
/// The process ends when this is dropped, and when the program ends, however it ends. Then each call is the error
/// [`ManagerGone`](crate::TaskErrorKind::ManagerGone), at once. It is the process that the objects are lost with: one that
/// crashes takes them all along, so what must not share the fate of others has a manager of its own.
///
/// Without a manager, an object can be kept in any process, the program itself among them, by the function `host` of its
/// proxy. `Lock`, `Queue`, `Value`, `Array` and their like need no manager at all: they work without a process between
/// those who use them, and are faster by far.
///
/// # Examples
///
/// A dictionary that workers fill:
///
/// ```
/// use procpool::{DictProxy, Manager, ProcessPoolExecutor, task};
///
/// #[task]
/// fn measure(lengths: DictProxy<String, usize>, word: String) -> Result<(), String> {
///     let length = word.len();
///     lengths.insert(&word, &length).result().map_err(|error| error.to_string())?;
///     Ok(())
/// }
///
/// let manager = Manager::new()?;
/// let lengths = manager.dict::<String, usize>().result()?;
/// let pool = ProcessPoolExecutor::new()?;
/// for done in ["one", "three"].map(|word| pool.submit(measure, (lengths.clone(), word.to_owned()))) {
///     done.result()??;
/// }
/// let mut all = lengths.items().result()?;
/// all.sort();
/// assert_eq!(all, [("one".to_owned(), 3), ("three".to_owned(), 5)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An actor, a long-lived object that is called by method:
///
/// ```
/// use procpool::{Manager, managed};
///
/// struct Account {
///     balance: u64,
/// }
///
/// #[managed]
/// impl Account {
///     pub fn open(deposit: u64) -> Account {
///         Account { balance: deposit }
///     }
///
///     /// What is left.
///     pub fn withdraw(&mut self, amount: u64) -> Result<u64, String> {
///         let left = self.balance.checked_sub(amount).ok_or("not so much")?;
///         self.balance = left;
///         Ok(left)
///     }
/// }
///
/// let manager = Manager::new()?;
/// let account = AccountProxy::open(&manager, 100).result()?;
/// assert_eq!(account.withdraw(30).result()?, Ok(70));
/// assert_eq!(account.withdraw(80).result()?, Err("not so much".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Manager {
    root: Proxy<Root>,
    process: ProcessHandle<Result<(), String>>,
}

/// What objects are made through. The process ends when nobody has a proxy of it any more.
#[doc(hidden)]
#[derive(Debug)]
pub struct Root;

/// What the process of a manager does: nothing, on this thread.
#[task]
fn keep_objects(door: Handle) -> Result<(), String> {
    let door = door.into_own().map_err(|_| "somebody else has the door".to_owned())?;
    let gone = table::adopt(door, Root);
    // Nothing is sent.
    let _ = gone.map_err(|error| format!("this process cannot keep objects: {error}"))?.recv();
    let limit = thread::Builder::new().name("procpool-grace".to_owned());
    let _ = limit.spawn(|| {
        thread::sleep(GRACE);
        std::process::exit(1);
    });
    table::clear();
    Ok(())
}

impl Manager {
    /// Starts a manager.
    ///
    /// # Errors
    ///
    /// As of [`Process::start`].
    pub fn new() -> Result<Manager, StartError> {
        Manager::with(|process| process)
    }

    /// Starts a manager in a process that is built as you like: its name, its environment, where its output goes. It is a
    /// daemon.
    ///
    /// # Errors
    ///
    /// As of [`Process::start`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::Manager;
    ///
    /// let manager = Manager::with(|process| process.name("shop").env("LANG", "C"))?;
    /// assert_eq!(manager.process().name(), "shop");
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn with(configure: impl FnOnce(ManagerProcess) -> ManagerProcess) -> Result<Manager, StartError> {
        /// Those of this process.
        static MANAGERS: AtomicU32 = AtomicU32::new(0);
        let failed = |error| StartError::spawn("make the door of a manager", error);
        let (outside, inside) = socket::packet_pair().map_err(failed)?;
        let name = format!("Manager-{}", MANAGERS.fetch_add(1, Ordering::Relaxed) + 1);
        let process =
            configure(Process::new(keep_objects, Handle::new(inside)).name(name)).daemon(true).start()?;
        let root = Proxy::new(table::unique(), ROOT, Handle::new(outside)).map_err(failed)?;
        Ok(Manager { root, process })
    }

    /// The process: its number, whether it is alive, how to wait for its end.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::Manager;
    ///
    /// let manager = Manager::new()?;
    /// assert!(manager.process().is_alive());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn process(&self) -> &ChildProcess {
        &self.process
    }

    /// Ends the process, and waits for it: its objects are dropped, without regard to calls that still run, and what has
    /// not ended a second later is killed. Python's `shutdown`.
    ///
    /// Dropping the manager does the same, but does not wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ExitCause, Manager};
    ///
    /// let manager = Manager::new()?;
    /// let list = manager.list::<u32>().result()?;
    /// assert_eq!(manager.shutdown(), ExitCause::Code(0));
    /// assert!(list.len().result().unwrap_err().is_manager_gone());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown(self) -> ExitCause {
        self.end();
        self.process.join_timeout(2 * GRACE).unwrap_or_else(|| {
            self.process.kill();
            self.process.join()
        })
    }

    /// Nobody makes objects any more, also by calls that are held somewhere.
    fn end(&self) {
        // In a copy of the program, made by `fork`, it is the original's.
        if self.root.place.peer.is_own() {
            socket::shut(self.root.place.door.as_fd());
        }
    }

    #[doc(hidden)]
    pub fn root(&self) -> &Proxy<Root> {
        &self.root
    }

    /// Makes a dictionary. Python's `Manager().dict()`.
    ///
    /// # Errors
    ///
    /// As of each [`MethodCall`].
    pub fn dict<K, V>(&self) -> MethodCall<DictProxy<K, V>>
    where
        K: Serialize + DeserializeOwned,
        V: Serialize + DeserializeOwned,
    {
        DictProxy::new(self)
    }

    /// Makes a list. Python's `Manager().list()`.
    ///
    /// # Errors
    ///
    /// As of each [`MethodCall`].
    pub fn list<T: Serialize + DeserializeOwned>(&self) -> MethodCall<ListProxy<T>> {
        ListProxy::new(self)
    }

    /// Makes a set. Python's `Manager().set()`.
    ///
    /// # Errors
    ///
    /// As of each [`MethodCall`].
    pub fn set<T: Serialize + DeserializeOwned>(&self) -> MethodCall<SetProxy<T>> {
        SetProxy::new(self)
    }

    /// Makes a place for one value. Python's `Manager().Value()`; for numbers, [`Value`](crate::Value) needs no manager.
    ///
    /// # Errors
    ///
    /// As of each [`MethodCall`].
    pub fn value<T: Serialize + DeserializeOwned>(&self, value: &T) -> MethodCall<ValueProxy<T>> {
        ValueProxy::new(self, value)
    }

    /// Makes a set of named values of any types. Python's `Manager().Namespace()`.
    ///
    /// # Errors
    ///
    /// As of each [`MethodCall`].
    pub fn namespace(&self) -> MethodCall<NamespaceProxy> {
        NamespaceProxy::new(self)
    }
}

/// The same with a key.
fn with_key<V: Serialize + ?Sized, R>(
    method: &'static str,
    key: &V,
    read: fn(Parcel) -> Result<R, String>,
    call: impl FnOnce(Parcel) -> MethodCall<R>,
) -> MethodCall<R> {
    match Parcel::of_key(method, key) {
        Ok(parcel) => call(parcel),
        Err(error) => MethodCall::failed(method, error, read),
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.end();
    }
}

/// Makes a call with an encoded value, if it can be encoded.
fn with_parcel<V: Serialize + ?Sized, R>(
    method: &'static str,
    value: &V,
    read: fn(Parcel) -> Result<R, String>,
    call: impl FnOnce(Parcel) -> MethodCall<R>,
) -> MethodCall<R> {
    match Parcel::of(method, value) {
        Ok(parcel) => call(parcel),
        Err(error) => MethodCall::failed(method, error, read),
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("process", self.process()).finish_non_exhaustive()
    }
}
