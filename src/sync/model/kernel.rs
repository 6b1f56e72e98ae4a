//! A kernel for the model checker: what `sync/kernel.rs` names, and processes that are killed before any of their steps.
//!
//! A step is each look at a shared word, each change of one, and each call of the kernel. Who is killed does nothing more:
//! what his destructors do while his stack is left has no effect. What he owns is marked after all his threads have
//! stopped, word by word, in an order that chance picks.
//!
//! It leaves out time. Whoever sleeps does so until he is woken, so a wake-up that gets lost is a deadlock; the end of a
//! time limit is a flag that another thread sets.

mod files;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool as Flag, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use shuttle::thread;

use crate::sys::keeper::{DIED, OWNER, WAITERS};
use crate::wire::attach::Handle;
use keeper::KeptMap;

pub(crate) use files::{ready, socket, spill};

/// Never, in the time of a model.
pub(crate) const NEVER: u32 = u32::MAX;

struct Killed;

/// A place in the line of those who sleep at a word. Who sleeps at several has one in each.
struct Place {
    name: u32,
    at: usize,
    thread: thread::Thread,
}

/// What all processes have in common.
pub(crate) struct World {
    /// Looked at where others may go on.
    point: AtomicBool,
    names: AtomicU32,
    line: Mutex<Vec<Place>>,
    /// Changes with all that happens to a socket.
    sockets: SharedWord,
}

pub(crate) struct Process {
    world: Arc<World>,
    owner: u32,
    killed: AtomicBool,
    /// Its words are marked, or are about to be. Nobody else goes on while that is looked at.
    reaped: Flag,
    /// It was the owner of one of them.
    marked: Flag,
    /// How many threads are there, and how many of them do not sleep.
    left: AtomicU32,
    awake: AtomicU32,
    /// The words that the kernel marks at its death.
    kept: Mutex<Vec<(Arc<KeptMap>, usize)>>,
    /// Duplicates of what it has open, which keep that open until all that it does has come to its end.
    open: Mutex<Vec<Handle>>,
}

/// A thread of a process.
struct Thread {
    process: Arc<Process>,
    /// After how many steps it kills its process.
    steps: Cell<u32>,
    /// It has been stopped, and what its destructors do has no effect.
    stopped: Cell<bool>,
    /// Its time limit has come.
    over: Option<Arc<Flag>>,
}

shuttle::thread_local! {
    static CURRENT: RefCell<Option<Rc<Thread>>> = RefCell::new(None);
}

fn current() -> Rc<Thread> {
    CURRENT.with(|current| current.borrow().clone()).expect("a thread of a process of the model")
}

