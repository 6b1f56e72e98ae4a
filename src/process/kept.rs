//! One process, as the keeper sees it: its channel, and what it has said.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::error::Phase;
use crate::error::{ExitCause, HandshakeError, Ran, StartError, TaskError, TaskErrorKind, WorkerExit};
use crate::launch::{self, AFTERWARDS, Launched, Process};
use crate::luck::Luck;
use crate::scheduler::job::Reply;
use crate::scheduler::machine::Verdict;
use crate::scheduler::slot::{Outcome, Slot};
use crate::scheduler::verdict;
use crate::sys::socket;
use crate::task::{Registry, TaskNumber};
use crate::transport::{Bell, Board, Inbound, Message, Outbound, Piece, Progress, Received, Wish};
use crate::wire::frame::{Frame, Header, Kind};
use crate::worker;

use super::child::ChildProcess;

/// Whoever has ordered a process.
pub(super) type Ordered = SyncSender<Result<ChildProcess, StartError>>;

/// What a process is started for.
pub(super) struct Errand {
    pub(super) task: TaskNumber,
    pub(super) args: Message,
    /// Where its outcome goes.
    pub(super) slot: Arc<Slot>,
}

/// The number of the only task.
const SEQ: u64 = 1;

/// What is read from one process before the others have their turn.
const TURN: usize = 1 << 20;

pub(super) struct Kept {
    process: Process,
    child: ChildProcess,
    socket: OwnedFd,
    board: Board,
    bell: Bell,
    inbound: Inbound,
    outbound: Outbound,
    limit: u64,
    slot: Arc<Slot>,
    /// Who waits for it to have its task.
    ordered: Option<Ordered>,
    stage: Stage,
    /// When to look around for it, as long as nobody has.
    look_at: Option<Instant>,
    /// Nothing more is read.
    mute: bool,
    /// It has closed its channel. What it says in the ring after that is heard when it has ended.
    closed: bool,
    /// Its turn ended before all that it had said was heard.
    unheard: bool,
    /// The socket is to take more.
    blocked: bool,
}

/// How far it has come, as far as has been heard.
enum Stage {
    /// Nobody has heard that it is ready, which it does not call for. If it has not said so until then it is killed.
    Starting {
        late: Option<Instant>,
        start_timeout: Duration,
    },
    Running,
    Replied(Reply),
    /// It was killed for this.
    Condemned(TaskErrorKind),
}

impl Kept {
    pub(super) fn new(
        launched: Launched,
        child: ChildProcess,
        errand: Errand,
        limit: u64,
        start_timeout: Duration,
        ordered: Ordered,
    ) -> Kept {
        let Launched { process, socket, board } = launched;
        let Errand { task, args, slot } = errand;
        board.publish(SEQ);
        let header = Header { task: task.0, seq: SEQ, attempt: 1, ..Header::new(Kind::Run) };
        // All of it goes through the socket, where it is found also when this process is gone.
        let mut outbound = Outbound::new(None, board.requests_bell());
        outbound.push(Piece { header, body: Arc::new(args) });
        let bell = board.replies_bell();
        // It says by a message when it has put something into the ring.
        bell.wish(Wish::Message);
        let mut kept = Kept {
            process,
            child,
            socket,
            inbound: Inbound::with_ring(limit, board.replies_reader(), bell.clone(), Luck::default()),
            outbound,
            bell,
            board,
            limit,
            slot,
            ordered: Some(ordered),
            look_at: Some(Instant::now() + AFTERWARDS),
            stage: Stage::Starting { late: Instant::now().checked_add(start_timeout), start_timeout },
            mute: false,
            closed: false,
            unheard: false,
            blocked: false,
        };
        kept.flush();
        kept
    }

    pub(super) fn is_unheard(&self) -> bool {
        self.unheard
    }

