//! The thread that starts this program's processes, hears their results and waits for their ends.
//!
//! There is one for all of them, and only while there are any. It starts them itself: to the kernel a child belongs to
//! the thread that made it, and this one is there for as long as its children are. Whoever drops a handle leaves nothing
//! behind, since it is not the handle that waits.

use std::cell::Cell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::error::StartError;
use crate::launch::{Launched, Worker, launch};
use crate::park;
use crate::sys::fd::above_standard;
use crate::sys::own_pid::own_pid;
use crate::sys::process;

use super::child::{ChildProcess, Description};
use super::kept::{Errand, Kept, Ordered};

thread_local! {
    /// This is the keeper.
    static KEEPS: Cell<bool> = const { Cell::new(false) };
}

/// The process that has a keeper, or had one; 0 for none.
static OWNER: AtomicU32 = AtomicU32::new(0);

static STATE: Mutex<State> = Mutex::new(State { orders: VecDeque::new(), calls: None, children: Vec::new() });

struct State {
    orders: VecDeque<Pending>,
    /// How to call the keeper, if it is there.
    calls: Option<Arc<OwnedFd>>,
    /// Those that have not ended.
    children: Vec<ChildProcess>,
}

/// A process to be started.
pub(super) struct Order {
    pub(super) worker: Worker,
    pub(super) errand: Errand,
    pub(super) description: Description,
    /// How long it may take to become ready.
    pub(super) start_timeout: Duration,
}

/// An order, and who waits for it.
type Pending = (Order, Ordered);

/// Nothing of the user's runs under this lock.
fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this is a copy, made by `fork`, of a process that has a keeper: it has none, and the lock may be held for
/// ever.
pub(super) fn is_copy() -> bool {
    ![0, own_pid()].contains(&OWNER.load(Ordering::Relaxed))
}

/// Those that have not ended, in the order of their start.
pub(super) fn children() -> Vec<ChildProcess> {
    if is_copy() { Vec::new() } else { state().children.clone() }
}

/// Starts a process, and returns when it exists.
pub(super) fn start(order: Order) -> Result<ChildProcess, StartError> {
    if is_copy() {
        return Err(StartError::invalid(
            "this process is a copy, made by `fork`, of one that had started processes: it cannot start any",
        ));
    }
    if KEEPS.with(Cell::get) {
        return Err(StartError::invalid(
            "a process cannot be started by what is woken at the end of another: start it on another thread",
        ));
    }
    let (sender, started) = mpsc::sync_channel(1);
    let mut state = state();
    match &state.calls {
        Some(calls) => call(calls),
        None => {
            let failed = |error| StartError::spawn("start the thread that keeps processes", error);
            let calls = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
                .map_err(std::io::Error::from)
                .and_then(above_standard)
                .map(Arc::new)
                .map_err(failed)?;
            OWNER.store(own_pid(), Ordering::Relaxed);
            let keeper = Keeper { calls: Arc::clone(&calls), kept: Vec::new() };
            thread::Builder::new()
                .name("procpool-keeper".to_owned())
                .spawn(move || keeper.run())
                .map_err(failed)?;
            state.calls = Some(calls);
        }
    }
    state.orders.push_back((order, sender));
    drop(state);
    // The keeper answers each order, unless it is gone by its own fault.
    started
        .recv()
        .unwrap_or_else(|gone| Err(StartError::spawn("start a process", std::io::Error::other(gone))))
}

fn call(calls: &OwnedFd) {
    // Full means that it has been called often enough.
    let _ = rustix::io::write(calls, &1_u64.to_ne_bytes());
}

struct Keeper {
    calls: Arc<OwnedFd>,
    kept: Vec<Kept>,
}

impl Keeper {
    fn run(mut self) {
        KEEPS.with(|keeps| keeps.set(true));
        // Whoever waits here for the end of a process waits for ever.
        park::this_thread_completes_tasks();
        // The program's signal handlers run on its own threads.
        process::block_signals();
        loop {
            let mut state = state();
            if state.orders.is_empty() && self.kept.is_empty() {
                // The next order starts another keeper.
                state.calls = None;
                return;
            }
            let orders = std::mem::take(&mut state.orders);
            drop(state);
            for (order, ordered) in orders {
                // Several starts take long together, and what is looked up late may tell nothing any more.
                let now = Instant::now();
                self.kept.iter_mut().for_each(|kept| kept.look_around(now));
                if let Err((error, ordered)) = self.start(order, ordered) {
                    // Whoever has ordered it waits for this.
                    let _ = ordered.send(Err(error));
                }
            }
            self.attend();
        }
    }

    fn start(&mut self, order: Order, ordered: Ordered) -> Result<(), (StartError, Ordered)> {
        let Order { worker, errand, description, start_timeout } = order;
        let Launched { process, socket, board } = match launch(&worker, 0) {
            Ok(launched) => launched,
            Err(error) => return Err((error, ordered)),
        };
        let pidfd = process.ended().try_clone_to_owned();
        let pidfd = match pidfd {
            Ok(pidfd) => pidfd,
            Err(error) => {
                process.kill();
                // It dies of that, and soon.
                let _ = process::wait_for_end(process.ended());
                process.reap();
                return Err((StartError::spawn("watch a process", error), ordered));
            }
        };
        let child = ChildProcess::new(description, process.pid(), pidfd);
        state().children.push(child.clone());
        let launched = Launched { process, socket, board };
        self.kept.push(Kept::new(launched, child, errand, worker.limit, start_timeout, ordered));
        Ok(())
    }

    /// Waits until there is something to do, and does it.
    fn attend(&mut self) {
        let now = Instant::now();
        let until = match self.kept.iter().any(Kept::is_unheard) {
            true => Some(now),
            false => self.kept.iter().filter_map(Kept::due_at).min(),
        };
        let timeout = until.map(|until| {
            let rest = until.saturating_duration_since(now);
            Timespec {
                tv_sec: rest.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: rest.subsec_nanos().into(),
            }
        });
        let calls = self.calls.as_fd();
        let mut fds = vec![PollFd::from_borrowed_fd(calls, PollFlags::IN)];
        for kept in &self.kept {
            fds.push(PollFd::from_borrowed_fd(kept.ended(), PollFlags::IN));
            let (socket, interest): (BorrowedFd<'_>, PollFlags) = kept.socket();
            fds.push(PollFd::from_borrowed_fd(socket, interest));
        }
        // An error here is a want of memory or a signal; the next turn tries again.
        if poll(&mut fds, timeout.as_ref()).is_err() {
            return;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        if ready[0] {
            let _ = rustix::io::read(&self.calls, &mut [0_u8; 8]);
        }
        let now = Instant::now();
        let mut ended = Vec::new();
        for (index, (kept, ready)) in self.kept.iter_mut().zip(ready[1..].chunks(2)).enumerate() {
            kept.attend(now, ready[1]);
            if ready[0] {
                ended.push(index);
            }
        }
        for index in ended.into_iter().rev() {
            let kept = self.kept.remove(index);
            kept.end(|child| state().children.retain(|other| !other.is(child)));
        }
    }
}
