//! `Array`: many values in shared memory.

use std::fmt;
use std::io;
use std::time::Duration;

use super::error::{Guard, LockError, sealed};
use super::lock::{self, LockGuard};
use super::page::{Kind, Page};
use super::patience::Patience;
use super::plain::{Integer, Pod, Scalar};
use super::slots::Slots;

/// Values that processes share, with one lock for all of them: Python's `multiprocessing.Array`, for any plain data.
///
/// Its length is fixed when it is made. [`lock`](Array::lock) gives a guard that reads and writes the elements in place.
/// Numbers can be read, written and added to without the lock as well, each as a whole. It travels in the arguments and
/// results of tasks; a clone is the same array. If a process dies while it holds the lock, the next one is told, as with
/// a [`Lock`](crate::Lock); what was written is there.
///
/// # Examples
///
/// ```
/// use procpool::{Array, ProcessPoolExecutor, task};
///
/// #[task]
/// fn square(numbers: Array<f64>, index: usize) -> Result<(), String> {
///     let numbers = numbers.lock().map_err(|error| error.to_string())?;
///     numbers.update(index, |number| *number *= *number);
///     Ok(())
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let numbers = Array::from_slice(&[1.0, 2.0, 3.0])?;
/// for done in pool.map(square, (0..numbers.len()).map(|index| (numbers.clone(), index))) {
///     done??;
/// }
/// assert_eq!(numbers.lock()?.to_vec(), [1.0, 4.0, 9.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Array<T: Pod> {
    slots: Slots<T>,
}

/// The lock of an [`Array`] is held until this is dropped. It leads to the elements.
#[must_use = "the lock is freed at once if the guard is not kept"]
pub struct ArrayGuard<T: Pod> {
    slots: Slots<T>,
    lock: LockGuard,
}

impl<T: Pod> Array<T> {
    /// A new array of so many elements, whose bytes are all 0.
    ///
    /// # Errors
    ///
    /// The system has no memory, no descriptor or, for the first object of this process, no thread to give; or the type
    /// is of no size.
    pub fn zeroed(len: usize) -> io::Result<Array<T>> {
        Slots::create(Kind::Array, len).map(|slots| Array { slots })
    }

    /// A new array with a copy of these elements.
    ///
    /// # Errors
    ///
    /// As [`zeroed`](Array::zeroed).
    pub fn from_slice(elements: &[T]) -> io::Result<Array<T>> {
        let array = Array::zeroed(elements.len())?;
        array.slots.set_all(elements);
        Ok(array)
    }

    fn of_page(page: Page) -> io::Result<Array<T>> {
        Slots::of_page(page).map(|slots| Array { slots })
    }

    fn page(&self) -> &Page {
        self.slots.page()
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.slots.count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the lock is free, and takes it.
    ///
    /// # Errors
    ///
    /// [`LockError::OwnerDied`] has the guard in it.
    pub fn lock(&self) -> Result<ArrayGuard<T>, LockError<ArrayGuard<T>>> {
        self.guarded(lock::take(self.slots.page(), &Patience::ENDLESS))
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    ///
    /// [`SyncError::WouldBlock`](crate::sync::SyncError::WouldBlock) if it is not; otherwise as [`lock`](Array::lock).
    pub fn try_lock(&self) -> Result<ArrayGuard<T>, LockError<ArrayGuard<T>>> {
        self.guarded(lock::try_take(self.slots.page()))
    }

    /// Waits until the lock is free, at most that long, and takes it.
    ///
    /// # Errors
    ///
    /// [`SyncError::TimedOut`](crate::sync::SyncError::TimedOut) if that was too short; otherwise as
    /// [`lock`](Array::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ArrayGuard<T>, LockError<ArrayGuard<T>>> {
        self.guarded(lock::take(self.slots.page(), &Patience::of(timeout)))
    }

    /// Takes the lock when it is free, without blocking the thread: see [`Lock::lock_async`](crate::Lock::lock_async).
    ///
    /// # Errors
    ///
    /// As [`lock`](Array::lock).
    pub async fn lock_async(&self) -> Result<ArrayGuard<T>, LockError<ArrayGuard<T>>> {
        self.guarded(lock::take_async(self.slots.page()).await)
    }

    fn guarded(
        &self,
        taken: Result<LockGuard, LockError<LockGuard>>,
    ) -> Result<ArrayGuard<T>, LockError<ArrayGuard<T>>> {
        let guard = |lock| ArrayGuard { slots: self.slots.clone(), lock };
        taken.map(guard).map_err(|error| error.map(guard))
    }
}

/// Without the lock.
///
/// # Panics
///
/// All of these if the index is out of bounds, as a slice does.
impl<T: Scalar> Array<T> {
    /// An element now. What was stored before it is seen with it, as by `Ordering::Acquire`.
    pub fn load(&self, index: usize) -> T {
        self.slots.load(index)
    }