    /// When to look at it, if nothing happens before.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let late = match self.stage {
            Stage::Starting { late, .. } => late,
            _ => None,
        };
        late.into_iter().chain(self.look_at).min()
    }

    /// Readable when the process has ended.
    pub(super) fn ended(&self) -> BorrowedFd<'_> {
        self.process.ended()
    }

    /// Its channel, and what to wait for there.
    pub(super) fn socket(&self) -> (BorrowedFd<'_>, PollFlags) {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, !self.mute && !self.closed);
        interest.set(PollFlags::OUT, self.blocked);
        // One that is neither read nor written must not be polled: its end would be told again and again.
        if interest.is_empty() {
            (self.process.ended(), PollFlags::IN)
        } else {
            (self.socket.as_fd(), interest)
        }
    }

    /// Reads and writes what can be, and looks at the clock.
    pub(super) fn attend(&mut self, now: Instant, ready: bool) {
        if ready && self.blocked {
            self.flush();
        }
        if (ready || self.unheard) && !self.mute && !self.closed {
            self.listen(TURN);
        }
        self.look_around(now);
        if self.is_late(now) {
            // It may have said so without a call.
            self.listen(TURN);
        }
        if let Stage::Starting { start_timeout, .. } = self.stage
            && self.is_late(now)
        {
            let error = StartError::Handshake(HandshakeError::TimedOut { limit: start_timeout });
            self.condemn(TaskErrorKind::NotStarted(error));
        }
    }

    /// If it is time to.
    pub(super) fn look_around(&mut self, now: Instant) {
        if self.look_at.take_if(|at| *at <= now).is_some() {
            self.process.look_around();
        }
    }

    /// Nobody has heard in time that it is ready.
    fn is_late(&self, now: Instant) -> bool {
        matches!(self.stage, Stage::Starting { late: Some(late), .. } if late <= now)
    }

    /// Writes its task, as far as the socket takes it. When all is written, whoever has ordered the process is told.
    fn flush(&mut self) {
        self.blocked = match self.outbound.flush(self.socket.as_fd()) {
            Ok(done) => !done,
            Err(error) => {
                self.outbound.give_up(self.socket.as_fd());
                // One that is dead or deaf tells by its end.
                if !socket::is_of_the_peer(&error) {
                    self.cannot_be_told(error);
                }
                false
            }
        };
        if !self.blocked {
            self.answer();
        }
    }

    /// The kernel does not take its task, for want of memory as likely as not.
    fn cannot_be_told(&mut self, error: io::Error) {
        let error = StartError::spawn("send a process its arguments", error);
        if let Some(ordered) = self.ordered.take() {
            // Whoever has ordered it waits for this.
            let _ = ordered.send(Err(error.clone()));
        }
        self.condemn(TaskErrorKind::NotStarted(error));
    }

    fn answer(&mut self) {
        if let Some(ordered) = self.ordered.take() {
            // Whoever has ordered it waits for this.
            let _ = ordered.send(Ok(self.child.clone()));
        }
    }

    fn listen(&mut self, mut bytes: usize) {
        self.unheard = false;
        while !self.mute {
            match self.inbound.next_within(self.socket.as_fd(), false, &mut bytes) {
                Ok(Received::Frame(frame)) => self.hear(frame),
                Ok(Received::Nothing) if bytes == 0 => {
                    self.unheard = true;
                    return;
                }
                Ok(Received::Nothing) => {
                    self.bell.wish(Wish::Message);
                    if self.inbound.is_ring_empty() {
                        return;
                    }
                }
                Ok(Received::Malformed { malformed, .. }) => self.violated(malformed.to_string()),
                // It may go on without its channel: its end tells.
                Ok(Received::End) | Err(_) => {
                    self.closed = true;
                    return;
                }
            }
        }
    }

    fn hear(&mut self, Frame { header, body, handles }: Frame) {
        let Header { kind, seq, nanos, whole, .. } = header;
        match (&self.stage, kind) {
            (_, Kind::Look) => {}
            (Stage::Starting { .. }, Kind::Ready) if seq == Registry::get().fingerprint() => {
                self.stage = Stage::Running;
            }
            (Stage::Starting { .. }, Kind::Ready) => {
                let error = StartError::Handshake(HandshakeError::Version);
                self.condemn(TaskErrorKind::NotStarted(error));
            }
            (Stage::Starting { .. }, Kind::StartRefused) => {
                self.condemn(TaskErrorKind::NotStarted(launch::start_refused(&body)));
            }
            (
                Stage::Running,
                Kind::Done
                | Kind::Failed
                | Kind::Panicked
                | Kind::ArgsRefused
                | Kind::ResultRefused
                | Kind::ResultTooLarge,
            ) if seq == SEQ => {
                self.stage = Stage::Replied(Reply { kind, nanos, whole, first: 0, body, handles });
                // There is nothing more to say.
                self.mute = true;
                self.unheard = false;
            }
            _ => self.violated(format!("a frame {kind:?} out of turn")),
        }
    }

    fn violated(&mut self, message: String) {
        self.condemn(TaskErrorKind::Protocol { message });
    }

    fn condemn(&mut self, why: TaskErrorKind) {
        self.stage = Stage::Condemned(why);
        self.mute = true;
        self.unheard = false;
        self.process.kill();
    }

    /// The process has ended: hears what it has said, collects how it ended, and tells. `forget` is called before anybody
    /// is told.
    pub(super) fn end(mut self, forget: impl FnOnce(&ChildProcess)) {
        self.answer();
        socket::stop_receiving(&self.socket);
        if !self.mute {
            self.listen(usize::MAX);
        }
        let Kept { process, child, board, limit, slot, stage, .. } = self;
        let pid = process.pid();
        let exit = child.collect(|| process.reap());
        let phase = match board.progress(SEQ).0 {
            Progress::Sent | Progress::Claimed | Progress::Revoked => Phase::Sent,
            Progress::Started => Phase::Running,
            Progress::Finished => Phase::Replying,
        };
        let ran = match phase {
            Phase::Sent => Ran::No,
            Phase::Running => Ran::Maybe,
            Phase::Replying => Ran::Yes,
        };
        let aborted = matches!(exit.cause, ExitCause::Signal { number: libc::SIGABRT, .. });
        let outcome = match stage {
            Stage::Replied(reply) => verdict::attempt(slot.task, Verdict::Replied(reply), limit),
            Stage::Condemned(why) => Outcome::Failed(TaskError::new(slot.task, ran, why)),
            Stage::Starting { .. } | Stage::Running => {
                let said = if aborted { board.said(SEQ) } else { None };
                let exit = WorkerExit {
                    pid,
                    cause: exit.cause,
                    phase,
                    oom: exit.oom,
                    limit: exit.limit,
                    last_words: said.map(|text| worker::panic::last_words(&text)),
                };
                Outcome::Failed(TaskError::new(slot.task, ran, TaskErrorKind::WorkerDied(exit)))
            }
        };
        forget(&child);
        child.settle(exit.cause);
        slot.settle(outcome).tell();
    }
}

