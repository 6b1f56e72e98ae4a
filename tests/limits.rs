//! A worker is kept within its limits, what it died of is named, and a limit that cannot be kept is an error.

mod support;

use std::fs;
use std::time::Duration;

use procpool::{ExitCause, LimitHit, Limits, ProcessPoolExecutor, StartError, TaskError, task};
use support::{Signal, eventually, hog};

#[task]
fn work() -> u32 {
    std::process::id()
}

#[task]
fn spin() {
    loop {
        std::hint::spin_loop()
    }
}

/// Takes memory and touches it.
#[task]
fn allocate(bytes: usize) -> usize {
    let mut memory: Vec<u8> = Vec::new();
    if memory.try_reserve_exact(bytes).is_err() {
        return 0;
    }
    memory.resize(bytes, 1);
    memory.len()
}

#[task]
fn open(count: usize) -> usize {
    let files: Vec<_> = (0..count).map_while(|_| fs::File::open("/dev/null").ok()).collect();
    files.len()
}

#[task]
fn write(bytes: usize) -> usize {
    let path = std::env::temp_dir().join(format!("scratch-limit-{}", std::process::id()));
    // Before it may be killed, its name is gone.
    let file = fs::File::create(&path).expect("a file");
    fs::remove_file(&path).expect("removed");
    std::io::Write::write(&mut &file, &vec![7; bytes]).expect("written")
}

#[task]
fn start_threads(count: usize) -> usize {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(receiver));
    let threads: Vec<_> = (0..count)
        .map_while(|_| {
            let receiver = std::sync::Arc::clone(&receiver);
            let wait = move || drop(receiver.lock().map(|receiver| receiver.recv()));
            std::thread::Builder::new().stack_size(64 << 10).spawn(wait).ok()
        })
        .collect();
    drop(sender);
    let started = threads.len();
    threads.into_iter().for_each(|thread| thread.join().expect("joined"));
    started
}

#[task]
fn state(field: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":"));
    Some(line?.trim().to_owned())
}

#[task]
fn nice_and_oom() -> (String, String) {
    let stat = fs::read_to_string("/proc/self/stat").expect("stat");
    let after = stat.rsplit(')').next().expect("fields");
    let nice = after.split_whitespace().nth(16).expect("nice").to_owned();
    (nice, fs::read_to_string("/proc/self/oom_score_adj").expect("a score").trim().to_owned())
}

fn pool(limits: Limits) -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(1).limits(limits).build().expect("a pool")
}

/// What a pool of one worker lost, after which it goes on.
fn lost(pool: &ProcessPoolExecutor, run: impl FnOnce(&ProcessPoolExecutor) -> TaskError) -> TaskError {
    let before = pool.submit(work, ()).result().expect("a pid");
    let error = run(pool);
    assert_ne!(pool.submit(work, ()).result().expect("the pool goes on"), before);
    error
}

fn start_error(limits: Limits) -> StartError {
    match ProcessPoolExecutor::builder().max_workers(1).limits(limits).build() {
        Err(error) => error,
        Ok(pool) => pool.warm_up().wait().expect_err("it cannot start"),
    }
}

/// The leaves of control groups that this process has made.
fn leaves() -> Vec<String> {
    let name = format!("procpool-{}-", std::process::id());
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut found = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next().unwrap_or(""), fields.next().unwrap_or(""));
        for root in [format!("/sys/fs/cgroup/{controllers}{path}"), format!("/sys/fs/cgroup{path}")] {
            for entry in fs::read_dir(root).into_iter().flatten().flatten() {
                let entry = entry.file_name().to_string_lossy().into_owned();
                if entry.starts_with(&name) {
                    found.push(entry);
                }
            }
        }
    }
    found
}

