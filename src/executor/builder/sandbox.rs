//! Workers that can do less than this program.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::error::{Protection, StartError};
use crate::launch::{self, Worker};
use crate::sys::sandbox::{Enforced, Policy};
use crate::wire::hello::Confinement;
use crate::worker;

use super::{Builder, check_nesting_and_tasks, check_process};

/// Bytes of all paths of a sandbox, at most: they travel in the message that starts a worker.
const PATHS_MAX: usize = 16 << 10;

/// What the workers of a pool may do beyond computing: nothing, but what is allowed here.
///
/// **A process is a crash boundary. It is a security boundary only with a sandbox**: without one, hostile code in a
/// task (a decoder that was taken over by the file it decodes) can do whatever the user who runs the program can do.
/// With [`Sandbox::required`], it has the value it was given, the memory and the CPU, and can return a wrong value.
///
/// A worker confines itself by landlock and seccomp for good, before any code of the program runs in it and
/// before it has a second thread. Unless allowed, it has
///
/// * **no files**, neither to read nor to write nor to list, but `/dev/null`, `/dev/zero`, `/dev/random`,
///   `/dev/urandom`, the file of this program, and from `/proc/self` the files `maps`, `stat`, `statm` and `status`.
///   Modes, owners, times and attributes of files cannot be changed, also of those that are allowed;
/// * **no network and no sockets** but pairs without a name;
/// * **no programs and no processes** of its own; threads are fine;
/// * **no other processes**: no signals to them (but to its own process group), no tracing, no reading or writing of
///   their memory, no changing of their limits or priorities;
/// * **no privileges**: no capabilities, also for root, and no way to new ones;
/// * **few system calls**: no io_uring, bpf, mounts, namespaces, keys, System V or POSIX message queues, nor any that
///   this crate does not know.
///
/// Descriptors that it inherited by accident are closed, all but standard output and error.
///
/// An attempt fails in the task with an error of the system (`EACCES`, `EPERM`, `ENOSYS`), which harmless code can
/// handle. Calls that no harmless code makes (tracing, mounting, reading another process) kill the worker: the task
/// ends with [`WorkerDied`](crate::TaskErrorKind::WorkerDied) by SIGSYS. The initializer of the pool is confined as
/// well.
///
/// # What it does not protect from
///
/// * Faults of the kernel, and side channels (time, caches, speculation).
/// * Use of memory, CPU or, with [`write`](Sandbox::write), of the disk: set limits and timeouts.
/// * What the worker has anyway: its environment (see [`env_clear`](Builder::env_clear)), standard output and error,
///   which may be a terminal, and what earlier tasks left in its memory (see
///   [`max_tasks_per_child`](Builder::max_tasks_per_child)).
/// * A look from outside at files: whether a path exists, its size, owner and times (`stat`) can be asked of any path.
/// * Process numbers, host name, user and kernel version are visible: there are no namespaces.
/// * Results that are wrong. What comes back is checked for its form, and is what a hostile task likes it to be.
/// * With [`execute`](Sandbox::execute): the programs have the same limits, but what they do is up to whoever started
///   them. With [`network`](Sandbox::network): any address that this machine can reach, itself included.
///
/// # What harmless code may miss
///
/// Time zones and locales (`.read("/usr/share/zoneinfo")`, `.read("/etc/localtime")`), name resolution (`/etc/hosts`,
/// `/etc/resolv.conf`), certificates, libraries that are loaded late (`dlopen`, NSS), `std::fs::copy` and
/// `set_permissions` (modes cannot be changed), symbolic links and fifos (cannot be made), pools inside of tasks.
///
/// # Examples
///
/// ```
/// use procpool::{ProcessPoolExecutor, Sandbox, task};
///
/// #[task]
/// fn first_line(path: &str) -> Result<String, String> {
///     let text = std::fs::read_to_string(path).map_err(|error| error.kind().to_string())?;
///     Ok(text.lines().next().unwrap_or_default().to_owned())
/// }
///
/// let sandbox = Sandbox::best_effort().read("/usr");
/// if sandbox.probe()?.is_complete() {
///     let pool = ProcessPoolExecutor::builder().sandbox(sandbox).build()?;
///     let refused = pool.submit(first_line, "/etc/passwd").result()?;
///     assert_eq!(refused, Err("permission denied".to_owned()));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a sandbox does nothing until it is given to a builder"]
pub struct Sandbox {
    policy: Policy,
    /// The first mistake that was made, told by `build` and `probe`.
    mistake: Option<String>,
}

