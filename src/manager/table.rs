//! The objects that this process keeps for others.
//!
//! Each object has a door, a pair of sockets. Its proxies are descriptors of the one end, wherever they are: in whatever
//! process, in a message on its way, in another object. When the last of them is gone the kernel says so at the other
//! end, and the object is dropped: there is no counting that a killed process could put out of step. Who wants to call
//! a method sends the end of a new connection through the door, and gets a thread that answers.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread;

use rustix::event::epoll;
use rustix::io::Errno;

use super::ROOT;
use super::object::{self, Hosted};
use super::proxy::Proxy;
use super::talk::{Request, Response};
use crate::error::RecvError;
use crate::pipe::Connection;
use crate::sys::fd::above_standard;
use crate::sys::own_pid::own_pid;
use crate::sys::{process, socket};
use crate::task::guarded;
use crate::wire::attach::Handle;
use crate::wire::frame::Kind;
use crate::worker::panic;

pub(super) struct Table {
    /// Tells the tables of all processes apart.
    name: u64,
    owner: u32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    objects: HashMap<u64, Kept>,
    /// Where a thread waits at the doors, while there are any.
    doors: Option<Arc<OwnedFd>>,
}

struct Kept {
    door: Arc<OwnedFd>,
    object: Arc<dyn Hosted>,
    /// Dropped when nobody has a proxy any more, whatever still runs.
    alive: Option<Sender<()>>,
}

/// A number that nobody else draws.
pub(super) fn unique() -> u64 {
    RandomState::new().hash_one(own_pid())
}

/// The table of this process.
fn table() -> io::Result<&'static Table> {
    static TABLE: OnceLock<Table> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let state = State { next: ROOT, ..State::default() };
        Table { name: unique(), owner: own_pid(), state: Mutex::new(state) }
    });
    if table.owner == own_pid() {
        return Ok(table);
    }
    Err(io::Error::other(
        "this process is a copy, made by `fork`, of one that keeps objects: it cannot keep any",
    ))
}

/// Keeps a value for as long as there is a proxy of it.
pub(super) fn host<T: Send + Sync + 'static>(value: T) -> io::Result<Proxy<T>> {
    let table = table()?;
    let (outside, inside) = socket::packet_pair()?;
    let number = table.keep(inside, Arc::new(RwLock::new(value)), None)?;
    Proxy::new(table.name, number, Handle::new(outside))
}

/// Keeps a value behind a door that another process has made. The receiver hears when nobody has a proxy any more.
pub(super) fn adopt<T: Send + Sync + 'static>(inside: OwnedFd, value: T) -> io::Result<Receiver<()>> {
    let (alive, gone) = mpsc::channel();
    table()?.keep(inside, Arc::new(RwLock::new(value)), Some(alive))?;
    Ok(gone)
}

/// Drops all objects. For the end of a process that nobody may call any more.
pub(super) fn clear() {
    if let Ok(table) = table() {
        let objects = std::mem::take(&mut table.state().objects);
        for (_, Kept { object, .. }) in objects {
            discard(object);
        }
    }
}

/// To drop an object is the user's code.
fn discard(object: Arc<dyn Hosted>) {
    let _ = guarded(move || drop(object));
}

