//! The pool's one thread: launches, deaths, timers, and what workers say.
//!
//! A death is the process descriptor becoming readable, not the end of the stream: a child of the worker may
//! hold the other end of the socket for ever. Then, in this order: no more receiving, read what had arrived,
//! reap, tell the machine.

use std::io;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use crate::error::{ExitCause, StartError};
use crate::faults::Point;
use crate::launch::{self, Launched, Process};
use crate::park;
use crate::primitive::thread;
use crate::sys::{process, socket, spare};
use crate::transport::{Piece, Wish};
use crate::wire::frame::{Header, Kind};
use crate::worker;

use super::core::Command;
use super::engine::Engine;
use super::lane::Link;
use super::listener::Heard;
use super::machine::{End, Event, Fate, LaneNo};
use super::poller::{Ready, Token, What};
use super::start::Start;
use super::station::{Attended, Station};
use super::surroundings::Surroundings;
use super::vanguard::Vanguard;
use super::watch::{TEMPLATE, Watch};

/// A worker that has closed its channel gets this long to end before it is killed.
const DEAF: Duration = Duration::from_millis(50);

/// One that the kernel is taking down meanwhile gets this long: on a busy machine it is between the end of its channel
/// and its own for a while, and its death is to be told as what it is.
const DYING: Duration = Duration::from_secs(5);

/// What is read from one worker before the others have their turn.
const TURN: Turn = Turn { frames: 1024, bytes: 1 << 20 };

/// All that a worker has said.
const TO_THE_END: Turn = Turn { frames: usize::MAX, bytes: usize::MAX };

/// How often to look at what is in the ring of a worker whose socket is not read any more.
const CUT_OFF: Duration = Duration::from_millis(1);

/// After so many vain attempts to collect something, it calls again.
const FRUITLESS: u32 = 4;

struct Turn {
    frames: usize,
    bytes: usize,
}

/// Starts the thread. It ends by itself with the pool. Waits for the template of its workers, if there is to be one.
pub(crate) fn start(engine: Arc<Engine>) -> Result<(), StartError> {
    let copies = engine.worker.forks.is_some();
    let (told, prepared) = mpsc::sync_channel(1);
    let run = move || {
        park::this_thread_completes_tasks();
        // The program's signal handlers run on its own threads.
        process::block_signals();
        // On this thread, which its copies are children of, and which is there for as long as they are.
        let ready = engine.worker.forks.as_ref().map_or(Ok(()), |forks| forks.prepare(&engine.worker));
        let failed = ready.is_err();
        // Nobody waits for it if there is none.
        let _ = told.send(ready);
        if !failed {
            spare::keep(true);
            let starts_cost = !engine.worker.inline && engine.worker.forks.is_none();
            let vanguard = if starts_cost { Vanguard::default() } else { Vanguard::none() };
            Supervisor {
                stations: Vec::new(),
                watch: Watch::default(),
                vanguard,
                surroundings: Surroundings::default(),
                engine,
            }
            .run();
        }
    };
    let failed = |error| StartError::spawn("start the pool's thread", error);
    thread::Builder::new().name("procpool".to_owned()).spawn(run).map_err(failed)?;
    match copies {
        true => prepared.recv().unwrap_or_else(|gone| Err(failed(io::Error::other(gone)))),
        false => Ok(()),
    }
}

struct Supervisor {
    engine: Arc<Engine>,
    stations: Vec<Station>,
    watch: Watch,
    vanguard: Vanguard,
    surroundings: Surroundings,
}

