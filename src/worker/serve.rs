//! The whole life of a worker.

use std::cell::Cell;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::faults::{self, Point};
use crate::luck::Luck;
use crate::sys::{clock, process, socket, spare};
use crate::task::{Call, Registry, Reply, Stages, TaskNumber};
use crate::transport::{Inbound, Message, Received, Speaker};
use crate::wire::codec::{self, Body};
use crate::wire::frame::{Frame, Header, Kind};

use super::desk::Desk;
use super::{current, panic};

/// What a worker starts with.
pub(crate) struct Serve {
    pub(crate) socket: OwnedFd,
    pub(crate) desk: Arc<Desk>,
    /// The largest body of a frame, in bytes.
    pub(crate) limit: u64,
    pub(crate) work: Work,
    /// An `Init` frame comes first.
    pub(crate) initializer: bool,
    /// Above so many bytes of resident memory it asks to be replaced; 0 is no bound.
    pub(crate) max_rss: u64,
    /// Memory of one message may be kept for the next.
    pub(crate) keeps_memory: bool,
    /// How long it looks for the next task before it sleeps, if that is set.
    pub(crate) spin: Option<Duration>,
}

/// What a worker is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Tasks, until it is told to end.
    Pool,
    /// One task.
    Once,
    /// Its initializer, and nothing else.
    Prepare,
}

/// What a worker leaves when it ends.
pub(crate) struct Served {
    /// Who closes it and goes on running is killed, so it stays open until nothing is left to do.
    pub(crate) channel: OwnedFd,
    /// As a program whose `main` was the last task would end.
    pub(crate) code: i32,
}

/// Runs what comes until told to end, or until nobody listens any more. What must be there before anything of the
/// program's runs, `settle` does: it takes some time, in which a pool can hear that this worker is ready.
#[must_use]
pub(crate) fn serve(serve: Serve, settle: impl FnOnce()) -> Served {
    let Serve { socket, desk, limit, work, mut initializer, max_rss, keeps_memory, spin } = serve;
    let board = &desk.board;
    let mut inbound = match work {
        Work::Pool => {
            Inbound::with_ring(limit, board.requests_reader(), board.requests_bell(), Luck::at_calls(spin))
        }
        // Whoever is to ring may be gone: what there is to do is in the socket, or that has ended.
        Work::Once | Work::Prepare => Inbound::new(limit),
    };
    if keeps_memory {
        spare::keep(false);
    }
    let speaker = Speaker::new(socket, board.replies_writer(), board.replies_bell());
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut worker =
        Worker { speaker, desk, limit, max_rss, code: 1, output: Message::default(), whole: false };
    let said = match work {
        _ if initializer => Ok(()),
        // Nobody has to be woken for it: its task is there.
        Work::Once => {
            faults::hit(Point::BootReady).and_then(|()| worker.speaker.say_quietly(Worker::ready()))
        }
        Work::Pool | Work::Prepare => worker.say_ready(&Message::default()),
    };
    if said.is_err() && work == Work::Pool || work == Work::Prepare && !initializer {
        return worker.end();
    }
    settle();
    while faults::hit(Point::Idle).is_ok()
        && let Ok(Received::Frame(frame)) = worker.hear(&mut inbound)
    {
        // What this task brings had its choice of it.
        spare::make_room();
        let replied = match frame.header.kind {
            Kind::Init if initializer => {
                initializer = false;
                worker.initialise(frame)
            }
            Kind::Run if !initializer => worker.run(frame),
            Kind::RunCalls if !initializer => worker.run_calls(frame),
            // `Retire`, or a parent that has lost its mind: either way this worker is done.
            _ => {
                let _ = faults::hit(Point::Exit);
                break;
            }
        };
        if replied.is_err() || work != Work::Pool {
            break;
        }
    }
    worker.end()
}

/// Nanoseconds: what is shorter has not done much to its descriptors, and a look at them would take as long.
const LONG_ENOUGH: u64 = 2_000;

