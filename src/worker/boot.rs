//! Is this process a worker? If so it becomes one, here and for good.
//!
//! A worker has a marker in its environment, a unix stream socket as standard input whose other end was made by
//! its parent, and in that socket a hello with the nonce that the marker names. Anything less is an ordinary
//! start of the program: a variable set by hand, a marker that leaked, a stranger's socket. A program that runs
//! with more rights than its caller is never a worker.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys::{fd, process, socket, start};
use crate::transport::{Board, Inbound};
use crate::wire::codec;
use crate::wire::frame::{Decoder, HEADER, Kind};
use crate::wire::hello::{HELLO_MAX, Hello, MARKER, hex};

use super::serve::{Serve, serve};
use super::vigil;

/// How many pools this process is nested in.
static DEPTH: AtomicU32 = AtomicU32::new(0);

pub(crate) fn depth() -> u32 {
    DEPTH.load(Ordering::Relaxed)
}

/// Returns in an ordinary process. In a worker it never does: `prepare` brings the program to the state that
/// `main` would see, then the worker serves and exits.
pub(crate) fn take_over_if_worker(prepare: impl FnOnce()) {
    if start::has_looked() {
        return;
    }
    let Some(recognised) = recognise() else { return start::looked() };
    start::looked();
    become_worker(recognised, prepare)
}

struct Recognised {
    hello: Hello,
    parent: OwnedFd,
    page: OwnedFd,
}

fn recognise() -> Option<Recognised> {
    let marker = std::env::var_os(MARKER)?;
    if process::is_secure() {
        return None;
    }
    let stdin = rustix::stdio::stdin();
    let maker = socket::maker(stdin).ok()?;
    let mut buffer = vec![0; HEADER + HELLO_MAX];
    let seen = socket::peek(stdin, &mut buffer).ok()?;
    let mut rest = &buffer[..seen];
    let frame = Decoder::new(HELLO_MAX as u64).feed(&mut rest).ok()??;
    let len = seen - rest.len();
    let hello: Hello = (frame.header.kind == Kind::Hello).then(|| codec::decode(&frame.body).ok())??;
    if marker.to_str() != Some(&hex(&hello.nonce)) {
        return None;
    }
    let (_, [parent, page]) = socket::receive_with(stdin, &mut buffer[..len]).ok()?;
    if maker != process::parent() {
        // Ours, but the parent is dead: there is nobody to work for.
        std::process::exit(0);
    }
    Some(Recognised { hello, parent, page })
}

fn become_worker(Recognised { hello, parent, page }: Recognised, prepare: impl FnOnce()) -> ! {
    start::remove_variable(MARKER);
    fd::close_inherited(&hello.inherited);
    DEPTH.store(hello.depth, Ordering::Relaxed);
    process::settle_in(hello.index);
    let channel = fd::take_stdin().and_then(|socket| Ok((socket, fd::to_high(parent.as_fd())?)));
    drop(parent);
    let (Ok((socket, parent)), Ok(board)) = (channel, Board::open(page.as_fd())) else {
        // Without its channel it can only die; the parent sees that and says so.
        std::process::exit(70);
    };
    drop(page);
    prepare();
    if vigil::start(parent).is_err() {
        std::process::exit(71);
    }
    serve(Serve {
        inbound: Inbound::new(hello.limit),
        socket,
        board,
        limit: usize::try_from(hello.limit).unwrap_or(usize::MAX),
        initializer: hello.initializer,
    })
}
