//! Any descriptor of the operating system as a part of a value.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use serde::{Deserialize, Serialize};

use crate::wire::attach::Handle;

/// An open file, socket, pipe or anything else that has a descriptor, as an argument or a result of a task.
///
/// Whoever receives it has a descriptor of its own, which refers to the same open file: two processes that read from it
/// share its position, and what one of them closes stays open for the other. It is closed with the last clone of the
/// value; nothing has to be cleaned up, however a process ends. The number may differ on the two sides.
///
/// The program that submits a task keeps the descriptors in its arguments open until the task has ended, since it may
/// have to send them again: who waits for the end of a stream whose writing end went to a task waits for that.
///
/// A value may hold 253 descriptors, which is what the kernel carries with a message; with more, a task is refused
/// ([`Refusal::Encode`](crate::Refusal::Encode)), and a result is an error of its task. If the process that receives
/// them has reached its limit of open descriptors, the task fails with
/// [`TaskErrorKind::Codec`](crate::TaskErrorKind::Codec). They can travel nowhere but with messages of this crate: to
/// serialise one into anything else is an error.
///
/// # Examples
///
/// ```
/// use std::fs::File;
/// use std::io::{self, Read, Seek, Write};
/// use procpool::{Descriptor, ProcessPoolExecutor, task};
///
/// /// Writes to a file that it could not open itself, and gives it back.
/// #[task]
/// fn log(file: Descriptor, line: &str) -> Result<Descriptor, String> {
///     let mut file = File::from(file.into_fd().map_err(|error| error.to_string())?);
///     writeln!(file, "{line}").map_err(|error| error.to_string())?;
///     Ok(Descriptor::new(file))
/// }
///
/// # let path = std::env::temp_dir().join(format!("procpool-descriptor-{}", std::process::id()));
/// # let file = File::options().read(true).write(true).create(true).open(&path)?;
/// # std::fs::remove_file(path)?;
/// let pool = ProcessPoolExecutor::new()?;
/// let back = pool.submit(log, (Descriptor::new(file), "from a worker")).result()??;
/// let mut file = File::from(back.into_fd()?);
/// file.rewind()?;
/// assert_eq!(io::read_to_string(file)?, "from a worker\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Descriptor(Handle);

impl Descriptor {
    /// Of a file, a socket, a child's output, or whatever else owns a descriptor.
    pub fn new(fd: impl Into<OwnedFd>) -> Descriptor {
        Descriptor(Handle::new(fd.into()))
    }

    /// The descriptor itself. If this value has clones, they keep it, and this is a duplicate.
    ///
    /// # Errors
    ///
    /// If there is no room for a duplicate.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        self.0.into_own().or_else(|shared| shared.as_fd().try_clone_to_owned())
    }
}

impl From<OwnedFd> for Descriptor {
    fn from(fd: OwnedFd) -> Descriptor {
        Descriptor::new(fd)
    }
}

impl TryFrom<Descriptor> for OwnedFd {
    type Error = io::Error;

    fn try_from(descriptor: Descriptor) -> io::Result<OwnedFd> {
        descriptor.into_fd()
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
