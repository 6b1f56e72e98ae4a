//! What a worker says, as events: read by the supervisor, or by a thread that waits for a result of that worker.
//!
//! Whoever reads tells the machine before anybody else reads, so that it hears everything in its order.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::transport::{Inbound, Received};
use crate::wire::frame::{Frame, Header, Kind};

use super::job::Reply;
use super::machine::{Ended, Event, LaneNo};

#[derive(Debug)]
pub(super) struct Listener {
    inbound: Inbound,
    /// The worker may reply to tasks; before that, only to its start.
    pub(super) ready: bool,
    /// Nothing more is read from it.
    pub(super) mute: bool,
    /// What came through the socket is no frame, or none that may come. The ring can still be read.
    pub(super) cut_off: bool,
}

/// What there was to hear.
pub(super) enum Heard {
    Event(Event<Reply>),
    /// A call to look, and nothing else.
    Call,
    /// Before it is ready: how its start goes.
    Start(Frame),
    /// Nothing more for now.
    Nothing,
    /// Nothing more for ever.
    End,
}

impl Listener {
    pub(super) fn new(inbound: Inbound) -> Listener {
        Listener { inbound, ready: false, mute: false, cut_off: false }
    }

    /// The next thing that the worker of a lane has said, if it comes with so many bytes.
    pub(super) fn hear(&mut self, lane: LaneNo, socket: BorrowedFd<'_>, bytes: &mut usize) -> Heard {
        let received = match self.cut_off {
            false => self.inbound.next_within(socket, false, bytes),
            true => Ok(self.inbound.next_express()),
        };
        self.understand(lane, received)
    }

    /// The next thing in the ring alone, of a worker that is ready.
    pub(super) fn hear_express(&mut self, lane: LaneNo) -> Heard {
        if self.mute || !self.ready {
            return Heard::Nothing;
        }
        let received = self.inbound.next_express();
        self.understand(lane, Ok(received))
    }

    pub(super) fn is_ring_empty(&self) -> bool {
        self.inbound.is_ring_empty()
    }

    fn understand(&mut self, lane: LaneNo, received: io::Result<Received>) -> Heard {
        match received {
            Ok(Received::Frame(frame)) if self.ready => self.reply(lane, frame),
            Ok(Received::Frame(frame)) => Heard::Start(frame),
            Ok(Received::Nothing) => Heard::Nothing,
            Ok(Received::Malformed { malformed, in_ring: false }) if self.ready => {
                self.strayed(lane, malformed.to_string())
            }
            Ok(Received::Malformed { malformed, .. }) => self.violated(lane, malformed.to_string()),
            // An error of a socket of ours is its end as well.
            Ok(Received::End) | Err(_) => {
                self.mute = true;
                Heard::End
            }
        }
    }

    fn reply(&mut self, lane: LaneNo, Frame { header, body, handles }: Frame) -> Heard {
        let Header { kind, seq, nanos, whole, task: first, .. } = header;
        let reply = Reply { kind, nanos, whole, first, body, handles };
        let event = match kind {
            Kind::Done
            | Kind::Failed
            | Kind::Panicked
            | Kind::ArgsRefused
            | Kind::ResultRefused
            | Kind::ResultTooLarge => {
                let ran_for = Duration::from_nanos(nanos);
                let ended = match kind {
                    Kind::Failed => Ended::Failed,
                    Kind::Panicked => Ended::Panicked,
                    _ => Ended::Final,
                };
                Event::Replied { lane, seq, reply, ended, ran_for }
            }
            Kind::Results => Event::PartlyReplied { lane, seq, reply },
            Kind::Swollen => Event::Swollen { lane },
            Kind::Skipped => Event::Skipped { lane, seq },
            Kind::Look => return Heard::Call,
            _ => return self.strayed(lane, out_of_turn(kind)),
        };
        Heard::Event(event)
    }

    pub(super) fn out_of_turn(&mut self, lane: LaneNo, kind: Kind) -> Heard {
        self.violated(lane, out_of_turn(kind))
    }

    /// The task that runs may be another than the one that did this: it gets a moment to end.
    fn strayed(&mut self, lane: LaneNo, message: String) -> Heard {
        self.cut_off = true;
        self.inbound.give_up_socket();
        Heard::Event(Event::Strayed { lane, message })
    }

    fn violated(&mut self, lane: LaneNo, message: String) -> Heard {
        self.mute = true;
        Heard::Event(Event::Violated { lane, message })
    }
}

fn out_of_turn(kind: Kind) -> String {
    format!("a frame {kind:?} out of turn")
}
