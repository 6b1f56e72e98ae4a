//! Values that are made once and read by everybody.

use std::any::Any;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::known::Known;
use crate::sync::Pod;
use crate::sync::plain::{all_bytes, in_place};
use crate::wire::attach::Handle;
use crate::wire::codec::{self, EncodeError};

/// A value that is made once, and that every process reads: to send it costs a descriptor, however large it is.
///
/// * `Shared<[T]>`, of plain data ([`Pod`](crate::sync::Pod): numbers, arrays and structs of them), is read in place, by all processes from
///   the same memory: it derefs to `&[T]`, at the beginning of a page.
/// * `Shared<T>`, of anything that serde encodes, is encoded once, and decoded by each process when it first asks for it.
///
/// Nobody can change it, not even a process that has lost its mind: the kernel refuses (a memory file, sealed against
/// writing and resizing before anybody else knows of it; who receives it checks). It has no name, so nothing is left
/// behind: the memory is free when the last process that has it has dropped it or died. A process maps it once, however
/// often it arrives, and clones cost nothing.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, Shared, task};
///
/// #[task]
/// fn sum(numbers: Shared<[f64]>, from: usize, to: usize) -> f64 {
///     numbers[from..to].iter().sum()
/// }
///
/// let numbers = Shared::from_slice(&vec![0.5; 1_000_000])?;
/// let pool = ProcessPoolExecutor::new()?;
/// let parts = (0..10).map(|part| (numbers.clone(), part * 100_000, (part + 1) * 100_000));
/// let total: f64 = pool.map(sum, parts).into_iter().sum::<Result<f64, _>>()?;
/// assert_eq!(total, 500_000.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Any other value, here one that takes time to decode:
///
/// ```
/// use std::collections::HashMap;
/// use procpool::{ProcessPoolExecutor, Shared, task};
///
/// #[task]
/// fn ask(words: Shared<HashMap<String, u32>>, word: &str) -> Option<u32> {
///     words.get().ok()?.get(word).copied()
/// }
///
/// let words = Shared::new(HashMap::from([("seven".to_owned(), 7)]))?;
/// let pool = ProcessPoolExecutor::new()?;
/// assert_eq!(pool.submit(ask, (words.clone(), "seven")).result()?, Some(7));
/// assert_eq!(pool.submit(ask, (words, "eight")).result()?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Shared<T: ?Sized> {
    known: Arc<Known>,
    /// What the bytes were decoded to, for [`Shared::get`].
    value: OnceLock<Arc<dyn Any + Send + Sync>>,
    of: PhantomData<fn() -> Box<T>>,
}

impl<T: ?Sized> Shared<T> {
    fn of(known: Arc<Known>) -> Shared<T> {
        Shared { known, value: OnceLock::new(), of: PhantomData }
    }

    /// The bytes that all processes share: of a slice its memory, of another value its encoding.
    pub fn size(&self) -> usize {
        self.known.bytes().len()
    }
}

impl<T: Pod> Shared<[T]> {
    /// Shares a copy of a slice.
    ///
    /// # Errors
    ///
    /// If there is no memory or no descriptor for it, or if values of the type have no size.
    pub fn from_slice(slice: &[T]) -> io::Result<Shared<[T]>> {
        if size_of::<T>() == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "values without a size cannot be shared",
            ));
        }
        Known::create(all_bytes(slice)).map(Shared::of)
    }
}

impl<T: Pod> Deref for Shared<[T]> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // It was checked when it was made or arrived that these are values.
        in_place(self.known.bytes()).unwrap_or_default()
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Shared<T> {
    /// Shares a value. It is encoded now, and once.
    ///
    /// # Errors
    ///
    /// If it cannot be encoded or holds handles, or if there is no memory or no descriptor for it.
    pub fn new(value: T) -> io::Result<Shared<T>> {
        let refused = |message: String| Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        let mut bytes = Vec::new();
        match codec::encode_attached(&value, &mut bytes, isize::MAX as usize) {
            Ok(handles) if !handles.is_empty() => {
                return refused("a shared value outlives messages, so it can hold no handles".to_owned());
            }
            Err(EncodeError::Refused(message)) => return refused(message),
            Err(EncodeError::TooLarge) => return Err(io::ErrorKind::OutOfMemory.into()),
            Ok(_) => {}
        }
        let shared = Shared::of(Known::create(&bytes)?);
        let value: Arc<dyn Any + Send + Sync> = Arc::new(value);
        // Both are new: nobody else can have set them.
        let _ = shared.known.value.set(Arc::clone(&value));
        let _ = shared.value.set(value);
        Ok(shared)
    }

    /// The value. Each process decodes it once, when it first asks; the one that made it has it.
    ///
    /// # Errors
    ///
    /// If it cannot be decoded.
    pub fn get(&self) -> io::Result<&T> {
        if self.value.get().is_none() {
            let value = match self.known.value.get() {
                Some(value) if value.is::<T>() => Arc::clone(value),
                known => {
                    let value = codec::decode::<T>(self.known.bytes())
                        .map_err(|message| io::Error::new(io::ErrorKind::InvalidData, message))?;
                    let value: Arc<dyn Any + Send + Sync> = Arc::new(value);
                    match known {
                        // Another thread may have been faster: then all use its value.
                        None => {
                            let first = self.known.value.get_or_init(|| Arc::clone(&value));
                            if first.is::<T>() { Arc::clone(first) } else { value }
                        }
                        Some(_) => value,
                    }
                }
            };
            let _ = self.value.set(value);
        }
        let value = self.value.get().and_then(|value| value.downcast_ref());
        value.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the value is of another type"))
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared { known: Arc::clone(&self.known), value: self.value.clone(), of: PhantomData }
    }
}

impl<T: ?Sized> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("size", &self.size()).finish_non_exhaustive()
    }
}

impl<T: ?Sized> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.known.handle, self.size() as u64).serialize(serializer)
    }
}

/// The memory that the next value is in.
fn arrived<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Known>, D::Error> {
    let (handle, size) = <(Handle, u64)>::deserialize(deserializer)?;
    let size = usize::try_from(size).map_err(|_| D::Error::custom("more bytes than there can be"))?;
    Known::arrived(handle, size)
        .map_err(|error| D::Error::custom(format!("the value cannot be shared: {error}")))
}

impl<'de, T: Pod> Deserialize<'de> for Shared<[T]> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shared<[T]>, D::Error> {
        let known = arrived(deserializer)?;
        match in_place::<T>(known.bytes()) {
            Some(_) => Ok(Shared::of(known)),
            None => Err(D::Error::custom("the bytes are not as long or as aligned as values of the type")),
        }
    }
}

impl<'de, T: Serialize + DeserializeOwned + Send + Sync + 'static> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shared<T>, D::Error> {
        arrived(deserializer).map(Shared::of)
    }
}
