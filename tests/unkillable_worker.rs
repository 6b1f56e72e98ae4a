//! A worker that does not even die of SIGKILL is named, replaced, and collected when it finally dies.

mod support;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use procpool::{OnCancel, ProcessPoolExecutor, ShutdownOptions, TaskErrorKind, TaskOptions, task};
use support::{eventually, procfs};

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

#[task]
fn park() {
    loop {
        std::thread::park()
    }
}

/// A freezer of version 1 of control groups: SIGKILL has no effect on what is in it until it thaws.
struct Freezer(PathBuf);

impl Freezer {
    fn create() -> Option<Freezer> {
        let folder = PathBuf::from(format!("/sys/fs/cgroup/freezer/procpool-test-{}", std::process::id()));
        match fs::create_dir(&folder) {
            Ok(()) if folder.join("freezer.state").exists() => Some(Freezer(folder)),
            _ => {
                println!("SKIPPED: no freezer of control groups version 1 that this user may use");
                None
            }
        }
    }

    fn freeze(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).expect("a member");
        fs::write(self.0.join("freezer.state"), "FROZEN").expect("frozen");
        eventually("it is frozen", Duration::from_secs(5), || {
            fs::read_to_string(self.0.join("freezer.state")).expect("a state").trim() == "FROZEN"
        });
    }

    fn thaw(&self) {
        fs::write(self.0.join("freezer.state"), "THAWED").expect("thawed");
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        self.thaw();
        eventually("it is empty", Duration::from_secs(5), || fs::remove_dir(&self.0).is_ok());
    }
}

fn pool() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder()
        .max_workers(1)
        .stop_timeout(Duration::from_millis(300))
        .build()
        .expect("a pool")
}

support::isolated! {
    fn a_shutdown_returns_and_names_what_it_could_not_kill() {
        let Some(freezer) = Freezer::create() else { return };
        let pool = pool();
        let pid = pool.submit(own_pid, ()).result().expect("a pid");
        let endless = pool.submit(park, ());
        eventually("it runs", Duration::from_secs(5), || endless.running());
        freezer.freeze(pid);
        let began = Instant::now();
        let report = pool.shutdown_with(ShutdownOptions::new().kill(true)).wait();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(report.leaked, [pid]);
        assert!(endless.result().expect_err("it is lost").is_cancelled());
        assert!(procfs::is_alive(pid));
        freezer.thaw();
        eventually("it is collected", Duration::from_secs(2), || procfs::state(pid).is_none());
    }

    fn the_pool_works_on_with_a_replacement() {
        let Some(freezer) = Freezer::create() else { return };
        let pool = pool();
        let pid = pool.submit(own_pid, ()).result().expect("a pid");
        let options = TaskOptions::new().on_cancel(OnCancel::Kill).timeout(Duration::from_millis(100));
        let stuck = pool.with(options).submit(park, ());
        eventually("it runs", Duration::from_secs(5), || stuck.running());
        freezer.freeze(pid);
        let error = stuck.result().expect_err("it ran out of time");
        assert!(matches!(error.kind(), TaskErrorKind::TimedOut { .. }), "{error}");
        let other = pool.submit(own_pid, ()).result().expect("a replacement");
        assert_ne!(other, pid);
        freezer.thaw();
        eventually("it is collected", Duration::from_secs(2), || procfs::state(pid).is_none());
        assert_eq!(pool.submit(own_pid, ()).result().expect("the same"), other);
        assert!(pool.shutdown(true).wait().leaked.is_empty());
    }
}
