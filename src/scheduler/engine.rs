//! The machine at work: events from any thread, effects performed, nobody called under the lock.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::error::{Phase, Refusal};
use crate::faults::Point;
use crate::launch::Worker;
use crate::primitive::{Mutex, MutexGuard};
use crate::sys::clock;
use crate::sys::own_pid::own_pid;
use crate::transport::{Message, Piece};
use crate::wire::frame::{Header, Kind};
use crate::worker_event::WorkerEvent;

use super::core::{BrainEffect, Command, Core};
use super::gate::Gate;
use super::job::{Initializer, Reply};
use super::lane::Link;
use super::later::Later;
use super::line::Line;
use super::listener::Listener;
use super::loose::Batches;
use super::machine::{Cancel, Close, Counts, Effect, End, Event, LaneNo, Machine, TaskNo, Why};
use super::output::Outputs;
use super::policy::Settings;
use super::poller::Poller;
use super::verdict;

pub(crate) struct Engine {
    core: Mutex<Core>,
    /// Tasks that wait until workers want more.
    pub(super) line: Line,
    pub(crate) poller: Poller,
    pub(crate) worker: Worker,
    pub(crate) initializer: Option<Initializer>,
    pub(super) observer: Option<Observer>,
    pub(crate) outputs: Outputs,
    /// Room for tasks, if `max_pending` bounds them.
    pub(crate) gate: Option<Gate>,
    /// Several calls may be one task: nobody counts the tasks of a worker, and no script of faults does.
    pub(crate) lets_calls_go_together: bool,
    /// The process that made the pool.
    owner: u32,
}

/// Who is told what becomes of workers.
pub(crate) struct Observer(pub(crate) Box<dyn Fn(&WorkerEvent) + Send + Sync>);

impl Engine {
    pub(crate) fn new(
        settings: Settings,
        worker: Worker,
        initializer: Option<Initializer>,
        gate: Option<Gate>,
        observer: Option<Observer>,
        outputs: Outputs,
    ) -> std::io::Result<Engine> {
        let poller = Poller::new()?;
        outputs.watch(&poller)?;
        Ok(Engine {
            poller,
            owner: own_pid(),
            lets_calls_go_together: settings.max_tasks_per_child.is_none() && !worker.faults.is_scripted(),
            core: Mutex::new(Core {
                has_template: worker.forks.is_some(),
                machine: Machine::new(settings, Instant::now()),
                links: Vec::new(),
                batches: Batches::default(),
                commands: Vec::new(),
                armed: None,
                watchers: Vec::new(),
                effects: Vec::new(),
                moment: None,
            }),
            line: Line::default(),
            worker,
            initializer,
            observer,
            outputs,
            gate,
        })
    }

    /// Nothing under this lock calls the user's code, so it is never poisoned half-way.
    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the machine take a step, and performs what it decides.
    pub(super) fn drive<T>(
        &self,
        decide: impl FnOnce(&mut Core, &mut Vec<BrainEffect>, &mut Later) -> T,
    ) -> T {
        let (answer, later) = self.step(decide);
        self.finish(later);
        answer
    }

    /// Lets the machine take a step, and performs what needs its lock.
    fn step<T>(&self, decide: impl FnOnce(&mut Core, &mut Vec<BrainEffect>, &mut Later) -> T) -> (T, Later) {
        let mut later = Later::default();
        let mut core = self.core();
        core.moment = None;
        let mut effects = std::mem::take(&mut core.effects);
        let answer = decide(&mut core, &mut effects, &mut later);
        let mut followed = Vec::new();
        while !effects.is_empty() || self.hand_on(&mut core, &mut effects, &mut later) {
            for effect in effects.drain(..) {
                if let Some(event) = self.perform(&mut core, effect, &mut later) {
                    let now = core.now();
                    core.machine.step(now, event, &mut followed);
                }
            }
            // The one that has memory keeps it for the next step.
            effects.append(&mut followed);
        }
        core.effects = effects;
        let wake = core.machine.wake();
        if let Some(wake) = wake
            && core.armed.is_none_or(|armed| wake < armed)
        {
            core.armed = Some(wake);
            later.call = true;
        }
        drop(core);
        (answer, later)
    }

