//! The rules of the scheduler, one transcript each.
//!
//! A line is an event; the lines that begin with `<` are the effects it must have, in their order and no others.
//! `at 5ms` lets time pass, and ticks if the machine asked for that. A `revoke` or an `inspect` is answered by
//! the next events, as in life: `taken 2`, `kept 2`, `seen 1 running since 0ms`.

use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{ExitCause, HandshakeError, Phase, Ran, Refusal, StartError, TaskErrorKind};
use crate::scheduler::policy::{Retry, Settings, Terms};

use super::{Cancel, Close, Effect, End, Ended, Event, Fate, LaneNo, Machine, Spec, TaskNo, Verdict, Why};

mod chunks;
mod close;
mod crash;
mod deadlines;
mod dispatch;
mod flock;
mod retry;
mod start;
mod stop;
mod takeback;

type Task = u32;

/// The settings of most transcripts.
fn workers(max_workers: usize) -> Settings {
    Settings {
        max_workers,
        processors: 1,
        min_workers: 0,
        idle_timeout: None,
        max_worker_age: None,
        max_tasks_per_child: None,
        start_timeout: Duration::from_secs(10),
        stop_timeout: Duration::from_secs(5),
    }
}

fn workers_with_quota(max_workers: usize, quota: u64) -> Settings {
    Settings { max_tasks_per_child: Some(quota), ..workers(max_workers) }
}

/// Plays a transcript.
#[track_caller]
fn check(settings: Settings, transcript: &str) {
    let mut play = Play::new(settings);
    let lines: Vec<&str> = transcript.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut rest = lines.as_slice();
    let mut before = String::new();
    while let Some((line, after)) = rest.split_first() {
        let required = after.iter().take_while(|line| line.starts_with('<')).count();
        play.event(line);
        let effects: Vec<String> = play.effects.drain(..).collect();
        let wanted: Vec<&str> = after[..required].iter().map(|line| line[1..].trim()).collect();
        assert!(effects == wanted, "{before}{line}\n  wanted: {wanted:#?}\n  had: {effects:#?}");
        for line in &lines[lines.len() - rest.len()..][..=required] {
            let _ = writeln!(before, "{line}");
        }
        rest = &after[required..];
    }
}

struct Play {
    machine: Machine<Task, ()>,
    start: Instant,
    now: Instant,
    numbers: HashMap<Task, TaskNo>,
    /// By lane and task, the last number under which it was sent.
    seqs: HashMap<(usize, Task), u64>,
    /// The reasons that wait for an answer.
    asked: HashMap<Task, VecDeque<Why>>,
    effects: Vec<String>,
    /// Ends of workers are among the effects.
    watches: bool,
}

/// The words of a line, taken one by one.
struct Words<'a>(std::str::SplitWhitespace<'a>);

impl<'a> Words<'a> {
    fn word(&mut self) -> &'a str {
        self.0.next().unwrap_or_default()
    }

    fn number(&mut self) -> usize {
        let word = self.word();
        word.parse().unwrap_or_else(|_| panic!("a number, not `{word}`"))
    }

    fn task(&mut self) -> Task {
        self.number() as Task
    }

    fn lane(&mut self) -> LaneNo {
        LaneNo(self.number())
    }

    fn time(&mut self) -> Duration {
        let word = self.word();
        let at = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
        let count = word[..at].parse().unwrap_or_else(|_| panic!("a time, not `{word}`"));
        match &word[at..] {
            "us" => Duration::from_micros(count),
            "ms" => Duration::from_millis(count),
            "s" => Duration::from_secs(count),
            unit => panic!("a unit of time, not `{unit}`"),
        }
    }
}

impl Play {
    fn new(settings: Settings) -> Play {
        let start = Instant::now();
        Play {
            machine: Machine::new(settings, start),
            start,
            now: start,
            numbers: HashMap::new(),
            seqs: HashMap::new(),
            asked: HashMap::new(),
            effects: Vec::new(),
            watches: false,
        }
    }

