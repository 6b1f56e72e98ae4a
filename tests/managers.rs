//! An object in another process is called by its methods as one here is, lives as long as somebody has a proxy of it,
//! and is an error, never a wait without end, when its process is gone.

mod support;

use std::os::unix::net::UnixDatagram;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::join_all;
use procpool::{
    Connection, Descriptor, DictProxy, ExitCause, ListProxy, Manager, Pipe, Process, ProcessPoolExecutor,
    Ran, Sender, TaskErrorKind, Value, managed, task,
};
use support::{Event, Ledger, Signal, eventually, kill, procfs};

const SOON: Duration = Duration::from_secs(20);
const DETECT: Duration = Duration::from_secs(2);

/// What a caller can see of a panic, an error, its own state, and the end of an object.
struct Account {
    balance: u64,
    ledger: Option<String>,
}

#[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct TooMuch {
    missing: u64,
}

#[managed]
impl Account {
    pub(crate) fn open(deposit: u64) -> Self {
        Account { balance: deposit, ledger: None }
    }

    /// With a note at its end.
    pub(crate) fn open_noted(deposit: u64, ledger: &str) -> Result<Account, String> {
        if deposit == 0 {
            Err("nothing to put in".to_owned())
        } else {
            Ok(Account { balance: deposit, ledger: Some(ledger.to_owned()) })
        }
    }

    pub(crate) fn withdraw(&mut self, amount: u64) -> Result<u64, TooMuch> {
        let missing = amount.saturating_sub(self.balance);
        if missing > 0 {
            return Err(TooMuch { missing });
        }
        self.balance -= amount;
        Ok(self.balance)
    }

    pub(crate) fn deposit(&mut self, amounts: &[u64]) -> u64 {
        // In two steps, with time between them for others.
        for amount in amounts {
            let before = self.balance;
            thread::yield_now();
            self.balance = before + amount;
        }
        self.balance
    }

    pub(crate) fn balance(&self) -> u64 {
        self.balance
    }

    pub(crate) fn break_off(&mut self) {
        self.balance += 1;
        panic!("in the middle of it");
    }

    pub(crate) fn complain(&self, what: &str) {
        panic!("{what}");
    }

    pub(crate) fn pid(&self) -> u32 {
        std::process::id()
    }

    pub(crate) fn exit(&self) {
        std::process::exit(3);
    }

    pub(crate) fn stay(&self, begun: &Value<u32>) {
        begun.fetch_add(1);
        loop {
            thread::park();
        }
    }

    /// Another object beside this one.
    pub(crate) fn halve(&mut self) -> AccountProxy {
        self.balance /= 2;
        AccountProxy::host(Account { balance: self.balance, ledger: None }).expect("room for another")
    }

    pub(crate) fn echo(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    pub(crate) fn is_same(&self, other: Option<AccountProxy>) -> Option<AccountProxy> {
        other
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(ledger) = &self.ledger {
            Ledger::record(ledger, self.balance, Event::Finished);
        }
    }
}

/// Two who meet: each call returns when the other has come.
#[derive(Default)]
struct Meeting {
    here: Mutex<u32>,
    came: Condvar,
}

#[managed(proxy = MeetingPoint)]
impl Meeting {
    pub(crate) fn new() -> Meeting {
        Meeting::default()
    }

    pub(crate) fn meet(&self, count: u32) -> u32 {
        let mut here = self.here.lock().expect("nobody panics");
        *here += 1;
        self.came.notify_all();
        while *here < count {
            here = self.came.wait(here).expect("nobody panics");
        }
        *here
    }
}

/// An end that others put in, and that goes on by itself.
struct Post(Mutex<Vec<Sender<u32>>>);

#[managed]
impl Post {
    pub(crate) fn new() -> Post {
        Post(Mutex::default())
    }

    pub(crate) fn add(&self, end: Sender<u32>) {
        self.0.lock().expect("nobody panics").push(end);
    }

    pub(crate) fn send(&self, number: u32) -> usize {
        let mut ends = self.0.lock().expect("nobody panics");
        ends.retain_mut(|end| end.send(&number).is_ok());
        ends.len()
    }
}

/// What has workers of its own.
struct Squares(ProcessPoolExecutor);

#[managed]
impl Squares {
    pub(crate) fn new() -> Result<Squares, String> {
        ProcessPoolExecutor::builder().max_workers(1).build().map(Squares).map_err(text)
    }