pub(super) struct Worker {
    pub(super) speaker: Speaker,
    pub(super) desk: Arc<Desk>,
    pub(super) limit: usize,
    /// 0 once it has asked to be replaced.
    max_rss: u64,
    /// How the last task ended; 1 while none has.
    code: i32,
    pub(super) output: Message,
    /// The output is the memory of a result.
    whole: bool,
}

/// The steps of one call, told to the parent through the board, and to the task itself as what runs now.
struct OnBoard<'a> {
    desk: &'a Arc<Desk>,
    header: Header,
    /// When the body started, on the clock of the page.
    started: Cell<Option<u64>>,
}

impl Stages for OnBoard<'_> {
    fn starting(&self) {
        // An error has no place to go here; every other fault strikes.
        let _ = faults::hit(Point::Claimed);
        let now = self.desk.board.start(self.header.seq);
        self.started.set(Some(now));
        current::begin(self.desk, &self.header, now);
        let _ = faults::hit(Point::BodyBefore);
    }

    fn ended(&self) {
        let _ = faults::hit(Point::BodyAfter);
        // What the task printed is seen before its result is, and printing it counts as its time: it may take for ever.
        let _ = io::stdout().flush();
        self.desk.board.finish(self.header.seq);
        current::end();
        let _ = faults::hit(Point::Finished);
    }
}

impl Worker {
    fn end(self) -> Served {
        Served { channel: self.speaker.into_socket(), code: self.code }
    }

    fn ready() -> Header {
        Header { seq: Registry::get().fingerprint(), ..Header::new(Kind::Ready) }
    }

    fn say_ready(&mut self, result: &Message) -> io::Result<()> {
        faults::hit(Point::BootReady)?;
        self.speaker.say_aloud(Worker::ready(), &result.bytes, result.handles.as_slice())
    }

    /// Waits for the next frame.
    fn hear(&self, inbound: &mut Inbound) -> io::Result<Received> {
        if let Some(bytes) = faults::bytes(Point::RequestBytes) {
            let mut begun = Vec::with_capacity(bytes.max(1));
            loop {
                let missing = bytes - begun.len();
                if missing == 0 || socket::receive(self.speaker.socket(), &mut begun, missing, true)?.0 == 0 {
                    break;
                }
            }
            process::die();
        }
        inbound.next(self.speaker.socket(), true)
    }

    fn run(&mut self, frame: Frame) -> io::Result<()> {
        let seq = frame.header.seq;
        faults::task(frame.header.fault);
        faults::hit(Point::Request)?;
        if !self.desk.board.claim(seq) {
            return self.speaker.say(Header { seq, ..Header::new(Kind::Skipped) }, &[]);
        }
        let desk = Arc::clone(&self.desk);
        let board = OnBoard { desk: &desk, header: frame.header, started: Cell::new(None) };
        let kind = self.call(frame, &board);
        self.code = match kind {
            Kind::Done => 0,
            Kind::Panicked => 101,
            _ => 1,
        };
        let nanos = match kind {
            Kind::ResultTooLarge => u64::from_le_bytes(self.output.bytes[..].try_into().unwrap_or_default()),
            _ => board.started.get().map_or(0, |started| clock::nanos().saturating_sub(started)),
        };
        faults::hit(Point::Encoded)?;
        self.ask_for_replacement()?;
        if self.desk.is_left() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.reply(Header { seq, nanos, whole: self.whole, ..Header::new(kind) })?;
        faults::hit(Point::Replied)?;
        self.look_after_itself(nanos)
    }

    /// Says that it should be replaced, if it has grown too large.
    pub(super) fn ask_for_replacement(&mut self) -> io::Result<()> {
        if self.max_rss > 0 && process::resident_bytes().is_some_and(|bytes| bytes > self.max_rss) {
            self.max_rss = 0;
            self.speaker.say(Header::new(Kind::Swollen), &[])?;
        }
        Ok(())
    }

