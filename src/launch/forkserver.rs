//! Workers that are copies of a template: a process of this program that has loaded what they need, and has one thread.
//!
//! A copy is a child of this program, not of the template: it is waited for, signalled and explained as a worker that
//! was started afresh, and the death of the template does not concern it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::{HandshakeError, Panic, StartError};
use crate::faults::Point;
use crate::sys::oom::Seen;
use crate::sys::{fd, process, socket};
use crate::task::{Registry, TaskNumber};
use crate::transport::{Board, Inbound, Message, Outbound, Piece, Received};
use crate::wire::attach::Handles;
use crate::wire::codec;
use crate::wire::frame::{Frame, Header, Kind};
use crate::worker::place::{TEMPLATE, worker_name};

use super::child::{self, DESCRIPTORS};
use super::{Launched, Worker, copy, start_refused};

/// Where templates come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// They are this program, started afresh.
    Start,
    /// It is a copy of this process, from the time at which the pool was built. There never is another.
    Copy,
}

/// How to make templates, and the one there is.
pub(crate) struct ForkServer {
    pub(crate) origin: Origin,
    pub(crate) preload: Option<Preload>,
    /// How long a template may take to load what it is to load.
    pub(crate) start_timeout: Duration,
    pub(crate) template: Mutex<Option<Template>>,
    /// There are to be no more workers.
    pub(crate) retired: AtomicBool,
}

/// What a template runs once, before it makes copies.
pub(crate) struct Preload {
    pub(crate) task: TaskNumber,
    pub(crate) body: Arc<Message>,
    /// Reads the encoded result: an `Err` is the reason why there can be no workers.
    pub(crate) judge: fn(&[u8], Handles) -> Result<(), String>,
}

/// A template that can make copies.
#[derive(Debug)]
pub(crate) struct Template {
    process: super::Process,
    socket: OwnedFd,
    inbound: Inbound,
    /// Somebody waits for its end.
    watched: bool,
    /// It was asked for a copy that has not been taken over.
    asked: bool,
    /// So many copies it was asked for, and not waited for any more.
    owed: usize,
}

/// Why there are no more workers.
const GONE: &str = "the copy of it that all workers are copies of has ended, and can be made while the pool is built only: \
                    build another pool, or choose `StartMethod::ForkServer`, whose template is replaced";

/// One that was killed is expected to end within this.
const UNKILLABLE: Duration = Duration::from_secs(5);

/// Bytes of what a template says, at most.
const ANSWER_MAX: u64 = 1 << 20;

impl ForkServer {
    fn template(&self) -> MutexGuard<'_, Option<Template>> {
        self.template.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another descriptor that is readable when the template has ended, once for each template.
    pub(crate) fn unwatched(&self) -> Option<OwnedFd> {
        let mut template = self.template();
        let template = template.as_mut().filter(|template| !template.watched)?;
        let ended = template.process.ended().try_clone_to_owned().ok()?;
        template.watched = true;
        Some(ended)
    }

    /// Ends the template, if there is one, and waits for it: there are no more workers. Says whether this is the first
    /// time.
    pub(crate) fn retire(&self) -> bool {
        let template = self.template().take();
        if let Some(template) = template {
            template.put_down();
        }
        !self.retired.swap(true, Ordering::Relaxed)
    }

    /// If the template has ended, waits for it, so that no zombie is left.
    pub(crate) fn bury(&self) {
        let mut template = self.template();
        if template.as_ref().is_some_and(Template::is_over)
            && let Some(template) = template.take()
        {
            template.put_down();
        }
    }

    /// Makes the template by a copy of this process, if it is to be one. On a thread of the program.
    pub(crate) fn copy_this_process(&self, worker: &Worker) -> Result<(), StartError> {
        if self.origin == Origin::Copy {
            let template = Template::load(copy::start(worker)?, self)?;
            *self.template() = Some(template);
        }
        Ok(())
    }

    /// Makes sure that there is a template.
    pub(crate) fn prepare(&self, worker: &Worker) -> Result<(), StartError> {
        let mut template = self.template();
        if template.is_none() {
            if self.origin == Origin::Copy {
                return Err(StartError::spawn("copy the program", io::Error::other(GONE)));
            }
            *template = Some(Template::load(child::start(worker, 0, child::Role::Template)?, self)?);
        }
        Ok(())
    }

    /// The children of the thread to which the kernel says that templates and their copies belong.
    fn children(&self) -> Option<Vec<u32>> {
        match self.origin {
            // That of this thread, which has started it.
            Origin::Start => process::own_children(),
            Origin::Copy => process::children_of_first_thread(),
        }
    }

