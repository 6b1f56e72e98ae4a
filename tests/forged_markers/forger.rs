//! Makes what a parent makes for its worker, and everything that is nearly it.

use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, memfd_create};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg,
    socketpair,
};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

/// The variable by which a process suspects that it is a worker.
pub(crate) const MARKER: &str = "PROCPOOL_WORKER";
/// Bytes of a frame's header.
pub(crate) const HEADER: usize = 40;
/// The first byte of what a worker sends when it can take tasks.
pub(crate) const READY: u8 = 5;
/// The first byte of the first frame that a worker reads.
const HELLO: u8 = 1;
const NONCE: [u8; 16] = [0xab; 16];
/// At least the size of the page that parent and worker share.
const PAGE: u64 = 1 << 20;

/// A marker that goes with [`Letter::right`] and names us as the parent.
pub(crate) fn mark() -> String {
    format!("{}-{}", "ab".repeat(16), std::process::id())
}

/// A connected pair of sockets.
pub(crate) fn pair(kind: SocketType) -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("a pair of sockets")
}

/// Bytes and descriptors, to be sent in one message.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Letter {
    /// What a parent sends.
    pub(crate) fn right() -> Letter {
        Letter::new(HELLO, NONCE, 0, 0)
    }

    pub(crate) fn with_nonce(nonce: [u8; 16]) -> Letter {
        Letter::new(HELLO, nonce, 0, 0)
    }

    pub(crate) fn of_kind(kind: u8) -> Letter {
        Letter::new(kind, NONCE, 0, 0)
    }

    /// A header that promises this many bytes more than follow.
    pub(crate) fn claiming(more: u64) -> Letter {
        Letter::new(HELLO, NONCE, 0, more)
    }

    /// A hello with something behind it, inside of its frame.
    pub(crate) fn longer() -> Letter {
        Letter::new(HELLO, NONCE, 9, 0)
    }

    pub(crate) fn text(text: &[u8]) -> Letter {
        Letter { bytes: text.to_vec(), ..Letter::right() }
    }

    pub(crate) fn cut(&self, len: usize) -> Letter {
        Letter::text(&self.bytes[..len])
    }

    /// As many of the right descriptors, with others behind them if that is not enough.
    pub(crate) fn with_descriptors(mut self, count: usize) -> Letter {
        self.descriptors.truncate(count);
        self.descriptors.resize_with(count, null);
        self
    }

    /// Descriptors that are neither of a process nor of memory.
    pub(crate) fn with_files(mut self) -> Letter {
        self.descriptors = vec![null(), null()];
        self
    }

    fn new(kind: u8, nonce: [u8; 16], extra: usize, claimed: u64) -> Letter {
        // Nonce; place 0 in the pool; 1 deep; at most 127 bytes; no template; of a pool; no initializer; any memory; no time to spin;
        // no limits; no inherited descriptors.
        let numbers = [
            &0_u64.to_ne_bytes()[..],
            &1_u32.to_ne_bytes(),
            &127_u64.to_ne_bytes(),
            &[0],
            &[0],
            &[0],
            &0_u64.to_ne_bytes(),
            &[0],
        ];
        let body = [&nonce[..], &numbers.concat(), &[0; 10], &vec![0; extra]].concat();
        let mut bytes = vec![0; HEADER];
        bytes[0] = kind;
        bytes[24..32].copy_from_slice(&(body.len() as u64 + claimed).to_le_bytes());
        bytes.extend(body);
        let parent = pidfd_open(getpid(), PidfdFlags::empty()).expect("a descriptor of this process");
        Letter { bytes, descriptors: vec![parent, page()] }
    }

    pub(crate) fn send(&self, socket: &OwnedFd) {
        let attached: Vec<BorrowedFd<'_>> = self.descriptors.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        // A message without bytes would be no message.
        if !attached.is_empty() && !self.bytes.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&attached)));
        }
        let sent = sendmsg(socket, &[IoSlice::new(&self.bytes)], &mut ancillary, SendFlags::NOSIGNAL);
        assert_eq!(sent, Ok(self.bytes.len()));
    }
}

fn page() -> OwnedFd {
    let fd = memfd_create("page", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("memory");
    fallocate(&fd, FallocateFlags::empty(), 0, PAGE).expect("memory");
    fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).expect("seals");
    fd
}

fn null() -> OwnedFd {
    File::open("/dev/null").expect("it is always there").into()
}