    /// Performs one effect. Some have an answer that the machine wants at once.
    fn perform(&self, core: &mut Core, effect: BrainEffect, later: &mut Later) -> Option<Event<Reply>> {
        match effect {
            Effect::Launch { lane } => core.order(Command::Launch(lane), later),
            Effect::Kill { lane } => core.order(Command::Kill(lane), later),
            Effect::Send { lane, seq, job, attempt } => {
                if let Some(link) = core.link(lane) {
                    if let Some(chunk) = &job.chunk {
                        link.board.publish_calls(seq, chunk.unwanted().as_ref());
                    }
                    link.board.publish(seq);
                    link.push(Piece { header: job.header(seq, attempt), body: job.into_bytes() });
                    later.flush(link);
                }
            }
            Effect::Listen { lane } => core.order(Command::Listen(lane), later),
            Effect::Terminate { lane } => core.order(Command::Terminate(lane), later),
            Effect::Started { lane, after } => {
                let pid = core.link(lane).map_or(0, |link| link.pid);
                later.events.push(WorkerEvent::Started { index: lane.0, pid, after });
            }
            Effect::Ended { lane, reason, pid, cause } => {
                later.events.push(WorkerEvent::Ended { index: lane.0, pid, reason, cause });
            }
            Effect::StartFailed { lane, error } => {
                later.events.push(WorkerEvent::StartFailed { index: lane.0, error });
            }
            Effect::Retire { lane } => {
                if let Some(link) = core.link(lane) {
                    link.push(Piece { header: Header::new(Kind::Retire), body: Arc::new(Vec::new()) });
                    later.flush(link);
                }
            }
            Effect::Ask { lane, seq } => {
                if core.machine.job_at(lane, seq).is_some_and(|(_, job)| job.chunk.is_some()) {
                    core.divide(lane, seq, later);
                } else if let Some(link) = &core.links[lane.0] {
                    link.ask_to_stop(seq);
                }
            }
            Effect::Divide { lane, seq } => return core.relieve(lane, seq, later),
            Effect::Results { lane, job, reply: Reply { first, body, handles, .. } } => {
                let results = Message { bytes: body, handles };
                match job.chunk.as_ref().map(|chunk| chunk.add(first, results, later)) {
                    Some(Ok(())) => {}
                    _ => return Some(Event::Violated { lane, message: verdict::UNTOLD.to_owned() }),
                }
            }
            Effect::Settle { job, verdict, earlier } => {
                let _ = self.worker.faults.hit(Point::Settle);
                let outcome = verdict::outcome(&job, verdict, earlier, self.worker.limit, later);
                core.settles(&job, &outcome, later);
                later.tell(job.slot.settle(outcome));
                later.jobs.push(job);
            }
            Effect::Revoke { lane, seq, task, why } => {
                let taken = core.link(lane).is_some_and(|link| link.board.revoke(seq));
                // Who ends a pool cancels all calls, and who cancels one call knows which.
                if !taken && matches!(why, Why::Cancel { how: Cancel::Pending | Cancel::Kill }) {
                    core.cancel_what_has_not_begun(lane, seq, later);
                }
                return Some(Event::Revoked { task, why, taken });
            }
            Effect::Inspect { lane, seq, task } => {
                let (phase, since) = core.link(lane).map_or((Phase::Sent, 0), |link| link.phase(seq));
                let started = (since > 0).then(|| clock::moment(since, Instant::now()));
                return Some(Event::Seen { task, phase, started });
            }
            Effect::Roused => later.wakers.append(&mut core.watchers),
            Effect::Terminated => {
                later.wakers.append(&mut core.watchers);
                later.call = true;
            }
        }
        None
    }

    /// Tells the machine what happened, several events in one go.
    pub(crate) fn tell(&self, events: impl IntoIterator<Item = Event<Reply>>) {
        let later = self.note(events);
        self.finish(later);
    }

    /// Tells the machine what a worker said, before anybody else listens to that worker.
    pub(super) fn tell_from(
        &self,
        listener: MutexGuard<'_, Listener>,
        events: impl IntoIterator<Item = Event<Reply>>,
    ) {
        let later = self.note(events);
        drop(listener);
        self.finish(later);
    }

    fn note(&self, events: impl IntoIterator<Item = Event<Reply>>) -> Later {
        let ((), later) = self.step(|core, effects, _| {
            let now = core.now();
            core.machine.step_all(now, events, effects);
        });
        later
    }

    /// After how long to collect the replies of a worker; `None` if it should call.
    pub(super) fn collect_after(&self, lane: LaneNo) -> Option<Duration> {
        let core = self.core();
        core.machine.collect_after(lane, self.has_plenty(&core))
    }

    pub(crate) fn cancel(&self, task: TaskNo, how: Cancel) {
        if self.is_copy() {
            return;
        }
        self.tell([Event::Cancel { task, how }]);
    }