impl Table {
    /// Nothing of the user's runs under this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(
        &'static self,
        door: OwnedFd,
        object: Arc<dyn Hosted>,
        alive: Option<Sender<()>>,
    ) -> io::Result<u64> {
        let mut state = self.state();
        let doors = match &state.doors {
            Some(doors) => Arc::clone(doors),
            None => {
                let doors = Arc::new(above_standard(epoll::create(epoll::CreateFlags::CLOEXEC)?)?);
                let attended = Arc::clone(&doors);
                let thread = thread::Builder::new().name("procpool-doors".to_owned());
                thread.spawn(move || self.attend(&attended))?;
                state.doors = Some(Arc::clone(&doors));
                doors
            }
        };
        let number = state.next;
        let door = Arc::new(door);
        // If this fails and there is no other, the thread finds none and ends.
        let wanted = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        let added = epoll::add(&*doors, &*door, epoll::EventData::new_u64(number), wanted);
        if let Err(errno) = added {
            if state.objects.is_empty() {
                state.doors = None;
            }
            return Err(errno.into());
        }
        state.next += 1;
        state.objects.insert(number, Kept { door, object, alive });
        Ok(number)
    }

    /// Opens to those who come, until there is no object any more.
    fn attend(&'static self, doors: &Arc<OwnedFd>) {
        process::block_signals();
        while !self.is_deserted(doors) {
            let mut events =
                [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 64];
            let count = match epoll::wait(&**doors, &mut events[..], None) {
                Ok(count) => count,
                Err(Errno::INTR) => 0,
                // The program has closed what is not its own. The next object has a thread again.
                Err(_) => return drop(self.state().doors.take()),
            };
            for event in &events[..count] {
                let (flags, gone) = (event.flags, epoll::EventFlags::HUP | epoll::EventFlags::RDHUP);
                self.open(doors, event.data.u64(), flags.intersects(gone));
            }
        }
    }

    /// Whether there is no object: then the thread at these doors is no longer there for those who come.
    fn is_deserted(&self, doors: &Arc<OwnedFd>) -> bool {
        let mut state = self.state();
        if state.objects.is_empty() {
            state.doors.take_if(|current| Arc::ptr_eq(current, doors));
        }
        !state.doors.as_ref().is_some_and(|current| Arc::ptr_eq(current, doors))
    }

    /// Somebody is at the door, or nobody will be any more: all proxies are gone, or somebody has shut it for all.
    fn open(&'static self, doors: &OwnedFd, number: u64, gone: bool) {
        let Some(door) = self.state().objects.get(&number).map(|kept| Arc::clone(&kept.door)) else { return };
        if gone {
            // A copy of this process, made by `fork`, may have the door as well: closing it here would not do.
            let _ = epoll::delete(doors, &*door);
            let kept = self.state().objects.remove(&number);
            let object = kept.map(|Kept { object, alive, .. }| {
                drop(alive);
                object
            });
            // How long the user's `Drop` takes, nobody who comes to another door shall notice. Without room for a thread
            // it takes place here.
            let thread = thread::Builder::new().name("procpool-object".to_owned());
            let _ = guarded(move || thread.spawn(move || object.map(discard)).map(drop));
            return;
        }
        let Ok(mut packet) = socket::receive_packet(door.as_fd(), &mut [0], &mut Vec::new()) else { return };
        // Who brings anything else does not keep to the rules, and gets no answer.
        if let (Some(end), true) = (packet.descriptors.pop(), packet.descriptors.is_empty())
            && socket::is_of_packets(end.as_fd())
        {
            let line = Connection::of(Handle::new(end));
            // Without room for a thread the line is closed, and whoever called is told so.
            let thread = thread::Builder::new().name("procpool-object".to_owned());
            let _ = thread.spawn(move || self.answer_all(line));
        }
    }

    /// Answers one process, one call after the other, until it hangs up.
    fn answer_all(&self, mut line: Connection<Response, Request>) {
        process::block_signals();
        panic::serve();
        loop {
            let refused = |kind: Kind, message| Response::Replied(kind.tag(), object::encoded(&message));
            let response = match line.recv() {
                Ok(request) => {
                    let object =
                        self.state().objects.get(&request.object()).map(|kept| Arc::clone(&kept.object));
                    // This process is about to end: to who calls it has.
                    let Some(object) = object else { return };
                    object::answer(object, request)
                }
                Err(RecvError::Decode { message }) => refused(Kind::ArgsRefused, message),
                Err(_) => return,
            };
            if line.send(&response).is_err() {
                return;
            }
        }
    }
}
