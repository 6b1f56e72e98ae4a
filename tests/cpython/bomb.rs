//! Values that fail at a chosen place on the way of a task, in a chosen manner.

use procpool::{CodecSide, ExitCause, Phase, Ran, TaskError, TaskErrorKind, What, task};
use rustix::process::{Signal, getpid, kill_process};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::gate;

/// Where: the five places at which the user's code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    ArgsEncode,
    ArgsDecode,
    Body,
    ResultEncode,
    ResultDecode,
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// A segmentation fault.
    Crash,
    /// An exit with [`EXIT_CODE`].
    Exit,
    /// An error that is returned.
    Error,
    Panic,
}

pub const FAULTS: [Fault; 4] = [Fault::Crash, Fault::Exit, Fault::Error, Fault::Panic];
pub const EXIT_CODE: i32 = 99;
const TEXT: &str = "boom";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bomb {
    pub stage: Stage,
    pub fault: Fault,
    /// The gate at which it waits when its stage has come, before it goes off.
    pub fuse: Option<String>,
}

/// Arguments that may have a bomb in them.
#[derive(Clone, Debug)]
pub struct Args(pub Option<Bomb>);

/// A result that may have a bomb in it.
#[derive(Debug)]
pub struct Reply(pub Option<Bomb>);

/// Brings its arguments back.
#[task]
pub fn carry(args: Args) -> Result<Reply, String> {
    reach(&args.0, Stage::Body, str::to_owned)?;
    Ok(Reply(args.0))
}

/// All bombs that concern the pool: a crash and an exit on the caller's own side are those of the program.
pub fn bombs(fuse: Option<&str>) -> Vec<Bomb> {
    let mut all = Vec::new();
    for stage in [Stage::ArgsEncode, Stage::ArgsDecode, Stage::Body, Stage::ResultEncode, Stage::ResultDecode]
    {
        for fault in FAULTS {
            let bomb = Bomb { stage, fault, fuse: fuse.map(str::to_owned) };
            if !(bomb.is_ours() && matches!(fault, Fault::Crash | Fault::Exit)) {
                all.push(bomb);
            }
        }
    }
    all
}

impl Bomb {
    pub fn new(stage: Stage, fault: Fault) -> Bomb {
        Bomb { stage, fault, fuse: None }
    }

    /// Whether it goes off in the process of the caller.
    pub fn is_ours(&self) -> bool {
        matches!(self.stage, Stage::ArgsEncode | Stage::ResultDecode)
    }

    fn go_off<E>(&self, error: impl FnOnce(&'static str) -> E) -> E {
        if let Some(fuse) = &self.fuse {
            gate::pass(fuse, 0);
        }
        match self.fault {
            Fault::Crash => crash(),
            Fault::Exit => std::process::exit(EXIT_CODE),
            Fault::Error => error(TEXT),
            Fault::Panic => panic!("{TEXT}"),
        }
    }
}

/// The signal of a segmentation fault, until it is deadly: the first one may meet a handler that looks for
/// stack overflows and then stands aside.
fn crash() -> ! {
    loop {
        kill_process(getpid(), Signal::SEGV).expect("a signal to itself");
    }
}

fn reach<E>(bomb: &Option<Bomb>, stage: Stage, error: impl FnOnce(&'static str) -> E) -> Result<(), E> {
    match bomb {
        Some(bomb) if bomb.stage == stage => Err(bomb.go_off(error)),
        _ => Ok(()),
    }
}

impl Serialize for Args {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        reach(&self.0, Stage::ArgsEncode, S::Error::custom)?;
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Args {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let args = Args(Option::deserialize(deserializer)?);
        reach(&args.0, Stage::ArgsDecode, D::Error::custom)?;
        Ok(args)
    }
}

impl Serialize for Reply {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        reach(&self.0, Stage::ResultEncode, S::Error::custom)?;
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Reply {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reply = Reply(Option::deserialize(deserializer)?);
        reach(&reply.0, Stage::ResultDecode, D::Error::custom)?;
        Ok(reply)
    }
}

/// What becomes of a task.
pub type Outcome = Result<Result<Reply, String>, TaskError>;

/// Fails unless this is exactly what the bomb must lead to; without a bomb, a value.
#[track_caller]
pub fn judge(bomb: Option<&Bomb>, outcome: Outcome) {
    let Some(bomb) = bomb else {
        assert!(matches!(outcome, Ok(Ok(Reply(None)))), "a good task among bad ones: {outcome:?}");
        return;
    };
    match (bomb.stage, bomb.fault, outcome) {
        (Stage::Body, Fault::Error, Ok(Err(text))) => assert_eq!(text, TEXT),
        (_, _, Ok(value)) => panic!("{bomb:?} led to {value:?}"),
        (_, _, Err(error)) => {
            judge_error(bomb, &error);
            assert!(error.task().ends_with("carry"), "{error}");
        }
    }
}

#[track_caller]
fn judge_error(bomb: &Bomb, error: &TaskError) {
    let (ran, phase) = match bomb.stage {
        Stage::ArgsEncode | Stage::ArgsDecode => (Ran::No, Phase::Sent),
        // The panic is how the body ended.
        Stage::Body if bomb.fault == Fault::Panic => (Ran::Yes, Phase::Running),
        Stage::Body => (Ran::Maybe, Phase::Running),
        Stage::ResultEncode | Stage::ResultDecode => (Ran::Yes, Phase::Replying),
    };
    let text = error.to_string();
    match (error.kind(), bomb.fault) {
        (TaskErrorKind::WorkerDied(exit), Fault::Crash | Fault::Exit) if !bomb.is_ours() => {
            assert_eq!(exit.phase(), phase, "{text}");
            match (bomb.fault, exit.cause()) {
                (Fault::Crash, ExitCause::Signal { number: libc::SIGSEGV, .. }) => {}
                (Fault::Exit, ExitCause::Code(EXIT_CODE)) => {}
                _ => panic!("{bomb:?}: {text}"),
            }
            assert!(text.contains(&exit.pid().to_string()), "{text}");
        }
        (TaskErrorKind::Panicked(panic), Fault::Panic) if bomb.stage == Stage::Body => {
            assert_eq!(panic.message(), TEXT);
            assert!(panic.location().is_some_and(|place| place.contains("bomb.rs:")), "{text}");
        }
        (TaskErrorKind::Codec { what, side, message, .. }, Fault::Error | Fault::Panic) => {
            let place = match bomb.stage {
                Stage::ArgsEncode => (What::Args, CodecSide::Encode),
                Stage::ArgsDecode => (What::Args, CodecSide::Decode),
                Stage::ResultEncode => (What::Result, CodecSide::Encode),
                Stage::ResultDecode => (What::Result, CodecSide::Decode),
                Stage::Body => panic!("{bomb:?}: {text}"),
            };
            assert_eq!((*what, *side), place, "{text}");
            assert!(message.contains(TEXT), "{text}");
            assert_eq!(message.contains("panicked"), bomb.fault == Fault::Panic, "{text}");
        }
        _ => panic!("{bomb:?}: {text}"),
    }
    assert_eq!(error.ran(), ran, "{bomb:?}: {text}");
}