/// Whether what follows has an effect. Others may go on before it, and the process may end.
fn step() -> bool {
    // Whoever fails leaves the model as it is, and no other may run while a stack is left.
    if std::thread::panicking() {
        return false;
    }
    let thread = current();
    thread.process.world.point.load(SeqCst);
    match thread.steps.get() {
        NEVER => {}
        0 => thread.process.kill(),
        steps => thread.steps.set(steps - 1),
    }
    thread.stop_if_killed();
    true
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new() -> Arc<World> {
        let (point, names) = (AtomicBool::new(false), AtomicU32::new(1));
        Arc::new(World { point, names, line: Mutex::default(), sockets: SharedWord(AtomicU64::new(0)) })
    }

    fn name(&self) -> u32 {
        self.names.fetch_add(1, SeqCst)
    }

    pub(crate) fn process(self: &Arc<World>) -> Arc<Process> {
        Arc::new(Process {
            world: Arc::clone(self),
            owner: self.name(),
            killed: AtomicBool::new(false),
            reaped: Flag::new(false),
            marked: Flag::new(false),
            left: AtomicU32::new(0),
            awake: AtomicU32::new(0),
            kept: Mutex::default(),
            open: Mutex::default(),
        })
    }

    /// How many sleep.
    pub(crate) fn asleep(&self) -> usize {
        lock(&self.line).iter().map(|place| place.name).collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Those who sleep look for themselves.
    fn rouse(&self) {
        self.point.load(SeqCst);
        let threads: Vec<_> = lock(&self.line).iter().map(|place| place.thread.clone()).collect();
        threads.iter().for_each(thread::Thread::unpark);
    }

    /// Wakes so many in the line of a word.
    fn wake(&self, word: &SharedWord, count: u32) -> usize {
        let mut woken = Vec::new();
        lock(&self.line).retain(|place| {
            let is_woken = place.at == word.address() && woken.len() < count as usize;
            if is_woken {
                woken.push(place.thread.clone());
            }
            !is_woken
        });
        woken.iter().for_each(thread::Thread::unpark);
        woken.len()
    }

    pub(super) fn sockets_changed(&self) {
        self.sockets.0.fetch_add(1, SeqCst);
        self.wake(&self.sockets, u32::MAX);
    }

    /// A process has died: if it owns the word, that is marked, and one who sleeps at it woken.
    fn mark(&self, word: &SharedWord, owner: u32) -> bool {
        self.point.load(SeqCst);
        let seen = word.0.load(SeqCst);
        let is_owned = seen as u32 & OWNER == owner;
        if is_owned {
            word.0.store(seen & !u64::from(OWNER | DIED) | u64::from(DIED), SeqCst);
            if seen as u32 & WAITERS != 0 {
                self.point.load(SeqCst);
                self.wake(word, 1);
            }
        }
        is_owned
    }
}

impl Process {
    /// Runs `body` on this thread as if it were one of the process, which is not killed meanwhile.
    pub(crate) fn enter<R>(self: &Arc<Process>, body: impl FnOnce() -> R) -> R {
        self.run(NEVER, None, body)
    }

    fn run<R>(self: &Arc<Process>, steps: u32, over: Option<Arc<Flag>>, body: impl FnOnce() -> R) -> R {
        let thread =
            Thread { process: Arc::clone(self), steps: Cell::new(steps), stopped: Cell::new(false), over };
        let before = CURRENT.with(|current| current.replace(Some(Rc::new(thread))));
        let done = body();
        CURRENT.with(|current| current.replace(before));
        done
    }

    /// Starts a thread of this process, which kills the process after so many steps. Tells whether it has come to its end.
    pub(crate) fn start(
        self: &Arc<Process>,
        steps: u32,
        body: impl FnOnce() + Send + 'static,
    ) -> thread::JoinHandle<bool> {
        self.start_limited(steps, None, body)
    }

    /// The same, with a time limit for what it waits for.
    pub(crate) fn start_limited(
        self: &Arc<Process>,
        steps: u32,
        over: Option<Arc<Flag>>,
        body: impl FnOnce() + Send + 'static,
    ) -> thread::JoinHandle<bool> {
        let process = Arc::clone(self);
        process.left.fetch_add(1, SeqCst);
        process.awake.fetch_add(1, SeqCst);
        thread::spawn(move || {
            let lived = process.clone().run(steps, over, || {
                let lived = catch_unwind(AssertUnwindSafe(body));
                if lived.is_ok() {
                    process.awake.fetch_sub(1, SeqCst);
                } else {
                    current().stops_here();
                }
                lived
            });
            process.left.fetch_sub(1, SeqCst);
            match lived {
                Ok(()) => true,
                Err(payload) if payload.is::<Killed>() => {
                    // What was on its stack is closed only now, and may be the last of a socket.
                    process.world.sockets_changed();
                    false
                }
                Err(payload) => resume_unwind(payload),
            }
        })
    }

    /// Has this open until it closes it or has ended.
    pub(crate) fn opens(&self, handles: &[Handle]) {
        lock(&self.open).extend_from_slice(handles);
    }

    /// Closes what it has open, but for what is still in use.
    pub(crate) fn closes(&self) {
        lock(&self.open).clear();
        self.world.sockets_changed();
    }

    pub(crate) fn kill(&self) {
        self.killed.store(true, SeqCst);
        self.world.rouse();
    }

    /// Whether a thread of it has still to come to its end.
    pub(crate) fn is_there(&self) -> bool {
        self.left.load(SeqCst) > 0
    }

    /// Whether it has died while it had an object open.
    pub(crate) fn is_marked(&self) -> bool {
        self.marked.load(SeqCst)
    }

    pub(crate) fn is_reaped(&self) -> bool {
        self.reaped.load(SeqCst)
    }

    /// What the kernel does when the process ends, once its threads have been started.
    pub(crate) fn reap(self: &Arc<Process>) -> thread::JoinHandle<bool> {
        let process = Arc::clone(self);
        thread::spawn(move || {
            while !process.killed.load(SeqCst) && process.left.load(SeqCst) > 0 {
                thread::yield_now();
            }
            // A thread that kills its process may be its last.
            if !process.killed.load(SeqCst) {
                return true;
            }
            // Who runs is stopped before the words are marked; who sleeps may take longer.
            while process.awake.load(SeqCst) > 0 {
                thread::yield_now();
            }
            process.reaped.store(true, SeqCst);
            let mut kept = std::mem::take(&mut *lock(&process.kept));
            let mut closed_after = thread_rng().gen_range(0..=kept.len());
            while !kept.is_empty() {
                if closed_after == 0 {
                    process.closes();
                }
                closed_after = closed_after.wrapping_sub(1);
                let (map, at) = kept.swap_remove(thread_rng().gen_range(0..kept.len()));
                if process.world.mark(map.peek(at), process.owner) {
                    process.marked.store(true, SeqCst);
                }
            }
            process.closes();
            false
        })
    }
}

impl Thread {
    fn stop_if_killed(&self) {
        if self.process.killed.load(SeqCst) {
            resume_unwind(Box::new(Killed));
        }
    }

    /// Its stack has been left as far as something of the kernel has to be done, and it runs no more.
    fn stops_here(&self) {
        if !self.stopped.replace(true) {
            self.process.awake.fetch_sub(1, SeqCst);
        }
    }

    /// Sleeps while the lower halves of these words are the numbers beside them.
    fn sleep(&self, words: &[(&SharedWord, u32)]) {
        let (process, world) = (&*self.process, &*self.process.world);
        let name = world.name();
        let places = |line: &[Place]| line.iter().filter(|place| place.name == name).count();
        let mut is_so = true;
        for &(word, seen) in words {
            world.point.load(SeqCst);
            is_so = word.0.load(SeqCst) as u32 == seen;
            if !is_so {
                break;
            }
            lock(&world.line).push(Place { name, at: word.address(), thread: thread::current() });
        }
        process.awake.fetch_sub(1, SeqCst);
        let is_over = || self.over.as_ref().is_some_and(|over| over.load(SeqCst));
        while is_so && places(&lock(&world.line)) == words.len() && !process.killed.load(SeqCst) && !is_over()
        {
            thread::park();
        }
        // Whoever was woken, or is killed, still is in the other lines for a while, and may be given a wake-up there.
        thread::yield_now();
        lock(&world.line).retain(|place| place.name != name);
        process.awake.fetch_add(1, SeqCst);
        self.stop_if_killed();
    }
}

/// Ends the time limit of those who were started with it.
pub(crate) fn ends(world: &World, over: &Flag) {
    over.store(true, SeqCst);
    world.rouse();
}

/// A word in memory that processes share.
#[derive(Debug)]
pub(crate) struct SharedWord(AtomicU64);

type Order = std::sync::atomic::Ordering;

impl SharedWord {
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Puts what `change` says in the place of what is there, if it says something.
    fn change(&self, change: impl FnOnce(u64) -> Option<u64>) -> Result<u64, u64> {
        let has_effect = step();
        let seen = self.0.load(SeqCst);
        let new = change(seen).ok_or(seen)?;
        if has_effect {
            self.0.store(new, SeqCst);
        }
        Ok(seen)
    }

    fn always(&self, change: impl FnOnce(u64) -> u64) -> u64 {
        self.change(|seen| Some(change(seen))).unwrap_or_else(|seen| seen)
    }

    pub(crate) fn load(&self, _: Order) -> u64 {
        step();
        self.0.load(SeqCst)
    }

    pub(crate) fn store(&self, new: u64, _: Order) {
        self.always(|_| new);
    }

    pub(crate) fn compare_exchange(&self, old: u64, new: u64, _: Order, _: Order) -> Result<u64, u64> {
        // Who is dead is told that it is done, so that his destructors come to an end.
        self.change(|seen| (seen == old || std::thread::panicking()).then_some(new))
    }

    pub(crate) fn fetch_add(&self, more: u64, _: Order) -> u64 {
        self.always(|seen| seen.wrapping_add(more))
    }

    pub(crate) fn fetch_sub(&self, less: u64, _: Order) -> u64 {
        self.always(|seen| seen.wrapping_sub(less))
    }

    pub(crate) fn fetch_and(&self, bits: u64, _: Order) -> u64 {
        self.always(|seen| seen & bits)
    }

    pub(crate) fn fetch_max(&self, other: u64, _: Order) -> u64 {
        self.always(|seen| seen.max(other))
    }

    pub(crate) fn fetch_update(
        &self,
        _: Order,
        _: Order,
        change: impl FnMut(u64) -> Option<u64>,
    ) -> Result<u64, u64> {
        self.change(change)
    }
}

pub(crate) mod futex {
    use std::time::Instant;

    use super::{SharedWord, current, step};

    pub(crate) use crate::sys::futex::ANY_MAX;

    pub(crate) fn wait_until(word: &SharedWord, seen: u32, _: Option<Instant>) {
        if step() {
            current().sleep(&[(word, seen)]);
        }
    }

    pub(crate) fn wake(word: &SharedWord, count: u32) -> usize {
        if step() { current().process.world.wake(word, count) } else { 0 }
    }

    pub(crate) fn wake_one(word: &SharedWord) {
        wake(word, 1);
    }

    pub(crate) fn wake_all(word: &SharedWord) {
        wake(word, u32::MAX);
    }

    pub(crate) fn set_and_wake_all(word: &SharedWord) {
        // One step: who is killed has done both or neither.
        word.always(|seen| seen | 1);
        if !std::thread::panicking() {
            current().process.world.wake(word, u32::MAX);
        }
    }
}

pub(crate) mod cover {
    use super::{AssertUnwindSafe, Killed, OWNER, SeqCst, SharedWord, catch_unwind, current, resume_unwind};

    pub(crate) fn during<R>(word: &SharedWord, operation: impl FnOnce() -> R) -> R {
        let payload = match catch_unwind(AssertUnwindSafe(operation)) {
            Ok(done) => return done,
            Err(payload) => payload,
        };
        if payload.is::<Killed>() {
            let thread = current();
            thread.stops_here();
            thread.process.world.point.load(SeqCst);
            if word.0.load(SeqCst) as u32 & OWNER == 0 {
                thread.process.world.wake(word, 1);
            }
        }
        resume_unwind(payload)
    }
}

pub(crate) mod keeper {
    use std::io;
    use std::ops::Deref;
    use std::os::fd::{BorrowedFd, OwnedFd};
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::time::Instant;

    use super::{Process, SharedWord, current, lock, step};
    use crate::sys::keeper as real;

    pub(crate) use real::{DIED, OWNER, WAITERS, in_a_killed_copy};

    /// The memory that there would be, and words in the place of its words.
    #[derive(Debug)]
    pub(crate) struct KeptMap {
        real: real::KeptMap,
        words: Vec<SharedWord>,
    }

    impl KeptMap {
        pub(crate) fn create(len: usize) -> io::Result<(KeptMap, OwnedFd)> {
            let (real, fd) = real::KeptMap::create(len)?;
            Ok((KeptMap::of(real), fd))
        }

        /// Of no use in the model, where `Page::in_another_process` stands for it.
        pub(crate) fn open(fd: BorrowedFd<'_>) -> io::Result<KeptMap> {
            real::KeptMap::open(fd).map(KeptMap::of)
        }

        fn of(real: real::KeptMap) -> KeptMap {
            let words = (0..real.len() / 8).map(|_| SharedWord(AtomicU64::new(0))).collect();
            KeptMap { real, words }
        }

        pub(crate) fn word(&self, offset: usize) -> &SharedWord {
            self.peek(offset)
        }

        pub(super) fn peek(&self, offset: usize) -> &SharedWord {
            &self.words[offset / 8]
        }

        pub(crate) fn keep(self: &Arc<Self>, offset: usize) -> io::Result<Kept> {
            step();
            let process = Arc::clone(&current().process);
            lock(&process.kept).push((Arc::clone(self), offset));
            Ok(Kept { process, map: Arc::clone(self), offset })
        }
    }

    impl Deref for KeptMap {
        type Target = real::KeptMap;

        fn deref(&self) -> &real::KeptMap {
            &self.real
        }
    }

    pub(crate) struct Kept {
        process: Arc<Process>,
        map: Arc<KeptMap>,
        offset: usize,
    }

    impl Kept {
        pub(crate) fn owner(&self) -> u32 {
            self.process.owner
        }
    }

    impl Drop for Kept {
        fn drop(&mut self) {
            if step() {
                let same = |(map, offset): &(Arc<KeptMap>, usize)| {
                    Arc::ptr_eq(map, &self.map) && *offset == self.offset
                };
                lock(&self.process.kept).retain(|kept| !same(kept));
            }
        }
    }

    pub(crate) fn low_half(word: &SharedWord) -> &SharedWord {
        word
    }

    pub(crate) fn is_gone(_: u32) -> bool {
        false
    }

    pub(crate) fn number_space() -> u64 {
        0
    }

    pub(crate) fn wait_for_any(words: &[(&SharedWord, u32)], _: Instant) -> bool {
        if step() {
            current().sleep(words);
        }
        true
    }
}