#[cfg(test)]
mod test {
    use std::fs::File;
    use std::sync::mpsc;

    use super::*;
    use crate::future::TaskFuture;
    use crate::launch::Worker;
    use crate::process::child::Description;
    use crate::sys::process;
    use crate::wire::hello::Alone;

    fn launched() -> Launched {
        let fingerprint = Registry::get().fingerprint();
        let alone = Alone { name: "one".to_owned(), path: "1".to_owned(), fingerprint, daemon: true };
        launch::launch(&Worker { alone: Some(alone), limit: 1 << 20, ..Worker::default() }, 0).unwrap()
    }

    #[test]
    fn a_process_whose_task_the_kernel_refuses_is_not_started_and_that_is_told() {
        let there = launched();
        let pidfd = there.process.ended().try_clone_to_owned().unwrap();
        let description = Description { name: "one".to_owned(), daemon: true, stdout: None, stderr: None };
        let child = ChildProcess::new(description, there.process.pid(), pidfd);
        let slot = Arc::new(Slot::new("task"));
        let errand = Errand { task: TaskNumber(0), args: Message::default(), slot: Arc::clone(&slot) };
        let (ordered, told) = mpsc::sync_channel(1);
        // It takes no message at all, as a socket does for which there is no memory.
        let refusing = Launched { socket: File::open("/dev/null").unwrap().into(), ..there };
        let kept = Kept::new(refusing, child, errand, 1 << 20, Duration::from_secs(60), ordered);
        let error = told.recv().unwrap().unwrap_err();
        assert!(matches!(error, StartError::Spawn { doing: "send a process its arguments", .. }), "{error}");
        process::wait_for_end(kept.ended()).unwrap();
        kept.end(|_| ());
        let error = TaskFuture::<()>::apart(slot).result().unwrap_err();
        assert!(matches!(error.kind(), TaskErrorKind::NotStarted(StartError::Spawn { .. })), "{error}");
    }

    #[test]
    fn a_process_that_finds_no_task_has_not_succeeded() {
        let Launched { process, socket, board: _board } = launched();
        socket::stop_sending(&socket);
        process::wait_for_end(process.ended()).unwrap();
        assert_eq!(process.reap().cause, ExitCause::Code(1));
    }
}