    fn event(&mut self, line: &str) {
        let mut words = Words(line.split_whitespace());
        let event = match words.word() {
            "submit" => return self.submit(words),
            "at" => {
                self.now = self.start + words.time();
                if self.machine.wake().is_none_or(|wake| wake > self.now) {
                    return;
                }
                Event::Tick
            }
            "wakes" => return self.wakes(words.word()),
            "counts" => return self.counts(line),
            "terminated" => return assert!(self.machine.is_terminated(), "terminated"),
            "warm" => return assert_eq!(self.machine.all_up(), words.word() == "yes", "all up"),
            "up" => Event::Up { lane: words.lane() },
            outcome @ ("done" | "fails" | "panics") => {
                let (lane, task) = (words.lane(), words.task());
                let seq = self.seqs[&(lane.0, task)];
                let ran_for = if words.word() == "in" { words.time() } else { Duration::from_millis(1) };
                let ended = match outcome {
                    "fails" => Ended::Failed,
                    "panics" => Ended::Panicked,
                    _ => Ended::Final,
                };
                Event::Replied { lane, seq, reply: (), ended, ran_for }
            }
            "replies" => {
                let (lane, seq) = (words.lane(), words.number() as u64);
                Event::Replied { lane, seq, reply: (), ended: Ended::Final, ran_for: Duration::ZERO }
            }
            "tells" => {
                let (lane, task) = (words.lane(), words.task());
                Event::PartlyReplied { lane, seq: self.seqs[&(lane.0, task)], reply: () }
            }
            "unbegun" => {
                let (lane, task) = (words.lane(), words.task());
                Event::NotBegun { lane, seq: self.seqs[&(lane.0, task)] }
            }
            "split" => {
                let (of, task) = (self.numbers[&words.task()], words.task());
                let spec = Spec { divisible: true, ..Spec::default() };
                let no = self.machine.split_off(of, task, spec);
                self.numbers.insert(task, no);
                Event::Tick
            }
            "skip" => {
                let (lane, task) = (words.lane(), words.task());
                Event::Skipped { lane, seq: self.seqs[&(lane.0, task)] }
            }
            "stray" => Event::Strayed { lane: words.lane(), message: "nonsense".to_owned() },
            "violate" => Event::Violated { lane: words.lane(), message: "nonsense".to_owned() },
            "down" => {
                let lane = words.lane();
                let phases: Vec<Phase> = words.0.map(phase).collect();
                let cause = ExitCause::Signal { number: 11, core_dumped: false };
                let end = End::Exited(Fate { pid: 1, cause, oom: None, limit: None, last_words: None });
                Event::Down { lane, end: Box::new(end), phases }
            }
            "unborn" => {
                let (lane, message) = (words.lane(), words.word().to_owned());
                let end = End::Unborn(StartError::Initializer { message });
                Event::Down { lane, end: Box::new(end), phases: Vec::new() }
            }
            "cancel" => Event::Cancel { task: self.numbers[&words.task()], how: Cancel::Mild },
            "stop" => Event::Cancel { task: self.numbers[&words.task()], how: Cancel::Stop },
            "kill" => Event::Cancel { task: self.numbers[&words.task()], how: Cancel::Kill },
            "kill-call" => Event::Cancel { task: self.numbers[&words.task()], how: Cancel::OneCall },
            "swollen" => Event::Swollen { lane: words.lane() },
            "resize" => Event::Resize { max_workers: words.number() },
            "tick" => Event::Tick,
            "watch" => return self.watches = true,
            answer @ ("taken" | "kept") => {
                let task = words.task();
                let why = self.asked.get_mut(&task).and_then(VecDeque::pop_front);
                let why = why.expect("an answer belongs to a question");
                Event::Revoked { task: self.numbers[&task], why, taken: answer == "taken" }
            }
            "seen" => {
                let (task, phase) = (self.numbers[&words.task()], phase(words.word()));
                let started = (words.word() == "since").then(|| self.start + words.time());
                Event::Seen { task, phase, started }
            }
            "warm-up" => Event::WarmUp,
            "close" => {
                let mut close = Close::default();
                loop {
                    match words.word() {
                        "cancel" => close.cancel_pending = true,
                        "kill" => close.kill = true,
                        "by" => close.by = Some(self.start + words.time()),
                        "" => break,
                        word => panic!("a way to close, not `{word}`"),
                    }
                }
                Event::Close(close)
            }
            word => panic!("an event, not `{word}`"),
        };
        let mut effects = Vec::new();
        self.machine.step(self.now, event, &mut effects);
        self.note(effects);
    }

    /// `submit 1 2 3 timeout 5ms bytes 100`: several tasks are a bundle.
    fn submit(&mut self, words: Words<'_>) {
        let mut words = Words(words.0);
        let mut tasks: Vec<Task> = Vec::new();
        let mut spec = Spec::default();
        let mut terms = Terms::default();
        loop {
            match words.word() {
                "" => break,
                "timeout" => spec.timeout = Some(words.time()),
                "bytes" => spec.bytes = words.number(),
                "cooperates" => spec.cooperates = true,
                "calls" => spec.divisible = true,
                "quick" => spec.quick = true,
                "within" => terms.queue_timeout = Some(words.time()),
                "deadline" => terms.deadline = Some(self.start + words.time()),
                "ask" => terms.stop.ask = Some(words.time()),
                "terminate" => terms.stop.terminate = Some(words.time()),
                "retries" => terms.retry = Some(retry(words.number())),
                task => tasks.push(task.parse().expect("a task")),
            }
        }
        spec.terms = Some(Arc::new(terms));
        if tasks.len() > 1 {
            spec.bundle = self.machine.bundle();
        }
        for task in tasks {
            match self.machine.submit(self.now, task, spec.clone()) {
                Ok(number) => _ = self.numbers.insert(task, number),
                Err(Refusal::PoolClosed) => self.effects.push(format!("refuse {task} closed")),
                Err(refusal) => self.effects.push(format!("refuse {task} {refusal}")),
            }
        }
        let mut effects = Vec::new();
        self.machine.dispatch(self.now, &mut effects);
        self.note(effects);
    }