impl Sandbox {
    /// All of it, or no pool: if the system cannot enforce a part of this sandbox,
    /// [`build`](Builder::build) fails with [`StartError::Sandbox`], and so does a worker that finds itself unable
    /// later.
    ///
    /// It needs Linux 6.2, or 6.12 with [`execute`](Sandbox::execute), with landlock and seccomp, and `/proc`.
    /// It is tested on x86-64; the tables for aarch64 and riscv64 are untested, and others do not compile.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, Sandbox, StartError, task};
    ///
    /// #[task]
    /// fn add(a: u32, b: u32) -> u32 {
    ///     a + b
    /// }
    ///
    /// match ProcessPoolExecutor::builder().sandbox(Sandbox::required()).build() {
    ///     Ok(pool) => assert_eq!(pool.submit(add, (1, 2)).result()?, 3),
    ///     Err(StartError::Sandbox { message, .. }) => println!("not on this system: {message}"),
    ///     Err(other) => return Err(other.into()),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn required() -> Sandbox {
        Sandbox { policy: Policy { required: true, ..Policy::default() }, mistake: None }
    }

    /// As much of it as the system can enforce, even if that is nothing. [`probe`](Sandbox::probe) tells how much
    /// that is.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::Sandbox;
    ///
    /// for (protection, why) in Sandbox::best_effort().probe()?.missing() {
    ///     println!("no protection of {protection}: {why}");
    /// }
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn best_effort() -> Sandbox {
        Sandbox { policy: Policy::default(), mistake: None }
    }

    /// Allows to read a file, or everything below a directory. A relative path is taken from the current directory
    /// of this process, now. One that is not there when a worker starts is a [`StartError::Sandbox`].
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, Sandbox, task};
    ///
    /// #[task]
    /// fn entries(path: &str) -> usize {
    ///     std::fs::read_dir(path).map_or(0, Iterator::count)
    /// }
    ///
    /// let sandbox = Sandbox::best_effort().read("/etc");
    /// let pool = ProcessPoolExecutor::builder().sandbox(sandbox).build()?;
    /// assert!(pool.submit(entries, "/etc").result()? > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(mut self, path: impl AsRef<Path>) -> Sandbox {
        let path = self.absolute(path.as_ref());
        self.policy.read.extend(path);
        self
    }

    /// Allows to read and write a file, or to read, write, make, rename and remove regular files and directories below
    /// a directory. For the path, see [`read`](Sandbox::read).
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, Sandbox, task};
    ///
    /// #[task]
    /// fn keep(path: &str, text: &str) -> Result<(), String> {
    ///     std::fs::write(path, text).map_err(|error| error.to_string())
    /// }
    ///
    /// let dir = std::env::temp_dir().join(format!("procpool-example-{}", std::process::id()));
    /// std::fs::create_dir(&dir)?;
    /// let file = dir.join("note");
    /// let pool = ProcessPoolExecutor::builder().sandbox(Sandbox::best_effort().write(&dir)).build()?;
    /// pool.submit(keep, (file.to_str().unwrap(), "kept")).result()??;
    /// assert_eq!(std::fs::read_to_string(&file)?, "kept");
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write(mut self, path: impl AsRef<Path>) -> Sandbox {
        let path = self.absolute(path.as_ref());
        self.policy.write.extend(path);
        self
    }

    /// Allows to start a program, or all below a directory, and to read them. They have the same sandbox, stay in the
    /// process group of the worker (`setsid` and `setpgid` are refused), and die with it.
    ///
    /// A program that is linked dynamically also needs its loader and its libraries, which is most often `/usr` (and
    /// `/lib` and `/lib64`, where these are no links into it). For the path, see [`read`](Sandbox::read).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::process::Command;
    /// use procpool::{ProcessPoolExecutor, Sandbox, task};
    ///
    /// #[task]
    /// fn run(program: &str) -> Result<bool, String> {
    ///     Command::new(program).status().map(|status| status.success()).map_err(|error| error.to_string())
    /// }
    ///
    /// let mut sandbox = Sandbox::best_effort();
    /// for dir in ["/usr", "/bin", "/lib", "/lib64"] {
    ///     if std::path::Path::new(dir).exists() {
    ///         sandbox = sandbox.execute(dir);
    ///     }
    /// }
    /// let pool = ProcessPoolExecutor::builder().sandbox(sandbox).build()?;
    /// assert_eq!(pool.submit(run, "/bin/true").result()?, Ok(true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn execute(mut self, path: impl AsRef<Path>) -> Sandbox {
        let path = self.absolute(path.as_ref());
        self.policy.execute.extend(path);
        self
    }

    /// Allows TCP and UDP over IPv4 and IPv6, to and from any address. The default is `false`. Local sockets that
    /// have a name and raw ones stay denied. Names are resolved by files that must be allowed:
    /// `.read("/etc")` is enough for most.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::{TcpListener, TcpStream};
    /// use procpool::{ProcessPoolExecutor, Sandbox, task};
    ///
    /// #[task]
    /// fn knock(port: u16) -> bool {
    ///     TcpStream::connect(("127.0.0.1", port)).is_ok()
    /// }
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let port = listener.local_addr()?.port();
    /// let sandbox = Sandbox::best_effort().network(true);
    /// let pool = ProcessPoolExecutor::builder().sandbox(sandbox).build()?;
    /// assert!(pool.submit(knock, port).result()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn network(mut self, allowed: bool) -> Sandbox {
        self.policy.network = allowed;
        self
    }

    /// Tries it in a process that is thrown away, and tells what was enforced. Blocks for as long as the start of a
    /// worker takes, at most 10 s.
    ///
    /// # Errors
    ///
    /// [`StartError`]: no worker can be started, a path is not there, or the sandbox is
    /// [`required`](Sandbox::required) and cannot be enforced.
    ///
    /// # Examples
    ///
    /// ```
    /// let report = procpool::Sandbox::best_effort().probe()?;
    /// println!("{report}");
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn probe(&self) -> Result<SandboxReport, StartError> {
        check_process()?;
        check_nesting_and_tasks()?;
        let worker = Worker { depth: worker::place::here().depth, ..Worker::default() };
        let worker = Worker { sandbox: Some(self.confinement(true)?), ..worker };
        self.judge(&worker, Duration::from_secs(10))
    }

    /// Gives the workers of a pool this sandbox, if it can be enforced.
    pub(super) fn confine(&self, worker: Worker, limit: Duration) -> Result<Worker, StartError> {
        let probe = Worker { sandbox: Some(self.confinement(true)?), ..worker };
        self.judge(&probe, limit)?;
        Ok(Worker { sandbox: Some(self.confinement(false)?), ..probe })
    }

    fn judge(&self, probe: &Worker, limit: Duration) -> Result<SandboxReport, StartError> {
        let report = SandboxReport(launch::probe(probe, limit)?);
        if self.policy.required && !report.is_complete() {
            return Err(StartError::Sandbox { message: report.told() });
        }
        Ok(report)
    }

    fn confinement(&self, probe: bool) -> Result<Confinement, StartError> {
        let Policy { read, write, execute, .. } = &self.policy;
        let bytes: usize = [read, write, execute].into_iter().flatten().map(|path| path.len()).sum();
        match &self.mistake {
            Some(message) => Err(StartError::invalid(message)),
            None if bytes > PATHS_MAX => Err(StartError::invalid(format!(
                "the paths of the sandbox have {bytes} bytes, over the limit of {PATHS_MAX}: name directories instead"
            ))),
            None => Ok(Confinement { policy: self.policy.clone(), probe }),
        }
    }

    fn absolute(&mut self, path: &Path) -> Option<OsString> {
        match std::path::absolute(path) {
            Ok(path) => Some(path.into_os_string()),
            Err(error) => {
                self.mistake.get_or_insert(format!("{path:?} is no path for a sandbox: {error}"));
                None
            }
        }
    }
}

