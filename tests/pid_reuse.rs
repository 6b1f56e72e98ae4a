//! Signals reach our workers and nobody else, also when a worker's number belongs to a stranger by now (F31).

#![allow(unsafe_code, reason = "a process with a number of our choice")]

mod fixtures;
mod support;

use std::io;
use std::path::Path;
use std::pin::pin;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use procpool::{
    ChildProcess as Process, Escalation, ExitCause, OnCancel, ProcessPoolExecutor, Ran, ShutdownOptions,
    TaskFuture, TaskOptions, task,
};
use rustix::process::{Pid, WaitOptions, waitpid};
use support::{Event, Ledger, Signal, eventually, kill, procfs, tagged_pids};

const SOON: Duration = Duration::from_secs(10);
const DETECT: Duration = Duration::from_secs(2);

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

/// Never ends. With `leave` it starts a program first, which stays in the worker's process group.
#[task]
fn park(ledger: &str, leave: bool) {
    if leave {
        drop(Command::new("sleep").arg("600").spawn().expect("sleep"));
    }
    Ledger::record(ledger, 0, Event::Started);
    loop {
        std::thread::park();
    }
}

#[task]
fn wait_until_gone(path: &str) {
    eventually("the file is removed", Duration::from_secs(20), || !Path::new(path).exists());
}

fn as_pid(pid: u32) -> Pid {
    Pid::from_raw(pid.try_into().expect("a number of a process")).expect("not 0")
}

/// Waits for a dead worker in the pool's place.
fn steal(pid: u32) {
    let (_, status) = waitpid(Some(as_pid(pid)), WaitOptions::empty()).expect("ours").expect("it ends");
    assert_eq!(status.terminating_signal(), Some(libc::SIGKILL));
}

/// A process that leads a session and a group of its own, under a number that was a worker's.
struct Stranger(u32);

impl Stranger {
    fn with_number(pid: u32) -> Stranger {
        let number = as_pid(pid).as_raw_nonzero().get();
        // SAFETY: a structure of numbers, of which zero means no special wish.
        let mut wish: libc::clone_args = unsafe { std::mem::zeroed() };
        wish.exit_signal = u64::from(libc::SIGCHLD.unsigned_abs());
        wish.set_tid = (&raw const number).expose_provenance() as u64;
        wish.set_tid_size = 1;
        let words = [c"sleep".as_ptr(), c"600".as_ptr(), std::ptr::null()];
        // SAFETY: without shared memory this is a fork. The child calls only what is safe after one, with strings
        // that were made before.
        let child = unsafe {
            let child = libc::syscall(libc::SYS_clone3, &raw const wish, size_of_val(&wish));
            if child == 0 {
                libc::setsid();
                libc::execvp(words[0], words.as_ptr());
                libc::_exit(1);
            }
            child
        };
        assert_eq!(child, number.into(), "{}", io::Error::last_os_error());
        eventually("it leads its session", SOON, || procfs::process(pid).is_some_and(|it| it.session == pid));
        Stranger(pid)
    }

    /// It lives, and is still ours to wait for.
    #[track_caller]
    fn assert_unharmed(self) {
        let Stranger(pid) = self;
        let ended = waitpid(Some(as_pid(pid)), WaitOptions::NOHANG).expect("nobody else has waited for it");
        assert!(ended.is_none(), "it was killed: {ended:?}");
        kill(pid, Signal::KILL);
        steal(pid);
    }
}

/// A pool of two workers whose own thread can be held up.
struct Scene {
    pool: ProcessPoolExecutor,
    ledger: Ledger,
    gate: Ledger,
    holdup: TaskFuture<()>,
    victim: TaskFuture<()>,
    /// The worker of the victim.
    worker: u32,
}

/// What happens in the pool after its worker was stolen, and before its thread can look at it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Nothing,
    Kill,
    Cancel,
    Terminate,
    Shutdown,
    Drop,
}