    /// Kills and reaps the copies of a dead template of which it has told nobody.
    fn reap_strays(&self, before: &[u32], index: usize) {
        match self.origin {
            Origin::Start => process::reap_strays(before),
            // That thread may have started children of the program's own meanwhile.
            Origin::Copy => {
                let names = [TEMPLATE.to_owned(), worker_name(index)];
                let is_copy = |pid: &u32| process::name_of(*pid).is_some_and(|name| names.contains(&name));
                let new = self.children().unwrap_or_default().into_iter().filter(|pid| !before.contains(pid));
                new.filter(is_copy).for_each(process::put_down);
            }
        }
    }

    pub(super) fn start(&self, worker: &Worker, index: usize) -> Result<Launched, StartError> {
        // It may have died a moment ago.
        self.bury();
        self.prepare(worker)?;
        let mut template = self.template();
        let Some(there) = template.as_mut() else {
            return Err(StartError::spawn("copy a template", io::Error::other("it is gone")));
        };
        let children_before = self.children();
        let copied = there.copy(worker, index, Instant::now() + self.start_timeout, self.origin);
        // One that was asked and has not given what was asked for is of no use, and may have made a copy all the same.
        if there.asked
            && let Some(template) = template.take()
        {
            template.put_down();
            if let Some(before) = children_before {
                self.reap_strays(&before, index);
            }
        }
        copied
    }
}

impl Template {
    /// Waits until a process that was started as a template has loaded what it is to load.
    fn load(launched: Launched, server: &ForkServer) -> Result<Template, StartError> {
        let Launched { process, socket, board } = launched;
        let inbound = Inbound::new(ANSWER_MAX);
        let mut template = Template { process, socket, inbound, watched: false, asked: false, owed: 0 };
        let mut outbound = Outbound::new(None, board.requests_bell());
        if let Some(Preload { task, body, .. }) = &server.preload {
            let header = Header { task: task.0, ..Header::new(Kind::Init) };
            outbound.push(Piece { header, body: Arc::clone(body) as _ });
        }
        let limit = server.start_timeout;
        let loaded = template.converse(&mut outbound, Instant::now() + limit).and_then(|frame| match frame {
            None => Err(StartError::Handshake(HandshakeError::TimedOut { limit })),
            Some(frame) => judge(frame, server.preload.as_ref()),
        });
        match loaded {
            Ok(()) => Ok(template),
            Err(StartError::Handshake(HandshakeError::Protocol { .. })) if template.has_ended() => {
                let cause = template.put_down();
                Err(StartError::Handshake(HandshakeError::Died { cause }))
            }
            Err(error) => {
                template.put_down();
                Err(error)
            }
        }
    }

    /// Kills it and waits for its end, for a while: one that the kernel does not let go of is waited for elsewhere.
    fn put_down(self) -> crate::error::ExitCause {
        // One that has ended already is not changed by this.
        self.process.kill();
        let _ = process::ends_by(self.process.ended(), Instant::now() + UNKILLABLE);
        self.process.reap().cause
    }

    fn is_over(&self) -> bool {
        matches!(process::ends_by(self.process.ended(), Instant::now()), Ok(true))
    }

    fn has_ended(&self) -> bool {
        process::is_ending(self.process.ended())
    }

    /// Waits for the copies that it still owes, and ends them. `false` if they have not come by then.
    fn collect(&mut self, board: &Board, until: Instant) -> Result<bool, StartError> {
        let mut nothing = Outbound::new(None, board.requests_bell());
        while self.owed > 0 {
            let Some(answer) = self.converse(&mut nothing, until)? else { return Ok(false) };
            self.owed -= 1;
            let pid = answer.header.seq as u32;
            if answer.header.kind == Kind::Ready
                && process::pidfd(pid).is_ok_and(|copy| process::is_child(copy.as_fd()))
            {
                process::put_down(pid);
            }
        }
        Ok(true)
    }

