//! An event that crosses processes: tasks arrive at a gate and wait until the test opens it.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a test waits for a task to arrive: a worker has to start first.
const ARRIVAL: Duration = Duration::from_secs(10);

/// Closed until [`open`](Gate::open), and removed when dropped.
///
/// The gate is a lock on a file, which the kernel gives back when its holder dies: no task waits for a test
/// that is gone. Arrivals are datagrams, so that the test waits for them instead of looking again and again.
#[derive(Debug)]
pub struct Gate {
    folder: PathBuf,
    lock: File,
    arrivals: UnixDatagram,
}

impl Gate {
    pub fn closed() -> Gate {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("gate-{}-{count}", std::process::id()));
        fs::create_dir(&folder).expect("a folder for the gate");
        let lock = File::create(folder.join("lock")).expect("a file for the gate");
        lock.lock().expect("nobody else has the lock");
        let arrivals = UnixDatagram::bind(folder.join("arrivals")).expect("a socket for the arrivals");
        arrivals.set_read_timeout(Some(ARRIVAL)).expect("a timeout that is not zero");
        Gate { folder, lock, arrivals }
    }

    /// What a task needs to find the gate.
    pub fn path(&self) -> String {
        self.folder.to_str().expect("temporary folders have plain names").to_owned()
    }

    /// Waits until a task arrives, and gives the number by which it announced itself.
    #[track_caller]
    pub fn arrived(&self) -> u64 {
        let mut number = [0; 8];
        let length = loop {
            match self.arrivals.recv(&mut number) {
                // A receive with a limit is not taken up again by itself after a signal.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                answer => break answer.expect("a task arrives in time"),
            }
        };
        assert_eq!(length, number.len());
        u64::from_le_bytes(number)
    }

    /// Lets everybody pass, now and later.
    pub fn open(&self) {
        // Not by closing the file: a worker that is being started may hold a copy of it for a moment.
        self.lock.unlock().expect("the lock is ours");
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
        // A folder that cannot be removed shows in the census, by its name.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Announces itself at the gate at `path`, and waits until it is open.
pub fn pass(path: &str, number: u64) {
    let folder = PathBuf::from(path);
    let lock = File::open(folder.join("lock")).expect("the gate of a test that still runs");
    let socket = UnixDatagram::unbound().expect("a socket");
    socket.set_nonblocking(true).expect("a flag");
    // The kernel keeps ten arrivals that nobody has looked at; nobody misses the others.
    let _ = socket.send_to(&number.to_le_bytes(), folder.join("arrivals"));
    lock.lock_shared().expect("the lock comes free");
}
