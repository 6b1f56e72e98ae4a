//! The socket between the parent and one worker: an unnamed pair, made before the worker.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recvmsg, sendmsg, shutdown,
    socketpair, sockopt,
};

use super::fd::above_standard;
use crate::primitive::{MODELLED, thread};

/// A connected pair: the parent's end and the worker's.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    Ok((above_standard(one)?, above_standard(other)?))
}

/// The process that made the pair this descriptor is an end of, and its user; an error if it is no such thing.
pub(crate) fn maker(fd: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    if sockopt::socket_domain(fd)? != AddressFamily::UNIX || sockopt::socket_type(fd)? != SocketType::STREAM {
        return Err(Errno::PROTOTYPE.into());
    }
    let maker = sockopt::socket_peercred(fd)?;
    Ok((maker.pid.as_raw_nonzero().get().unsigned_abs(), maker.uid.as_raw()))
}

/// Sends all of `bytes` with two or three descriptors, into an empty socket.
pub(crate) fn send_with<const N: usize>(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    attached: [BorrowedFd<'_>; N],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fits = ancillary.push(SendAncillaryMessage::ScmRights(&attached));
    debug_assert!(fits, "the space was made for three descriptors");
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = retry(|| sendmsg(fd, &[IoSlice::new(bytes)], &mut ancillary, flags))?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Reads what is there, with duplicates of the two or three descriptors that came with it, without taking it and without
/// waiting.
pub(crate) fn peek_with<const N: usize>(
    fd: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, [OwnedFd; N])> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::PEEK | RecvFlags::DONTWAIT;
    let message = retry(|| recvmsg(fd, &mut [IoSliceMut::new(buffer)], &mut ancillary, flags))?;
    let mut attached = Vec::new();
    for entry in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = entry {
            attached.extend(fds);
        }
    }
    if message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::from(Errno::MFILE));
    }
    match attached.try_into() {
        Ok(attached) => Ok((message.bytes, attached)),
        Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// Takes bytes that [`peek_with`] saw; the descriptors with them go away.
pub(crate) fn take(fd: BorrowedFd<'_>, seen: &mut [u8]) -> io::Result<()> {
    retry(|| rustix::net::recv(fd, &mut *seen, RecvFlags::DONTWAIT))?;
    Ok(())
}

/// Sends some of the pieces; `WouldBlock` if none can be sent now.
pub(crate) fn send(fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>], wait: bool) -> io::Result<usize> {
    let mut flags = SendFlags::NOSIGNAL;
    flags.set(SendFlags::DONTWAIT, !wait || MODELLED);
    let sent = retry(|| {
        sendmsg(fd, pieces, &mut SendAncillaryBuffer::default(), flags)
            .map_err(|errno| look_again(errno, wait))
    })?;
    Ok(sent)
}

/// Sends all of `bytes`, however long that takes.
pub(crate) fn send_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = send(fd, &[IoSlice::new(bytes)], true)?;
        bytes = &bytes[sent..];
    }
    Ok(())
}

/// Appends what has arrived to the spare capacity of `buffer`; 0 is the end of the stream.
///
/// A peer that dies with unread bytes makes the kernel say ECONNRESET once before the end: the bytes it had
/// sent come first, so that is passed over.
pub(crate) fn receive(
    fd: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    most: usize,
    wait: bool,
) -> io::Result<usize> {
    let mut flags = RecvFlags::empty();
    flags.set(RecvFlags::DONTWAIT, !wait || MODELLED);
    let spare = buffer.spare_capacity_mut();
    let most = most.min(spare.len());
    let read = retry(|| match rustix::net::recv(fd, &mut spare[..most], flags) {
        Ok(((read, _), _)) => Ok(read.len()),
        Err(Errno::CONNRESET) => Err(Errno::INTR),
        Err(errno) => Err(look_again(errno, wait)),
    })?;
    // SAFETY: the kernel has just initialised `read` bytes at the start of the spare capacity.
    unsafe { buffer.set_len(buffer.len() + read) };
    Ok(read)
}

/// What tells a socket from all others that there are.
pub(crate) fn identity(fd: BorrowedFd<'_>) -> Option<u64> {
    rustix::fs::fstat(fd).ok().map(|stat| stat.st_ino)
}

/// Makes our end readable to its end at once: what has arrived can still be read, nothing more comes.
pub(crate) fn stop_receiving(fd: impl AsFd) {
    // Fails only when the peer is gone already, which ends the stream just as well.
    let _ = shutdown(fd, Shutdown::Read);
}

/// Ends the stream both ways: whoever reads from it or writes to it is woken.
pub(crate) fn shut(fd: impl AsFd) {
    // Fails only when the peer is gone already.
    let _ = shutdown(fd, Shutdown::Both);
}

/// What a wait is where nobody blocks in the kernel.
fn look_again(errno: Errno, wait: bool) -> Errno {
    if MODELLED && wait && errno == Errno::AGAIN {
        thread::yield_now();
        return Errno::INTR;
    }
    errno
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}
