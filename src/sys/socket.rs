//! The socket between the parent and one worker: an unnamed pair, made before the worker.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recvmsg, sendmsg, shutdown,
    socketpair, sockopt,
};

use super::fd::above_standard;
use crate::primitive::{MODELLED, interleave, thread};

/// Bytes that may be on their way: what is large takes fewer turns then. Where the system allows less, it is that.
const ROOM: usize = 4 << 20;

/// A connected pair: the parent's end and the worker's.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    for end in [&one, &other] {
        let _ = sockopt::set_socket_send_buffer_size(end, ROOM);
    }
    Ok((above_standard(one)?, above_standard(other)?))
}

/// A connected pair that keeps the boundaries of packets.
pub(crate) fn packet_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((above_standard(one)?, above_standard(other)?))
}

/// Whether the descriptor is an end of such a pair, or as good as one.
pub(crate) fn is_of_packets(fd: BorrowedFd<'_>) -> bool {
    sockopt::socket_domain(fd) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(fd) == Ok(SocketType::SEQPACKET)
}

/// A packet is larger than the system allows.
pub(crate) fn is_too_long(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::MSGSIZE)
}

/// The process that made the pair this descriptor is an end of, and its user; an error if it is no such thing.
pub(crate) fn maker(fd: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    if sockopt::socket_domain(fd)? != AddressFamily::UNIX || sockopt::socket_type(fd)? != SocketType::STREAM {
        return Err(Errno::PROTOTYPE.into());
    }
    let maker = sockopt::socket_peercred(fd)?;
    Ok((maker.pid.as_raw_nonzero().get().unsigned_abs(), maker.uid.as_raw()))
}

/// The process that made the pair of packet sockets that this descriptor is an end of.
pub(crate) fn packet_maker(fd: BorrowedFd<'_>) -> io::Result<u32> {
    if !is_of_packets(fd) {
        return Err(Errno::PROTOTYPE.into());
    }
    Ok(sockopt::socket_peercred(fd)?.pid.as_raw_nonzero().get().unsigned_abs())
}

/// Sends all of `bytes` with up to three descriptors, into a socket that has room for them, or `WouldBlock`.
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

/// Reads what is there, without taking it and without waiting.
pub(crate) fn peek(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let (seen, _) = retry(|| rustix::net::recv(fd, &mut *buffer, RecvFlags::PEEK | RecvFlags::DONTWAIT))?;
    Ok(seen)
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
    interleave();
    let mut flags = SendFlags::NOSIGNAL;
    flags.set(SendFlags::DONTWAIT, !wait || MODELLED);
    let sent = retry(|| {
        sendmsg(fd, pieces, &mut SendAncillaryBuffer::default(), flags)
            .map_err(|errno| look_again(errno, wait))
    })?;
    Ok(sent)
}

/// [`send`], with descriptors that come with the first byte: at least one, and no more than the kernel carries.
pub(crate) fn send_attached(
    fd: BorrowedFd<'_>,
    pieces: &[IoSlice<'_>],
    attached: &[BorrowedFd<'_>],
    wait: bool,
) -> io::Result<usize> {
    interleave();
    let mut flags = SendFlags::NOSIGNAL;
    flags.set(SendFlags::DONTWAIT, !wait || MODELLED);
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(attached.len()))];
    let sent = retry(|| {
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(attached)) {
            return Err(Errno::INVAL);
        }
        sendmsg(fd, pieces, &mut ancillary, flags).map_err(|errno| look_again(errno, wait))
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

/// Descriptors that the kernel hands out with one message, at most.
const ATTACHED_MAX: usize = 253;

/// Room for a message with so many, in words, which it has to be aligned to.
const ANCILLARY: usize = rustix::cmsg_space!(ScmRights(ATTACHED_MAX)) / size_of::<usize>() + 1;

/// What one call has received.
struct Came {
    read: usize,
    descriptors: Vec<OwnedFd>,
    /// There was more in the packet.
    cut: bool,
}

/// Receives to where the parts point.
///
/// A peer that dies with unread bytes makes the kernel say ECONNRESET once before the end: the bytes it had
/// sent come first, so that is passed over.
///
/// # Safety
///
/// The parts point to memory that may be written to, with its length.
unsafe fn receive_to(fd: BorrowedFd<'_>, parts: &mut [libc::iovec], wait: bool) -> io::Result<Came> {
    interleave();
    let mut flags = libc::MSG_CMSG_CLOEXEC;
    if !wait || MODELLED {
        flags |= libc::MSG_DONTWAIT;
    }
    let mut ancillary = [MaybeUninit::<usize>::uninit(); ANCILLARY];
    // SAFETY: all zeros are a message header: null pointers and lengths of nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    let read = retry(|| {
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len() as _;
        message.msg_control = ancillary.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&ancillary) as _;
        // SAFETY: the header points to the parts, which the caller vouches for, and to the room for ancillary data with
        // its length; both outlive the call. The safe wrapper wants memory that is initialised.
        let read = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) };
        match usize::try_from(read) {
            Ok(read) => Ok(read),
            Err(_) => match Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO) {
                Errno::CONNRESET => Err(Errno::INTR),
                errno => Err(look_again(errno, wait)),
            },
        }
    })?;
    let descriptors = if message.msg_controllen == 0 {
        Vec::new()
    } else {
        // SAFETY: the kernel has filled the header and what it points to in a successful call, just now.
        unsafe { attached(&message) }
    };
    Ok(Came { read, descriptors, cut: message.msg_flags & libc::MSG_TRUNC != 0 })
}