impl Scene {
    fn set(options: TaskOptions, leave: bool) -> Scene {
        let pool =
            ProcessPoolExecutor::builder().max_workers(2).task_options(options).build().expect("a pool");
        let (ledger, gate) = (Ledger::create(), Ledger::create());
        let holdup = pool.submit(wait_until_gone, gate.path().as_str());
        let victim = pool.submit(park, (ledger.path().as_str(), leave));
        eventually("both run", SOON, || holdup.running() && ledger.starts(0) == 1);
        let worker = ledger.entries()[0].pid;
        Scene { pool, ledger, gate, holdup, victim, worker }
    }

    /// Kills the worker and does what is wanted, all while the pool's thread is held up by a callback; then lets the
    /// pool find out. Comes back with the error of the task, when the pool has dealt with the death.
    fn worker_dies_unseen(self, then: Then, meanwhile: impl FnOnce(u32)) -> procpool::TaskError {
        let Scene { pool, ledger, gate, holdup, victim, worker } = self;
        let (held, is_held) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        holdup.add_done_callback(move |_| {
            held.send(std::thread::current().name().map(str::to_owned)).expect("the test waits");
            may_go_on.recv_timeout(SOON).expect("the test lets it go on");
        });
        drop(gate);
        assert_eq!(is_held.recv_timeout(SOON).expect("it ends").as_deref(), Some("procpool"));
        kill(worker, Signal::KILL);
        meanwhile(worker);
        let mut pool = Some(pool);
        match then {
            Then::Nothing => {}
            Then::Kill => assert!(victim.kill()),
            Then::Cancel | Then::Terminate => assert!(victim.cancel()),
            Then::Shutdown => {
                pool.as_ref().expect("a pool").shutdown_with(ShutdownOptions::new().wait(false).kill(true));
            }
            Then::Drop => pool = None,
        }
        go_on.send(()).expect("the callback waits");
        holdup.result().expect("it was done");
        let error = victim.result().expect_err("its worker was killed");
        match pool {
            Some(pool) if then != Then::Shutdown => {
                let other = pool.submit(own_pid, ()).result().expect("the pool goes on");
                assert_ne!(other, worker);
                pool.warm_up().wait().expect("two workers again");
                assert!(!pool.worker_pids().contains(&worker), "the pool has let go of it");
                pool.shutdown(true).wait();
            }
            Some(pool) => drop(pool.shutdown(true).wait()),
            None => {}
        }
        drop(ledger);
        error
    }
}

fn a_stranger_is_never_hit(then: Then) {
    let mut options = TaskOptions::new().on_cancel(OnCancel::Kill);
    if then == Then::Terminate {
        options = options.escalation(Escalation::new().terminate(Duration::from_millis(100)));
    }
    let scene = Scene::set(options, false);
    let mut stranger = None;
    let error = scene.worker_dies_unseen(then, |worker| {
        steal(worker);
        stranger = Some(Stranger::with_number(worker));
    });
    assert_eq!(error.ran(), Ran::Maybe, "{error}");
    match then {
        Then::Nothing => {
            assert_eq!(error.exit().map(|exit| exit.cause()), Some(ExitCause::Unknown), "{error}");
        }
        _ => assert!(error.is_cancelled(), "{then:?}: {error}"),
    }
    let pool_is_gone = || procfs::threads(std::process::id()).iter().all(|(_, name)| name != "procpool");
    eventually("the pool's thread has ended", SOON, pool_is_gone);
    let stranger = stranger.expect("it was made");
    eventually("nobody else is left", DETECT, || tagged_pids() == [stranger.0]);
    stranger.assert_unharmed();
}

/// Whether this process may choose the number of a child.
fn may_choose_numbers() -> bool {
    let own = procfs::status_field(std::process::id(), "CapEff").expect("a field");
    let capabilities = u64::from_str_radix(&own, 16).expect("a mask");
    // CAP_SYS_ADMIN and CAP_CHECKPOINT_RESTORE.
    capabilities & (1 << 21 | 1 << 40) != 0
}

/// Whether the kernel signals groups by descriptor.
fn names_groups_by_descriptor() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
    (numbers.next(), numbers.next()) >= (Some(6_u32), Some(9))
}

