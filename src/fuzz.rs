//! What the fuzzers call, and the replay of what they have found: `tests/fuzz/README.md`.
//!
//! Whatever the bytes, nothing here panics, takes memory without bound, or breaks the promise that is asserted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{ExitCause, Phase};
use crate::scheduler::machine::{
    Cancel, Close, Effect, End, Ended, Event, Fate, LaneNo, Machine, Spec, TaskNo,
};
use crate::scheduler::policy::{Escalation, Retry, Settings, Terms};
use crate::wire::codec;
use crate::wire::frame::{Decoder, Frame, Malformed};
use crate::wire::hello::Hello;
use crate::wire::records::{self, Records};

/// Any cut of a stream gives the same frames, or the same refusal; what is claimed is not allocated.
pub fn frames(bytes: &[u8]) {
    const LIMIT: u64 = 1 << 16;
    let Some((&cut, stream)) = bytes.split_first() else { return };
    let piece = usize::from(cut).max(1);
    let whole = read(&mut Decoder::new(LIMIT), &mut std::iter::once(stream));
    let pieces = read(&mut Decoder::new(LIMIT), &mut stream.chunks(piece));
    assert_eq!(whole, pieces, "the cut makes no difference");
}

fn read(decoder: &mut Decoder, pieces: &mut dyn Iterator<Item = &[u8]>) -> (Vec<Frame>, Option<Malformed>) {
    let mut frames = Vec::new();
    for mut piece in pieces {
        loop {
            let before = piece.len();
            match decoder.feed(&mut piece) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) if piece.is_empty() || piece.len() == before => break,
                Ok(None) => {}
                Err(malformed) => return (frames, Some(malformed)),
            }
        }
    }
    (frames, None)
}

/// A type that nests in itself, as results of a hostile worker may.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Value {
    Nothing,
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
    Many(Vec<Value>),
    Named(std::collections::BTreeMap<String, Value>),
    Boxed(Option<Box<Value>>),
    Units(Vec<()>),
    Real(u64),
    Words(Vec<u64>),
    Flags(Vec<bool>),
}

/// What decodes encodes to bytes that decode to the same; what does not decode is an error.
pub fn values(bytes: &[u8]) {
    if let Ok(value) = codec::decode::<Value>(bytes) {
        let mut again = Vec::new();
        codec::encode(&value, &mut again, usize::MAX).expect("what was decoded can be encoded");
        assert_eq!(codec::decode::<Value>(&again).expect("what was encoded can be decoded"), value);
    }
    let _ = codec::decode::<Hello>(bytes);
    let _ = codec::decode::<crate::error::Panic>(bytes);
    let _ = codec::decode::<(String, Vec<Option<u64>>, [u8; 7])>(bytes);
    let _ = codec::decode::<(Vec<u128>, Box<[f32]>, Vec<Vec<i16>>, f64)>(bytes);
}

/// What is counted as records is read as so many values, in any two parts as well; and nothing else is.
pub fn records(bytes: &[u8]) {
    let Some((&at, body)) = bytes.split_first() else { return };
    let values = |body: &[u8]| -> Vec<(u32, Vec<u8>)> {
        Records::new(body).map(|(mark, value)| (mark, value.to_vec())).collect()
    };
    let all = values(body);
    let Some(count) = records::count(body) else {
        let mut records = Records::new(body);
        records.by_ref().for_each(drop);
        return assert!(!records.is_empty(), "what has no end is not counted");
    };
    assert_eq!(count as usize, all.len());
    let at = u32::from(at).min(count);
    let (first, rest) = (Records::new(body), Records::new(body).after(at).expect("there are as many"));
    let parts = [first.part(at), rest.part(count - at)].map(|part| part.expect("there are as many"));
    assert_eq!(parts.each_ref().map(|part| values(part)).concat(), all);
    assert_eq!(parts.map(|part| records::count(&part)), [Some(at), Some(count - at)]);
    assert!(rest.after(count - at + 1).is_none() && rest.part(count - at + 1).is_none());
}

/// The bytes of a fuzzer as decisions.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn or_zero(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }
}

/// The parent's state as it meets its workers, which do anything at all.
struct Parent<'a> {
    machine: Machine<u32, u8>,
    choices: Choices<'a>,
    now: Instant,
    tasks: Vec<Known>,
    settled: HashMap<u32, u32>,
    /// The lanes that have a process.
    alive: Vec<usize>,
    /// Those of them that were told to end.
    leaving: Vec<usize>,
    terminated: bool,
}

