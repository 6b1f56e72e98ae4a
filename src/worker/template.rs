//! A process that does nothing but make copies of itself, which are workers. It has one thread, and has run what was to
//! be loaded before: its copies share the memory of that until they write to it.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::faults::{self, Point};
use crate::sys::fork::{self, Forked};
use crate::sys::{fd, limits, process, socket};
use crate::transport::{Board, send};
use crate::wire::codec;
use crate::wire::frame::{Decoder, HEADER, Header, Kind};
use crate::wire::hello::{HELLO_MAX, Hello, Refused};

use super::boot::{live, refuse};
use super::desk::Desk;
use super::panic;
use super::place::{self, Place};
use super::serve::{Serve, Work, serve};

/// An order for one worker.
struct Order {
    hello: Hello,
    parent: OwnedFd,
    page: OwnedFd,
    channel: OwnedFd,
}

/// Loads what is to be loaded, then makes workers until nobody wants any.
pub(super) fn run(hello: &Hello, maker: u32, socket: OwnedFd, board: Board) -> ! {
    // It has no thread to keep a vigil, and nothing that would have to be ended with it.
    process::end_with_parent(maker);
    place::take_thread(Place { index: 0, depth: hello.depth });
    panic::serve();
    let served = serve(Serve {
        socket,
        desk: Desk::new(board),
        limit: hello.limit,
        work: Work::Prepare,
        initializer: hello.initializer,
        max_rss: 0,
    });
    let socket = served.channel;
    loop {
        let _ = io::stdout().flush();
        fork::flush_c();
        let Ok(order) = next(&socket) else { std::process::exit(0) };
        let Ok((told, tell)) = pipe_with(PipeFlags::CLOEXEC) else {
            answer(&socket, Err(io::Error::last_os_error()));
            continue;
        };
        match fork::fork_sibling() {
            Ok(Forked::Copy) => {
                drop((socket, told));
                process::lead_a_group();
                drop(tell);
                become_worker(order, maker);
            }
            Ok(Forked::Original(pid)) => {
                drop((order, tell));
                // It leads its group, or is dead: then the pipe has ended.
                let _ = rustix::io::retry_on_intr(|| rustix::io::read(&told, &mut [0_u8; 1]));
                answer(&socket, Ok(pid));
            }
            Err(error) => answer(&socket, Err(error)),
        }
    }
}

fn answer(socket: &OwnedFd, forked: io::Result<u32>) {
    // A parent that does not hear it is dead.
    let _ = match forked {
        Ok(pid) => send(socket.as_fd(), Header { seq: pid.into(), ..Header::new(Kind::Ready) }, &[]),
        Err(error) => {
            let mut body = Vec::new();
            let _ = codec::encode(&Refused::Fork(error.to_string()), &mut body, HELLO_MAX);
            send(socket.as_fd(), Header::new(Kind::StartRefused), &body)
        }
    };
}

/// Waits for the next order. An error is the end.
fn next(socket: &OwnedFd) -> io::Result<Order> {
    loop {
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], None) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let mut buffer = vec![0; HEADER + HELLO_MAX];
    let (seen, [parent, page, channel]) = socket::peek_with(socket.as_fd(), &mut buffer)?;
    let garbled = || io::Error::from(io::ErrorKind::InvalidData);
    let mut rest = &buffer[..seen];
    let frame = Decoder::new(HELLO_MAX as u64).feed(&mut rest).map_err(|_| garbled())?.ok_or_else(garbled)?;
    let len = seen - rest.len();
    let hello = codec::decode(&frame.body).map_err(|_| garbled())?;
    socket::take(socket.as_fd(), &mut buffer[..len])?;
    Ok(Order { hello, parent, page, channel })
}

/// The copy becomes a worker: what [`super::boot`] does before the program is prepared, which it is.
fn become_worker(Order { hello, parent, page, channel }: Order, maker: u32) -> ! {
    #[cfg(feature = "faults")]
    faults::arm(hello.faults.clone());
    let mut started = faults::hit(Point::BootStart);
    let place = Place { index: hello.index, depth: hello.depth };
    place::take_process(place, None, maker);
    place::take_thread(place);
    let bounded = limits::apply(&hello.bounds);
    process::settle_in(&place::name());
    let high = fd::to_high(channel.as_fd()).and_then(|socket| Ok((socket, fd::to_high(parent.as_fd())?)));
    drop((channel, parent));
    let (Ok((socket, parent)), Ok(board)) = (high, Board::open(page.as_fd())) else {
        // Without its channel it can only die; the parent sees that and says so.
        std::process::exit(70);
    };
    drop(page);
    faults::keep_channel(&socket);
    started = started.and_then(|()| faults::hit(Point::BootChannel));
    if let Err(message) = bounded {
        refuse(socket.as_fd(), &Refused::Limits(message));
    }
    if let Err(error) = started.and_then(|()| faults::hit(Point::BootPrepared)) {
        refuse(socket.as_fd(), &Refused::Limits(error.to_string()));
    }
    live(&hello, socket, parent, board)
}
