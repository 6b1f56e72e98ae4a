//! A pipe brings every message whole and in order, and ends when its other end is gone, however that went: nobody waits
//! for ever (F61).

mod support;

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use procpool::{
    Connection, Descriptor, Pipe, ProcessPoolExecutor, Receiver, RecvError, SendError, Sender, TaskErrorKind,
    connection, task,
};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, socketpair,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use support::{FdLimit, Signal, eventually, kill, procfs};

const SOON: Duration = Duration::from_secs(20);
const LARGE: usize = 3_000_000;

/// Sends back what it receives, until there is no more.
#[task]
fn echo(mut connection: Connection<Vec<u8>, Vec<u8>>) -> usize {
    let mut count = 0;
    while let Ok(message) = connection.recv() {
        connection.send(&message).expect("somebody receives");
        count += 1;
    }
    count
}

#[task]
fn echo_bytes(mut connection: Connection<(), ()>) -> usize {
    let mut count = 0;
    while let Ok(message) = connection.recv_bytes() {
        connection.send_bytes(&message).expect("somebody receives");
        count += 1;
    }
    count
}

/// Sends as many messages as its partner, all of them before it receives the first.
#[task]
fn talk_first(mut connection: Connection<Vec<u8>, Vec<u8>>, count: usize, size: usize) -> usize {
    exchange(&mut connection, count, size)
}

#[task]
async fn talk_first_async(mut connection: Connection<Vec<u8>, Vec<u8>>, count: usize, size: usize) -> usize {
    exchange_async(&mut connection, count, size).await
}

fn exchange(connection: &mut Connection<Vec<u8>, Vec<u8>>, count: usize, size: usize) -> usize {
    for number in 0..count {
        connection.send(&vec![number as u8; size]).expect("the other side takes it in");
    }
    (0..count).map(|number| check(number, connection.recv().expect("a message"))).sum()
}

async fn exchange_async(connection: &mut Connection<Vec<u8>, Vec<u8>>, count: usize, size: usize) -> usize {
    for number in 0..count {
        connection.send_async(&vec![number as u8; size]).await.expect("the other side takes it in");
    }
    let mut sum = 0;
    for number in 0..count {
        sum += check(number, connection.recv_async().await.expect("a message"));
    }
    sum
}

fn check(number: usize, message: Vec<u8>) -> usize {
    assert!(message.iter().all(|&byte| byte == number as u8));
    message.len()
}

#[task]
fn produce(mut sender: Sender<u64>, numbers: u64) {
    for number in 0..numbers {
        sender.send(&number).expect("somebody receives");
    }
}

#[task]
fn consume(receiver: Receiver<u64>) -> Result<u64, String> {
    receiver.into_iter().sum::<Result<u64, _>>().map_err(|error| error.to_string())
}

/// Sends some numbers and then a message that is too large for anybody who does not receive.
#[task]
fn send_until_killed(mut sender: Sender<Vec<u8>>, before: u8) {
    for number in 0..before {
        sender.send(&vec![number; 10]).expect("there is room");
    }
    let _ = sender.send(&vec![0; LARGE]);
}

#[task]
fn hold(_connection: Connection<u32, u32>) {
    std::thread::sleep(Duration::from_secs(600));
}

/// Receives one of several messages and dies.
#[task]
fn die_with_unread_messages(mut connection: Connection<u32, u32>) {
    assert_eq!(connection.recv().expect("a message"), 1);
    (10..15).for_each(|number| connection.send(&number).expect("somebody receives"));
    std::process::abort();
}

#[task]
fn answer_through(mut pipes: Receiver<Sender<String>>) -> u32 {
    let mut answered = 0;
    while let Ok(mut pipe) = pipes.recv() {
        pipe.send(&format!("answer {answered}")).expect("somebody receives");
        answered += 1;
    }
    answered
}

#[task]
fn take(connection: Connection<u32, u32>) -> String {
    format!("{connection:?}")
}

/// A socket that pretends to be the end of a pipe.
struct Forged {
    socket: Option<Descriptor>,
    end: Option<Receiver<Vec<u8>>>,
}

