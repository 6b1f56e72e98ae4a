//! Sockets and files: those of the real kernel, but who waits for one sleeps in the model, and what a process has open is
//! closed when it ends. All that happens to a socket wakes all who sleep at any.

/// Each is a step, and nothing happens to it that somebody does who is dead.
macro_rules! steps {
    ($($real:path => fn $name:ident($($argument:ident: $type:ty),*) -> $done:ty, dead: $dead:expr;)*) => {$(
        pub(crate) fn $name($($argument: $type),*) -> $done {
            if !super::super::step() {
                return $dead;
            }
            $real($($argument),*)
        }
    )*};
}

pub(crate) mod socket {
    use std::io::{self, IoSlice};
    use std::os::fd::BorrowedFd;

    use super::super::current;
    use crate::sys::socket as real;

    steps! {
        send_now => fn send(fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>], wait: bool) -> io::Result<usize>, dead: Ok(0);
        attached_now => fn send_attached(
            fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>], attached: &[BorrowedFd<'_>], wait: bool
        ) -> io::Result<usize>, dead: Ok(0);
        real::receive_packet => fn receive_packet(
            fd: BorrowedFd<'_>, head: &mut [u8], body: &mut Vec<u8>
        ) -> io::Result<real::Packet>, dead: Err(io::ErrorKind::WouldBlock.into());
    }

    fn send_now(fd: BorrowedFd<'_>, pieces: &[IoSlice<'_>], wait: bool) -> io::Result<usize> {
        let sent = real::send(fd, pieces, wait);
        current().process.world.sockets_changed();
        sent
    }

    fn attached_now(
        fd: BorrowedFd<'_>,
        pieces: &[IoSlice<'_>],
        attached: &[BorrowedFd<'_>],
        wait: bool,
    ) -> io::Result<usize> {
        let sent = real::send_attached(fd, pieces, attached, wait);
        current().process.world.sockets_changed();
        sent
    }
}

pub(crate) mod ready {
    use std::io;
    use std::os::fd::BorrowedFd;
    use std::time::Instant;

    use super::super::{SeqCst, current};
    use crate::sys::ready as real;
    use real::Interest;

    steps! {
        real::is_hung_up => fn is_hung_up(fd: BorrowedFd<'_>) -> bool, dead: false;
        wait_now => fn wait(fds: &[(BorrowedFd<'_>, Interest)], until: Option<Instant>) -> io::Result<Vec<bool>>,
            dead: Ok(vec![false; fds.len()]);
    }

    fn wait_now(fds: &[(BorrowedFd<'_>, Interest)], until: Option<Instant>) -> io::Result<Vec<bool>> {
        assert!(until.is_none(), "there is no time here");
        loop {
            let thread = current();
            let changes = &thread.process.world.sockets;
            let seen = changes.0.load(SeqCst) as u32;
            let ready = real::wait(fds, Some(Instant::now()))?;
            if ready.contains(&true) {
                return Ok(ready);
            }
            thread.sleep(&[(changes, seen)]);
        }
    }
}

pub(crate) mod spill {
    use std::io;
    use std::os::fd::BorrowedFd;

    use crate::sys::spill as real;

    pub(crate) use real::create;

    steps! {
        real::write => fn write(fd: BorrowedFd<'_>, at: u64, bytes: &[u8]) -> io::Result<()>, dead: Ok(());
        real::read => fn read(fd: BorrowedFd<'_>, at: u64, buffer: &mut [u8]) -> io::Result<()>, dead: Ok(());
        real::discard => fn discard(fd: BorrowedFd<'_>, from: u64, to: u64) -> (), dead: ();
    }
}