    /// Whether a worker has taken the task up.
    pub(crate) fn is_running(&self, task: TaskNo) -> bool {
        let core = self.core();
        let Some((lane, seq)) = core.machine.worker_of(task) else { return false };
        core.link(lane).is_some_and(|link| link.is_running(seq))
    }

    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.core().machine.refusal()
    }

    /// Whether this process is a copy of the pool's, made by `fork`: it must leave the workers alone, and the
    /// lock, which another thread may have held at that moment.
    pub(crate) fn is_copy(&self) -> bool {
        own_pid() != self.owner
    }

    pub(crate) fn close(&self, close: Close) {
        if self.is_copy() {
            return;
        }
        self.drive(|core, effects, later| {
            later.closed = true;
            self.hand_on_all(core, later);
            let now = core.now();
            core.machine.step(now, Event::Close(close), effects);
        });
    }

    /// Nobody can submit any more. A pool that nobody has shut down ends now; one that was, as it was told.
    pub(crate) fn abandon(&self) {
        if !self.is_copy() && !matches!(self.refusal(), Some(Refusal::PoolClosed)) {
            self.close(Close { cancel_pending: true, kill: true, by: None });
        }
    }

    /// Whether the pool has ended.
    pub(crate) fn is_terminated(&self) -> bool {
        self.core().machine.is_terminated()
    }

    /// Ready when the pool has ended, and nothing is left of it.
    pub(crate) fn poll_terminated(&self, context: &Context<'_>) -> Poll<()> {
        self.poll_core(context, |core| (core.machine.is_terminated() && !core.has_template).then_some(()))
    }

    /// Ready when all workers are up, or when that will never be.
    pub(crate) fn poll_warm(&self, context: &Context<'_>) -> Poll<Result<(), Refusal>> {
        self.poll_core(context, |core| match core.machine.refusal() {
            Some(refusal) => Some(Err(refusal)),
            None => core.machine.all_up().then_some(Ok(())),
        })
    }

    fn poll_core<T>(&self, context: &Context<'_>, ready: impl FnOnce(&Core) -> Option<T>) -> Poll<T> {
        let mut core = self.core();
        if let Some(answer) = ready(&core) {
            return Poll::Ready(answer);
        }
        if !core.watchers.iter().any(|waker| waker.will_wake(context.waker())) {
            core.watchers.push(context.waker().clone());
        }
        Poll::Pending
    }

    pub(crate) fn max_workers(&self) -> usize {
        self.core().machine.max_workers()
    }

    pub(super) fn may_use(&self, processors: usize) {
        self.core().machine.may_use(processors);
    }

    pub(crate) fn pending(&self) -> usize {
        let core = self.core();
        core.pending() + self.line.len()
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        let pids = self.core().links.iter().flatten().map(|link| link.pid).collect::<Vec<_>>();
        // Threads of this program are no processes of the pool's.
        pids.into_iter().filter(|&pid| pid != self.owner).collect()
    }

    /// What a shutdown reports: the counts, and the processes that could not be killed.
    pub(crate) fn report(&self) -> (Counts, Vec<u32>) {
        let core = self.core();
        let leaked = core.machine.leaked().filter_map(|lane| Some(core.link(lane)?.pid));
        (core.batches.counted(core.machine.counts()), leaked.collect())
    }

    // For the supervisor.

    pub(crate) fn attach(&self, lane: LaneNo, link: Arc<Link>) {
        self.core().set_link(lane, Some(link));
    }

    /// The worker of a lane is dead, and all that it had sent has been told. In one step with what the board
    /// says of its tasks, so that nobody gives it another in between.
    pub(crate) fn bury(&self, lane: LaneNo, link: &Link, end: End) {
        self.drive(|core, effects, later| {
            let phases: Vec<_> = core.machine.outstanding(lane).map(|seq| link.phase(seq).0).collect();
            let taken_up =
                core.machine.outstanding(lane).zip(&phases).filter(|(_, phase)| **phase != Phase::Sent);
            for seq in taken_up.map(|(seq, _)| seq).collect::<Vec<_>>() {
                core.rescue(lane, seq, link, later);
            }
            if phases.first() == Some(&Phase::Sent) {
                core.spare_all_but_the_first(lane, later);
            }
            core.set_link(lane, None);
            let now = core.now();
            core.machine.step(now, Event::Down { lane, end: Box::new(end), phases }, effects);
        });
    }

    /// The task that the worker of a lane is at.
    pub(crate) fn front(&self, lane: LaneNo) -> Option<u64> {
        self.core().machine.outstanding(lane).next()
    }

    /// What the supervisor has to do, and when it must look at the clock again.
    pub(crate) fn orders(&self) -> (Vec<Command>, Option<Instant>, bool) {
        let mut core = self.core();
        core.armed = core.machine.wake();
        (std::mem::take(&mut core.commands), core.armed, core.machine.is_terminated())
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("owner", &self.owner).finish_non_exhaustive()
    }
}
