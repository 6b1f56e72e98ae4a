//! What the supervisor waits for: sockets, ends of processes, and calls from other threads.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd, poll};
use rustix::io::Errno;

use crate::primitive::{MODELLED, thread};
use crate::sys::fd::above_standard;

use super::machine::LaneNo;
use super::policy::STALL;

/// Says what became ready, and for which life of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) what: What,
    pub(crate) lane: LaneNo,
    /// Counts the workers of a lane, so that news of a past one is not taken for news of the present one.
    pub(crate) life: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Called,
    Socket,
    Ended,
    /// Workers have written something.
    Output,
}

impl Token {
    fn to_u64(self) -> u64 {
        (self.what as u64) << 62 | (self.lane.0 as u64 & 0x3fff_ffff) << 32 | u64::from(self.life)
    }

    fn from_u64(word: u64) -> Token {
        let what = match word >> 62 {
            0 => What::Called,
            1 => What::Socket,
            2 => What::Ended,
            _ => What::Output,
        };
        Token { what, lane: LaneNo((word >> 32 & 0x3fff_ffff) as usize), life: word as u32 }
    }
}

/// Shorter waits than this are told to the kernel in nanoseconds, that for a slow task among them.
const FINE: Timespec = Timespec { tv_sec: 0, tv_nsec: STALL.subsec_nanos() as _ };

#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    calls: OwnedFd,
}

/// Something that became ready.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    pub(crate) writable: bool,
    pub(crate) readable: bool,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Poller> {
        let epoll = above_standard(epoll::create(epoll::CreateFlags::CLOEXEC)?)?;
        let calls = above_standard(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)?;
        let token = Token { what: What::Called, lane: LaneNo(0), life: 0 };
        let poller = Poller { epoll, calls };
        poller.add(poller.calls.as_fd(), token)?;
        Ok(poller)
    }

    /// Waits for `fd` to become readable, from now on.
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token.to_u64()), epoll::EventFlags::IN)?)
    }

    pub(crate) fn change(&self, fd: BorrowedFd<'_>, token: Token, interest: epoll::EventFlags) {
        // Fails only for a descriptor that has been removed, about which nobody wants to know any more.
        let _ = epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token.to_u64()), interest);
    }

    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Makes the supervisor look at its commands and its clock.
    pub(crate) fn call(&self) {
        // Full means that it has been called often enough.
        let _ = rustix::io::write(&self.calls, &1_u64.to_ne_bytes());
    }

    /// Waits until something is ready or the time has come.
    pub(crate) fn wait(&self, until: Option<Instant>) -> io::Result<Vec<Ready>> {
        let timeout = until.map(|until| {
            let rest = until.saturating_duration_since(Instant::now());
            // Later than any process lives is no time-out.
            let rest = rest.min(Duration::from_secs(86_400));
            Timespec { tv_sec: rest.as_secs() as i64, tv_nsec: rest.subsec_nanos().into() }
        });
        let timeout = if MODELLED { Some(Timespec::default()) } else { timeout };
        // `epoll_wait` counts milliseconds.
        if let Some(timeout) = timeout.filter(|timeout| *timeout < FINE && *timeout > Timespec::default()) {
            let _ = poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&timeout));
            return self.ready(Some(Timespec::default()));
        }
        self.ready(timeout)
    }

    fn ready(&self, timeout: Option<Timespec>) -> io::Result<Vec<Ready>> {
        let mut buffer = [MaybeUninit::<epoll::Event>::uninit(); 64];
        let (events, _) = match epoll::wait(&self.epoll, &mut buffer, timeout.as_ref()) {
            Ok(ready) => ready,
            Err(Errno::INTR) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        };
        if MODELLED && events.is_empty() {
            thread::yield_now();
        }
        let ready = events.iter().map(|event| {
            let flags = event.flags;
            let token = Token::from_u64(event.data.u64());
            if token.what == What::Called {
                let _ = rustix::io::read(&self.calls, &mut [0_u8; 8]);
            }
            let other = epoll::EventFlags::OUT.complement();
            Ready {
                token,
                writable: flags
                    .intersects(epoll::EventFlags::OUT | epoll::EventFlags::ERR | epoll::EventFlags::HUP),
                readable: flags.intersects(other),
            }
        });
        Ok(ready.collect())
    }
}
