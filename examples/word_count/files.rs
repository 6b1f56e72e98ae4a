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

/// Enough work that the way to a worker and back matters little, and not so much that the last is waited for.
const BATCH_BYTES: u64 = 1 << 20;
/// Opening a file costs about as much as counting so many bytes.
const FILE_BYTES: u64 = 4096;

/// Adds the sizes and paths of all plain files below `dir`, and to `closed` the directories that cannot be
/// listed. Links are not followed, so nothing is counted twice and nothing blocks.
pub(crate) fn find(dir: &Path, files: &mut Vec<(u64, PathBuf)>, closed: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_file() {
            files.push((entry.metadata().map_or(0, |data| data.len()), path));
        } else if kind.is_dir()
            && let Err(error) = find(&path, files, closed)
        {
            closed.push(format!("{}: {error}", path.display()));
        }
    }
    Ok(())
}

/// Batches of about equal size, large files first: what starts last should be short.
pub(crate) fn batches(mut files: Vec<(u64, PathBuf)>) -> Vec<Batch> {
    files.sort_by_cached_key(|(size, path)| (Reverse(*size), path.clone()));
    let mut batches: Vec<Batch> = Vec::new();
    let mut room = 0;
    for (size, path) in files {
        let cost = size + FILE_BYTES;
        if cost > room {
            batches.push(Batch::default());
            room = BATCH_BYTES;
        }
        room = room.saturating_sub(cost);
        let batch = batches.last_mut().expect("without a batch there is no room");
        batch.paths.push(path.into());
        batch.bytes += size;
    }
    batches
}

/// Where cargo keeps the sources that it has fetched; where there are none, the current directory.
pub(crate) fn default_dir() -> PathBuf {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo"))).unwrap_or_default();
    let sources = home.join("registry/src");
    if sources.is_dir() {
        return sources;
    }
    println!("{} does not exist: counting the current directory instead\n", sources.display());
    PathBuf::from(".")
}