    pub(crate) fn sum(&self, numbers: Vec<u64>) -> Result<u64, String> {
        self.0.map(square, numbers).into_iter().sum::<Result<u64, _>>().map_err(text)
    }
}

#[task]
fn square(number: u64) -> u64 {
    number * number
}

mod time {
    #[derive(Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
    pub(super) struct Span(pub(super) u64);
}

/// A type called as the generic parameters of much code, with methods called as what such code is made of.
#[derive(Clone)]
struct D(u64);

#[managed]
impl D {
    pub(self) fn new(_: u8, (left, right): (u64, u64)) -> Option<Self> {
        (left > 0).then_some(D(left + right))
    }
    pub(crate) fn call(&self, call: u64) -> u64 {
        self.0 + call
    }
    pub(crate) fn object(&mut self, value: u64) -> u64 {
        std::mem::replace(&mut self.0, value)
    }
    pub(crate) fn manager(&self, manager: &str) -> usize {
        manager.len()
    }
    pub(crate) fn time(&self) -> time::Span {
        time::Span(self.0)
    }
    pub(crate) fn r#match<'a>(&'a self, texts: &[&'a str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }
    #[deprecated(note = "for the test")]
    pub(crate) fn old(&self) -> u64 {
        self.0
    }
    /// Is of this type, and not called from outside.
    #[allow(dead_code)]
    pub(crate) async fn helper() {}
}

#[managed(proxy = Slow)]
impl Post {
    /// Makes one when the receiver is gone.
    pub(crate) fn when_gone(mut begun: Sender<u32>) -> Post {
        begun.send(&1).expect("somebody listens");
        loop {
            thread::park();
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[task]
fn deposit_often(account: AccountProxy, times: u32) -> Result<(), String> {
    (0..times).try_for_each(|_| account.deposit(&[1, 2]).result().map(drop).map_err(text))
}

#[task]
fn meet(point: MeetingPoint, count: u32) -> Result<u32, String> {
    point.meet(count).result().map_err(text)
}

#[task]
fn call_on(account: AccountProxy, begun: Value<u32>) {
    begun.fetch_add(1);
    while account.deposit(&[1]).result().is_ok() {}
}

#[task]
fn hold(account: AccountProxy, begun: Value<u32>) {
    begun.fetch_add(1);
    let _held = account;
    loop {
        thread::park();
    }
}

#[task]
fn give_back(account: AccountProxy) -> AccountProxy {
    account
}

#[task]
fn manage(mut out: Connection<u32, ()>) {
    let manager = Manager::new().expect("a manager");
    let account = AccountProxy::open(&manager, 1).result().expect("an object");
    out.send(&account.pid().result().expect("its process")).expect("somebody listens");
    loop {
        thread::park();
    }
}

fn pool(workers: usize) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(workers).build().expect("a pool")
}

support::isolated! {
    timeout = 120;

    fn calls_from_many_processes_are_one_after_the_other_where_they_change_something() {
        let manager = Manager::new().expect("a manager");
        let account = AccountProxy::open(&manager, 0).result().expect("an object");
        assert_ne!(account.pid().result().expect("a process"), std::process::id());
        let pool = pool(3);
        let done: Vec<_> = (0..6).map(|_| pool.submit(deposit_often, (account.clone(), 200))).collect();
        for done in done {
            done.result().expect("a worker").expect("an object");
        }
        assert_eq!(account.balance().result().expect("a balance"), 6 * 200 * 3);
        pool.shutdown(true).wait();
    }

    fn calls_that_change_nothing_run_beside_each_other() {
        let manager = Manager::new().expect("a manager");
        let point = MeetingPoint::new(&manager).result().expect("an object");
        let pool = pool(2);
        let there: Vec<_> = (0..2).map(|_| pool.submit(meet, (point.clone(), 6))).collect();
        let mut here: Vec<_> = (0..4).map(|_| point.meet(6)).collect();
        for there in there {
            assert_eq!(there.result().expect("a worker").expect("an object"), 6);
        }
        assert_eq!(here.remove(0).result().expect("the first"), 6);
        assert!(block_on(join_all(here)).into_iter().all(|met| met.is_ok_and(|met| met == 6)));
        pool.shutdown(true).wait();
    }

    fn errors_and_panics_come_back_typed_and_a_half_changed_object_is_poisoned() {
        let manager = Manager::new().expect("a manager");
        let account = AccountProxy::open(&manager, 10).result().expect("an object");
        assert_eq!(account.withdraw(4).result().expect("a call"), Ok(6));
        assert_eq!(account.withdraw(9).result().expect("a call"), Err(TooMuch { missing: 3 }));
        let refused = AccountProxy::open_noted(&manager, 0, "").result().expect("a call");
        assert_eq!(refused.expect_err("no account"), "nothing to put in");
        // One that only reads leaves the object as it was.
        let error = account.complain("it is too slow").result().expect_err("a panic");
        assert_eq!(error.panic().expect("a panic").message(), "it is too slow");
        assert!(error.panic().expect("a panic").location().is_some_and(|place| place.contains("managers.rs")));
        assert!(error.task().ends_with("Account::complain") && error.ran() == Ran::Yes, "{error}");
        assert_eq!(account.balance().result().expect("not poisoned"), 6);
        let error = account.break_off().result().expect_err("a panic");
        assert!(error.is_panic(), "{error}");
        for error in [account.balance().result().expect_err("poisoned"), account.deposit(&[1]).result().expect_err("poisoned")] {
            assert!(matches!(error.kind(), TaskErrorKind::Poisoned) && error.ran() == Ran::No, "{error}");
        }
        account.proxy().clear_poison().result().expect("a call");
        assert_eq!(account.balance().result().expect("sound again"), 7);
    }

    fn a_manager_that_is_gone_is_an_error_at_once_also_for_who_waits() {
        for how in ["kill", "exit", "shutdown", "drop"] {
            let manager = Manager::new().expect("a manager");
            let account = AccountProxy::open(&manager, 1).result().expect("an object");
            let begun = Value::new(0).expect("a number");
            let mut waiting = account.stay(&begun);
            let workers = pool(1);
            let other = AccountProxy::open(&manager, 1).result().expect("an object");
            let theirs = workers.submit(call_on, (other, begun.clone()));
            eventually("both have begun", SOON, || begun.load() == 2);
            assert!(waiting.result_timeout(Duration::ZERO).is_err());
            let pid = manager.process().pid();
            let began = Instant::now();
            let manager = match how {
                "kill" => {
                    kill(pid, Signal::KILL);
                    Some(manager)
                }
                "exit" => {
                    let error = account.exit().result().expect_err("it has ended");
                    assert!(error.is_manager_gone() && error.ran() == Ran::Maybe, "{error}");
                    Some(manager)
                }
                "shutdown" => {
                    assert_eq!(manager.shutdown(), ExitCause::Code(0));
                    None
                }
                _ => {
                    drop(manager);
                    None
                }
            };
            let error = waiting.result_timeout(SOON).expect("an outcome").expect_err("it was cut off");
            assert!(error.is_manager_gone() && error.ran() == Ran::Maybe, "{how}: {error}");
            theirs.result().expect("the worker has seen it as well");
            assert!(began.elapsed() < DETECT, "{how}: {:?}", began.elapsed());
            let error = account.balance().result().expect_err("nobody is there");
            assert!(error.is_manager_gone(), "{how}: {error}");
            if let Some(manager) = manager {
                manager.process().join();
                let error = AccountProxy::open(&manager, 1).result().expect_err("nobody is there");
                assert!(error.is_manager_gone(), "{how}: {error}");
            }
            eventually("the process is gone", SOON, || !procfs::is_alive(pid));
            workers.shutdown(true).wait();
        }
    }

    fn an_object_lives_as_long_as_any_proxy_of_it_wherever_that_is() {
        let ledger = Ledger::create();
        let path = ledger.path();
        let manager = Manager::new().expect("a manager");
        let open = |deposit| {
            AccountProxy::open_noted(&manager, deposit, &path).result().expect("a call").expect("an object")
        };
        let pool = pool(1);
        // In a worker that is killed.
        let begun = Value::new(0).expect("a number");
        let held = pool.submit(hold, (open(1), begun.clone()));
        eventually("a worker has it", SOON, || begun.load() == 1);
        assert_eq!(ledger.finishes(1), 0);
        kill(pool.worker_pids()[0], Signal::KILL);
        assert!(held.result().is_err());
        eventually("it has gone with the worker", SOON, || ledger.finishes(1) == 1);
        // There and back, and in a message that nobody takes.
        let back = pool.submit(give_back, open(2)).result().expect("a proxy");
        assert_eq!(back.balance().result().expect("it is there"), 2);
        let (mut sender, receiver) = Pipe::simplex::<AccountProxy>().expect("a pipe");
        sender.send(&back).expect("room");
        drop(back);
        assert_eq!(ledger.finishes(2), 0);
        drop((sender, receiver));
        eventually("it has gone with the message", SOON, || ledger.finishes(2) == 1);
        // In another object, which is in another.
        let shelf = manager.list::<DictProxy<u32, AccountProxy>>().result().expect("a list");
        let drawer = manager.dict().result().expect("a dictionary");
        drawer.insert(&7, &open(3)).result().expect("a call");
        shelf.push(&drawer).result().expect("a call");
        drop(drawer);
        let drawer = shelf.get(0).result().expect("a call").expect("a dictionary");
        let account = drawer.get(&7).result().expect("a call").expect("an account");
        assert_eq!(account.balance().result().expect("it is there"), 3);
        drop((drawer, account));
        assert_eq!(ledger.finishes(3), 0);
        drop(shelf);
        eventually("it has gone with the shelf", SOON, || ledger.finishes(3) == 1);
        // At the end of its manager.
        let last = open(4);
        manager.shutdown();
        assert_eq!(ledger.finishes(4), 1);
        drop(last);
        pool.shutdown(true).wait();
    }

    fn proxies_are_results_and_arguments_of_methods_and_handles_go_along() {
        let manager = Manager::new().expect("a manager");
        let account = AccountProxy::open(&manager, 8).result().expect("an object");
        let half = account.halve().result().expect("another object");
        assert_eq!(half.withdraw(1).result().expect("a call"), Ok(3));
        assert_eq!(account.balance().result().expect("a call"), 4);
        let same = account.is_same(Some(half.clone())).result().expect("a call").expect("a proxy");
        assert!(same == half && same != account);
        let post = PostProxy::new(&manager).result().expect("an object");
        let (sender, mut receiver) = Pipe::simplex().expect("a pipe");
        post.add(sender).result().expect("a call");
        assert_eq!(post.send(7).result().expect("a call"), 1);
        assert_eq!(receiver.recv().expect("a number"), 7);
        drop(receiver);
        assert_eq!(post.send(8).result().expect("a call"), 0);
    }

    fn any_process_can_keep_objects_and_none_is_left_when_nobody_has_them() {
        support::warmed_up(|| drop(pool(1).shutdown(true).wait()));
        let ledger = Ledger::create();
        let account = AccountProxy::host(Account { balance: 0, ledger: Some(ledger.path()) }).expect("an object");
        assert_eq!(account.pid().result().expect("a call"), std::process::id());
        let pool = pool(2);
        let done: Vec<_> = (0..4).map(|_| pool.submit(deposit_often, (account.clone(), 100))).collect();
        for done in done {
            done.result().expect("a worker").expect("an object");
        }
        assert_eq!(account.balance().result().expect("a call"), 4 * 100 * 3);
        pool.shutdown(true).wait();
        drop(account);
        eventually("it is dropped", SOON, || ledger.finishes(1_200) == 1);
    }

    fn values_of_every_size_pass_and_too_large_ones_are_told() {
        let manager = Manager::new().expect("a manager");
        let account = AccountProxy::open(&manager, 0).result().expect("an object");
        for size in [0, 1, 1_000, 200_000, 5_000_000] {
            let bytes: Vec<u8> = (0..size).map(|n| n as u8).collect();
            // Several at a time, each of which waits for room.
            let calls: Vec<_> = (0..3).map(|_| account.echo(bytes.clone())).collect();
            for call in calls {
                assert_eq!(call.result().expect("a call"), bytes);
            }
            assert_eq!(block_on(account.echo(bytes.clone())).expect("a call"), bytes);
        }
        let mut call = account.echo(vec![1; 3_000_000]);
        while call.result_timeout(Duration::from_micros(100)).is_err() {}
        let error = call.result().expect_err("it was taken");
        assert!(matches!(error.kind(), TaskErrorKind::Invalid { .. }), "{error}");
    }

    fn who_is_killed_in_a_call_costs_nobody_else_anything() {
        let manager = Manager::new().expect("a manager");
        let account = AccountProxy::open(&manager, 0).result().expect("an object");
        let begun = Value::new(0).expect("a number");
        for round in 1..=40 {
            let process = Process::new(call_on, (account.clone(), begun.clone())).daemon(true).start().expect("a process");
            eventually("it has begun", SOON, || begun.load() == round);
            account.deposit(&[1]).result().expect("a call beside its own");
            process.kill();
            process.join();
        }
        let settled = || {
            let balance = account.balance().result().expect("it is sound");
            thread::sleep(Duration::from_millis(20));
            account.balance().result().expect("it is sound") == balance
        };
        eventually("no call is left", SOON, settled);
        // Each had a thread there, which has ended as well: this one's line, the doors, the two of every worker.
        eventually("no thread is left", SOON, || procfs::threads(manager.process().pid()).len() <= 5);
    }

    #[allow(deprecated)]
    fn methods_have_the_names_that_they_like() {
        let manager = Manager::new().expect("a manager");
        assert!(DProxy::new(&manager, 0, (0, 1)).result().expect("a call").is_none());
        let odd = DProxy::new(&manager, 0, (1, 2)).result().expect("a call").expect("an object");
        assert_eq!(odd.call(4).result().expect("a call"), 7);
        assert_eq!(odd.object(5).result().expect("a call"), 3);
        assert_eq!(odd.manager("four").result().expect("a call"), 4);
        assert_eq!(odd.time().result().expect("a call"), time::Span(5));
        assert_eq!(odd.r#match(&["a", "b"]).result().expect("a call"), ["a", "b"]);
        assert_eq!(odd.old().result().expect("a call"), 5);
    }

    fn a_manager_ends_although_somebody_makes_an_object_without_end_or_holds_a_call() {
        for how in ["shutdown", "drop"] {
            let ledger = Ledger::create();
            let manager = Manager::new().expect("a manager");
            let kept = AccountProxy::open_noted(&manager, 7, &ledger.path()).result().expect("a call").expect("an object");
            let (begun, mut listen) = Pipe::simplex().expect("a pipe");
            let endless = Slow::when_gone(&manager, begun);
            assert_eq!(listen.recv().expect("it has begun"), 1);
            let held = manager.list::<u32>();
            let pid = manager.process().pid();
            match how {
                "shutdown" => assert_eq!(manager.shutdown(), ExitCause::Code(0)),
                _ => drop(manager),
            }
            eventually("it has ended", SOON, || !procfs::is_alive(pid));
            assert_eq!(ledger.finishes(7), 1, "its objects were dropped");
            assert!(endless.result().expect_err("it was cut off").is_manager_gone());
            drop((held, kept));
        }
    }

    fn many_calls_at_a_time_leave_few_threads_and_descriptors_behind() {
        let manager = Manager::new().expect("a manager");
        let point = MeetingPoint::new(&manager).result().expect("an object");
        let (here, there) = (procfs::fds(std::process::id()).len(), procfs::threads(manager.process().pid()).len());
        let calls: Vec<_> = (0..200).map(|_| point.meet(200)).collect();
        assert!(block_on(join_all(calls)).into_iter().all(|met| met.is_ok_and(|met| met == 200)));
        let few = || {
            procfs::fds(std::process::id()).len() < here + 30
                && procfs::threads(manager.process().pid()).len() < there + 10
        };
        eventually("most of them are gone", SOON, few);
    }

    fn an_object_may_have_a_pool_of_its_own() {
        let manager = Manager::new().expect("a manager");
        let squares = SquaresProxy::new(&manager).result().expect("a call").expect("a pool");
        assert_eq!(squares.sum(vec![1, 2, 3]).result().expect("a call"), Ok(14));
        drop(squares);
        manager.shutdown();
    }

    fn a_call_that_nobody_waits_for_is_made_all_the_same() {
        let manager = Manager::new().expect("a manager");
        let account = AccountProxy::open(&manager, 0).result().expect("an object");
        for _ in 0..100 {
            drop(account.deposit(&[1]));
        }
        eventually("all were made", SOON, || account.balance().result().expect("a call") == 100);
    }

    fn a_manager_ends_with_its_program() {
        let (mut from, to) = Pipe::duplex::<(), u32>().expect("a pipe");
        let program = Process::new(manage, to).start().expect("a process");
        let manager = from.recv().expect("the number of the manager");
        assert!(procfs::is_alive(manager));
        program.kill();
        program.join();
        eventually("the manager has ended", SOON, || !procfs::is_alive(manager));
    }

    fn lists_and_dictionaries_keep_what_they_are_given() {
        let manager = Manager::new().expect("a manager");
        let list: ListProxy<(u32, String)> = manager.list().result().expect("a list");
        let item = |n: u32| (n, n.to_string());
        list.extend(&[item(0), item(2)]).result().expect("a call");
        list.insert(1, &item(1)).result().expect("a call");
        list.insert(99, &item(3)).result().expect("a call");
        assert_eq!(list.to_vec().result().expect("a call"), (0..4).map(item).collect::<Vec<_>>());
        assert_eq!(list.set(0, &item(9)).result().expect("a call"), Some(item(0)));
        assert_eq!(list.get(4).result().expect("a call"), None);
        assert_eq!((list.remove(0).result().expect("a call"), list.pop().result().expect("a call")), (Some(item(9)), Some(item(3))));
        assert_eq!(list.len().result().expect("a call"), 2);
        list.clear().result().expect("a call");
        assert_eq!(list.pop().result().expect("a call"), None);

        let dict: DictProxy<String, u32> = manager.dict().result().expect("a dictionary");
        for (number, name) in (0..).zip(["c", "a", "b"]) {
            assert_eq!(dict.insert(name, &number).result().expect("a call"), None);
        }
        assert_eq!(dict.insert("a", &7).result().expect("a call"), Some(1));
        assert_eq!(dict.keys().result().expect("a call"), ["c", "a", "b"]);
        assert_eq!(dict.values().result().expect("a call"), [0, 7, 2]);
        assert_eq!(dict.get_or_insert("a", &1).result().expect("a call"), 7);
        assert_eq!(dict.get_or_insert("d", &3).result().expect("a call"), 3);
        assert_eq!(dict.remove("c").result().expect("a call"), Some(0));
        assert!(!dict.contains_key("c").result().expect("a call") && dict.contains_key("d").result().expect("a call"));
        dict.extend([(&"e".to_owned(), &4)]).result().expect("a call");
        let items = dict.items().result().expect("a call");
        assert_eq!(items.iter().map(|(key, value)| (key.as_str(), *value)).collect::<Vec<_>>(), [("a", 7), ("b", 2), ("d", 3), ("e", 4)]);
        dict.clear().result().expect("a call");
        assert_eq!(dict.len().result().expect("a call"), 0);
        // Keys are compared by their bytes, which a descriptor is not.
        let set = manager.set::<Descriptor>().result().expect("a set");
        let file = Descriptor::new(std::fs::File::open("/dev/null").expect("a file"));
        let error = set.insert(&file).result().expect_err("it is no key");
        assert!(error.to_string().contains("a key cannot hold"), "{error}");
    }

    fn who_takes_an_object_for_another_or_knocks_without_a_word_hurts_nobody() {
        let manager = Manager::new().expect("a manager");
        let account = AccountProxy::open(&manager, 5).result().expect("an object");
        let names = manager.namespace().result().expect("a namespace");
        names.set("it", &account).result().expect("a call");
        let taken_for_another = names.get::<MeetingPoint>("it").result().expect("a call").expect("a proxy");
        let error = taken_for_another.meet(1).result().expect_err("it has no such method");
        assert!(matches!(error.kind(), TaskErrorKind::Protocol { .. }) && error.ran() == Ran::No, "{error}");
        // The table, the object, and its door.
        let (table, object, door) = names.get::<(u64, u64, Descriptor)>("it").result().expect("a call").expect("a proxy");
        let file = Descriptor::new(std::fs::File::open("/dev/null").expect("a file"));
        names.set("no door", &(table, object, file.clone())).result().expect("a call");
        let error = names.get::<AccountProxy>("no door").result().expect_err("no proxy");
        assert!(matches!(error.kind(), TaskErrorKind::Codec { .. }), "{error}");
        names.set("nobody", &(table, object + 1_000, door.clone())).result().expect("a call");
        let nobody = names.get::<AccountProxy>("nobody").result().expect("a call").expect("a proxy");
        assert!(nobody.balance().result().is_err());
        let door = UnixDatagram::from(door.into_fd().expect("a door"));
        for knock in [&b""[..], b"x", &[7; 5_000]] {
            door.send(knock).expect("room");
        }
        drop((door, file));
        assert_eq!(account.balance().result().expect("it is still there"), 5);
        // Who shuts a door for all takes the object along, and nothing else: nobody waits there without rest.
        let victim = AccountProxy::open(&manager, 1).result().expect("an object");
        names.set("victim", &victim).result().expect("a call");
        let (_, _, door) = names.get::<(u64, u64, Descriptor)>("victim").result().expect("a call").expect("a proxy");
        let door = UnixDatagram::from(door.into_fd().expect("a door"));
        door.shutdown(std::net::Shutdown::Write).expect("a socket");
        eventually("the object is gone", SOON, || victim.balance().result().is_err());
        let ticks = || procfs::cpu_ticks(manager.process().pid()).expect("it lives");
        let before = ticks();
        thread::sleep(Duration::from_millis(300));
        assert!(ticks() - before < 10, "of 30, if it never rested");
        assert_eq!(account.balance().result().expect("it is still there"), 5);
    }
}