/// What the parent knows of a task.
struct Known {
    no: TaskNo,
    /// No worker need have it any more when this is over.
    begins_by: Option<Instant>,
    deadline: Option<Instant>,
    attempts: u16,
}

/// When time is served, so often at the most, nothing is due any more.
const TURNS_OF_TIME: usize = 5;

/// Whatever workers say, and whatever the shared page shows: no panic, every task is settled exactly once, there are
/// never more workers than there may be, time comes to rest, nothing waits longer than it may, and the end needs nobody's
/// death.
pub fn parent(bytes: &[u8]) {
    let now = Instant::now();
    let mut choices = Choices(bytes);
    let flags = choices.or_zero();
    let settings = Settings {
        max_workers: 1 + usize::from(flags & 3),
        processors: 1 + usize::from(flags >> 6 & 1),
        min_workers: usize::from(flags >> 2 & 1),
        idle_timeout: (flags & 8 != 0).then_some(Duration::from_millis(5)),
        max_tasks_per_child: (flags & 16 != 0).then_some(2),
        max_worker_age: (flags & 32 != 0).then_some(Duration::from_millis(20)),
        start_timeout: Duration::from_secs(1),
        stop_timeout: Duration::from_millis(50),
    };
    let mut parent = Parent {
        machine: Machine::new(settings, now),
        choices,
        now,
        tasks: Vec::new(),
        settled: HashMap::new(),
        alive: Vec::new(),
        leaving: Vec::new(),
        terminated: false,
    };
    while let Some(choice) = parent.choices.next() {
        parent.turn(choice);
        parent.assert_counts();
    }
    parent.end(flags & 64 != 0);
}

