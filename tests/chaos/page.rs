//! What bodies did, told by themselves: two counters per task, in memory that all processes share.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap};

/// Tasks of one round, at most.
pub(crate) const CAPACITY: usize = 400_000;

pub(crate) struct Page {
    base: *const AtomicU8,
}

// SAFETY: the memory holds atomics only, and stays mapped for the life of the process.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    fn map(file: &File) -> Page {
        // SAFETY: a fresh shared mapping of a file that was sized before it was passed on, and is never cut.
        let base = unsafe {
            mmap(
                std::ptr::null_mut(),
                2 * CAPACITY,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                file,
                0,
            )
        };
        Page { base: base.expect("a mapping").cast() }
    }

    fn at(&self, index: usize) -> &AtomicU8 {
        assert!(index < 2 * CAPACITY);
        // SAFETY: within the mapping, whose bytes are atomics to everybody.
        unsafe { &*self.base.add(index) }
    }

    pub(crate) fn started(&self, id: u32) {
        self.at(2 * id as usize).fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn finished(&self, id: u32) {
        self.at(2 * id as usize + 1).fetch_add(1, Ordering::SeqCst);
    }

    /// How often the body of a task has started and ended.
    pub(crate) fn read(&self, id: u32) -> (u8, u8) {
        (self.at(2 * id as usize).load(Ordering::SeqCst), self.at(2 * id as usize + 1).load(Ordering::SeqCst))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // SAFETY: mapped in `map` with this size, and nobody borrows from it any more.
        let _ = unsafe { rustix::mm::munmap(self.base.cast_mut().cast(), 2 * CAPACITY) };
    }
}

/// The page of a round, in the parent. Its name is gone when this is dropped.
pub(crate) struct Owned {
    pub(crate) path: PathBuf,
    pub(crate) page: Page,
}

impl Owned {
    pub(crate) fn create() -> Owned {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("scratch-chaos-{}-{number}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).expect("a file");
        file.set_len(2 * CAPACITY as u64).expect("a size");
        Owned { path, page: Page::map(&file) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// The page in a worker, which has one in its life.
pub(crate) fn of_this_worker(path: &str) -> &'static Page {
    static PAGE: std::sync::OnceLock<Page> = std::sync::OnceLock::new();
    PAGE.get_or_init(|| Page::map(&File::options().read(true).write(true).open(path).expect("the page")))
}
