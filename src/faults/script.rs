//! What is to go wrong, and when.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Point, present};

/// A fault that strikes a worker.
///
/// # Examples
///
/// ```
/// use procpool::{Fault, Faults, ProcessPoolExecutor, task};
///
/// #[task]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// let pool = ProcessPoolExecutor::builder().faults(Faults::new().on_task(1, Fault::Exit(3))).build()?;
/// assert!(pool.submit(double, 1).result().unwrap_err().to_string().contains("exited with code 3"));
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Fault {
    /// The worker is killed by SIGKILL, as by the out-of-memory killer.
    Kill,
    /// The worker aborts, as at a failed assertion in C.
    Abort,
    /// The worker ends with this code.
    Exit(i32),
    /// The worker stops for ever: only a deadline or a kill helps.
    Stall,
    /// The worker goes on after this time.
    Sleep(Duration),
    /// The worker is killed when it has sent so many bytes of its reply, the 40 bytes of the header included.
    CutReply(usize),
    /// The worker closes its channel and goes on.
    CloseChannel,
    /// The worker sends bytes that are no frame, and waits for its end.
    Garbage,
    /// The worker is killed when it has read so many bytes of a frame.
    #[doc(hidden)]
    CutRequest(usize),
    /// What is being done there fails with an error of the system.
    #[doc(hidden)]
    Error,
}

/// A script of faults for one pool, to test how a program copes with them: see
/// [`Builder::faults`](crate::Builder::faults). With the feature `faults` only.
///
/// Tasks are counted by the pool as it accepts them, and starts of workers as it makes them, both from 1: so a script
/// does the same at every run, however many workers there are. A fault on a task strikes its first attempt only, so
/// that what happens next, a [retry](crate::Retry) for example, can be seen.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procpool::{Fault, Faults, ProcessPoolExecutor, Retry, TaskOptions, task};
///
/// #[task]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// let faults = Faults::new().on_task(2, Fault::Kill).on_task(3, Fault::Stall);
/// let options = TaskOptions::new().timeout(Duration::from_millis(100));
/// let pool = ProcessPoolExecutor::builder().faults(faults).task_options(options).build()?;
/// assert_eq!(pool.submit(double, 1).result()?, 2);
/// assert!(pool.submit(double, 2).result().unwrap_err().is_worker_died());
/// assert!(pool.submit(double, 3).result().unwrap_err().is_timeout());
/// assert_eq!(pool.submit(double, 4).result()?, 8);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a script does nothing until it is given to `Builder::faults`"]
pub struct Faults {
    rules: Vec<Rule>,
}

/// One fault, and when it strikes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(crate) point: Point,
    pub(crate) fault: Fault,
    /// The task at which it strikes; else it strikes whenever the point is hit for the `nth` time.
    task: Option<u32>,
    pub(crate) nth: u32,
    /// The start of a worker that it concerns; else all.
    launch: Option<u32>,
}

impl Rule {
    pub(crate) fn is_of_a_task(&self) -> bool {
        self.task.is_some()
    }
}

/// What a worker is told: the rules that concern it, each at its place in the script.
pub(crate) type Rules = Vec<Option<Rule>>;

impl Faults {
    /// Nothing goes wrong.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procpool::ProcessPoolExecutor::builder().faults(procpool::Faults::new()).build()?;
    /// # let _ = pool;
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn new() -> Faults {
        Faults::default()
    }

    /// Strikes when the body of the nth task that the pool accepts is to run, or, for [`Fault::CutReply`], when its reply
    /// is sent. Of two faults for one task the first counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Fault, Faults};
    ///
    /// let faults = Faults::new().on_task(1, Fault::CutReply(4));
    /// # let _ = faults;
    /// ```
    pub fn on_task(self, nth: u32, fault: Fault) -> Faults {
        let point = match fault {
            Fault::CutReply(_) => Point::ReplyBytes,
            _ => Point::BodyBefore,
        };
        self.with(Rule { point, fault, task: Some(nth), nth: 1, launch: None })
    }

