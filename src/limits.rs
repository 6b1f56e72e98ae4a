//! What the kernel is to keep each worker within.

use std::time::Duration;

use crate::error::StartError;
use crate::sys::leaf::{Ground, Shares};
use crate::sys::limits::Bounds;

/// Bounds for each worker that the kernel keeps, see [`Builder::limits`](crate::Builder::limits).
///
/// They hold from before any code of the program runs in the worker, for the worker and what it starts. A bound that
/// the system refuses is an error, never passed over: of [`build`](crate::Builder::build) where that can be known there,
/// else of the worker's start, [`StartError::Limits`]. What a worker died of is named where the kernel tells, see
/// [`WorkerExit::limit`](crate::WorkerExit::limit).
///
/// The number of processes of a *user* (`RLIMIT_NPROC`) is not offered: it counts all that the user runs, and does not
/// bind root. [`processes`](Limits::processes) counts those of the worker.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procpool::{Limits, LimitHit, ProcessPoolExecutor, task};
///
/// #[task]
/// fn spin() {
///     loop {
///         std::hint::spin_loop()
///     }
/// }
///
/// let limits = Limits::new().cpu_time(Duration::from_secs(1)).open_files(64);
/// let pool = ProcessPoolExecutor::builder().limits(limits).build()?;
/// let error = pool.submit(spin, ()).result().unwrap_err();
/// assert_eq!(error.exit().unwrap().limit(), Some(LimitHit::CpuTime));
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "limits do nothing until they are given to `Builder::limits`"]
pub struct Limits {
    bounds: Bounds,
    shares: Shares,
}

impl Limits {
    /// No bounds but those that every worker has: no core dumps, and an `oom_score_adj` of 500.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procpool::Limits::new(), procpool::Limits::default());
    /// ```
    pub fn new() -> Limits {
        Limits::default()
    }

    /// Bytes of address space (`RLIMIT_AS`), the program itself and the stacks of its threads included; at least
    /// 64 MiB. What asks for more is refused: Rust aborts then (SIGABRT, the text is on its standard error), C gets a
    /// null pointer. Mind that an allocator reserves more than it uses.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = procpool::Limits::new().address_space(4 << 30);
    /// # let _ = limits;
    /// ```
    pub fn address_space(mut self, bytes: u64) -> Limits {
        self.bounds.address_space = Some(bytes);
        self
    }