impl Supervisor {
    fn run(mut self) {
        self.watch.keep(&self.engine);
        let mut heard = Instant::now();
        loop {
            let (commands, wake, terminated) = self.engine.orders();
            let idle = commands.is_empty();
            for command in commands {
                match command {
                    Command::Launch(lane) if self.vanguard.holds_back(lane, Instant::now()) => {}
                    Command::Launch(lane) => self.launch(lane),
                    Command::Terminate(lane) => self.signal(lane, Process::terminate),
                    Command::Kill(lane) => self.signal(lane, Process::kill),
                    Command::Listen(lane) => self.listen(lane, TURN),
                }
            }
            // A worker that does not die keeps this thread, and nothing else.
            if terminated
                && let Some(forks) = &self.engine.worker.forks
                && forks.retire()
            {
                self.engine.template_has_ended();
            }
            if terminated && self.stations.iter().all(|station| station.worker.is_none()) {
                self.engine.outputs.end(&self.engine.poller);
                return;
            }
            let now = Instant::now();
            let behind = self.vanguard.follow(now);
            if !behind.is_empty() {
                behind.into_iter().for_each(|lane| self.launch(lane));
                continue;
            }
            if let Some(wake) = wake.filter(|wake| *wake <= now) {
                // What came in time counts, however late this thread looks: the program may have been stopped.
                if heard < wake {
                    heard = now;
                    self.hear_all(now);
                }
                self.engine.tell([Event::Tick]);
                continue;
            }
            self.kill_the_deaf(now);
            self.look_around(now);
            spare::release();
            if !idle {
                continue;
            }
            let unheard: Vec<_> = self.lanes(|worker| worker.unheard).collect();
            let workers = || self.stations.iter().filter_map(|station| station.worker.as_ref());
            let deaf = workers().filter_map(|worker| worker.deaf).min();
            let collect = workers().filter_map(|worker| worker.collect).min();
            let rest = (!unheard.is_empty()).then_some(now);
            let others = [self.surroundings.until(), self.vanguard.until(), spare::until()];
            let until = [wake, deaf, collect, rest].into_iter().chain(others).flatten().min();
            self.hear(until);
            let now = if collect.is_some() { Instant::now() } else { now };
            let due = self.lanes(|worker| worker.collect.is_some_and(|at| at <= now));
            for lane in unheard.into_iter().chain(due).collect::<Vec<_>>() {
                self.listen(lane, TURN);
            }
        }
    }

    /// Attends to what is ready, or becomes so until then. Says how much that was.
    fn hear(&mut self, until: Option<Instant>) -> usize {
        // An error here would be of our own making; the next turn tries again.
        let ready = self.engine.poller.wait(until).unwrap_or_default();
        let count = ready.len();
        for Ready { token, writable, readable } in ready {
            self.attend(token, writable, readable);
        }
        count
    }

    /// Attends to all that is ready by now. Those who never fall silent have two turns each, not more.
    fn hear_all(&mut self, now: Instant) {
        for lane in self.lanes(|worker| worker.unheard || worker.collect.is_some()).collect::<Vec<_>>() {
            self.listen(lane, TURN);
        }
        let mut most = 2 * (1 + 2 * self.stations.len());
        while most > 0 {
            match self.hear(Some(now)) {
                0 => return,
                count => most = most.saturating_sub(count),
            }
        }
    }

    /// The lanes whose workers are in some state.
    fn lanes(&self, state: impl Fn(&Attended) -> bool) -> impl Iterator<Item = LaneNo> {
        let stations = (0..).map(LaneNo).zip(&self.stations);
        stations.filter(move |(_, station)| station.worker.as_ref().is_some_and(&state)).map(|(lane, _)| lane)
    }

    fn attend(&mut self, token: Token, writable: bool, readable: bool) {
        if token == TEMPLATE {
            return self.watch.ended(&self.engine);
        }
        if token.what == What::Output {
            return self.engine.outputs.drain();
        }
        if token.what == What::Called || self.stations[token.lane.0].life != token.life {
            return;
        }
        if token.what == What::Ended {
            return self.ended(token.lane);
        }
        if let Some(worker) = &self.stations[token.lane.0].worker
            && writable
        {
            worker.link.flush(&self.engine.poller);
        }
        if readable {
            self.listen(token.lane, TURN);
        }
    }

