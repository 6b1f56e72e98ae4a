//! `Value`: one value in shared memory.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use super::error::{Guard, LockError, sealed};
use super::lock::{self, LockGuard};
use super::page::{Kind, Page};
use super::patience::Patience;
use super::plain::{Integer, Pod, Scalar};
use super::slots::Slots;

/// A value that processes share, with a lock of its own: Python's `multiprocessing.Value`, for any plain data.
///
/// [`lock`](Value::lock) gives a guard that reads and writes it, and nobody else holds one meanwhile. In Python
/// `counter.value += 1` in several processes loses some of the additions, because it takes the lock twice. Here
/// `*counter.lock()? += 1` takes it once, and [`fetch_add`](Value::fetch_add) does without.
///
/// It travels in the arguments and results of tasks; a clone is the same value. If a process dies while it holds the
/// lock, the next one is told, as with a [`Lock`](crate::Lock).
///
/// A guard works on a copy, which it stores when it is dropped, if it was changed. So a process that dies before that
/// leaves the value as it was. It also means that what somebody stores **without** the lock while another has a guard is
/// overwritten by that: change a value always under the lock, or never.
///
/// # Examples
///
/// The counter of every tutorial, which comes out right:
///
/// ```
/// use procpool::{ProcessPoolExecutor, Value, task};
///
/// #[task]
/// fn count(counter: Value<u64>, times: u64) -> Result<(), String> {
///     for _ in 0..times {
///         *counter.lock().map_err(|error| error.to_string())? += 1;
///     }
///     Ok(())
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let counter = Value::new(0_u64)?;
/// let tasks = [1000, 2000, 3000].map(|times| pool.submit(count, (counter.clone(), times)));
/// for task in tasks {
///     task.result()??;
/// }
/// assert_eq!(*counter.lock()?, 6000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Value<T: Pod> {
    slot: Slots<T>,
}

/// The lock of a [`Value`] is held until this is dropped. It leads to the value.
#[must_use = "the lock is freed at once if the guard is not kept"]
pub struct ValueGuard<T: Pod> {
    value: T,
    changed: bool,
    slot: Slots<T>,
    /// Freed when the value has been stored.
    lock: LockGuard,
}

impl<T: Pod> Value<T> {
    /// A new value.
    ///
    /// # Errors
    ///
    /// The system has no memory, no descriptor or, for the first object of this process, no thread to give; or the type
    /// is of no size.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::Value;
    ///
    /// // Arrays and structures of numbers are plain data as well.
    /// let position = Value::new([0.0, 0.0])?;
    /// position.lock()?[1] = 2.5;
    /// assert_eq!(*position.lock()?, [0.0, 2.5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(value: T) -> io::Result<Value<T>> {
        let slot = Slots::create(Kind::Value, 1)?;
        slot.set(0, &value);
        Ok(Value { slot })
    }

    fn of_page(page: Page) -> io::Result<Value<T>> {
        let slot: Slots<T> = Slots::of_page(page)?;
        if slot.count() != 1 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the memory does not hold one value"));
        }
        Ok(Value { slot })
    }

    /// Waits until the lock is free, and takes it.
    ///
    /// # Errors
    ///
    /// [`LockError::OwnerDied`] has the guard in it.
    pub fn lock(&self) -> Result<ValueGuard<T>, LockError<ValueGuard<T>>> {
        self.guarded(lock::take(self.slot.page(), &Patience::ENDLESS))
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    ///
    /// [`SyncError::WouldBlock`](crate::sync::SyncError::WouldBlock) if it is not; otherwise as [`lock`](Value::lock).
    pub fn try_lock(&self) -> Result<ValueGuard<T>, LockError<ValueGuard<T>>> {
        self.guarded(lock::try_take(self.slot.page()))
    }

    /// Waits until the lock is free, at most that long, and takes it.
    ///
    /// # Errors
    ///
    /// [`SyncError::TimedOut`](crate::sync::SyncError::TimedOut) if that was too short; otherwise as
    /// [`lock`](Value::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ValueGuard<T>, LockError<ValueGuard<T>>> {
        self.guarded(lock::take(self.slot.page(), &Patience::of(timeout)))
    }

    /// Takes the lock when it is free, without blocking the thread: see [`Lock::lock_async`](crate::Lock::lock_async).
    ///
    /// # Errors
    ///
    /// As [`lock`](Value::lock).
    pub async fn lock_async(&self) -> Result<ValueGuard<T>, LockError<ValueGuard<T>>> {
        self.guarded(lock::take_async(self.slot.page()).await)
    }

    fn guarded(
        &self,
        taken: Result<LockGuard, LockError<LockGuard>>,
    ) -> Result<ValueGuard<T>, LockError<ValueGuard<T>>> {
        let guard =
            |lock| ValueGuard { value: self.slot.get(0), changed: false, slot: self.slot.clone(), lock };
        taken.map(guard).map_err(|error| error.map(guard))
    }
}

