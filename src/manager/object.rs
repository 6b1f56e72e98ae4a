//! An object that is called from other processes, and one call of it.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::resume_unwind;
use std::sync::{Arc, RwLock};

use super::parcel::{LIMIT, Parcel};
use super::talk::{Request, Response};
use crate::task::{Call, Registry, Reply, Stages, TaskNumber};
use crate::transport::Message;
use crate::wire::codec::{self, Source};
use crate::wire::frame::Kind;
use crate::worker::panic;

/// A value under its lock, whatever its type.
pub(super) trait Hosted: Any + Send + Sync {
    fn value(&self) -> &dyn Any;
    fn clear_poison(&self);
}

impl<T: Send + Sync + 'static> Hosted for RwLock<T> {
    fn value(&self) -> &dyn Any {
        self
    }

    fn clear_poison(&self) {
        RwLock::clear_poison(self);
    }
}

thread_local! {
    /// The object that this thread calls a method of.
    static CURRENT: RefCell<Option<Arc<dyn Hosted>>> = const { RefCell::new(None) };
    /// The method found its object poisoned.
    static POISONED: Cell<bool> = const { Cell::new(false) };
}

/// Whether an object is of this type: what the methods of a type are called on, and no others.
#[doc(hidden)]
pub fn is<T: Send + Sync + 'static>(object: &dyn Any) -> bool {
    object.is::<RwLock<T>>()
}

/// Calls `method` with the lock of the object that the call is for.
fn with_lock<T: 'static, R>(method: impl FnOnce(&RwLock<T>) -> R) -> R {
    let object = CURRENT.with_borrow(Clone::clone).expect("methods are called for an object");
    method(object.value().downcast_ref().expect("the type was compared before the call"))
}

/// The method has not run, and the caller is told why.
fn poisoned() -> ! {
    POISONED.set(true);
    resume_unwind(Box::new("poisoned"))
}

/// What `#[managed]` writes around a method with `&self`.
#[doc(hidden)]
pub fn with_ref<T: 'static, R>(method: impl FnOnce(&T) -> R) -> R {
    with_lock(|lock: &RwLock<T>| method(&lock.read().unwrap_or_else(|_| poisoned())))
}

/// What `#[managed]` writes around a method with `&mut self`.
#[doc(hidden)]
pub fn with_mut<T: 'static, R>(method: impl FnOnce(&mut T) -> R) -> R {
    with_lock(|lock: &RwLock<T>| method(&mut lock.write().unwrap_or_else(|_| poisoned())))
}

/// Nobody watches how far a call has come.
struct Unwatched;

impl Stages for Unwatched {
    fn starting(&self) {}
    fn ended(&self) {}
}

/// Calls a method of an object.
pub(super) fn answer(object: Arc<dyn Hosted>, request: Request) -> Response {
    let Request::Call { task, args: Parcel { bytes, handles }, .. } = request else {
        object.clear_poison();
        return Response::Replied(Kind::Done.tag(), Parcel::default());
    };
    let entry = Registry::get().entry(TaskNumber(task));
    let Some(entry) = entry.filter(|entry| entry.method.is_some_and(|fits| fits(object.value()))) else {
        return Response::NoSuchMethod;
    };
    panic::begin(0);
    CURRENT.set(Some(object));
    let mut output = Message::default();
    let source = Source::new(&bytes);
    let reply = (entry.run)(Call::new(&source, handles, &mut output, LIMIT, &Unwatched));
    CURRENT.take();
    if POISONED.take() {
        return Response::Poisoned;
    }
    let kind = match reply {
        Reply::Ok | Reply::Whole => return Response::Replied(Kind::Done.tag(), output.into()),
        Reply::Panicked(payload) => (Kind::Panicked, encoded(&panic::describe(payload))),
        Reply::ArgsDecode(message) => (Kind::ArgsRefused, encoded(&message)),
        Reply::ResultEncode(message) => (Kind::ResultRefused, encoded(&message)),
        Reply::ResultTooLarge(size) => (Kind::ResultTooLarge, encoded(&size)),
    };
    Response::Replied(kind.0.tag(), kind.1)
}

/// A value that always encodes: a text that was cut where it was made, or a number.
pub(super) fn encoded(value: &impl serde::Serialize) -> Parcel {
    let mut bytes = Vec::new();
    let _ = codec::encode(value, &mut bytes, usize::MAX);
    Parcel { bytes, ..Parcel::default() }
}