    fn launch(&mut self, lane: LaneNo) {
        // Several starts take long together, and what is looked up late may tell nothing any more.
        self.look_around(Instant::now());
        if self.stations.len() <= lane.0 {
            self.stations.resize_with(lane.0 + 1, Station::default);
        }
        let launched = launch::launch(&self.engine.worker, lane.0).and_then(|launched| {
            self.stations[lane.0].life += 1;
            self.welcome(lane, launched)
        });
        self.watch.keep(&self.engine);
        if let Err(error) = launched {
            self.vanguard.pass();
            self.engine.tell([Event::Down { lane, end: Box::new(End::Unborn(error)), phases: Vec::new() }]);
        }
    }

    fn welcome(&mut self, lane: LaneNo, launched: Launched) -> Result<(), StartError> {
        let Launched { process, socket, board } = launched;
        let station = &mut self.stations[lane.0];
        let token = |what| Token { what, lane, life: station.life };
        let launched = (process.pid(), socket, board);
        let link = Arc::new(Link::new(launched, token(What::Socket), &self.engine.worker));
        let poller = &self.engine.poller;
        let watched = poller
            .add(process.ended(), token(What::Ended))
            .and_then(|()| poller.add(link.socket(), token(What::Socket)));
        if let Err(error) = watched {
            process.kill();
            // It dies of that, and soon.
            let _ = process::wait_for_end(process.ended());
            process.reap();
            return Err(StartError::spawn("watch a worker process", error));
        }
        if let Some(initializer) = &self.engine.initializer {
            let header = Header { task: initializer.task.0, ..Header::new(Kind::Init) };
            link.push(Piece { header, body: initializer.body.clone() });
            link.flush(poller);
        }
        station.worker = Some(Attended {
            process,
            link: Arc::clone(&link),
            unheard: false,
            collect: None,
            fruitless: 0,
            deaf: None,
            dying: None,
            unborn: None,
        });
        self.surroundings.has_started(lane);
        self.engine.attach(lane, link);
        Ok(())
    }

    fn signal(&mut self, lane: LaneNo, send: fn(&Process)) {
        // It may be one that was held back: it exists first.
        self.vanguard.pass();
        let behind = self.vanguard.follow(Instant::now());
        behind.into_iter().for_each(|lane| self.launch(lane));
        if let Some(Station { worker: Some(worker), .. }) = self.stations.get(lane.0) {
            send(&worker.process);
        }
    }

    fn kill_the_deaf(&mut self, now: Instant) {
        for (index, station) in self.stations.iter_mut().enumerate() {
            if let Some(worker) = &mut station.worker
                && worker.deaf.is_some_and(|at| at <= now)
            {
                let dying = worker.dying.is_some_and(|until| now < until);
                // In this order: where nobody has to wait for children, one that has ended is in no list any more.
                let ends = process::is_exiting(worker.process.pid())
                    || matches!(process::ends_by(worker.process.ended(), now), Ok(true));
                worker.deaf = (dying && ends).then(|| now + DEAF);
                if worker.deaf.is_some() {
                    continue;
                }
                let message = "it closed its channel and went on running".to_owned();
                self.engine.tell([Event::Violated { lane: LaneNo(index), message }]);
                worker.process.kill();
            }
        }
    }

    /// Looks up what did not have to be known at the start of workers.
    fn look_around(&mut self, now: Instant) {
        while let Some(lane) = self.surroundings.next(now, &self.engine) {
            if let Some(worker) = &mut self.stations[lane.0].worker {
                worker.process.look_around();
            }
        }
    }