/// What of a sandbox this system enforces: see [`Sandbox::probe`].
///
/// # Examples
///
/// ```
/// use procpool::{Protection, Sandbox};
///
/// let report = Sandbox::best_effort().probe()?;
/// assert_eq!(report.is_complete(), report.missing().count() == 0);
/// assert!(report.enforces(Protection::Files) || report.missing().any(|(what, _)| what == Protection::Files));
/// # Ok::<(), procpool::StartError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SandboxReport(Enforced);

impl SandboxReport {
    /// Whether all is enforced, so that [`Sandbox::required`] would succeed.
    ///
    /// # Examples
    ///
    /// ```
    /// let report = procpool::Sandbox::best_effort().probe()?;
    /// println!("hostile input is {}", if report.is_complete() { "fine" } else { "refused" });
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn is_complete(&self) -> bool {
        self.0.gaps.is_empty()
    }

    /// Whether one kind of thing is protected as the sandbox says.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Protection, Sandbox};
    ///
    /// let report = Sandbox::best_effort().probe()?;
    /// println!("the network is out of reach: {}", report.enforces(Protection::Network));
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn enforces(&self, protection: Protection) -> bool {
        self.0.gaps.iter().all(|gap| gap.protection != protection)
    }

    /// What is not protected, and why. There may be several reasons for one.
    ///
    /// # Examples
    ///
    /// ```
    /// for (protection, why) in procpool::Sandbox::best_effort().probe()?.missing() {
    ///     println!("no protection of {protection}: {why}");
    /// }
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn missing(&self) -> impl Iterator<Item = (Protection, &str)> {
        self.0.gaps.iter().map(|gap| (gap.protection, gap.message.as_str()))
    }