macro_rules! a_stranger {
    ($($name:ident: $then:expr;)+) => {$(
        #[test]
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            if !may_choose_numbers() {
                return fixtures::skip(path, "this user may not choose the number of a process");
            }
            support::isolate::run(path, Duration::from_secs(60), || a_stranger_is_never_hit($then));
        }
    )+};
}

a_stranger! {
    a_stranger_outlives_the_discovery_of_the_death: Then::Nothing;
    a_stranger_outlives_a_kill_of_the_task: Then::Kill;
    a_stranger_outlives_a_cancellation_that_kills: Then::Cancel;
    a_stranger_outlives_a_request_to_terminate: Then::Terminate;
    a_stranger_outlives_a_shutdown_that_kills: Then::Shutdown;
    a_stranger_outlives_the_drop_of_the_pool: Then::Drop;
}

/// Holds up the thread that is to wake it.
struct Holdup {
    held: Sender<Option<String>>,
    may_go_on: Mutex<Receiver<()>>,
}

impl Wake for Holdup {
    fn wake(self: Arc<Self>) {
        self.held.send(std::thread::current().name().map(str::to_owned)).expect("the test waits");
        let may_go_on = self.may_go_on.lock().expect("nobody panics with it");
        may_go_on.recv_timeout(SOON).expect("the test lets it go on");
    }
}

fn a_stranger_is_never_hit_by_a_handle_of_a_process(send: fn(&Process)) {
    let (ledgers, starts) = ([Ledger::create(), Ledger::create()], |ledger: &Ledger| ledger.starts(0) == 1);
    let start = |ledger: &Ledger| procpool::Process::new(park, (ledger.path().as_str(), false)).start();
    let [first, victim] = [&ledgers[0], &ledgers[1]].map(|ledger| start(ledger).expect("a process"));
    eventually("both run", SOON, || ledgers.iter().all(starts));
    let (held, is_held) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let waker = Waker::from(Arc::new(Holdup { held, may_go_on: Mutex::new(may_go_on) }));
    assert!(pin!(first.joined()).poll(&mut Context::from_waker(&waker)).is_pending());
    first.kill();
    assert_eq!(is_held.recv_timeout(SOON).expect("it ends").as_deref(), Some("procpool-keeper"));
    // The thread that would collect it is held up.
    kill(victim.pid(), Signal::KILL);
    steal(victim.pid());
    let stranger = Stranger::with_number(victim.pid());
    send(&victim);
    go_on.send(()).expect("the waker waits");
    assert_eq!(victim.join(), ExitCause::Unknown);
    send(&victim);
    first.join();
    eventually("nobody else is left", DETECT, || tagged_pids() == [stranger.0]);
    stranger.assert_unharmed();
}

#[test]
fn a_stranger_outlives_every_signal_to_a_process_that_had_its_number() {
    let path = concat!(module_path!(), "::a_stranger_outlives_every_signal_to_a_process_that_had_its_number");
    if !may_choose_numbers() {
        return fixtures::skip(path, "this user may not choose the number of a process");
    }
    support::isolate::run(path, Duration::from_secs(60), || {
        let ways: [fn(&Process); 4] =
            [|_| {}, |process| process.kill(), |process| process.terminate(), |process| process.interrupt()];
        ways.into_iter().for_each(a_stranger_is_never_hit_by_a_handle_of_a_process);
    });
}

#[test]
fn what_a_worker_left_dies_although_its_status_was_stolen() {
    let path = concat!(module_path!(), "::what_a_worker_left_dies_although_its_status_was_stolen");
    if !names_groups_by_descriptor() {
        return fixtures::skip(
            path,
            "before Linux 6.9 the group of a stolen worker cannot be told from another's",
        );
    }
    support::isolate::run(path, Duration::from_secs(60), || {
        let scene = Scene::set(TaskOptions::new(), true);
        let group = procfs::children_of(scene.worker);
        assert_eq!(group.len(), 1);
        scene.worker_dies_unseen(Then::Nothing, steal);
        eventually("it is gone", DETECT, || !procfs::is_alive(group[0]));
    });
}