/// Without the lock.
impl<T: Scalar> Value<T> {
    /// The value now. What was stored before it is seen with it, as by `Ordering::Acquire`.
    pub fn load(&self) -> T {
        self.slot.load(0)
    }

    /// Stores a value, as by `Ordering::Release`.
    pub fn store(&self, value: T) {
        self.slot.store(0, value);
    }

    /// Stores a value, and gives the one before.
    pub fn swap(&self, value: T) -> T {
        self.slot.swap(0, value)
    }

    /// Changes the value unless `change` gives nothing, and gives the one before; it is called again if somebody else was
    /// faster. `Err` has the value that it gave nothing for.
    ///
    /// # Errors
    ///
    /// `change` gave nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::Value;
    ///
    /// let longest = Value::new(1.5_f64)?;
    /// let longer = |length| longest.fetch_update(|longest| (length > longest).then_some(length));
    /// assert_eq!((longer(2.0), longer(1.0)), (Ok(1.5), Err(2.0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fetch_update(&self, change: impl FnMut(T) -> Option<T>) -> Result<T, T> {
        self.slot.fetch_update(0, change)
    }
}

/// Without the lock.
impl<T: Integer> Value<T> {
    /// Adds to the value, and gives the one before. It wraps around, as that of the standard library's atomics does.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::Value;
    ///
    /// let counter = Value::new(40_i32)?;
    /// assert_eq!(counter.fetch_add(2), 40);
    /// assert_eq!(counter.fetch_sub(50), 42);
    /// assert_eq!(counter.load(), -8);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fetch_add(&self, value: T) -> T {
        self.slot.fetch_add(0, value)
    }

    /// Subtracts from the value, and gives the one before. It wraps around.
    pub fn fetch_sub(&self, value: T) -> T {
        self.slot.fetch_sub(0, value)
    }
}

impl<T: Pod> Deref for ValueGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Pod> DerefMut for ValueGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.changed = true;
        &mut self.value
    }
}

impl<T: Pod> Drop for ValueGuard<T> {
    fn drop(&mut self) {
        if self.changed && self.lock.is_held() {
            self.slot.set(0, &self.value);
        }
    }
}

impl<T: Pod + fmt::Debug> Guard for ValueGuard<T> {}

impl<T: Pod> sealed::Guard for ValueGuard<T> {
    type Lock = Value<T>;

    fn trust(&mut self) {
        self.lock.trust();
    }

    fn free(self) -> Value<T> {
        Value { slot: self.slot.clone() }
    }

    fn take(lock: &Value<T>) -> Result<ValueGuard<T>, LockError<ValueGuard<T>>> {
        lock.lock()
    }
}

impl<T: Pod> Value<T> {
    fn page(&self) -> &Page {
        self.slot.page()
    }
}

super::travels!(Value<T: Pod>, Kind::Value);

impl<T: Pod> Clone for Value<T> {
    fn clone(&self) -> Value<T> {
        Value { slot: self.slot.clone() }
    }
}

impl<T: Pod> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Value").finish_non_exhaustive()
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ValueGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
