//! A process that does nothing but make copies of itself, which are workers. It has one thread, and has run what was to
//! be loaded before: its copies share the memory of that until they write to it.
//!
//! It is this program, started afresh, or a copy of the program from a time at which that had one thread.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::faults::{self, Point};
use crate::sys::fork::{self, Forked};
use crate::sys::{fd, limits, process};
use crate::transport::{Board, send};
use crate::wire::codec;
use crate::wire::frame::{Header, Kind};
use crate::wire::hello::{HELLO_MAX, Hello, Refused};

use super::boot::{live, refuse};
use super::desk::Desk;
use super::end::{self, end};
use super::letter::Letter;
use super::place::{self, Place};
use super::serve::{Serve, Work, serve};
use super::{current, panic};

/// An order for one worker.
struct Order {
    hello: Hello,
    parent: OwnedFd,
    page: OwnedFd,
    channel: OwnedFd,
}

/// What a copy of the program begins its life as a template with.
pub(crate) struct Copied {
    pub(crate) hello: Hello,
    /// The process that it is a copy of.
    pub(crate) maker: u32,
    /// The same, as a descriptor.
    pub(crate) parent: OwnedFd,
    pub(crate) socket: OwnedFd,
    pub(crate) page: OwnedFd,
}

/// A copy of the program that was made a moment ago, with all signals blocked, is a template from now on. `prepare`
/// gives it the surroundings that workers are to have; what it says is the reason why there can be none.
pub(crate) fn become_template(copied: Copied, prepare: impl FnOnce() -> Result<(), String>) -> ! {
    let Copied { hello, maker, parent, socket, page } = copied;
    end::without_handlers();
    process::lead_a_group();
    fork::reset_signals();
    place::leave_process();
    current::forget();
    process::settle_in(&place::name());
    fd::fill_standard();
    let disabled = fd::empty_stdin()
        .and_then(|()| fd::disable_all_but(&[parent.as_fd(), socket.as_fd(), page.as_fd()]))
        .map_err(|error| format!("the program's descriptors cannot be kept from its copy: {error}"));
    if let Err(message) = disabled.and_then(|()| prepare()) {
        refuse(socket.as_fd(), &Refused::Fork(message));
    }
    let Ok(board) = Board::open(page.as_fd()) else { end(70) };
    drop(page);
    run(&hello, maker, Some(parent), socket, board)
}

/// Loads what is to be loaded, then makes workers until nobody wants any.
///
/// With a descriptor of its parent it lives as long as that does, and else as long as the thread that has started it.
pub(super) fn run(hello: &Hello, maker: u32, parent: Option<OwnedFd>, socket: OwnedFd, board: Board) -> ! {
    // It has no thread to keep a vigil, and nothing that would have to be ended with it.
    if !process::end_with_parent(maker) {
        end(0);
    }
    place::take_thread(Place { index: 0, depth: hello.depth });
    panic::serve();
    let served = serve(
        Serve {
            socket,
            desk: Desk::new(board),
            limit: hello.limit,
            work: Work::Prepare,
            initializer: hello.initializer,
            max_rss: 0,
            keeps_memory: false,
            spin: None,
        },
        || {},
    );
    let socket = served.channel;
    if parent.is_some() {
        // Until now the thread that has made it waited for it. That is the program's own, and may end before the program.
        process::wake_with_parent();
    }
    loop {
        let _ = io::stdout().flush();
        fork::flush_c();
        let Ok(order) = next(&socket, parent.as_ref()) else { end(0) };
        let Ok((told, tell)) = pipe_with(PipeFlags::CLOEXEC) else {
            answer(&socket, Err(io::Error::last_os_error()));
            continue;
        };
        match fork::fork_sibling() {
            Ok(Forked::Copy) => {
                drop((socket, told, parent));
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

/// Waits for the next order. An error is the end, and so is that of the parent.
fn next(socket: &OwnedFd, parent: Option<&OwnedFd>) -> io::Result<Order> {
    let mut fds: Vec<_> =
        [Some(socket), parent].into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    loop {
        match poll(&mut fds, None) {
            Ok(_) if fds.get(1).is_some_and(|parent| !parent.revents().is_empty()) => {
                return Err(io::ErrorKind::NotConnected.into());
            }
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let (hello, [parent, page, channel]) = Letter::peek(socket.as_fd())?.take(socket.as_fd())?;
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
        end(70);
    };
    drop(page);
    board.join_barriers();
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