impl Parent<'_> {
    fn turn(&mut self, choice: u8) {
        let mut effects = Vec::new();
        let lane = LaneNo(usize::from(self.choices.or_zero()) % (self.alive.len().max(4)));
        let seq = u64::from(self.choices.or_zero());
        let event = match choice % 16 {
            0..4 => return self.submit(),
            4 => Event::Up { lane },
            5 | 6 => {
                let front = self.front(lane);
                let ended = [Ended::Final, Ended::Failed, Ended::Panicked][usize::from(choice >> 4) % 3];
                let seq = if choice >= 128 { seq } else { front };
                Event::Replied { lane, seq, reply: choice, ended, ran_for: Duration::from_micros(seq) }
            }
            7 => Event::Skipped { lane, seq },
            8 if choice >= 128 => Event::Strayed { lane, message: "nonsense".to_owned() },
            8 => Event::Violated { lane, message: "nonsense".to_owned() },
            9 => Event::Swollen { lane },
            10 if self.alive.contains(&lane.0) => return self.bury(lane),
            11 if !self.tasks.is_empty() => {
                let task = self.tasks[usize::from(seq as u8) % self.tasks.len()].no;
                let how = [Cancel::Pending, Cancel::Mild, Cancel::Stop, Cancel::Kill, Cancel::OneCall];
                Event::Cancel { task, how: how[usize::from(choice >> 4) % 5] }
            }
            12 => Event::Resize { max_workers: 1 + usize::from(choice >> 4) % 5 },
            13 => Event::WarmUp,
            14 if choice >= 240 => {
                Event::Close(Close { cancel_pending: seq & 1 > 0, kill: seq & 2 > 0, by: None })
            }
            _ => {
                self.now += Duration::from_micros(seq * 500);
                return self.tick();
            }
        };
        // What the supervisor never passes on: words of a process that there is not.
        if !self.lane_of(&event).is_none_or(|lane| self.alive.contains(&lane.0)) {
            return;
        }
        self.machine.step(self.now, event, &mut effects);
        self.perform(effects);
    }

    /// Serves time until nothing is due any more, which must be soon.
    fn tick(&mut self) {
        for _ in 0..TURNS_OF_TIME {
            let mut effects = Vec::new();
            self.machine.step(self.now, Event::Tick, &mut effects);
            self.perform(effects);
            if self.machine.wake().is_none_or(|wake| wake > self.now) {
                return self.assert_nothing_is_late();
            }
        }
        panic!("time stands still: {:?}", self.machine);
    }

    fn assert_nothing_is_late(&self) {
        for (name, task) in (0..).zip(&self.tasks) {
            let late = task.begins_by.is_some_and(|at| at <= self.now) && !self.settled.contains_key(&name);
            assert!(!late || self.machine.worker_of(task.no).is_some(), "task {name} waits too long");
        }
    }

    fn assert_counts(&self) {
        assert_eq!(
            self.machine.pending(),
            self.tasks.len() - self.settled.len(),
            "what is not settled is pending"
        );
    }

    fn lane_of(&self, event: &Event<u8>) -> Option<LaneNo> {
        match *event {
            Event::Up { lane }
            | Event::Replied { lane, .. }
            | Event::Skipped { lane, .. }
            | Event::Violated { lane, .. }
            | Event::Strayed { lane, .. }
            | Event::Swollen { lane } => Some(lane),
            _ => None,
        }
    }

    fn front(&self, lane: LaneNo) -> u64 {
        match self.alive.contains(&lane.0) {
            true => self.machine.outstanding(lane).next().unwrap_or(0),
            false => 0,
        }
    }

    fn submit(&mut self) {
        let flags = self.choices.or_zero();
        let millis = |bit: u8, amount| (flags & bit != 0).then_some(Duration::from_millis(amount));
        let retry = Retry {
            retries: 2,
            backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(2),
            on_crash: true,
            on_timeout: true,
            on_panic: true,
            on_error: true,
        };
        let queue_timeout = millis(1, 10);
        let deadline = millis(2, 30).map(|after| self.now + after);
        let begins_by = queue_timeout.map(|wait| self.now + wait).into_iter().chain(deadline).min();
        let retries = if flags & 4 != 0 { 2 } else { 0 };
        let terms = Terms {
            queue_timeout,
            deadline,
            retry: (retries > 0).then_some(retry),
            stop: Escalation { ask: millis(8, 5), terminate: millis(16, 5) },
        };
        let spec = Spec {
            bytes: usize::from(flags) << 12,
            timeout: millis(32, 5),
            cooperates: flags & 64 != 0,
            // What is many calls has no terms.
            divisible: flags & 0b10_0111 == 0,
            quick: flags & 0b10_1111 == 0b1000,
            bundle: u64::from(flags >> 7),
            terms: Some(terms.into()),
        };
        let name = self.tasks.len() as u32;
        if let Ok(no) = self.machine.submit(self.now, name, spec) {
            self.tasks.push(Known { no, begins_by, deadline, attempts: 1 + retries });
            let mut effects = Vec::new();
            self.machine.dispatch(self.now, &mut effects);
            self.perform(effects);
        }
    }

    fn bury(&mut self, lane: LaneNo) {
        self.alive.retain(|&alive| alive != lane.0);
        self.leaving.retain(|&leaving| leaving != lane.0);
        let count = self.machine.outstanding(lane).count();
        // As many as there are, or fewer, or more: the page is the worker's to write.
        let phases = (0..count).map(|_| match self.choices.or_zero() % 3 {
            0 => Phase::Sent,
            1 => Phase::Running,
            _ => Phase::Replying,
        });
        let phases = phases.collect();
        let fate = Fate { pid: 1, cause: ExitCause::Unknown, oom: None, limit: None, last_words: None };
        let mut effects = Vec::new();
        self.machine.step(
            self.now,
            Event::Down { lane, end: Box::new(End::Exited(fate)), phases },
            &mut effects,
        );
        self.perform(effects);
    }

    fn perform(&mut self, mut effects: Vec<Effect<u32, u8>>) {
        while !effects.is_empty() {
            let mut followed = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Launch { lane } => {
                        assert!(!self.alive.contains(&lane.0), "a place has one worker");
                        self.alive.push(lane.0);
                        let staying = self.alive.len() - self.leaving.len();
                        assert!(staying <= self.machine.max_workers(), "{staying} workers");
                    }
                    Effect::Retire { lane } | Effect::Terminate { lane } | Effect::Kill { lane } => {
                        assert!(self.alive.contains(&lane.0), "who is told to end is there");
                        if !self.leaving.contains(&lane.0) {
                            self.leaving.push(lane.0);
                        }
                    }
                    Effect::Send { lane, job, attempt, .. } => {
                        assert!(
                            self.alive.contains(&lane.0) && !self.leaving.contains(&lane.0),
                            "it takes tasks"
                        );
                        let task = &mut self.tasks[job as usize];
                        assert!((1..=task.attempts).contains(&attempt), "attempt {attempt}");
                        assert!(task.begins_by.is_none_or(|at| at > self.now) || attempt > 1, "it is late");
                        if task.attempts > 1 {
                            // Whether it comes back or has failed, only the machine knows.
                            task.begins_by = task.deadline;
                        }
                    }
                    Effect::Settle { job, .. } => *self.settled.entry(job).or_default() += 1,
                    Effect::Revoke { task, why, .. } => {
                        let taken = self.choices.or_zero() & 1 > 0;
                        self.machine.step(self.now, Event::Revoked { task, why, taken }, &mut followed);
                    }
                    Effect::Inspect { task, .. } => {
                        let choice = self.choices.or_zero();
                        let phase = [Phase::Sent, Phase::Running, Phase::Replying][usize::from(choice) % 3];
                        let started = (choice & 64 > 0).then_some(self.now);
                        self.machine.step(self.now, Event::Seen { task, phase, started }, &mut followed);
                    }
                    Effect::Divide { lane, seq } => match self.choices.or_zero() % 3 {
                        0 => self.machine.step(self.now, Event::NotBegun { lane, seq }, &mut followed),
                        1 => self.split(lane, seq, &mut followed),
                        _ => {}
                    },
                    Effect::Terminated => {
                        assert!(!self.terminated, "it ends once");
                        self.terminated = true;
                    }
                    _ => {}
                }
            }
            effects = followed;
        }
    }

    /// What has not begun of a task goes on as another.
    fn split(&mut self, lane: LaneNo, seq: u64, followed: &mut Vec<Effect<u32, u8>>) {
        let Some((of, _)) = self.machine.job_at(lane, seq) else { return };
        let name = self.tasks.len() as u32;
        let no = self.machine.split_off(of, name, Spec { divisible: true, ..Spec::default() });
        self.tasks.push(Known { no, begins_by: None, deadline: None, attempts: 1 });
        self.machine.step(self.now, Event::Tick, followed);
    }

    /// The pool is told to end, and every process dies or none: everything must be settled, once.
    fn end(&mut self, unkillable: bool) {
        let close = Close { cancel_pending: true, kill: true, by: None };
        let mut effects = Vec::new();
        self.machine.step(self.now, Event::Close(close), &mut effects);
        self.perform(effects);
        while unkillable && let Some(wake) = self.machine.wake() {
            self.now = self.now.max(wake);
            self.tick();
        }
        assert!(self.terminated || !unkillable, "the pool has ended without the death of its workers");
        let named = self.machine.leaked().count();
        assert!(named == self.alive.len() || !unkillable, "it names those that it has left behind");
        while let Some(&lane) = self.alive.first() {
            self.bury(LaneNo(lane));
        }
        for name in 0..self.tasks.len() as u32 {
            let times = self.settled.get(&name).copied().unwrap_or(0);
            assert_eq!(times, 1, "task {name} is settled {times} times");
        }
        assert!(self.terminated, "the pool has ended");
        assert_eq!(self.machine.pending(), 0);
    }
}