/// A pool with control groups of its own, or why there is none.
fn grouped(limits: Limits) -> Option<ProcessPoolExecutor> {
    match ProcessPoolExecutor::builder().max_workers(1).limits(limits).build() {
        Ok(pool) => Some(pool),
        Err(StartError::Limits { message, .. }) => {
            println!("SKIPPED: {message}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

support::isolated! {
    fn cpu_time_ends_with_its_signal() {
        let pool = pool(Limits::new().cpu_time(Duration::from_millis(10)));
        let _busy = hog();
        let error = lost(&pool, |pool| pool.submit(spin, ()).result().expect_err("killed"));
        let exit = error.exit().expect("an exit");
        assert!(matches!(exit.cause(), ExitCause::Signal { number: libc::SIGXCPU, .. }), "{error}");
        assert_eq!(exit.limit(), Some(LimitHit::CpuTime));
        assert!(error.to_string().contains("raise `Limits::cpu_time`"), "{error}");
        pool.shutdown(true).wait();
    }

    fn file_size_ends_with_its_signal() {
        let pool = pool(Limits::new().file_size(10_000));
        assert_eq!(pool.submit(write, 10_000).result().expect("within the bound"), 10_000);
        let error = lost(&pool, |pool| {
            assert_eq!(pool.submit(write, 20_000).result().expect("the part that fits"), 10_000);
            pool.submit(write_all, 20_000).result().expect_err("killed")
        });
        assert_eq!(error.exit().expect("an exit").limit(), Some(LimitHit::FileSize));
        pool.shutdown(true).wait();
    }

    fn address_space_is_refused_to_the_task() {
        let pool = pool(Limits::new().address_space(1 << 30));
        assert_eq!(pool.submit(allocate, 100 << 20).result().expect("within the bound"), 100 << 20);
        assert_eq!(pool.submit(allocate, 2 << 30).result().expect("refused, not killed"), 0);
        pool.shutdown(true).wait();
    }

    fn open_files_are_refused_to_the_task() {
        let pool = pool(Limits::new().open_files(32));
        let opened = pool.submit(open, 100).result().expect("a count");
        assert!((16..32).contains(&opened), "{opened}");
        assert_eq!(pool.submit(open, 5).result().expect("a count"), 5);
        pool.shutdown(true).wait();
    }

    fn the_lowest_bounds_still_hold_a_worker() {
        let limits = Limits::new().open_files(16).address_space(64 << 20).cpu_time(Duration::from_secs(1));
        let pool = pool(limits);
        for _ in 0..50 {
            pool.submit(work, ()).result().expect("a value");
        }
        pool.shutdown(true).wait();
    }

    fn priorities_and_places_are_set() {
        let pool = pool(Limits::new().nice(7).oom_score_adj(900).cpus([0]));
        let (nice, oom) = pool.submit(nice_and_oom, ()).result().expect("a value");
        assert_eq!((nice.as_str(), oom.as_str()), ("7", "900"));
        assert_eq!(pool.submit(state, "Cpus_allowed_list").result().expect("a value").as_deref(), Some("0"));
        pool.shutdown(true).wait();
        let usual = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        assert_eq!(usual.submit(nice_and_oom, ()).result().expect("a value").1, "500");
        usual.shutdown(true).wait();
    }

    fn core_dumps_are_off_unless_asked_for() {
        let limit_of = |limits| {
            let pool = pool(limits);
            pool.submit(core_limit, ()).result().expect("a value")
        };
        let hard = rustix::process::getrlimit(rustix::process::Resource::Core).maximum;
        // A byte, which is less than any dump has, and tells the kernel to send none through a pipe either.
        assert_eq!(limit_of(Limits::new()), Some(hard.map_or(1, |hard| hard.min(1))));
        assert_eq!(limit_of(Limits::new().core_dumps(true)), hard);
    }

    fn memory_beyond_the_bound_is_named() {
        let Some(pool) = grouped(Limits::new().memory(48 << 20)) else { return };
        assert_eq!(pool.submit(allocate, 8 << 20).result().expect("within the bound"), 8 << 20);
        let error = lost(&pool, |pool| pool.submit(allocate, 200 << 20).result().expect_err("killed"));
        let exit = error.exit().expect("an exit");
        assert!(matches!(exit.cause(), ExitCause::Signal { number: libc::SIGKILL, .. }), "{error}");
        assert_eq!((exit.oom(), exit.limit()), (Some(true), Some(LimitHit::Memory)), "{error}");
        let killed = lost(&pool, |pool| {
            let future = pool.submit(spin, ());
            eventually("it runs", Duration::from_secs(5), || future.running());
            support::kill(pool.worker_pids()[0], Signal::KILL);
            future.result().expect_err("killed by hand")
        });
        assert_eq!(killed.exit().expect("an exit").limit(), None, "that was not the memory: {killed}");
        pool.shutdown(true).wait();
        assert_eq!(leaves(), Vec::<String>::new());
    }

    fn processes_beyond_the_bound_are_refused_to_the_task() {
        let Some(pool) = grouped(Limits::new().processes(10)) else { return };
        let started = pool.submit(start_threads, 50).result().expect("a count");
        assert!((5..=8).contains(&started), "{started} beside the worker and its vigil");
        drop(pool);
        eventually("no group is left", Duration::from_secs(2), || leaves().is_empty());
    }

    fn groups_go_with_their_workers_however_they_end() {
        let Some(pool) = grouped(Limits::new().memory(256 << 20).processes(20)) else { return };
        for _ in 0..5 {
            pool.submit(work, ()).result().expect("a value");
            assert_eq!(leaves().len(), 2, "one for memory, one for processes: {:?}", leaves());
            let pid = pool.worker_pids()[0];
            support::kill(pid, Signal::KILL);
            eventually("it is replaced on demand", Duration::from_secs(5), || {
                pool.submit(work, ()).result().is_ok_and(|other| other != pid)
            });
        }
        pool.shutdown(true).wait();
        assert_eq!(leaves(), Vec::<String>::new());
    }

    fn what_cannot_be_kept_is_an_error() {
        let message = |limits| match start_error(limits) {
            StartError::Limits { message, .. } | StartError::Invalid { message, .. } => message,
            other => panic!("{other:?}"),
        };
        assert!(message(Limits::new().cpus([100_000])).contains("no CPU 100000"));
        assert!(message(Limits::new().cpus([])).contains("`cpus` is empty"));
        let for_ever = ProcessPoolExecutor::builder().limits(Limits::new().cpu_time(Duration::MAX)).build();
        for_ever.expect("a pool").submit(work, ()).result().expect("no bound in practice");
        assert!(message(Limits::new().open_files(3)).contains("`open_files` is 3: it must be at least 16"));
        assert!(message(Limits::new().nice(77)).contains("`nice` must be from -20 to 19"));
        assert!(message(Limits::new().oom_score_adj(-2000)).contains("oom_score_adj"));
        assert!(message(Limits::new().cpu_time(Duration::ZERO)).contains("cpu_time"));
        assert!(message(Limits::new().memory(1)).contains("`memory` is 1"));
        assert!(message(Limits::new().processes(1)).contains("`processes` is 1"));
        assert!(message(Limits::new().address_space(1)).contains("address_space"));
        // More than the kernel has: refused in the worker, told by the pool.
        assert!(message(Limits::new().open_files(u64::MAX - 1)).contains("the system refuses `open_files`"));
    }
}

#[task]
fn write_all(bytes: usize) {
    let path = std::env::temp_dir().join(format!("scratch-limit-{}", std::process::id()));
    let mut file = fs::File::create(&path).expect("a file");
    fs::remove_file(&path).expect("removed");
    std::io::Write::write_all(&mut file, &vec![7; bytes]).expect("killed before");
}

#[task]
fn core_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Core).current
}