    /// After a task that took so long.
    pub(super) fn look_after_itself(&mut self, nanos: u64) -> io::Result<()> {
        self.look_after_channel(nanos)?;
        if self.output.bytes.capacity() > 1 << 20 {
            let bytes = std::mem::take(&mut self.output.bytes);
            spare::give(bytes);
        }
        Ok(())
    }

    /// Through the ring it could go on without its channel, until the parent ends it under somebody else's task.
    pub(super) fn look_after_channel(&self, nanos: u64) -> io::Result<()> {
        if nanos > LONG_ENOUGH && !self.speaker.is_intact() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        Ok(())
    }

    fn initialise(&mut self, frame: Frame) -> io::Result<()> {
        struct Untold;
        impl Stages for Untold {
            fn starting(&self) {}
            fn ended(&self) {}
        }
        faults::hit(Point::BootInitializer)?;
        match self.call(frame, &Untold) {
            // Whether the initializer's own `Err` is one, is for the parent to say.
            Kind::Done | Kind::Failed => {
                let result = std::mem::take(&mut self.output);
                self.say_ready(&result)
            }
            kind => self.speaker.say_aloud(Header::new(kind), &self.output.bytes, &[]),
        }
    }

    /// Calls the function that a frame names and leaves the body of the reply in `output`.
    fn call(&mut self, frame: Frame, stages: &dyn Stages) -> Kind {
        self.output.bytes.clear();
        self.whole = false;
        panic::begin(frame.header.seq);
        let Some(entry) = Registry::get().entry(TaskNumber(frame.header.task)) else {
            return self.say(Kind::ArgsRefused, &"the worker does not know this task");
        };
        let mut args = if frame.header.whole { codec::whole(frame.body) } else { Body::new(frame.body) };
        let source = args.source();
        let call = Call::new(&source, frame.handles, &mut self.output, self.limit, stages);
        let is_task = frame.header.kind == Kind::Run;
        let reply = (entry.run)(if is_task { call.may_be_whole() } else { call });
        spare::give(args.into_bytes());
        match reply {
            Reply::Whole => {
                self.whole = true;
                Kind::Done
            }
            // The second variant of an enum is how serde tells an `Err`.
            Reply::Ok if entry.fallible && self.output.bytes.first() == Some(&1) => Kind::Failed,
            Reply::Ok => Kind::Done,
            Reply::Panicked(payload) => self.say(Kind::Panicked, &panic::describe(payload)),
            Reply::ArgsDecode(message) => self.say(Kind::ArgsRefused, &panic::cut(message)),
            Reply::ResultEncode(message) => self.say(Kind::ResultRefused, &panic::cut(message)),
            Reply::ResultTooLarge(size) => {
                self.output.bytes.extend_from_slice(&size.to_le_bytes());
                Kind::ResultTooLarge
            }
        }
    }

    pub(super) fn say(&mut self, kind: Kind, value: &impl serde::Serialize) -> Kind {
        self.output.bytes.clear();
        // Text always encodes; the limit holds for results, and texts are cut where they are made.
        let _ = codec::encode(value, &mut self.output.bytes, usize::MAX);
        kind
    }

    /// Sends what is in `output`.
    pub(super) fn reply(&mut self, header: Header) -> io::Result<()> {
        let Some(bytes) = faults::bytes(Point::ReplyBytes) else {
            // Here they are not needed any more.
            let handles = std::mem::take(&mut self.output.handles);
            return self.speaker.say_with(header, &self.output.bytes, handles.as_slice());
        };
        let header = Header { len: self.output.bytes.len() as u64, ..header }.to_bytes();
        let frame = [&header[..], &self.output.bytes].concat();
        socket::send_all(self.speaker.socket(), &frame[..bytes.min(frame.len())])?;
        process::die()
    }
}