#[cfg(test)]
mod test {
    use std::fs;
    use std::path::Path;

    /// Plays the inputs that are kept of a fuzzer, and each of them cut short and with a byte changed.
    fn replay(target: &str, run: fn(&[u8])) -> usize {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
        let mut played = 0;
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let bytes = fs::read(entry.expect("an entry").path()).expect("a file");
            run(&bytes);
            for at in (0..bytes.len()).step_by(1 + bytes.len() / 50) {
                run(&bytes[..at]);
                let mut other = bytes.clone();
                other[at] = other[at].wrapping_add(101);
                run(&other);
                played += 2;
            }
            played += 1;
        }
        played
    }

    #[test]
    fn what_the_fuzzers_have_kept_is_harmless() {
        for (target, run) in [
            ("frames", super::frames as fn(&[u8])),
            ("values", super::values),
            ("records", super::records),
            ("parent", super::parent),
        ] {
            let played = replay(target, run);
            println!("{target}: {played} inputs");
            assert!(played > 100, "{target}: {played} inputs");
        }
    }

    #[test]
    fn random_bytes_are_harmless() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..4_000 {
            let bytes: Vec<u8> = (0..round % 300)
                .map(|_| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    (random >> 32) as u8
                })
                .collect();
            super::frames(&bytes);
            super::values(&bytes);
            super::records(&bytes);
            super::parent(&bytes);
        }
    }
}