    /// CPU time of one worker in its whole life (`RLIMIT_CPU`), rounded up to seconds; at least one. At the end it gets
    /// SIGXCPU, which kills it unless it has a handler, and a second later SIGKILL. For the time of one task see
    /// [`TaskOptions::timeout`](crate::TaskOptions::timeout), together with `max_tasks_per_child(1)` for its CPU time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let limits = procpool::Limits::new().cpu_time(Duration::from_secs(3_600));
    /// # let _ = limits;
    /// ```
    pub fn cpu_time(mut self, time: Duration) -> Limits {
        self.bounds.cpu_seconds = Some(time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0)));
        self
    }

    /// Descriptors that may be open at once (`RLIMIT_NOFILE`), those of the worker included; at least 16.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = procpool::Limits::new().open_files(256);
    /// # let _ = limits;
    /// ```
    pub fn open_files(mut self, count: u64) -> Limits {
        self.bounds.open_files = Some(count);
        self
    }

    /// Bytes of the largest file that may be written (`RLIMIT_FSIZE`). Writing beyond it is SIGXFSZ, which kills the
    /// worker unless it ignores that; then it is an error.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = procpool::Limits::new().file_size(1 << 30);
    /// # let _ = limits;
    /// ```
    pub fn file_size(mut self, bytes: u64) -> Limits {
        self.bounds.file_size = Some(bytes);
        self
    }

    /// Whether a worker that crashes may leave a core dump, as large as the program's own hard limit allows. The default
    /// is no: a large one delays the news of the crash.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = procpool::Limits::new().core_dumps(true);
    /// # let _ = limits;
    /// ```
    pub fn core_dumps(mut self, allowed: bool) -> Limits {
        self.bounds.core_dumps = allowed;
        self
    }

    /// The nice value, from -20 to 19. Less than that of the program needs the right to it.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = procpool::Limits::new().nice(10);
    /// # let _ = limits;
    /// ```
    pub fn nice(mut self, nice: i32) -> Limits {
        self.bounds.nice = Some(nice);
        self
    }

    /// The CPUs on which the workers may run, by number; at least one. The default is those of the program. One that
    /// the control group of the program does not have is an error of the start.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Limits, ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn cpus() -> usize {
    ///     std::thread::available_parallelism().unwrap().get()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().limits(Limits::new().cpus([0])).build()?;
    /// assert_eq!(pool.submit(cpus, ()).result()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cpus(mut self, cpus: impl IntoIterator<Item = u32>) -> Limits {
        self.bounds.cpus = Some(cpus.into_iter().collect());
        self
    }

    /// Who is killed first when the machine runs out of memory, from -1000 (never) to 1000 (first). The default is 500,
    /// so that a worker goes before its parent. Less than that of the program needs the right to it.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = procpool::Limits::new().oom_score_adj(1_000);
    /// # let _ = limits;
    /// ```
    pub fn oom_score_adj(mut self, score: i32) -> Limits {
        self.bounds.oom_score_adj = Some(score);
        self
    }

    /// Bytes of memory that a worker and what it starts may hold, without swap, by a control group of its own; at least
    /// 4 MiB. Beyond it the kernel kills the worker, and the error says so ([`LimitHit::Memory`](crate::LimitHit::Memory)).
    ///
    /// Needs control groups that the program may make: of version 2 when it runs in a delegated group
    /// (`systemd-run --user --scope -p Delegate=yes`, most container engines), of version 1 as root.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = procpool::Limits::new().memory(512 << 20);
    /// # let _ = limits;
    /// ```
    pub fn memory(mut self, bytes: u64) -> Limits {
        self.shares.memory = Some(bytes);
        self
    }

    /// Processes and threads of a worker and what it starts, itself with its two threads included, by a control group
    /// as for [`memory`](Limits::memory); at least 4. Beyond it, starting one is an error.
    ///
    /// With either of the two, what a worker has started dies with it although it left the worker's process group
    /// (`setsid`, a daemon). If the whole program is killed, what left the group lives on.
    ///
    /// # Examples
    ///
    /// ```
    /// let limits = procpool::Limits::new().processes(32);
    /// # let _ = limits;
    /// ```
    pub fn processes(mut self, count: u64) -> Limits {
        self.shares.processes = Some(count);
        self
    }

    /// Checks what can be checked before there is a worker. Gives what each worker is told, and where its control
    /// groups are made.
    pub(crate) fn prepare(&self) -> Result<(Bounds, Option<Ground>), StartError> {
        let bounds = &self.bounds;
        let least = |name: &str, value: Option<u64>, least: u64| match value {
            Some(value) if value < least => {
                Err(StartError::invalid(format!("`{name}` is {value}: it must be at least {least}")))
            }
            _ => Ok(()),
        };
        least("address_space", bounds.address_space, 64 << 20)?;
        least("cpu_time", bounds.cpu_seconds, 1)?;
        least("open_files", bounds.open_files, 16)?;
        least("memory", self.shares.memory, 4 << 20)?;
        least("processes", self.shares.processes, 4)?;
        for (name, value, range) in
            [("nice", bounds.nice, -20..=19), ("oom_score_adj", bounds.oom_score_adj, -1000..=1000)]
        {
            if value.is_some_and(|value| !range.contains(&value)) {
                let (from, to) = range.into_inner();
                return Err(StartError::invalid(format!("`{name}` must be from {from} to {to}")));
            }
        }
        if bounds.cpus.as_ref().is_some_and(Vec::is_empty) {
            return Err(StartError::invalid(
                "`cpus` is empty: leave it out to run on all CPUs of the program",
            ));
        }
        if let Some(cpu) = bounds.cpus.iter().flatten().find(|&&cpu| !crate::sys::cpus::exists(cpu)) {
            return Err(StartError::Limits {
                message: format!("there is no CPU {cpu} for workers to run on: choose others"),
            });
        }
        let ground = match self.shares {
            Shares { memory: None, processes: None } => None,
            shares => Some(Ground::find(shares).map_err(|message| StartError::Limits { message })?),
        };
        Ok((bounds.clone(), ground))
    }
}
