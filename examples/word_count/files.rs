//! Which files there are, and which go together.

use std::cmp::Reverse;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// Files that are counted by one task.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) paths: Vec<OsString>,
    pub(crate) bytes: u64,
}

/// Enough work that the way to a worker and back does not matter, and not so much that the last one is waited
/// for alone.
const BATCH_BYTES: u64 = 1 << 20;
/// Opening a file costs about as much as counting so many bytes.
const FILE_BYTES: u64 = 4096;

/// What was found below a directory.
#[derive(Default)]
pub(crate) struct Files {
    found: Vec<(u64, PathBuf)>,
    /// Directories that cannot be listed, with the reason.
    pub(crate) closed: Vec<String>,
}

impl Files {
    /// All plain files below `dir`. Links are not followed, so nothing is counted twice and nothing blocks.
    pub(crate) fn below(dir: &Path) -> io::Result<Files> {
        let mut files = Files::default();
        files.add(dir)?;
        Ok(files)
    }

    fn add(&mut self, dir: &Path) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_file() {
                self.found.push((entry.metadata()?.len(), path));
            } else if kind.is_dir()
                && let Err(error) = self.add(&path)
            {
                self.closed.push(format!("{}: {error}", path.display()));
            }
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// Reads everything once, so that no pass over the files is slower only for being the first.
    pub(crate) fn warm_up(&self) {
        self.found.iter().for_each(|(_, path)| drop(fs::read(path)));
    }

    /// Batches of about equal size, large files first: what starts last should be short.
    pub(crate) fn into_batches(mut self) -> Vec<Batch> {
        self.found.sort_by_key(|(size, path)| (Reverse(*size), path.clone()));
        let mut batches: Vec<Batch> = Vec::new();
        let mut room = 0;
        for (size, path) in self.found {
            let cost = size + FILE_BYTES;
            if cost > room {
                batches.push(Batch::default());
                room = BATCH_BYTES;
            }
            room = room.saturating_sub(cost);
            let batch = batches.last_mut().expect("there was no room, so a batch was made");
            batch.paths.push(path.into());
            batch.bytes += size;
        }
        batches
    }
}

/// Where cargo keeps the sources that it has fetched; where there are none, the current directory.
pub(crate) fn default_dir() -> PathBuf {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo"))).unwrap_or_default();
    let sources = home.join("registry/src");
    if sources.is_dir() {
        return sources;
    }
    println!("{} does not exist, so this counts the current directory", sources.display());
    PathBuf::from(".")
}
