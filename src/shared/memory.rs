//! Bytes that several processes read and write.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::sys::frozen;
use crate::sys::map::SharedMap;
use crate::wire::attach::Handle;

/// Bytes of a word, by which all memory is read and written.
const WORD: usize = size_of::<u64>();

/// Bytes that all processes which have it can read and write. Python's `SharedMemory`, without its name: it is passed to
/// tasks as an argument, nothing has to be unlinked, and it is gone with the last process that has it, however that
/// ends.
///
/// Others may write at any time, so there is no `&mut [u8]`, nor a `&[u8]`: bytes are copied in and out, by atomic words of
/// eight bytes in no particular order among each other. Who reads while another writes may get some old and some new
/// bytes, of an aligned word all of them old or all of them new. To tell the other side that something is there, use a
/// message, a lock, or an [`AtomicU64`] of [`words`](SharedMemory::words).
///
/// Its size never changes, and its pages are there: to use it cannot fail later, in any process, whatever another does.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::Ordering;
/// use procpool::{ProcessPoolExecutor, SharedMemory, task};
///
/// /// Writes its name into its place, and counts itself.
/// #[task]
/// fn sign(memory: SharedMemory, place: usize) -> Result<(), String> {
///     memory.write_at(8 + 4 * place, format!("no{place:02}").as_bytes()).map_err(|error| error.to_string())?;
///     memory.words()[0].fetch_add(1, Ordering::Release);
///     Ok(())
/// }
///
/// let memory = SharedMemory::create(100)?;
/// let pool = ProcessPoolExecutor::new()?;
/// for signed in pool.map(sign, (0..10).map(|place| (memory.clone(), place))) {
///     signed??;
/// }
/// assert_eq!(memory.words()[0].load(Ordering::Acquire), 10);
/// let mut names = [0; 8];
/// memory.read_at(8 + 4 * 6, &mut names)?;
/// assert_eq!(&names, b"no06no07");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SharedMemory {
    map: Arc<SharedMap>,
    handle: Handle,
    len: usize,
}

impl SharedMemory {
    /// New memory of so many zero bytes.
    ///
    /// # Errors
    ///
    /// If there is no memory or no descriptor for it, or if it is more than this process may have in a file
    /// (`RLIMIT_FSIZE`).
    pub fn create(len: usize) -> io::Result<SharedMemory> {
        let mapped = mapped(len)?;
        frozen::room_for(mapped)?;
        let (map, fd) = SharedMap::create(mapped, mapped)?;
        Ok(SharedMemory { map: Arc::new(map), handle: Handle::new(fd), len })
    }

    /// Memory that came as a descriptor, of so many bytes.
    ///
    /// # Errors
    ///
    /// If it is no memory file that is sealed against shrinking and growing, or if it is too small: then another process
    /// could take the memory away from under this one, which the system answers with a signal.
    pub fn from_fd(fd: OwnedFd, len: usize) -> io::Result<SharedMemory> {
        SharedMemory::open(Handle::new(fd), len)
    }

    fn open(handle: Handle, len: usize) -> io::Result<SharedMemory> {
        let mapped = mapped(len)?;
        frozen::check_size(handle.as_fd(), mapped)?;
        let map = SharedMap::open(handle.as_fd(), mapped)?;
        Ok(SharedMemory { map: Arc::new(map), handle, len })
    }

    /// Its size in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The whole words that it has, of eight bytes each, for whoever wants more than copies.
    pub fn words(&self) -> &[AtomicU64] {
        self.map.words(0, self.len / WORD)
    }

    /// Fills `into` with the bytes from an offset on.
    ///
    /// # Errors
    ///
    /// If there are not so many.
    pub fn read_at(&self, offset: usize, into: &mut [u8]) -> io::Result<()> {
        self.check(offset, into.len())?;
        let head = into.len().min(offset.wrapping_neg() % WORD);
        let (head, rest) = into.split_at_mut(head);
        self.read_part(offset, head);
        let first = (offset + head.len()) / WORD;
        let (whole, tail) = rest.as_chunks_mut::<WORD>();
        let words = self.map.words(WORD * first, whole.len());
        for (word, bytes) in words.iter().zip(&mut *whole) {
            *bytes = word.load(Ordering::Relaxed).to_ne_bytes();
        }
        self.read_part(WORD * (first + whole.len()), tail);
        Ok(())
    }

    /// Reads a part of one word.
    fn read_part(&self, offset: usize, part: &mut [u8]) {
        if !part.is_empty() {
            let skip = offset % WORD;
            let bytes = self.word(offset / WORD).load(Ordering::Relaxed).to_ne_bytes();
            part.copy_from_slice(&bytes[skip..skip + part.len()]);
        }
    }

    /// Writes bytes to an offset.
    ///
    /// # Errors
    ///
    /// If there is no room for so many. Then none are written.
    pub fn write_at(&self, offset: usize, from: &[u8]) -> io::Result<()> {
        self.check(offset, from.len())?;
        let head = from.len().min(offset.wrapping_neg() % WORD);
        let (head, rest) = from.split_at(head);
        let (whole, tail) = rest.as_chunks::<WORD>();
        self.write_part(offset, head);
        let first = (offset + head.len()) / WORD;
        let words = self.map.words(WORD * first, whole.len());
        for (word, &bytes) in words.iter().zip(whole) {
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
        self.write_part(WORD * (first + whole.len()), tail);
        Ok(())
    }

    /// Writes a part of one word, and leaves its other bytes to whoever writes those.
    fn write_part(&self, offset: usize, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        let skip = offset % WORD;
        let put = |word: u64| {
            let mut bytes = word.to_ne_bytes();
            bytes[skip..skip + part.len()].copy_from_slice(part);
            Some(u64::from_ne_bytes(bytes))
        };
        // There is always a new word, so this cannot fail.
        let _ = self.word(offset / WORD).fetch_update(Ordering::Relaxed, Ordering::Relaxed, put);
    }

    /// All bytes, as they are now.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        // The range is that of the memory.
        let _ = self.read_at(0, &mut bytes);
        bytes
    }

    fn word(&self, number: usize) -> &AtomicU64 {
        self.map.word(WORD * number)
    }

    fn check(&self, offset: usize, len: usize) -> io::Result<()> {
        if offset.checked_add(len).is_some_and(|end| end <= self.len) {
            return Ok(());
        }
        let text = format!("{len} bytes at {offset} are not within the {} bytes of the memory", self.len);
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }
}

/// What is mapped for so many bytes: whole words, and at least one.
fn mapped(len: usize) -> io::Result<usize> {
    len.max(1).checked_next_multiple_of(WORD).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.handle, self.len as u64).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SharedMemory, D::Error> {
        let (handle, len) = <(Handle, u64)>::deserialize(deserializer)?;
        let len = usize::try_from(len).map_err(|_| D::Error::custom("more bytes than there can be"))?;
        SharedMemory::open(handle, len)
            .map_err(|error| D::Error::custom(format!("the memory cannot be shared: {error}")))
    }
}
