//! A pool made by hand, for the peers that have processes and channels but no pool: two channels for each worker, tasks
//! dealt out in turn, and one thread that sends while the caller receives, as their channels hold only so much.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contest::{self, Chunk};

/// What a worker is asked to do.
#[derive(Clone, Debug, crossmist::Object, Deserialize, Serialize)]
pub enum Call {
    AddOne(u64),
    AddOneToAll(Vec<u64>),
    Echo(#[serde(with = "serde_bytes")] Vec<u8>),
    Last(u64),
    Burn(u64),
    Die,
}

/// What it says.
#[derive(Clone, Debug, crossmist::Object, Deserialize, Serialize)]
pub enum Reply {
    Number(u64),
    Numbers(Vec<u64>),
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    Done,
}

impl Call {
    /// Does it, in the worker.
    pub fn run(self) -> Reply {
        match self {
            Call::AddOne(n) => Reply::Number(n + 1),
            Call::AddOneToAll(items) => Reply::Numbers(items.into_iter().map(|n| n + 1).collect()),
            Call::Echo(bytes) => Reply::Bytes(bytes),
            Call::Last(micros) => {
                contest::last(Duration::from_micros(micros));
                Reply::Done
            }
            Call::Burn(micros) => {
                contest::burn(Duration::from_micros(micros));
                Reply::Done
            }
            Call::Die => contest::die(),
        }
    }
}

impl Reply {
    fn number(self) -> u64 {
        match self {
            Reply::Number(n) => n,
            Reply::Numbers(items) => items.into_iter().sum(),
            _ => panic!("a number was asked for"),
        }
    }
}

/// The parent's end of one worker.
pub trait Lane: Send {
    fn start() -> Self;
    /// False if the worker is gone.
    fn send(to: &mut Self::Sender, call: &Call) -> bool;
    /// `None` if the worker is gone.
    fn receive(from: &mut Self::Receiver) -> Option<Reply>;
    type Sender: Send;
    type Receiver: Send;
    fn ends(&mut self) -> (&mut Self::Sender, &mut Self::Receiver);
}

pub struct Lanes<L> {
    lanes: Vec<L>,
    next: usize,
}

impl<L: Lane> Lanes<L> {
    fn ask(&mut self, call: &Call) -> Option<Reply> {
        self.next = (self.next + 1) % self.lanes.len();
        let (to, from) = self.lanes[self.next].ends();
        if !L::send(to, call) {
            return None;
        }
        L::receive(from)
    }

    /// Sends all, and gives each reply to `take`.
    fn ask_all(&mut self, calls: &[Call], mut take: impl FnMut(Reply)) {
        let count = self.lanes.len();
        std::thread::scope(|scope| {
            let (mut senders, mut receivers) = (Vec::new(), Vec::new());
            for lane in &mut self.lanes {
                let (to, from) = lane.ends();
                senders.push(to);
                receivers.push(from);
            }
            scope.spawn(move || {
                for (at, call) in calls.iter().enumerate() {
                    assert!(L::send(senders[at % count], call), "the worker lives");
                }
            });
            for at in 0..calls.len() {
                take(L::receive(receivers[at % count]).expect("the worker lives"));
            }
        });
    }
}

impl<L: Lane> contest::Contestant for Lanes<L> {
    fn start(workers: usize) -> Self {
        Lanes { lanes: (0..workers).map(|_| L::start()).collect(), next: 0 }
    }

    /// After a death this replaces the worker, as whoever uses these channels has to do.
    fn one(&mut self, n: u64) -> Option<u64> {
        loop {
            match self.ask(&Call::AddOne(n)) {
                Some(reply) => return Some(reply.number()),
                None => self.lanes[self.next] = L::start(),
            }
        }
    }

    fn many(&mut self, count: u64) -> Option<u64> {
        let calls: Vec<_> = (0..count).map(Call::AddOne).collect();
        let mut sum = 0;
        self.ask_all(&calls, |reply| sum += reply.number());
        Some(sum)
    }

    fn map(&mut self, count: u64, chunk: Chunk) -> Option<u64> {
        let items = match chunk {
            Chunk::One => return self.many(count),
            Chunk::Default => return None,
            Chunk::Of(items) => items,
        };
        let starts = (0..count).step_by(items as usize);
        let calls: Vec<_> =
            starts.map(|from| Call::AddOneToAll((from..(from + items).min(count)).collect())).collect();
        let mut sum = 0;
        self.ask_all(&calls, |reply| sum += reply.number());
        Some(sum)
    }

    fn echo(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        match self.ask(&Call::Echo(bytes))? {
            Reply::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn last(&mut self, lengths: &[Duration]) -> Option<()> {
        let calls: Vec<_> = lengths.iter().map(|length| Call::Last(length.as_micros() as u64)).collect();
        self.ask_all(&calls, drop);
        Some(())
    }

    fn burn(&mut self, count: u64, each: Duration) -> Option<()> {
        self.ask_all(&vec![Call::Burn(each.as_micros() as u64); count as usize], drop);
        Some(())
    }

    fn die(&mut self) -> Option<bool> {
        Some(self.ask(&Call::Die).is_none())
    }

    fn spawn(said: &mut dyn FnMut()) -> Option<()> {
        let mut lanes = Lanes::<L>::start(1);
        lanes.ask(&Call::AddOne(1))?;
        said();
        Some(())
    }
}
