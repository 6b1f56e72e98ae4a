//! The rules as transcripts. A line is an event; a line with `<` is an effect that must follow, in that order, and
//! nothing else may. `start 1` and `finish 1` are the worker's doing, which the machine sees on the shared page
//! when it looks.

use std::collections::HashMap;
use std::fmt::Write;

use super::*;

struct Script {
    machine: Machine<u32, ()>,
    base: Instant,
    now: Instant,
    numbers: HashMap<u32, TaskNo>,
    names: HashMap<TaskNo, u32>,
    /// What the shared page says: how far a task is, and since when.
    page: HashMap<u32, (Phase, Instant)>,
}

fn settings(lanes: usize) -> Settings {
    Settings {
        max_workers: lanes,
        max_tasks_per_child: None,
        start_timeout: Duration::from_secs(10),
        stop_timeout: Duration::from_secs(5),
    }
}

#[track_caller]
fn check(lanes: usize, script: &str) {
    check_with(settings(lanes), script);
}

#[track_caller]
fn check_with(settings: Settings, script: &str) {
    let base = Instant::now();
    let mut run = Script {
        machine: Machine::new(settings, base),
        base,
        now: base,
        numbers: HashMap::new(),
        names: HashMap::new(),
        page: HashMap::new(),
    };
    let mut told = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('<')) {
        writeln!(told, "{line}").unwrap();
        for effect in run.step(line) {
            writeln!(told, "< {effect}").unwrap();
        }
    }
    let wanted: Vec<_> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let told: Vec<_> = told.lines().collect();
    assert!(told == wanted, "wanted:\n{}\n\ntold:\n{}\n", wanted.join("\n"), told.join("\n"));
}

impl Script {
    /// Performs one line as the engine would: answers to looks and revocations come at once.
    fn step(&mut self, line: &str) -> Vec<String> {
        let words: Vec<_> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<u32>().expect("a number");
        let lane = || LaneNo(number(1) as usize);
        let option = |name: &str| {
            words
                .iter()
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
                .map(|text| text.parse().expect("a number"))
        };
        let has = |name: &str| words.contains(&name);
        let milliseconds = Duration::from_millis;
        let mut effects = Vec::new();
        let event = match words[0] {
            "submit" => {
                let spec = Spec {
                    bytes: option("bytes").unwrap_or(0) as usize,
                    timeout: option("timeout").map(milliseconds),
                    cooperates: has("cooperates"),
                    bundle: option("bundle").unwrap_or(0),
                };
                match self.machine.submit(number(1), spec) {
                    Ok(no) => {
                        self.numbers.insert(number(1), no);
                        self.names.insert(no, number(1));
                    }
                    Err(refusal) => return vec![format!("refused: {refusal}")],
                }
                if !has("more") {
                    self.machine.dispatch(self.now, &mut effects);
                }
                None
            }
            "up" => Some(Event::Up { lane: lane() }),
            "unborn" => {
                let end = End::Unborn(StartError::invalid("no luck"));
                Some(Event::Down { lane: lane(), end, phases: Vec::new() })
            }
            "down" => {
                let fate = Fate { pid: 7, cause: ExitCause::Code(1), oom: None, last_words: None };
                let outstanding: Vec<_> =
                    self.machine.lanes[lane().0].sent.iter().map(|&(_, no)| self.names[&no]).collect();
                let phases = outstanding.iter().map(|name| self.phase(*name).0).collect();
                Some(Event::Down { lane: lane(), end: End::Exited(fate), phases })
            }
            "reply" => {
                let seq =
                    option("seq").unwrap_or_else(|| self.machine.outstanding(lane()).next().unwrap_or(0));
                let ran_for = Duration::from_micros(option("us").unwrap_or(1_000_000));
                Some(Event::Replied { lane: lane(), seq, reply: (), ran_for })
            }
            "skip" => Some(Event::Skipped { lane: lane(), seq: option("seq").expect("a sequence number") }),
            "violate" => Some(Event::Violated { lane: lane(), message: "nonsense".to_owned() }),
            "cancel" => Some(Event::Cancel { task: self.numbers[&number(1)], kill: has("kill") }),
            "warm" => Some(Event::WarmUp),
            "close" => Some(Event::Close(Close {
                cancel_pending: has("pending"),
                kill: has("kill"),
                by: option("by").map(|by| self.base + milliseconds(by)),
            })),
            "start" | "finish" => {
                let phase = if words[0] == "start" { Phase::Running } else { Phase::Replying };
                self.page.insert(number(1), (phase, self.now));
                None
            }
            "at" => {
                self.now = self.base + milliseconds(u64::from(number(1)));
                self.machine.wake().is_some_and(|wake| wake <= self.now).then_some(Event::Tick)
            }
            other => panic!("no such event: {other}"),
        };
        if let Some(event) = event {
            self.machine.step(self.now, event, &mut effects);
        }
        let mut told = Vec::new();
        while !effects.is_empty() {
            let mut followed = Vec::new();
            for effect in effects.drain(..) {
                let (text, answer) = self.perform(effect);
                told.push(text);
                if let Some(answer) = answer {
                    self.machine.step(self.now, answer, &mut followed);
                }
            }
            effects = followed;
        }
        told
    }

    fn phase(&self, name: u32) -> (Phase, Option<Instant>) {
        self.page.get(&name).map_or((Phase::Sent, None), |&(phase, since)| (phase, Some(since)))
    }

    fn perform(&mut self, effect: Effect<u32, ()>) -> (String, Option<Event<()>>) {
        match effect {
            Effect::Launch { lane } => (format!("launch {}", lane.0), None),
            Effect::Send { lane, job, .. } => {
                self.page.remove(&job);
                (format!("run {} {job}", lane.0), None)
            }
            Effect::Settle { job, verdict } => (format!("settle {job} {}", verdict_text(&verdict)), None),
            Effect::Revoke { lane, task, why, .. } => {
                let name = self.names[&task];
                let taken = self.phase(name).0 == Phase::Sent;
                let answer = if taken { "taken" } else { "too late" };
                (format!("revoke {} {name}: {answer}", lane.0), Some(Event::Revoked { task, why, taken }))
            }
            Effect::Inspect { lane, task, .. } => {
                let (phase, started) = self.phase(self.names[&task]);
                let text = format!("look {} {}", lane.0, self.names[&task]);
                (text, Some(Event::Seen { task, phase, started }))
            }
            Effect::Ask { lane, seq } => (format!("ask {} seq={seq}", lane.0), None),
            Effect::Retire { lane } => (format!("retire {}", lane.0), None),
            Effect::Kill { lane } => (format!("kill {}", lane.0), None),
            Effect::Roused => ("roused".to_owned(), None),
            Effect::Terminated => ("terminated".to_owned(), None),
        }
    }
}

fn verdict_text(verdict: &Verdict<()>) -> String {
    let Verdict::Failed(ran, kind) = verdict else { return "ok".to_owned() };
    let kind = match kind {
        TaskErrorKind::WorkerDied(exit) => format!("died {:?}", exit.phase()),
        TaskErrorKind::Cancelled { was_running } => format!("cancelled running={was_running}"),
        TaskErrorKind::TimedOut { ran_for, .. } => format!("timed out after {ran_for:?}"),
        TaskErrorKind::Protocol { .. } => "protocol".to_owned(),
        TaskErrorKind::PoolBroken(_) => "broken".to_owned(),
        other => format!("{other:?}"),
    };
    format!("{kind} ran={ran:?}")
}

mod cancelling;
mod crashes;
mod ends;
mod feeding;
mod time;
