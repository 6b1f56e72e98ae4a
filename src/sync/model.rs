//! The protocol of the lock word in a model checker, with deaths: of a process at any step, of one that sleeps, of one
//! that was woken and has not looked yet, of one with several threads.
//!
//! What the model leaves out is the time limit after which sleepers look again: here they sleep until they are woken, so a
//! wake-up that gets lost is a deadlock.

pub(crate) mod kernel;
mod objects;
pub(crate) mod scene;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use shuttle::sync::{Condvar, Mutex, MutexGuard};
use shuttle::thread;

use crate::interleavings::explore;
use crate::sys::keeper::{DIED, OWNER, WAITERS};

use super::word::{self, Word};

/// The word, those who sleep at it in their order, and who is in the lock.
#[derive(Default)]
struct Memory {
    word: AtomicU64,
    sleepers: Mutex<Vec<u32>>,
    woken: Condvar,
    inside: AtomicU32,
    names: AtomicU32,
}

impl Memory {
    fn sleepers(&self) -> MutexGuard<'_, Vec<u32>> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_one(&self) {
        let mut sleepers = self.sleepers();
        if !sleepers.is_empty() {
            sleepers.remove(0);
            self.woken.notify_all();
        }
    }

    /// Those who sleep look whether it was them.
    fn tell_killed(&self) {
        let _sleepers = self.sleepers();
        self.woken.notify_all();
    }

    /// What the kernel does with the words on the list of a keeper.
    fn keeper_ends(&self, owner: u32) {
        let mut seen = self.word.load(SeqCst);
        while seen as u32 & OWNER == owner {
            let died = seen & !u64::from(OWNER | DIED) | u64::from(DIED);
            match self.word.compare_exchange(seen, died, SeqCst, SeqCst) {
                Ok(_) => {
                    if seen as u32 & WAITERS != 0 {
                        self.wake_one();
                    }
                    return;
                }
                Err(now) => seen = now,
            }
        }
    }

    /// What the kernel does with the operation that a thread was in the middle of.
    fn thread_ends(&self) {
        if self.word.load(SeqCst) as u32 & OWNER == 0 {
            self.wake_one();
        }
    }
}

struct Killed;

/// A process. Its threads end at their next step once it is killed, and those that sleep as soon as they can.
struct Process {
    memory: Arc<Memory>,
    owner: u32,
    killed: AtomicBool,
    /// How many threads are there, and how many of them do not sleep.
    left: AtomicU32,
    awake: AtomicU32,
}

/// A thread of a process.
struct Thread<'a> {
    process: &'a Process,
    /// After how many steps it kills its process.
    steps: Cell<u32>,
    in_the_middle: Cell<bool>,
}

impl Thread<'_> {
    fn step(&self) {
        match self.steps.get() {
            0 => self.process.killed.store(true, SeqCst),
            steps => self.steps.set(steps - 1),
        }
        self.die_if_killed();
    }

    fn die_if_killed(&self) {
        if self.process.killed.load(SeqCst) {
            resume_unwind(Box::new(Killed));
        }
    }
}

impl Word for Thread<'_> {
    fn load(&self) -> u64 {
        self.step();
        self.process.memory.word.load(SeqCst)
    }

    fn exchange(&self, seen: u64, new: u64) -> Result<(), u64> {
        self.step();
        self.process.memory.word.compare_exchange(seen, new, SeqCst, SeqCst).map(drop)
    }

    fn sleep(&self, low: u32, _: Instant) {
        self.step();
        let memory = &self.process.memory;
        let name = memory.names.fetch_add(1, SeqCst);
        let mut sleepers = memory.sleepers();
        if memory.word.load(SeqCst) as u32 != low {
            return;
        }
        sleepers.push(name);
        self.process.awake.fetch_sub(1, SeqCst);
        while sleepers.contains(&name) && !self.process.killed.load(SeqCst) {
            sleepers = memory.woken.wait(sleepers).unwrap_or_else(PoisonError::into_inner);
        }
        drop(sleepers);
        // One that is killed is still in line for a while, and may be given a wake-up meanwhile.
        thread::yield_now();
        memory.sleepers().retain(|&other| other != name);
        self.process.awake.fetch_add(1, SeqCst);
        self.die_if_killed();
    }

    fn wake(&self) {
        self.step();
        self.process.memory.wake_one();
    }

    fn during<R>(&self, operation: impl FnOnce() -> R) -> R {
        self.in_the_middle.set(true);
        let done = operation();
        self.in_the_middle.set(false);
        done
    }

    fn is_gone(&self, _: u32) -> bool {
        false
    }
}

impl Process {
    fn new(memory: &Arc<Memory>, owner: u32, threads: u32) -> Arc<Process> {
        let memory = Arc::clone(memory);
        let [left, awake] = [(); 2].map(|()| AtomicU32::new(threads));
        Arc::new(Process { memory, owner, killed: AtomicBool::new(false), left, awake })
    }

