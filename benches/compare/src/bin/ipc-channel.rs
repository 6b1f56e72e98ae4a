//! ipc-channel: this program started again, which connects by the name it is given and gets two channels.

use std::process::{Child, Command, Stdio};

use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};
use procpool_bench_peers::contest::{Contestant, Size, pipes, queues};
use procpool_bench_peers::lanes::{Call, Lane, Lanes, Reply};
use serde_bytes::ByteBuf;

struct Own {
    to: IpcSender<Call>,
    from: IpcReceiver<Reply>,
    child: Child,
}

type Ends = (IpcSender<Call>, IpcReceiver<Reply>);

/// This program once more.
fn again(what: &str, name: String) -> Child {
    Command::new(std::env::current_exe().expect("the path of this program"))
        .args([what, &name])
        // A worker that holds the driver's pipe would be waited for.
        .stdout(Stdio::null())
        .spawn()
        .expect("a process")
}

impl Lane for Own {
    type Sender = IpcSender<Call>;
    type Receiver = IpcReceiver<Reply>;

    fn start() -> Own {
        let (server, name) = IpcOneShotServer::<Ends>::new().expect("a server");
        let child = again("--worker", name);
        let (_, (to, from)) = server.accept().expect("a worker");
        Own { to, from, child }
    }

    fn send(to: &mut IpcSender<Call>, call: &Call) -> bool {
        to.send(call.clone()).is_ok()
    }

    fn receive(from: &mut IpcReceiver<Reply>) -> Option<Reply> {
        from.recv().ok()
    }

    fn ends(&mut self) -> (&mut IpcSender<Call>, &mut IpcReceiver<Reply>) {
        (&mut self.to, &mut self.from)
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // One that is gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn work(name: String) {
    let (to, calls) = ipc::channel().expect("a channel");
    let (replies, from) = ipc::channel().expect("a channel");
    IpcSender::<Ends>::connect(name)
        .and_then(|ends| Ok(ends.send((to, from)).expect("the parent")))
        .expect("the parent");
    while let Ok(call) = calls.recv() {
        if replies.send(Call::run(call)).is_err() {
            break;
        }
    }
}

/// What one that produces is to do: how many, and where they go.
#[derive(serde::Deserialize, serde::Serialize)]
enum Order {
    Numbers(u64, IpcSender<u64>),
    Large(u64, IpcSender<ByteBuf>),
}

fn produce(name: String) {
    let (to, orders) = ipc::channel().expect("a channel");
    IpcSender::<IpcSender<Order>>::connect(name)
        .and_then(|parent| Ok(parent.send(to).expect("the parent")))
        .expect("the parent");
    match orders.recv().expect("an order") {
        Order::Numbers(count, numbers) => {
            (0..count).for_each(|number| numbers.send(number).expect("somebody receives"));
        }
        Order::Large(count, messages) => {
            let message = ByteBuf::from(vec![7; pipes::LARGE]);
            (0..count).for_each(|_| messages.send(message.clone()).expect("somebody receives"));
        }
    }
}

/// A process that produces as soon as it is told to.
struct Produces {
    orders: IpcSender<Order>,
    child: Child,
}

impl Produces {
    fn start() -> Produces {
        let (server, name) = IpcOneShotServer::<IpcSender<Order>>::new().expect("a server");
        let child = again("--producer", name);
        Produces { orders: server.accept().expect("a producer").1, child }
    }

    fn begin(&self, order: Order) {
        self.orders.send(order).expect("it waits for that");
    }
}

impl Drop for Produces {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn round_trips(trips: u64) {
    let mut lanes = Lanes::<Own>::start(1);
    pipes::round_trips(trips, |number| lanes.one(number).expect("an answer"));
}

fn pipes_of(size: Size) {
    let (trips, count, large) = pipes::amounts(size);
    round_trips(trips);
    let (sender, numbers) = ipc::channel().expect("a channel");
    let producer = Produces::start();
    producer.begin(Order::Numbers(count, sender));
    pipes::one_way(count, || numbers.recv().expect("a number"));
    let (sender, messages) = ipc::channel::<ByteBuf>().expect("a channel");
    let producer = Produces::start();
    producer.begin(Order::Large(large, sender));
    pipes::large(large, || messages.recv().expect("a message").len());
}

fn queues_of(size: Size) {
    let (trips, count) = queues::amounts(size);
    round_trips(trips);
    let (sender, numbers) = ipc::channel().expect("a channel");
    let producer = Produces::start();
    let begin = || producer.begin(Order::Numbers(count, sender));
    queues::one_way(count, begin, || numbers.recv().expect("a number"));
    let (sender, numbers) = ipc::channel().expect("a channel");
    let producers: Vec<_> = (0..queues::PRODUCERS).map(|_| Produces::start()).collect();
    let each = count / queues::PRODUCERS;
    let begin = || producers.iter().for_each(|producer| producer.begin(Order::Numbers(each, sender.clone())));
    queues::from_four(count, begin, || numbers.recv().expect("a number"));
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    match &words[1..] {
        [flag, name] if flag == "--worker" => work(name.clone()),
        [flag, name] if flag == "--producer" => produce(name.clone()),
        _ => match procpool_bench_peers::asked() {
            (workload, size) if workload == "pipes" => pipes_of(size),
            (workload, size) if workload == "queues" => queues_of(size),
            _ => procpool_bench_peers::main::<Lanes<Own>>(),
        },
    }
}