impl Serialize for Forged {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.end {
            Some(end) => Some(end).serialize(serializer),
            None => (self.socket.as_ref(), false).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Forged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Forged, D::Error> {
        Ok(Forged { socket: None, end: Option::<Receiver<Vec<u8>>>::deserialize(deserializer)? })
    }
}

fn pool() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool")
}

support::isolated! {
    timeout = 60;

    fn messages_of_all_sizes_come_back_whole_and_in_order() {
        for inline in [false, true] {
            let pool = ProcessPoolExecutor::builder().max_workers(2).inline(inline).build().expect("a pool");
            let (mut ours, theirs) = Pipe::duplex().expect("a pipe");
            let echoed = pool.submit(echo, theirs);
            let sizes = [0, 1, 1000, 65_000, 65_519, 65_520, 65_521, 200_000, LARGE, 0, 7];
            for (number, size) in sizes.into_iter().enumerate() {
                let message: Vec<u8> = (0..size).map(|i| (i * 7 + number) as u8).collect();
                ours.send(&message).expect("somebody receives");
                assert!(ours.recv_timeout(SOON).expect("an answer") == message, "{size}");
            }
            drop(ours);
            assert_eq!(echoed.result().expect("a value"), sizes.len());
            let (mut ours, theirs) = Pipe::duplex().expect("a pipe");
            let echoed = pool.submit(echo_bytes, theirs);
            for size in sizes {
                ours.send_bytes(&vec![5; size]).expect("somebody receives");
                assert_eq!(ours.recv_bytes().expect("an answer"), vec![5; size]);
            }
            drop(ours);
            assert_eq!(echoed.result().expect("a value"), sizes.len());
            pool.shutdown(true).wait();
        }
    }

    fn a_producer_and_a_consumer_need_nobody_between_them() {
        let pool = pool();
        let (sender, receiver) = Pipe::simplex().expect("a pipe");
        let consumer = pool.submit(consume, receiver);
        let producer = pool.submit(produce, (sender, 20_000));
        producer.result().expect("a value");
        assert_eq!(consumer.result().expect("a value"), Ok((0..20_000).sum()));
    }

    fn two_sides_that_send_much_at_once_and_then_receive_do_not_wait_for_each_other_for_ever() {
        let pool = pool();
        // Each more than the socket takes; the last ones also more than is kept.
        for (count, size) in [(1, LARGE), (1, 10 * LARGE), (100, 10_000), (5, LARGE)] {
            let (mut ours, theirs) = Pipe::duplex().expect("a pipe");
            let other = pool.submit(talk_first, (theirs, count, size));
            assert_eq!(exchange(&mut ours, count, size), count * size);
            assert_eq!(other.result().expect("a value"), count * size);
            let (mut ours, theirs) = Pipe::duplex().expect("a pipe");
            let other = pool.submit(talk_first_async, (theirs, count, size));
            assert_eq!(futures::executor::block_on(exchange_async(&mut ours, count, size)), count * size);
            assert_eq!(other.result().expect("a value"), count * size);
        }
    }

    fn halves_send_and_receive_without_each_other_and_close_alone() {
        let pool = pool();
        let (ours, theirs) = Pipe::duplex().expect("a pipe");
        let other = pool.submit(echo, theirs);
        let (mut sender, mut receiver) = ours.split();
        let sending = std::thread::spawn(move || {
            for number in 0..20 {
                sender.send(&vec![number; LARGE]).expect("somebody receives");
            }
        });
        for number in 0..20 {
            assert_eq!(check(number, receiver.recv().expect("a message")), LARGE);
        }
        sending.join().expect("all was sent");
        // The half that sent is gone, which is the end for the other side.
        assert_eq!(other.result().expect("a value"), 20);
        assert!(matches!(receiver.recv(), Err(RecvError::Closed)));
        // A half that went to another process is closed there and not here.
        let (ours, theirs) = Pipe::duplex::<u64, ()>().expect("a pipe");
        let (sender, receiver) = ours.split();
        let producer = pool.submit(produce, (sender, 100));
        let (_, numbers) = theirs.split();
        assert_eq!(numbers.into_iter().map(|number| number.expect("a number")).sum::<u64>(), 4950);
        producer.result().expect("a value");
        drop(receiver);
    }

    fn what_was_sent_comes_before_the_end_and_the_end_comes_by_crash_too() {
        let pool = pool();
        let (mut ours, theirs) = Pipe::duplex().expect("a pipe");
        let dying = pool.submit(die_with_unread_messages, theirs);
        (1..6).for_each(|number| ours.send(&number).expect("there is room"));
        dying.result().expect_err("it dies");
        // The other side left messages unread, which some systems tell before they give what it had sent.
        assert!(ours.poll(Duration::ZERO).expect("there is something"));
        for number in 10..15 {
            assert_eq!(ours.recv().expect("it was sent"), number);
        }
        assert!(ours.poll(Duration::ZERO).expect("the end"), "as in Python");
        for _ in 0..3 {
            assert!(matches!(ours.recv(), Err(RecvError::Closed)));
            assert!(matches!(ours.send(&1), Err(SendError::Closed)));
        }
        let (mut ours, theirs) = Pipe::duplex().expect("a pipe");
        let held = pool.submit(hold, theirs);
        eventually("it runs", SOON, || held.running());
        let waiting = std::thread::spawn(move || (ours.recv(), ours.send(&1)));
        held.kill();
        let (received, sent) = waiting.join().expect("it ended");
        assert!(matches!((received, sent), (Err(RecvError::Closed), Err(SendError::Closed))));
    }

    fn a_sender_that_is_killed_in_the_middle_of_a_message_cuts_it_and_nothing_else() {
        let pool = pool();
        for before in [0, 1, 3] {
            pool.warm_up().wait().expect("two workers");
            let pids = pool.worker_pids();
            let (sender, mut receiver) = Pipe::simplex::<Vec<u8>>().expect("a pipe");
            let sending = pool.submit(send_until_killed, (sender, before));
            for number in 0..before {
                assert_eq!(receiver.recv().expect("a message"), vec![number; 10]);
            }
            // A part of the large message has come, and it is too large to have left.
            assert_eq!(connection::wait(&[&receiver], SOON).expect("something"), [0]);
            sending.kill();
            sending.result().expect_err("it is killed");
            // That is told at once, and until it is dead it sends what is received.
            let is_dead = |&pid: &u32| procfs::state(pid).is_none_or(|state| state == 'Z');
            eventually("it is dead", SOON, || pids.iter().any(is_dead));
            let cut = receiver.recv_timeout(SOON).map(|message| message.len());
            assert!(matches!(cut, Err(RecvError::Cut)), "{cut:?}");
            assert!(matches!(receiver.recv(), Err(RecvError::Closed)));
        }
    }

    fn a_pipe_goes_through_a_pipe() {
        let pool = pool();
        let (mut pipes, theirs) = Pipe::simplex::<Sender<String>>().expect("a pipe");
        let answering = pool.submit(answer_through, theirs);
        let mut answers = Vec::new();
        for _ in 0..30 {
            let (sender, receiver) = Pipe::simplex().expect("a pipe");
            pipes.send(&sender).expect("somebody receives");
            answers.push(receiver);
        }
        drop(pipes);
        for (number, answer) in answers.into_iter().enumerate() {
            let all: Vec<_> = answer.into_iter().collect::<Result<_, _>>().expect("messages and the end");
            assert_eq!(all, [format!("answer {number}")]);
        }
        assert_eq!(answering.result().expect("a value"), 30);
    }

    fn a_receiver_without_room_for_descriptors_loses_one_message() {
        let (mut sender, mut receiver) = Pipe::simplex::<Vec<Descriptor>>().expect("a pipe");
        let null = Descriptor::new(std::fs::File::open("/dev/null").expect("null"));
        let many: Vec<_> =
            (0..8).map(|_| Descriptor::new(null.as_fd().try_clone_to_owned().expect("room"))).collect();
        for free in 0..4 {
            sender.send(&many).expect("there is room");
            sender.send(&vec![null.clone()]).expect("there is room");
            let few = FdLimit::leaving(free);
            match receiver.recv() {
                Err(RecvError::Decode { message, .. }) => {
                    assert!(message.contains(&format!("{} of the 8", 8 - free)), "{message}");
                }
                other => panic!("{other:?}"),
            }
            drop(few);
            assert_eq!(receiver.recv().expect("the next one is whole").len(), 1);
        }
    }

    fn waits_end_in_time_and_a_message_that_has_begun_goes_on() {
        let (mut sender, mut receiver) = Pipe::simplex::<Vec<u8>>().expect("a pipe");
        assert!(matches!(receiver.recv_timeout(Duration::from_millis(5)), Err(RecvError::TimedOut)));
        assert!(matches!(receiver.try_recv(), Ok(None)));
        let began = Instant::now();
        assert!(!receiver.poll(Duration::from_millis(20)).expect("nothing"));
        assert!(began.elapsed() >= Duration::from_millis(20));
        // More than the socket takes: a part of it has left.
        let sent = sender.send_timeout(&vec![1; LARGE], Duration::from_millis(5));
        assert!(matches!(sent, Err(SendError::TimedOut { begun: true, .. })), "{sent:?}");
        assert!(matches!(receiver.try_recv(), Ok(None)));
        let sending = std::thread::spawn(move || {
            sender.send(&vec![2; 10]).expect("after the rest of the first");
            sender
        });
        assert_eq!(receiver.recv().expect("the first"), vec![1; LARGE]);
        assert_eq!(receiver.recv().expect("the second"), vec![2; 10]);
        let mut sender = sending.join().expect("all was sent");
        // There is no room at all for the last of these, so it is not sent.
        let mut filled = 0;
        while sender.send_timeout(&vec![3; 60_000], Duration::ZERO).is_ok() {
            filled += 1;
        }
        let sent = sender.send_timeout(&vec![4; 60_000], Duration::ZERO);
        assert!(matches!(sent, Err(SendError::TimedOut { begun: false, .. })), "{sent:?}");
        drop(sender);
        let all: Vec<_> = receiver.into_iter().map(|message| message.expect("whole")[0]).collect();
        assert_eq!(all, vec![3; filled]);
    }

    fn a_future_that_is_dropped_loses_nothing() {
        futures::executor::block_on(async {
            let (mut sender, mut receiver) = Pipe::simplex::<Vec<u8>>().expect("a pipe");
            for number in 0..20 {
                assert!(futures::poll!(std::pin::pin!(receiver.recv_async())).is_pending());
                {
                    let large = vec![number; LARGE];
                    let mut sending = std::pin::pin!(sender.send_async(&large));
                    assert!(futures::poll!(sending.as_mut()).is_pending());
                    // The receiver reads a part and gives up.
                    let received = futures::poll!(std::pin::pin!(receiver.recv_async()));
                    assert!(received.is_pending());
                }
                let next = vec![100];
                let (sent, received) = futures::join!(sender.send_async(&next), async {
                    (receiver.recv_async().await, receiver.recv_async().await)
                });
                sent.expect("the rest and the next");
                assert_eq!(received.0.expect("the first"), vec![number; LARGE]);
                assert_eq!(received.1.expect("the second"), vec![100]);
            }
        });
    }

    fn values_and_bytes_are_told_apart_and_limits_hold_at_both_ends() {
        let (mut sender, mut receiver) = Pipe::simplex::<Vec<u8>>().expect("a pipe");
        sender.send_bytes(b"bytes").expect("there is room");
        sender.send(&vec![1]).expect("there is room");
        assert!(matches!(receiver.recv(), Err(RecvError::OtherKind)));
        assert_eq!(receiver.recv_bytes().expect("it is still there"), b"bytes");
        assert!(matches!(receiver.recv_bytes(), Err(RecvError::OtherKind)));
        assert_eq!(receiver.recv().expect("it is still there"), [1]);
        receiver.set_limit(100_000);
        let sending = std::thread::spawn(move || {
            for size in [99_000, 100_001, 5, LARGE, 6] {
                sender.send(&vec![1; size]).expect("somebody receives");
            }
            sender.set_limit(100);
            let refused = sender.send(&vec![1; 200]).expect_err("it is too large");
            assert!(matches!(refused, SendError::TooLarge { size: 202, limit: 100, .. }), "{refused:?}");
            let refused = sender.send_bytes(&[1; 101]).expect_err("it is too large");
            assert!(matches!(refused, SendError::TooLarge { size: 101, limit: 100, .. }), "{refused:?}");
            sender.send(&vec![7; 7]).expect("the next one is not");
        });
        let got: Vec<_> = receiver.into_iter().map(|message| message.map(|message| message.len())).collect();
        sending.join().expect("all was sent");
        let sizes: Vec<_> = got.iter().map(|got| got.as_ref().ok().copied()).collect();
        assert_eq!(sizes, [Some(99_000), None, Some(5), None, Some(6), Some(7)]);
        assert!(matches!(got[1], Err(RecvError::TooLarge { limit: 100_000, .. })), "{:?}", got[1]);
    }

    fn an_end_with_messages_that_nobody_has_taken_stays_where_it_is() {
        let pool = pool();
        let (mut ours, mut theirs) = Pipe::duplex::<u32, u32>().expect("a pipe");
        theirs.send(&7).expect("there is room");
        assert!(ours.poll(SOON).expect("a message"));
        let refused = pool.try_submit(take, ours).expect_err("it would lose the message");
        assert!(refused.to_string().contains("receive them first"), "{refused}");
        let mut ours = refused.into_args();
        assert_eq!(ours.recv().expect("it is still there"), 7);
        // In the socket they travel along.
        theirs.send(&8).expect("there is room");
        assert!(pool.submit(take, ours).result().expect("a value").contains("Connection"));
        assert!(matches!(theirs.recv(), Err(RecvError::Closed)));
    }

    fn many_pipes_processes_and_files_are_waited_for_at_once() {
        let pool = pool();
        pool.warm_up().wait().expect("two workers");
        let (mut numbers, mut first) = Pipe::simplex::<u32>().expect("a pipe");
        let (texts, second) = Pipe::simplex::<String>().expect("a pipe");
        let (mut one, third) = Pipe::duplex::<u32, u32>().expect("a pipe");
        let pid = rustix::process::Pid::from_raw(pool.worker_pids()[0].cast_signed()).expect("a worker");
        let sentinel = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("open");
        let all: [&dyn connection::Waitable; 4] = [&first, &second, &third, &sentinel];
        assert!(connection::wait(&all, Duration::ZERO).expect("nothing").is_empty());
        assert!(connection::wait(&[], Duration::from_millis(1)).expect("nothing").is_empty());
        numbers.send(&1).expect("there is room");
        one.send(&1).expect("there is room");
        assert_eq!(connection::wait(&all, SOON).expect("two"), [0, 2]);
        drop(texts);
        assert_eq!(connection::wait(&all, SOON).expect("three"), [0, 1, 2]);
        kill(pool.worker_pids()[0], Signal::KILL);
        eventually("the process, too", SOON, || {
            connection::wait(&all, SOON).expect("four") == [0, 1, 2, 3]
        });
        // What was read from the socket and not taken counts as well.
        assert!(first.poll(SOON).expect("a message"));
        assert_eq!(connection::wait(&[&first], SOON).expect("one"), [0]);
        assert_eq!(first.recv().expect("a message"), 1);
        assert!(connection::wait(&[&first], Duration::ZERO).expect("nothing").is_empty());
        let async_wait = async {
            let later = std::thread::spawn(move || {
                numbers.send(&2).expect("there is room");
                numbers
            });
            assert_eq!(connection::wait_async(&[&first, &sentinel]).await.expect("two").last(), Some(&1));
            assert_eq!(connection::wait_async(&[&first]).await.expect("one"), [0]);
            drop(later.join());
        };
        futures::executor::block_on(async_wait);
    }

    fn every_runtime_can_await_both_directions() {
        async fn talk() {
            let (mut one, mut other) = Pipe::duplex::<Vec<u8>, Vec<u8>>().expect("a pipe");
            let (left, right) =
                futures::join!(exchange_async(&mut one, 10, 300_000), exchange_async(&mut other, 10, 300_000));
            assert_eq!((left, right), (3_000_000, 3_000_000));
            drop(other);
            assert!(futures::StreamExt::next(&mut one).await.is_none(), "the end of the stream");
        }
        futures::executor::block_on(talk());
        smol::block_on(talk());
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(talk());
    }

    fn who_sends_nonsense_gets_errors_and_no_more() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).inline(true).build().expect("a pool");
        let null: OwnedFd = std::fs::File::open("/dev/null").expect("null").into();
        let forged = |kind| {
            let (raw, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("a pair");
            let forged = Forged { socket: Some(Descriptor::new(theirs)), end: None };
            (raw, pool.submit(pass, forged).result())
        };
        // What is no such socket is refused.
        let (_raw, refused) = forged(SocketType::STREAM);
        match refused.map(drop).expect_err("no end of a pipe").kind() {
            TaskErrorKind::Codec { message, .. } => assert!(message.contains("no end of a pipe"), "{message}"),
            other => panic!("{other}"),
        }
        let (raw, end) = forged(SocketType::SEQPACKET);
        let mut end = end.expect("an end").end.expect("an end");
        // Of what is sent: others come and go, when the pool looks something up.
        let open = || procfs::fds(std::process::id()).into_values().filter(|to| to == "/dev/null").count();
        let before = open();
        let packet = |kind: u8, handles: u8, left: u64, body: &[u8]| {
            [&[kind, handles, 0, 0, 0, 0, 0, 0][..], &left.to_le_bytes(), body].concat()
        };
        let send = |bytes: &[u8], descriptors: usize| {
            let attached = vec![null.as_fd(); descriptors];
            let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            assert!(descriptors == 0 || ancillary.push(SendAncillaryMessage::ScmRights(&attached)));
            let sent = rustix::net::sendmsg(&raw, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL);
            assert_eq!(sent, Ok(bytes.len()));
        };
        let value = [3, 7, 7, 7];
        let good = packet(1, 0, value.len() as u64, &value);
        let bad = [
            vec![1],
            vec![0; 16],
            packet(4, 0, 0, b""),
            packet(1, 254, 0, b""),
            packet(2, 1, 0, b""),
            packet(3, 0, 5, b"first"),
            packet(1, 0, 2, b"more than two"),
            packet(1, 0, 10, b""),
            packet(1, 0, 100_000, &vec![1; 100_000]),
        ];
        for (number, bytes) in bad.iter().enumerate() {
            send(bytes, 3);
            send(&good, 2);
            let received = end.recv();
            assert!(matches!(received, Err(RecvError::Malformed { .. })), "{number}: {received:?}");
            assert_eq!(end.recv().expect("whole"), [7; 3], "{number}");
            assert!(open() <= before, "{number}: {} are open, {before} were", open());
        }
        // Two messages at once, a wrong rest, a rest with descriptors, a length that nobody believes.
        let begun = packet(1, 0, 20, &[0; 10]);
        for (next, descriptors) in [
            (packet(1, 0, 20, &[0; 10]), 0),
            (packet(3, 0, 11, &[0; 10]), 0),
            (packet(3, 0, 10, &[0; 11]), 0),
            (packet(3, 0, 10, &[]), 0),
            (packet(3, 0, 10, &[0; 10]), 1),
        ] {
            send(&begun, 0);
            send(&next, descriptors);
            send(&good, 0);
            assert!(matches!(end.recv(), Err(RecvError::Malformed { .. })));
            assert_eq!(end.recv().expect("whole"), [7; 3]);
        }
        let rss = procfs::rss_kib(std::process::id()).expect("our own memory");
        send(&packet(1, 0, 1 << 30, &[0; 10]), 0);
        assert!(matches!(end.try_recv(), Ok(None)));
        assert!(procfs::rss_kib(std::process::id()).expect("our own memory") < rss + 4096);
        drop(raw);
        assert!(matches!(end.recv(), Err(RecvError::Cut)));
        assert!(matches!(end.recv(), Err(RecvError::Closed)));
    }
}

#[task]
fn pass(forged: Forged) -> Forged {
    forged
}