    /// Has a worker made.
    fn copy(
        &mut self,
        worker: &Worker,
        index: usize,
        until: Instant,
        origin: Origin,
    ) -> Result<Launched, StartError> {
        let failed = |error| StartError::spawn("copy the template", error);
        let silent = || failed(io::Error::other("it does not answer"));
        fd::headroom(DESCRIPTORS)
            .map_err(|error| StartError::spawn("open descriptors for a worker", error))?;
        let own = process::own_pidfd().map_err(failed)?;
        let (socket, theirs) = socket::pair().map_err(failed)?;
        let (board, page) = Board::create().map_err(failed)?;
        if !self.collect(&board, until)? {
            return Err(silent());
        }
        worker.faults.hit(Point::SpawnBefore).map_err(failed)?;
        let leaf = child::leaf(worker, index)?;
        let letter =
            child::letter(&child::hello(worker, index, leaf.as_ref(), [0; 16], child::Role::Worker))?;
        let attached = [own.as_fd(), page.as_fd(), theirs.as_fd()];
        let seen_before = Seen::so_far();
        self.asked = true;
        socket::send_with(self.socket.as_fd(), &letter, attached).map_err(failed)?;
        drop((own, page, theirs));
        let mut nothing = Outbound::new(None, board.requests_bell());
        let answer = self.converse(&mut nothing, until)?;
        let pid = match answer {
            Some(Frame { header: Header { kind: Kind::Ready, seq, .. }, .. }) => seq as u32,
            Some(Frame { header, body, .. }) if header.kind == Kind::StartRefused => {
                // It has made none, for a reason that may pass; and there can be no other template.
                self.asked = origin != Origin::Copy;
                return Err(start_refused(&body));
            }
            None if origin == Origin::Copy => {
                // There can be no other, and this one may have been stopped, or the machine be busy.
                self.asked = false;
                self.owed += 1;
                return Err(silent());
            }
            _ => return Err(silent()),
        };
        let pidfd = process::pidfd(pid).map_err(failed)?;
        // What ran in the template may have made it say anything; whoever is no child of ours is left alone.
        if !process::is_child(pidfd.as_fd()) {
            return Err(failed(io::Error::other("it names a process that is none of its copies")));
        }
        self.asked = false;
        worker.faults.hit(Point::SpawnAfter).inspect_err(|_| process::put_down(pid)).map_err(failed)?;
        let process = super::Process::Child(child::Process::new(pid, pidfd, seen_before, leaf));
        Ok(Launched { process, socket, board })
    }

    /// Writes what there is to write and waits for the next thing that it says; `None` when the time is over.
    fn converse(&mut self, outbound: &mut Outbound, until: Instant) -> Result<Option<Frame>, StartError> {
        let failed = |error| StartError::spawn("hear the template", error);
        let gone = || {
            let message = "it ended before it had answered".to_owned();
            StartError::Handshake(HandshakeError::Protocol { message })
        };
        loop {
            let sent = outbound.flush(self.socket.as_fd());
            match self.inbound.next(self.socket.as_fd(), false).map_err(failed)? {
                Received::Frame(frame) => return Ok(Some(frame)),
                Received::Nothing => {}
                Received::End => return Err(gone()),
                Received::Malformed { malformed, .. } => {
                    let message = malformed.to_string();
                    return Err(StartError::Handshake(HandshakeError::Protocol { message }));
                }
            }
            let blocked = !sent.map_err(|error| StartError::spawn("write to the template", error))?;
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Ok(None);
            }
            let rest = Timespec {
                tv_sec: rest.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: rest.subsec_nanos().into(),
            };
            let mut interest = PollFlags::IN;
            interest.set(PollFlags::OUT, blocked);
            let _ = poll(&mut [PollFd::new(&self.socket, interest)], Some(&rest));
        }
    }
}

/// Whether the template has loaded what it was to load.
fn judge(Frame { header, body, handles }: Frame, preload: Option<&Preload>) -> Result<(), StartError> {
    let text = |what: &str, text: Result<String, String>| {
        let text = text.unwrap_or_else(|garbled| garbled);
        Err(StartError::Initializer { message: format!("{what}{text}") })
    };
    match header.kind {
        Kind::Ready if header.seq != Registry::get().fingerprint() => {
            Err(StartError::Handshake(HandshakeError::Version))
        }
        Kind::Ready => match preload.map_or(Ok(()), |preload| (preload.judge)(&body, handles)) {
            Ok(()) => Ok(()),
            Err(message) => Err(StartError::Initializer { message }),
        },
        Kind::StartRefused => Err(start_refused(&body)),
        Kind::Panicked => text("it panicked: ", codec::decode::<Panic>(&body).map(|panic| panic.to_string())),
        Kind::ArgsRefused => text("its arguments: ", codec::decode(&body)),
        Kind::ResultRefused => text("its result: ", codec::decode(&body)),
        Kind::ResultTooLarge => text("its result is too large", Ok(String::new())),
        kind => {
            let message = format!("a frame {kind:?} out of turn");
            Err(StartError::Handshake(HandshakeError::Protocol { message }))
        }
    }
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        self.retire();
    }
}

impl fmt::Debug for ForkServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForkServer").field("preload", &self.preload.is_some()).finish_non_exhaustive()
    }
}
