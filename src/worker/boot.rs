//! Is this process a worker? If so it becomes one, here and for good.
//!
//! A worker has a marker in its environment, a unix stream socket as standard input whose other end was made by
//! its parent, and in that socket a hello with the nonce that the marker names. Anything less is an ordinary
//! start of the program: a variable set by hand, a marker that leaked, a stranger's socket. A program that runs
//! with more rights than its caller is never a worker, and nobody's worker has another user's parent.
//!
//! A process that was started as a worker and does not recognise itself must never have workers, or each of
//! them would go the same way: it is remembered as strayed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::faults::{self, Point};
use crate::sys::{fd, limits, process, socket, start};
use crate::task::Registry;
use crate::transport::{Board, send};
use crate::wire::codec;
use crate::wire::frame::{Header, Kind};
use crate::wire::hello::{HELLO_MAX, Hello, MARKER, Refused, mark, marked_by};

use super::desk::Desk;
use super::end::end;
use super::letter::Letter;
use super::place::{self, Place};
use super::serve::{Serve, Work, serve};
use super::{panic, vigil};

/// Whether this process was started to be a worker of its parent, and did not become one.
static STRAYED: AtomicBool = AtomicBool::new(false);

pub(crate) fn has_strayed() -> bool {
    STRAYED.load(Ordering::Relaxed)
}

/// Returns in an ordinary process. In a worker it never does: `prepare` brings the program to the state that
/// `main` would see, then the worker serves and exits.
pub(crate) fn take_over_if_worker(prepare: impl FnOnce()) {
    if start::has_looked() {
        return;
    }
    let Some(recognised) = recognise() else {
        let maker = std::env::var_os(MARKER).and_then(|marker| marked_by(marker.to_str()?));
        STRAYED.store(maker == Some(process::parent()), Ordering::Relaxed);
        return start::looked();
    };
    start::looked();
    become_worker(recognised, prepare)
}

struct Recognised {
    hello: Hello,
    /// The process that has started this one.
    maker: u32,
    parent: OwnedFd,
    board: Board,
}

fn recognise() -> Option<Recognised> {
    let marker = std::env::var_os(MARKER)?;
    if process::is_secure() {
        return None;
    }
    let stdin = rustix::stdio::stdin();
    let (maker, user) = socket::maker(stdin).ok()?;
    if user != process::user() {
        return None;
    }
    let letter = Letter::peek(stdin).ok()?;
    let (hello, [parent, page]) = (&letter.hello, &letter.attached);
    if marker.to_str() != Some(&mark(&hello.nonce, maker)) {
        return None;
    }
    if maker != process::parent() {
        if !process::is_ending(parent.as_fd()) {
            return None;
        }
        // Ours, but the parent is dead: there is nobody to work for.
        if hello.is_tied() {
            std::process::exit(0);
        }
    }
    let board = Board::open(page.as_fd()).ok()?;
    // Only now is it ours to take.
    let (hello, [parent, _]) = letter.take(stdin).ok()?;
    Some(Recognised { hello, maker, parent, board })
}

fn become_worker(Recognised { hello, maker, parent, board }: Recognised, prepare: impl FnOnce()) -> ! {
    start::remove_variable(MARKER);
    #[cfg(feature = "faults")]
    faults::arm(hello.faults.clone());
    let mut started = faults::hit(Point::BootStart);
    fd::close_inherited(&hello.inherited);
    if !hello.template {
        place::take_process(Place { index: hello.index, depth: hello.depth }, hello.alone.clone(), maker);
    }
    let bounded = limits::apply(&hello.bounds);
    process::settle_in(&place::name());
    let channel = fd::take_stdin().and_then(|socket| Ok((socket, fd::to_high(parent.as_fd())?)));
    drop(parent);
    let Ok((socket, parent)) = channel else {
        // Without its channel it can only die; the parent sees that and says so.
        end(70);
    };
    fd::fill_standard();
    if !hello.template {
        faults::keep_channel(&socket);
    }
    started = started.and_then(|()| faults::hit(Point::BootChannel));
    if let Err(message) = bounded {
        refuse(socket.as_fd(), &Refused::Limits(message));
    }
    if !hello.template {
        board.join_barriers();
    }
    // Before the initialisers of the program and the vigil: a thread that exists would stay outside.
    #[cfg(feature = "sandbox")]
    if let Some(confinement) = &hello.sandbox {
        super::confine::confine(confinement, socket.as_fd(), parent.as_fd());
    }
    prepare();
    started = started.and_then(|()| faults::hit(Point::BootPrepared));
    if let Err(error) = started {
        refuse(socket.as_fd(), &Refused::Limits(error.to_string()));
    }
    if hello.template {
        drop(parent);
        super::template::run(&hello, maker, None, socket, board);
    }
    live(&hello, socket, parent, board)
}

/// The rest of a worker's life, in a program that is as `main` would find it.
pub(super) fn live(hello: &Hello, socket: OwnedFd, parent: OwnedFd, board: Board) -> ! {
    // Who is not tied goes on to the end of its task without its parent.
    let vigil = hello.is_tied().then(|| vigil::start(parent).unwrap_or_else(|_| end(71)));
    if let Some(alone) = &hello.alone
        && alone.fingerprint != Registry::get().fingerprint()
    {
        // The parent sees the difference, and says so.
        let other = Header { seq: Registry::get().fingerprint(), ..Header::new(Kind::Ready) };
        let _ = send(socket.as_fd(), other, &[]);
        end(73);
    }
    let desk = Desk::new(board);
    let settle = {
        let desk = Arc::clone(&desk);
        move || {
            panic::serve_with_last_words(desk);
            if let Some(vigil) = vigil {
                vigil.wait();
            }
        }
    };
    let start = Serve {
        socket,
        desk,
        limit: hello.limit,
        work: if hello.alone.is_some() { Work::Once } else { Work::Pool },
        initializer: hello.initializer,
        max_rss: modest(hello.max_rss, &hello.nonce),
        keeps_memory: hello.alone.is_none() && hello.max_rss == 0 && !hello.bounds.are_of_memory(),
        spin: hello.spin,
    };
    let served = serve(start, settle);
    // Runs what was registered for the exit of this process, unlike the `_exit` of a crash.
    end(if hello.alone.is_some() { served.code } else { 0 })
}

/// Tells the parent why this worker cannot start, and ends.
pub(super) fn refuse(socket: BorrowedFd<'_>, why: &Refused) -> ! {
    let mut body = Vec::new();
    let _ = codec::encode(why, &mut body, HELLO_MAX);
    // A parent that does not hear it is dead, or sees this end.
    let _ = send(socket, Header::new(Kind::StartRefused), &body);
    end(72)
}

/// The bound, or up to a tenth less: by chance, so that workers that grow alike are not replaced all at once.
fn modest(bound: u64, chance: &[u8; 16]) -> u64 {
    bound - bound / 10 * u64::from(chance[0]) / 255
}
