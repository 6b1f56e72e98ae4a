//! A scene of the model: processes, some of which are killed at some moment, and what becomes of them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread::JoinHandle;

use super::kernel::{NEVER, Process, World};

/// So many processes, those in `dying` killed after so many steps.
pub(crate) struct Scene {
    pub(crate) world: Arc<World>,
    pub(crate) processes: Vec<(Arc<Process>, u32)>,
    pub(crate) threads: Vec<JoinHandle<bool>>,
}

impl Scene {
    /// In a process of its own that is not killed.
    pub(crate) fn play(count: usize, dying: &[usize], longest: u32, play: impl FnOnce(&mut Scene)) {
        let world = World::new();
        let process = |index| {
            let steps = if dying.contains(&index) { thread_rng().gen_range(0..longest) } else { NEVER };
            (world.process(), steps)
        };
        let processes = (0..count).map(process).collect();
        let own = world.process();
        own.enter(|| play(&mut Scene { world, processes, threads: Vec::new() }));
    }

    pub(crate) fn start(
        &mut self,
        index: usize,
        over: Option<Arc<AtomicBool>>,
        body: impl FnOnce() + Send + 'static,
    ) {
        let (process, steps) = &self.processes[index];
        self.threads.push(process.start_limited(*steps, over, body));
    }

    /// What this process had open is closed.
    pub(crate) fn closed(&self) {
        self.world.sockets_changed();
    }

    /// All threads have been started.
    pub(crate) fn begun(&mut self) {
        for (process, steps) in &self.processes {
            if *steps != NEVER {
                self.threads.push(process.reap());
            }
        }
    }

    /// All have come to their end, one or the other.
    pub(crate) fn end(&mut self) {
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }

    pub(crate) fn is_there(&self, index: usize) -> bool {
        self.processes[index].0.is_there()
    }

    pub(crate) fn has_died(&self, index: usize) -> bool {
        self.processes[index].0.is_marked()
    }
}
