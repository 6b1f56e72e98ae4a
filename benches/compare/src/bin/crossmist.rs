//! crossmist: a function that runs in a process of its own, with two channels.

use crossmist::{Receiver, Sender};
use procpool_bench_peers::lanes::{Call, Lane, Lanes, Reply};

struct Own {
    to: Sender<Call>,
    from: Receiver<Reply>,
    _child: crossmist::Child<()>,
}

#[crossmist::func]
fn work(mut calls: Receiver<Call>, mut replies: Sender<Reply>) {
    while let Ok(Some(call)) = calls.recv() {
        if replies.send(&call.run()).is_err() {
            break;
        }
    }
}

impl Lane for Own {
    type Sender = Sender<Call>;
    type Receiver = Receiver<Reply>;

    fn start() -> Own {
        let (to, calls) = crossmist::channel().expect("a channel");
        let (replies, from) = crossmist::channel().expect("a channel");
        Own { to, from, _child: work.spawn(calls, replies).expect("a process") }
    }

    fn send(to: &mut Sender<Call>, call: &Call) -> bool {
        to.send(call).is_ok()
    }

    fn receive(from: &mut Receiver<Reply>) -> Option<Reply> {
        from.recv().ok().flatten()
    }

    fn ends(&mut self) -> (&mut Sender<Call>, &mut Receiver<Reply>) {
        (&mut self.to, &mut self.from)
    }
}

#[crossmist::main]
fn main() {
    procpool_bench_peers::main::<Lanes<Own>>();
}