    /// The version of landlock that is at work, as far as it is known here (9 at most); `None` for none.
    ///
    /// # Examples
    ///
    /// ```
    /// let report = procpool::Sandbox::best_effort().probe()?;
    /// println!("landlock: {:?}", report.landlock_version());
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn landlock_version(&self) -> Option<u32> {
        (self.0.landlock > 0).then_some(self.0.landlock)
    }

    fn told(&self) -> String {
        let told = self.missing().map(|(protection, why)| format!("no protection of {protection}: {why}"));
        told.collect::<Vec<_>>().join("; ")
    }
}

impl fmt::Display for SandboxReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            f.write_str("all of the sandbox is enforced")
        } else {
            f.write_str(&self.told())
        }
    }
}

impl Builder {
    /// Confines the workers: see [`Sandbox`]. The default is no sandbox: a worker can do what this program can do.
    ///
    /// [`build`](Builder::build) then starts one process that tries it and is thrown away. The environment is not part
    /// of a sandbox: workers have that of this process unless [`env_clear`](Builder::env_clear) takes away
    /// what a hostile task should not see.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{ProcessPoolExecutor, Sandbox, task};
    ///
    /// #[task]
    /// fn length(text: &str) -> usize {
    ///     text.len()
    /// }
    ///
    /// let pool = ProcessPoolExecutor::builder().sandbox(Sandbox::best_effort()).env_clear().build()?;
    /// assert_eq!(pool.submit(length, "untrusted").result()?, 9);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sandbox(mut self, sandbox: Sandbox) -> Builder {
        self.sandbox = Some(sandbox);
        self
    }
}