    /// Reads what a worker has sent, at most so much. When that was all, it calls when it has said something again, or
    /// its replies are collected after a while.
    fn listen(&mut self, lane: LaneNo, mut turn: Turn) {
        loop {
            let heard = self.read(lane, &mut turn);
            let Some(worker) = &mut self.stations[lane.0].worker else { return };
            worker.collect = None;
            if heard > 0 {
                worker.fruitless = 0;
            }
            let listener = worker.link.listener();
            let (mute, cut_off) = (listener.mute, listener.cut_off);
            drop(listener);
            if worker.unheard || mute {
                return;
            }
            if cut_off {
                // It cannot call, and does not live long.
                worker.collect = Some(Instant::now() + CUT_OFF);
                return;
            }
            if worker.fruitless < FRUITLESS
                && let Some(after) = self.engine.collect_after(lane)
            {
                worker.fruitless += 1;
                worker.collect = Some(Instant::now() + after);
                return;
            }
            worker.link.bell.wish(Wish::Message);
            if worker.link.listener().is_ring_empty() {
                return;
            }
        }
    }

    /// Reads what a worker has sent, at most so much, and tells the machine. Says how much that was.
    fn read(&mut self, lane: LaneNo, Turn { frames, bytes }: &mut Turn) -> usize {
        let Some(worker) = &mut self.stations[lane.0].worker else { return 0 };
        let link = Arc::clone(&worker.link);
        let mut listener = link.listener();
        let mut events = Vec::new();
        // An error of reading is the end of the channel.
        if self.engine.worker.faults.hit(Point::Receive).is_err() {
            socket::stop_receiving(link.socket());
        }
        worker.unheard = true;
        while *frames > 0 && !listener.mute {
            *frames -= 1;
            match listener.hear(lane, link.socket(), bytes) {
                Heard::Event(event) => events.push(event),
                Heard::Call => {}
                Heard::Start(frame) => match self.engine.judge_start(frame) {
                    Start::Up => {
                        listener.ready = true;
                        self.vanguard.pass();
                        events.push(Event::Up { lane });
                    }
                    // Its death tells the machine.
                    Start::Failed(error) => {
                        worker.unborn = Some(error);
                        worker.process.kill();
                        listener.mute = true;
                    }
                    Start::OutOfTurn(kind) => {
                        if let Heard::Event(event) = listener.out_of_turn(lane, kind) {
                            events.push(event);
                        }
                    }
                },
                Heard::Nothing => {
                    worker.unheard = *bytes == 0;
                    break;
                }
                Heard::End => {
                    let now = Instant::now();
                    (worker.deaf, worker.dying) = (Some(now + DEAF), Some(now + DYING));
                }
            }
        }
        if listener.mute {
            worker.unheard = false;
        }
        if listener.mute || listener.cut_off {
            self.engine.poller.remove(link.socket());
        }
        let heard = events.len();
        if heard > 0 {
            self.engine.tell_from(listener, events);
        }
        heard
    }

    /// The process of a lane has ended.
    fn ended(&mut self, lane: LaneNo) {
        if let Some(worker) = &self.stations[lane.0].worker {
            socket::stop_receiving(worker.link.socket());
        }
        self.listen(lane, TO_THE_END);
        let Some(worker) = self.stations[lane.0].worker.take() else { return };
        self.vanguard.pass();
        self.engine.poller.remove(worker.process.ended());
        let front = self.engine.front(lane);
        let pid = worker.process.pid();
        let _ = self.engine.worker.faults.hit(Point::Reap);
        let exit = worker.process.reap();
        let aborted = matches!(exit.cause, ExitCause::Signal { number: libc::SIGABRT, .. });
        let said = front.filter(|_| aborted).and_then(|seq| worker.link.board.said(seq));
        let last_words = said.map(|text| worker::panic::last_words(&text));
        let end = match worker.unborn {
            Some(error) => End::Unborn(error),
            None => {
                End::Exited(Fate { pid, cause: exit.cause, oom: exit.oom, limit: exit.limit, last_words })
            }
        };
        self.engine.bury(lane, &worker.link, end);
    }
}