    fn wakes(&self, when: &str) {
        let wake = self.machine.wake().map(|wake| wake - self.start);
        let wanted = (when != "never").then(|| Words(when.split_whitespace()).time());
        assert_eq!(wake, wanted, "the time of the next tick");
    }

    fn counts(&self, line: &str) {
        let counts = self.machine.counts();
        let pending = self.machine.pending();
        let leaked = self.machine.leaked().count();
        let told = format!(
            "counts cancelled {} killed {} pending {pending} leaked {leaked}",
            counts.cancelled, counts.killed
        );
        assert_eq!(told, line);
    }

    fn note(&mut self, effects: Vec<Effect<Task, ()>>) {
        for effect in effects {
            let named = |no: TaskNo| *self.numbers.iter().find(|(_, known)| **known == no).expect("known").0;
            let text = match effect {
                Effect::Launch { lane } => format!("launch {}", lane.0),
                Effect::Send { lane, seq, job, attempt } => {
                    self.seqs.insert((lane.0, job), seq);
                    match attempt {
                        1 => format!("send {} {job}", lane.0),
                        _ => format!("send {} {job} attempt {attempt}", lane.0),
                    }
                }
                Effect::Settle { job, verdict, earlier } if earlier.is_empty() => {
                    format!("settle {job} {}", told(&verdict))
                }
                Effect::Settle { job, verdict, earlier } => {
                    let earlier: Vec<_> = earlier.iter().map(told).collect();
                    format!("settle {job} {} after {}", told(&verdict), earlier.join(", "))
                }
                Effect::Results { lane, job, .. } => format!("results {} {job}", lane.0),
                Effect::Divide { lane, seq } => {
                    let (_, job) = self.machine.job_at(lane, seq).expect("it has this task");
                    format!("divide {} {job}", lane.0)
                }
                Effect::Ask { lane, .. } => format!("ask {}", lane.0),
                Effect::Terminate { lane } => format!("terminate {}", lane.0),
                Effect::Ended { lane, reason, .. } if self.watches => format!("ended {} {reason:?}", lane.0),
                Effect::Started { .. } | Effect::Ended { .. } | Effect::StartFailed { .. } => continue,
                Effect::Revoke { lane, seq, task, why } => {
                    let task = named(task);
                    assert_eq!(seq, self.seqs[&(lane.0, task)]);
                    self.asked.entry(task).or_default().push_back(why);
                    format!("revoke {} {task}", lane.0)
                }
                Effect::Inspect { lane, seq, task } => {
                    let task = named(task);
                    assert_eq!(seq, self.seqs[&(lane.0, task)]);
                    format!("inspect {} {task}", lane.0)
                }
                Effect::Listen { lane } => format!("listen {}", lane.0),
                Effect::Retire { lane } => format!("retire {}", lane.0),
                Effect::Kill { lane } => format!("kill {}", lane.0),
                Effect::Roused => "roused".to_owned(),
                Effect::Terminated => "terminated".to_owned(),
            };
            self.effects.push(text);
        }
    }
}

/// Pauses of 1 s, 2 s and 4 s, of which up to a half is left out.
fn retry(retries: usize) -> Retry {
    Retry {
        retries: retries as u32,
        backoff: Duration::from_secs(1),
        max_backoff: Duration::from_secs(4),
        on_crash: true,
        on_timeout: true,
        on_panic: true,
        on_error: true,
    }
}

fn phase(word: &str) -> Phase {
    match word {
        "sent" => Phase::Sent,
        "running" => Phase::Running,
        "replying" => Phase::Replying,
        _ => panic!("a phase, not `{word}`"),
    }
}

fn told(verdict: &Verdict<()>) -> String {
    let (ran, kind) = match verdict {
        Verdict::Replied(()) => return "ok".to_owned(),
        Verdict::Failed(ran, kind) => (ran, kind),
    };
    let kind = match kind {
        TaskErrorKind::WorkerDied(exit) => format!("died {:?}", exit.phase()).to_lowercase(),
        TaskErrorKind::TimedOut { ran_for, .. } => format!("timed-out after {ran_for:?}"),
        TaskErrorKind::Cancelled { was_running: false } => "cancelled".to_owned(),
        TaskErrorKind::Cancelled { was_running: true } => "killed".to_owned(),
        TaskErrorKind::QueueTimedOut { limit } => format!("late after {limit:?}"),
        TaskErrorKind::Protocol { .. } => "protocol".to_owned(),
        TaskErrorKind::PoolBroken(cause) => match cause {
            StartError::Initializer { message } => format!("broken {message}"),
            StartError::Handshake(HandshakeError::TimedOut { .. }) => "broken late".to_owned(),
            StartError::Handshake(HandshakeError::Died { .. }) => "broken died".to_owned(),
            StartError::Handshake(HandshakeError::Protocol { .. }) => "broken protocol".to_owned(),
            StartError::Spawn { .. } => "broken spawn".to_owned(),
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    };
    let ran = match ran {
        Ran::No => "no",
        Ran::Maybe => "maybe",
        Ran::Yes => "yes",
    };
    format!("{kind} ran={ran}")
}
