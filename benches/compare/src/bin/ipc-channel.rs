//! ipc-channel: this program started again, which connects by the name it is given and gets two channels.

use std::process::{Child, Command, Stdio};

use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};
use procpool_bench_peers::lanes::{Call, Lane, Lanes, Reply};

struct Own {
    to: IpcSender<Call>,
    from: IpcReceiver<Reply>,
    child: Child,
}

type Ends = (IpcSender<Call>, IpcReceiver<Reply>);

impl Lane for Own {
    type Sender = IpcSender<Call>;
    type Receiver = IpcReceiver<Reply>;

    fn start() -> Own {
        let (server, name) = IpcOneShotServer::<Ends>::new().expect("a server");
        let child = Command::new(std::env::current_exe().expect("the path of this program"))
            .arg("--worker")
            .arg(name)
            // A worker that holds the driver's pipe would be waited for.
            .stdout(Stdio::null())
            .spawn()
            .expect("a process");
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

fn main() {
    let words: Vec<String> = std::env::args().collect();
    match &words[1..] {
        [flag, name] if flag == "--worker" => work(name.clone()),
        _ => procpool_bench_peers::main::<Lanes<Own>>(),
    }
}
