//! A file in which tasks record themselves, so that "ran once" is read from what ran and not from what was told.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::family;

/// id, time, pid, event: 8 + 8 + 4 + 4 bytes, and as many as make a page of the file hold whole records.
const RECORD: usize = 32;

/// The file, removed when this is dropped.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
}

/// What a task records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first thing that its body does.
    Started,
    /// The last thing that its body does.
    Finished,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The number that the test gave to the task.
    pub id: u64,
    /// What it recorded.
    pub event: Event,
    /// The process in which it ran.
    pub pid: u32,
    /// When, on the monotonic clock that all processes share.
    pub at: Duration,
}

impl Ledger {
    /// A new and empty one.
    pub fn create() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let owner = family::tag().unwrap_or_else(|| "untagged".to_owned());
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("ledger-{owner}-{}-{count}", std::process::id()));
        fs::create_dir(&folder).expect("a folder for the ledger");
        let ledger = Self { folder };
        fs::write(ledger.file(), []).expect("a file for the ledger");
        ledger
    }

    /// What a task needs to record itself.
    pub fn path(&self) -> String {
        self.file().into_os_string().into_string().expect("temporary folders have plain names")
    }

    /// Records with one write at the end of the file, so that records of many processes never mix. A ledger that
    /// is gone belongs to a test that is over, and whoever still runs then must not go on.
    pub fn record(path: &str, id: u64, event: Event) {
        let now = clock_gettime(ClockId::Monotonic);
        let now = Duration::try_from(now).expect("the monotonic clock is never negative");
        let nanos = u64::try_from(now.as_nanos()).expect("five hundred years of nanoseconds");
        let mut record = Vec::with_capacity(RECORD);
        record.extend(id.to_le_bytes());
        record.extend(nanos.to_le_bytes());
        record.extend(std::process::id().to_le_bytes());
        record.extend(event.code().to_le_bytes());
        record.resize(RECORD, 0);
        let mut file =
            OpenOptions::new().append(true).open(path).expect("the ledger of a test that still runs");
        let written = file.write(&record).expect("room for a record");
        assert_eq!(written, RECORD, "a record was torn");
    }

    /// All records in the order in which they were written.
    pub fn entries(&self) -> Vec<Entry> {
        let bytes = fs::read(self.file()).expect("the ledger exists until it is dropped");
        assert_eq!(bytes.len() % RECORD, 0, "the ledger has a torn record");
        bytes.chunks_exact(RECORD).map(decode).collect()
    }

    /// How often this task started.
    pub fn starts(&self, id: u64) -> usize {
        self.count(id, Event::Started)
    }

    /// The process that was the first to start this task.
    #[track_caller]
    pub fn worker_of(&self, id: u64) -> u32 {
        let entries = self.entries();
        let start = entries.iter().find(|entry| entry.id == id && entry.event == Event::Started);
        start.unwrap_or_else(|| panic!("task {id} has not started")).pid
    }

    /// How often this task finished.
    pub fn finishes(&self, id: u64) -> usize {
        self.count(id, Event::Finished)
    }

    /// Fails unless each of these tasks started once and finished once.
    #[track_caller]
    pub fn assert_ran_exactly_once(&self, ids: impl IntoIterator<Item = u64>) {
        let entries = self.entries();
        let count = |id, event| entries.iter().filter(|entry| entry.id == id && entry.event == event).count();
        let wrong: Vec<String> = ids
            .into_iter()
            .map(|id| (id, count(id, Event::Started), count(id, Event::Finished)))
            .filter(|(_, starts, finishes)| (*starts, *finishes) != (1, 1))
            .map(|(id, starts, finishes)| format!("task {id}: {starts} starts, {finishes} finishes"))
            .collect();
        assert!(wrong.is_empty(), "did not run exactly once:\n  {}", wrong.join("\n  "));
    }

    /// Fails if this task left any record.
    #[track_caller]
    pub fn assert_never_ran(&self, id: u64) {
        let found: Vec<Entry> = self.entries().into_iter().filter(|entry| entry.id == id).collect();
        assert!(found.is_empty(), "task {id} should never have run: {found:?}");
    }

    fn count(&self, id: u64, event: Event) -> usize {
        self.entries().iter().filter(|entry| entry.id == id && entry.event == event).count()
    }

    fn file(&self) -> PathBuf {
        self.folder.join("records")
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // A folder that cannot be removed shows in the census, by its name.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Event {
    fn code(self) -> u32 {
        match self {
            Event::Started => 1,
            Event::Finished => 2,
        }
    }
}

fn decode(record: &[u8]) -> Entry {
    let wide = |from: usize| u64::from_le_bytes(record[from..from + 8].try_into().expect("eight bytes"));
    let narrow = |from: usize| u32::from_le_bytes(record[from..from + 4].try_into().expect("four bytes"));
    let event = match narrow(20) {
        1 => Event::Started,
        2 => Event::Finished,
        code => panic!("the ledger has an unknown event {code}"),
    };
    Entry { id: wide(0), event, pid: narrow(16), at: Duration::from_nanos(wide(8)) }
}
