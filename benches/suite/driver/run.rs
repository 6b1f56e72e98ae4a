//! One contestant doing one workload in a process of its own.

use std::io::{IsTerminal, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::CONTESTANT;
use super::options::Options;
use super::peers;
use super::plan::{Contestant, Program, Workload};

/// Whoever needs longer hangs.
const LIMIT: Duration = Duration::from_secs(40);

/// What a contestant said.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) figures: Vec<(String, f64)>,
    /// How long it took altogether.
    pub(super) seconds: f64,
    /// Why it gave no figures, or not all.
    pub(super) error: Option<String>,
}

impl Said {
    /// The medians of several samples.
    pub(super) fn middle(said: Vec<Said>) -> Said {
        let mut middle = said.first().cloned().unwrap_or_default();
        middle.seconds = said.iter().map(|said| said.seconds).sum();
        middle.error = said.iter().find_map(|said| said.error.clone());
        for (metric, figure) in &mut middle.figures {
            let samples = said.iter().flat_map(|said| &said.figures).filter(|(name, _)| name == metric);
            *figure = super::results::median(samples.map(|&(_, figure)| figure).collect());
        }
        middle
    }
}

/// A contestant at work.
#[derive(Debug)]
pub(super) struct Cell {
    child: Child,
    said: Receiver<String>,
    begun: Instant,
}

impl Cell {
    pub(super) fn start(contestant: &Contestant, workload: &Workload, options: &Options) -> Cell {
        let mut command = match &contestant.program {
            Program::Own => Command::new(std::env::current_exe().expect("the path of this program")),
            Program::Other(path) => Command::new(path),
            Program::OldPeer => Command::new(peers::old_folder().join("release").join(&contestant.name)),
            Program::Peer => Command::new(peers::folder().join("release").join(&contestant.name)),
            Program::Python => {
                let mut command = Command::new(peers::python());
                command.arg(peers::python_program()).env("PYTHONPYCACHEPREFIX", peers::python_cache());
                command
            }
        };
        let name = match contestant.program {
            Program::Other(_) => "procpool",
            _ => &contestant.name,
        };
        command.args([CONTESTANT, name, workload.name, options.size()]);
        // A group of its own, so that what hangs is ended with all that it started.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let begun = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{} starts: {error}", contestant.name));
        let (out, err) = (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        let (tell, said) = mpsc::channel();
        let errors = std::thread::spawn(move || text(err));
        std::thread::spawn(move || {
            let said = text(out);
            // Nobody listens any more to one that took too long.
            let _ = tell.send(said);
            let _ = tell.send(errors.join().unwrap_or_default());
        });
        Cell { child, said, begun }
    }

    pub(super) fn finish(mut self) -> Said {
        let group = Pid::from_child(&self.child);
        let out = self.said.recv_timeout(LIMIT);
        if out.is_err() {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = self.child.wait();
            let error = format!("was ended after {} s", LIMIT.as_secs());
            return Said { error: Some(error), seconds: LIMIT.as_secs_f64(), ..Said::default() };
        }
        let status = self.child.wait().expect("a child to wait for");
        // What the contestant has left behind must not disturb the next one.
        let _ = kill_process_group(group, Signal::KILL);
        let errors = self.said.recv_timeout(LIMIT).unwrap_or_default();
        let figures = out.unwrap_or_default().lines().filter_map(figure).collect();
        let last = errors.lines().last().unwrap_or_default();
        let error = (!status.success()).then(|| format!("{status}: {last}"));
        Said { figures, seconds: self.begun.elapsed().as_secs_f64(), error }
    }
}

fn text(mut from: impl Read) -> String {
    let mut bytes = Vec::new();
    // What came before an error is still of use.
    let _ = from.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn figure(line: &str) -> Option<(String, f64)> {
    let (metric, figure) = line.split_once(' ')?;
    Some((metric.to_owned(), figure.parse().ok()?))
}

/// Says on a terminal what is being done now.
pub(super) fn progress(what: &str) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        // A terminal that is gone needs no news.
        let _ = write!(err, "\r\x1b[2K{what}");
        let _ = err.flush();
    }
}