/// Appends what has arrived to the spare capacity of `buffer`, no more than `most`, and says how much that was; 0 is the
/// end of the stream. With it come the descriptors that were attached to the last of the bytes, unless there is no room
/// for all of them.
pub(crate) fn receive(
    fd: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    most: usize,
    wait: bool,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let spare = buffer.spare_capacity_mut();
    let into = libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: most.min(spare.len()) };
    // SAFETY: it is the spare capacity, and no more of it than there is.
    let came = unsafe { receive_to(fd, &mut [into], wait)? };
    // SAFETY: the kernel has just initialised so many bytes at the start of the spare capacity.
    unsafe { buffer.set_len(buffer.len() + came.read) };
    Ok((came.read, came.descriptors))
}

/// A packet as it came.
pub(crate) struct Packet {
    /// Bytes of its head that came; 0 is the end.
    pub(crate) head: usize,
    /// Bytes of its body.
    pub(crate) body: usize,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// It was larger than there was room for, and the rest is lost.
    pub(crate) cut: bool,
}

/// Receives one packet without waiting, its first bytes to `head` and the others to the spare capacity of `body`.
pub(crate) fn receive_packet(fd: BorrowedFd<'_>, head: &mut [u8], body: &mut Vec<u8>) -> io::Result<Packet> {
    let spare = body.spare_capacity_mut();
    let parts = &mut [
        libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: head.len() },
        libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: spare.len() },
    ];
    // SAFETY: they are the head and the spare capacity, with their lengths.
    let Came { read, descriptors, cut } = unsafe { receive_to(fd, parts, false)? };
    let head = read.min(head.len());
    // SAFETY: what did not fit into the head is at the start of the spare capacity, initialised by the kernel.
    unsafe { body.set_len(body.len() + read - head) };
    Ok(Packet { head, body: read - head, descriptors, cut })
}

/// The descriptors of a message. If one cannot be had under a number of its own, those after it go away with it: each
/// is known by its place.
///
/// # Safety
///
/// The message is as `recvmsg` left it, and its descriptors are taken once.
#[cold]
unsafe fn attached(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut found = Vec::new();
    // SAFETY: the message is as the kernel left it, so the walk stays within its ancillary data.
    let mut entry = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !entry.is_null() {
        // SAFETY: the walk gives headers that are whole.
        let libc::cmsghdr { cmsg_level, cmsg_type, cmsg_len, .. } = unsafe { *entry };
        if (cmsg_level, cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: the length of an entry without data is a matter of arithmetic.
            let head = unsafe { libc::CMSG_LEN(0) } as usize;
            #[allow(clippy::unnecessary_cast, reason = "the type of the length is the C library's choice")]
            let len = cmsg_len as usize;
            for place in 0..len.saturating_sub(head) / size_of::<RawFd>() {
                // SAFETY: the kernel has written so many numbers after the header, of descriptors that it has opened
                // for this call, and which nobody else knows.
                found.push(unsafe {
                    OwnedFd::from_raw_fd(libc::CMSG_DATA(entry).cast::<RawFd>().add(place).read_unaligned())
                });
            }
        }
        // SAFETY: as for the first.
        entry = unsafe { libc::CMSG_NXTHDR(message, entry) };
    }
    found.into_iter().map_while(|fd| above_standard(fd).ok()).collect()
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

/// Ends what goes out by our end: the other side reads to the end of it.
pub(crate) fn stop_sending(fd: impl AsFd) {
    // Fails only when the peer is gone already.
    let _ = shutdown(fd, Shutdown::Write);
}

/// Whether sending has failed because nobody is there to read it.
pub(crate) fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
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