    /// Strikes the nth start of a worker: with [`Fault::Exit`] it refuses, with [`Fault::Stall`] it never becomes ready.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Fault, Faults, ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// // Two starts fail, the third succeeds.
    /// let faults = Faults::new().on_start(1, Fault::Exit(1)).on_start(2, Fault::Kill);
    /// let pool = ProcessPoolExecutor::builder().max_workers(1).faults(faults).build()?;
    /// assert_eq!(pool.submit(double, 2).result()?, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_start(self, nth: u32, fault: Fault) -> Faults {
        self.with(Rule { point: Point::BootReady, fault, task: None, nth: 1, launch: Some(nth) })
    }

    /// Strikes when a process comes to a point for the nth time; in the worker of one start, or in all.
    #[doc(hidden)]
    pub fn at(self, point: Point, nth: u32, launch: Option<u32>, fault: Fault) -> Faults {
        self.with(Rule { point, fault, task: None, nth, launch })
    }

    fn with(mut self, rule: Rule) -> Faults {
        self.rules.push(rule);
        self
    }

    /// Why this script cannot be played.
    pub(crate) fn mistake(&self) -> Option<String> {
        if self.rules.len() > usize::from(u8::MAX) {
            return Some(format!("a script of {} faults: at most 255 are possible", self.rules.len()));
        }
        if self.rules.iter().any(|rule| rule.task == Some(0) || rule.launch == Some(0) || rule.nth == 0) {
            return Some("tasks and starts of a script of faults are counted from 1".to_owned());
        }
        let harmless = |fault| matches!(fault, Fault::Error | Fault::Sleep(_));
        let wrong = self.rules.iter().find(|rule| rule.point.is_of_the_parent() && !harmless(rule.fault))?;
        Some(format!(
            "{:?} at {:?} would strike the parent: only errors and pauses can",
            wrong.fault, wrong.point
        ))
    }
}

impl Point {
    pub(crate) fn is_of_the_parent(self) -> bool {
        use Point::{Reap, Receive, Send, Settle, SpawnAfter, SpawnBefore};
        matches!(self, SpawnBefore | SpawnAfter | Send | Receive | Reap | Settle)
    }
}

/// What a pool knows of its faults.
#[derive(Default)]
pub(crate) struct Script {
    rules: Vec<Rule>,
    launches: AtomicU32,
    tasks: AtomicU32,
    /// How often each rule's point was hit in this process.
    hits: Vec<AtomicU32>,
}

impl Script {
    pub(crate) fn new(faults: Faults) -> Script {
        let hits = faults.rules.iter().map(|_| AtomicU32::new(0)).collect();
        Script { rules: faults.rules, hits, ..Script::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether requests have to go through the socket, where they can be cut.
    pub(crate) fn cuts_requests(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.fault, Fault::CutRequest(_)))
    }

    /// Whether any fault is to strike.
    pub(crate) fn is_scripted(&self) -> bool {
        !self.rules.is_empty()
    }

    /// What the worker is told that is made next.
    pub(crate) fn next_launch(&self) -> Rules {
        let launch = self.launches.fetch_add(1, Ordering::Relaxed) + 1;
        let concerns = |rule: &Rule| rule.launch.is_none_or(|nth| nth == launch);
        self.rules.iter().map(|rule| concerns(rule).then(|| rule.clone())).collect()
    }

    /// The fault of the task that is accepted next, as it travels; 0 is none.
    pub(crate) fn next_task(&self) -> u8 {
        if self.rules.is_empty() {
            return 0;
        }
        let task = self.tasks.fetch_add(1, Ordering::Relaxed) + 1;
        let place = self.rules.iter().position(|rule| rule.task == Some(task));
        place.map_or(0, |place| place as u8 + 1)
    }

    /// The parent is at this point.
    pub(crate) fn hit(&self, point: Point) -> io::Result<()> {
        for (rule, hits) in self.rules.iter().zip(&self.hits) {
            if rule.point == point && hits.fetch_add(1, Ordering::Relaxed) + 1 == rule.nth {
                present::strike(rule.fault)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.rules).finish()
    }
}