    /// Starts a thread that takes and frees the lock a few times, and kills the process after so many steps. Now and then
    /// it wants to be gone from there in the middle of a wait.
    fn start(self: &Arc<Process>, steps: u32, impatient: bool) -> thread::JoinHandle<()> {
        let process = Arc::clone(self);
        thread::spawn(move || {
            let thread =
                Thread { process: &process, steps: Cell::new(steps), in_the_middle: Cell::new(false) };
            let lived = catch_unwind(AssertUnwindSafe(|| {
                for _ in 0..2 {
                    let mut looks = 0;
                    let mut patience = || {
                        looks += 1;
                        (!impatient || looks < 2 && thread_rng().gen_bool(0.5)).then(Instant::now)
                    };
                    if let Ok(suspect) = word::lock(&thread, process.owner, &mut patience) {
                        process.work(&thread, suspect);
                    }
                }
            }));
            // The thread and the keeper end in any order.
            process.awake.fetch_sub(1, SeqCst);
            process.left.fetch_sub(1, SeqCst);
            if let Err(payload) = lived {
                assert!(payload.is::<Killed>(), "a panic of its own");
                if thread.in_the_middle.get() {
                    process.memory.thread_ends();
                }
            }
        })
    }

    fn work(&self, thread: &Thread<'_>, suspect: bool) {
        let inside = &self.memory.inside;
        let before = inside.swap(self.owner, SeqCst);
        assert!(before == 0 || suspect, "{before} is inside and not dead");
        thread.step();
        thread::yield_now();
        thread.step();
        assert_eq!(inside.swap(0, SeqCst), self.owner, "somebody else came in");
        assert_eq!(word::unlock(thread, self.owner, false), Ok(()));
    }

    /// The keeper, and the kernel's news of a kill for those who sleep.
    fn keep(self: &Arc<Process>) -> thread::JoinHandle<()> {
        let process = Arc::clone(self);
        thread::spawn(move || {
            while !process.killed.load(SeqCst) && process.left.load(SeqCst) > 0 {
                thread::yield_now();
            }
            // A thread that kills its process may be its last.
            if !process.killed.load(SeqCst) {
                return;
            }
            process.memory.tell_killed();
            // Who runs is stopped before the keeper has come to its end; who sleeps may take longer.
            while process.awake.load(SeqCst) > 0 {
                thread::yield_now();
            }
            process.memory.keeper_ends(process.owner);
        })
    }
}

/// Never, in the time of a model.
const NEVER: u32 = u32::MAX;

/// Processes with so many threads each, of which those in `killed` die at a step that chance picks. The others must all
/// come to their end.
fn scenario(threads: &[u32], killed: &[usize], impatient: bool) {
    let memory = Arc::new(Memory::default());
    let (mut living, mut dying) = (Vec::new(), Vec::new());
    for (index, &count) in threads.iter().enumerate() {
        let process = Process::new(&memory, index as u32 + 1, count);
        let dies = killed.contains(&index);
        for thread in 0..count {
            let steps = if dies && thread == 0 { thread_rng().gen_range(0..40) } else { NEVER };
            let list = if dies { &mut dying } else { &mut living };
            list.push(process.start(steps, impatient && dies));
        }
        if dies {
            dying.push(process.keep());
        }
    }
    for thread in living {
        thread.join().unwrap();
    }
    for thread in dying {
        thread.join().unwrap();
    }
    let word = memory.word.load(SeqCst);
    assert_eq!(word as u32 & OWNER, 0, "nobody has it any more: {word:#x}");
    assert!(memory.sleepers().is_empty());
}

#[test]
fn one_at_a_time_and_nobody_is_left_asleep() {
    explore(|| scenario(&[1, 2, 1], &[], false));
}

#[test]
fn a_death_at_any_step_leaves_the_lock_to_the_others() {
    explore(|| scenario(&[1, 1, 1], &[0], false));
}

#[test]
fn several_deaths_at_once_leave_the_lock_to_the_one_who_lives() {
    explore(|| scenario(&[1, 1, 1, 1], &[0, 1, 2], false));
}

#[test]
fn the_death_of_a_process_whose_threads_hold_and_wait_leaves_nobody_asleep() {
    explore(|| scenario(&[2, 1, 1], &[0], false));
    explore(|| scenario(&[2, 2, 1], &[0, 1], false));
}

#[test]
fn who_gives_up_takes_no_wake_up_with_him() {
    explore(|| scenario(&[1, 1, 1], &[0], true));
    explore(|| scenario(&[2, 1, 1], &[0], true));
}

#[test]
fn nobody_is_counted_when_nobody_sleeps() {
    explore(|| {
        let memory = Arc::new(Memory::default());
        let process = Process::new(&memory, 1, 3);
        for thread in [(); 3].map(|()| process.start(NEVER, true)) {
            thread.join().unwrap();
        }
        assert_eq!(memory.word.load(SeqCst), 0, "the next one takes it in one step");
    });
}