    /// Stores an element, as by `Ordering::Release`.
    pub fn store(&self, index: usize, value: T) {
        self.slots.store(index, value);
    }

    /// Stores an element, and gives the one before.
    pub fn swap(&self, index: usize, value: T) -> T {
        self.slots.swap(index, value)
    }

    /// Changes an element unless `change` gives nothing, and gives the one before; it is called again if somebody else was
    /// faster. `Err` has the element that it gave nothing for.
    ///
    /// # Errors
    ///
    /// `change` gave nothing.
    pub fn fetch_update(&self, index: usize, change: impl FnMut(T) -> Option<T>) -> Result<T, T> {
        self.slots.fetch_update(index, change)
    }
}

/// Without the lock.
///
/// # Panics
///
/// All of these if the index is out of bounds, as a slice does.
impl<T: Integer> Array<T> {
    /// Adds to an element, and gives the one before. It wraps around.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::Array;
    ///
    /// let histogram = Array::<u32>::zeroed(256)?;
    /// for byte in b"Mississippi" {
    ///     histogram.fetch_add((*byte).into(), 1);
    /// }
    /// assert_eq!(histogram.load(b's'.into()), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fetch_add(&self, index: usize, value: T) -> T {
        self.slots.fetch_add(index, value)
    }

    /// Subtracts from an element, and gives the one before. It wraps around.
    pub fn fetch_sub(&self, index: usize, value: T) -> T {
        self.slots.fetch_sub(index, value)
    }
}

impl<T: Pod> ArrayGuard<T> {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.slots.count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of an element, if there is one at this index.
    pub fn get(&self, index: usize) -> Option<T> {
        (index < self.len()).then(|| self.slots.get(index))
    }

    /// Stores an element.
    ///
    /// # Panics
    ///
    /// The index is out of bounds.
    pub fn set(&self, index: usize, value: T) {
        self.slots.set(index, &value);
    }

    /// Changes a copy of an element, and stores it.
    ///
    /// # Panics
    ///
    /// The index is out of bounds.
    pub fn update<R>(&self, index: usize, change: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.slots.get(index);
        let changed = change(&mut value);
        self.slots.set(index, &value);
        changed
    }

    /// A copy of each element, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = T> {
        (0..self.len()).map(|index| self.slots.get(index))
    }

    /// A copy of all elements.
    pub fn to_vec(&self) -> Vec<T> {
        self.slots.get_all()
    }

    /// Stores all elements.
    ///
    /// # Panics
    ///
    /// They are more or fewer than there are in the array.
    pub fn copy_from_slice(&self, elements: &[T]) {
        self.slots.set_all(elements);
    }
}

impl<T: Pod> Guard for ArrayGuard<T> {}

impl<T: Pod> sealed::Guard for ArrayGuard<T> {
    type Lock = Array<T>;

    fn trust(&mut self) {
        self.lock.trust();
    }

    fn free(self) -> Array<T> {
        Array { slots: self.slots.clone() }
    }

    fn take(lock: &Array<T>) -> Result<ArrayGuard<T>, LockError<ArrayGuard<T>>> {
        lock.lock()
    }
}

super::travels!(Array<T: Pod>, Kind::Array);

impl<T: Pod> Clone for Array<T> {
    fn clone(&self) -> Array<T> {
        Array { slots: self.slots.clone() }
    }
}

impl<T: Pod> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T: Pod> fmt::Debug for ArrayGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArrayGuard").field("len", &self.len()).finish_non_exhaustive()
    }
}
