//! The web server of the examples answers over real connections, on time, and drops what nobody waits for.

// The examples rely on the hook before `main`.
#![cfg(feature = "auto-init")]

#[path = "examples/binary.rs"]
mod binary;
mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use support::{Signal, eventually, kill, procfs};

/// More than any worker counts within the limit of a test.
const FOR_EVER: u64 = 1 << 60;
/// A deadline that no test lives to see.
const NEVER: &str = "3600";
const WORKERS: usize = 2;
/// As many requests as the server lets run or wait.
const MAX_PENDING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(20);

/// The example's program, on a port of its own.
struct Server {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
    address: SocketAddr,
}

impl Server {
    fn with_deadline(seconds: &str) -> Server {
        let mut process = Command::new(binary::of("tokio_server"))
            .args(["0", seconds])
            .env("PROCPOOL_MAX_WORKERS", WORKERS.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let mut output = BufReader::new(process.stdout.take().expect("it was piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("the server says where it listens");
        let address = line.trim().strip_prefix("listening on http://").expect("the address comes first");
        Server { process, output, address: address.parse().expect("an address") }
    }

    /// Sends a request and leaves it at that.
    fn ask(&self, path: &str) -> TcpStream {
        let mut connection = TcpStream::connect(self.address).expect("the server accepts");
        write!(connection, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            .expect("the server takes the request");
        connection
    }

    fn get(&self, path: &str) -> (u16, String) {
        answer(self.ask(path))
    }

    fn count_primes(&self, below: u64) -> (u16, String) {
        self.get(&format!("/count_primes?below={below}"))
    }

    fn ask_for_ever(&self) -> TcpStream {
        self.ask(&format!("/count_primes?below={FOR_EVER}"))
    }

    /// How many requests are pending, and the pids of the workers.
    fn status(&self) -> (usize, Vec<u32>) {
        let (code, body) = self.get("/status");
        assert_eq!(code, 200, "{body}");
        let (pending, workers) = body.trim().split_once("\nworkers: ").expect("two lines");
        let pids = workers.trim_matches(['[', ']']).split(", ").filter(|pid| !pid.is_empty());
        let pids = pids.map(|pid| pid.parse().expect("a pid")).collect();
        (pending.strip_prefix("pending: ").and_then(|count| count.parse().ok()).expect("a count"), pids)
    }

    fn wait_for_pending(&self, count: usize) {
        let what = format!("{count} requests are pending");
        eventually(&what, PATIENCE, || self.status().0 == count);
    }

    /// Workers start when there is work for them, so a request may be pending before there are as many.
    fn wait_for_workers(&self, count: usize) -> Vec<u32> {
        let mut workers = Vec::new();
        eventually(&format!("there are {count} workers"), PATIENCE, || {
            workers = self.status().1;
            workers.len() == count
        });
        workers
    }
}

/// What a test leaves running, it has failed to stop: nobody is asked politely here.
impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn answer(mut connection: TcpStream) -> (u16, String) {
    connection.set_read_timeout(Some(PATIENCE)).expect("a time-out above zero");
    let mut text = String::new();
    connection.read_to_string(&mut text).expect("the whole answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (code, body.to_owned())
}

support::isolated! {
    timeout = 120;

    fn requests_get_their_answers_and_bad_ones_a_refusal() {
        let server = Server::with_deadline(NEVER);
        assert_eq!(server.count_primes(100), (200, "25\n".to_owned()));
        assert_eq!(server.count_primes(0), (200, "0\n".to_owned()));
        assert_eq!(server.get("/count_primes?below=many").0, 400);
        assert_eq!(server.get("/count_primes").0, 400);
        assert_eq!(server.get("/elsewhere").0, 404);
        assert_eq!(server.count_primes(100), (200, "25\n".to_owned()));
    }

    fn requests_at_the_same_time_get_each_its_own_answer() {
        let server = Server::with_deadline(NEVER);
        let primes = |below: u64| (2..below).filter(|n| (2..*n).all(|divisor| n % divisor != 0)).count();
        thread::scope(|scope| {
            for client in 1..=24 {
                let server = &server;
                scope.spawn(move || {
                    let below = client * 50;
                    assert_eq!(server.count_primes(below), (200, format!("{}\n", primes(below))));
                });
            }
        });
        assert_eq!(server.status().0, 0);
    }

    fn a_request_past_its_deadline_gets_504_and_its_worker_is_killed() {
        let server = Server::with_deadline("1");
        let request = server.ask_for_ever();
        let before = server.wait_for_workers(1);
        let (code, body) = answer(request);
        assert_eq!((code, body.as_str()), (504, "no answer within 1s\n"));
        eventually("the worker is gone", PATIENCE, || !procfs::is_alive(before[0]));
        assert_eq!(server.count_primes(100), (200, "25\n".to_owned()));
        server.wait_for_pending(0);
    }

    fn a_client_that_goes_away_takes_its_task_along_and_nobody_elses() {
        let server = Server::with_deadline(NEVER);
        let gone = server.ask_for_ever();
        let staying = server.ask_for_ever();
        server.wait_for_pending(2);
        let both = server.wait_for_workers(WORKERS);
        // Which of them has which task, nobody says: they take them up in the order in which they are ready.
        let burns = |pid: &&u32| procfs::cpu_ticks(**pid).is_some_and(|ticks| ticks >= 5);
        eventually("both count", PATIENCE, || both.iter().filter(burns).count() == WORKERS);

        drop(gone);
        eventually("a worker is gone", PATIENCE, || both.iter().any(|&pid| !procfs::is_alive(pid)));
        server.wait_for_pending(1);
        assert_eq!(server.count_primes(100), (200, "25\n".to_owned()));
        let (_, after) = server.status();
        let stayed = both.iter().filter(|pid| after.contains(pid) && procfs::is_alive(**pid)).count();
        assert_eq!(stayed, WORKERS - 1, "{both:?}, then {after:?}");

        drop(staying);
        server.wait_for_pending(0);
    }

    fn clients_that_go_away_in_line_leave_no_work_behind() {
        let server = Server::with_deadline(NEVER);
        let requests: Vec<_> = (0..MAX_PENDING).map(|_| server.ask_for_ever()).collect();
        server.wait_for_pending(MAX_PENDING);
        let (code, body) = server.count_primes(100);
        assert_eq!(code, 503, "{body}");
        assert!(body.contains("64 tasks pending"), "{body}");

        drop(requests);
        server.wait_for_pending(0);
        assert_eq!(server.count_primes(100), (200, "25\n".to_owned()));
    }

    fn an_interrupt_lets_what_was_accepted_finish() {
        let mut server = Server::with_deadline(NEVER);
        let request = server.ask("/count_primes?below=50000");
        server.wait_for_pending(1);
        kill(server.process.id(), Signal::INT);

        assert_eq!(answer(request), (200, "5133\n".to_owned()));
        let mut rest = String::new();
        server.output.read_to_string(&mut rest).expect("the last words of the server");
        assert_eq!(rest, "stopped; 0 tasks were killed for their deadline or their client\n");
        let status = server.process.wait().expect("our own child");
        assert!(status.success(), "{status}");
    }
}
