//! Which lines of which files contain this text? One task per file, answers in the order of the files.
//!
//! `cargo run --example search_files [-- TEXT [DIR]]`, by default for the tasks of these examples
//!
//! In Python: `pool.starmap(search, [(text, file) for file in files])`. One file that is no text fails all of it there.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use procpool::{ProcessPoolExecutor, task};

/// Numbers and texts of the lines that contain `text`. That a file cannot be read is an answer like another.
#[task]
fn search(text: &str, file: &Path) -> Result<Vec<(usize, String)>, String> {
    let content = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let hits = content.lines().enumerate().filter(|(_, line)| line.contains(text));
    Ok(hits.map(|(index, line)| (index + 1, line.to_owned())).collect())
}

/// All files below `dir`; links are not followed.
fn files_below(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()? {
            kind if kind.is_dir() => files_below(&entry.path(), files)?,
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let text = arguments.next().unwrap_or_else(|| "#[task]".to_owned());
    let dir = arguments.next().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/examples").to_owned());

    let mut files = Vec::new();
    if let Err(error) = files_below(Path::new(&dir), &mut files) {
        eprintln!("{dir} cannot be searched: {error}");
        return Ok(ExitCode::from(2));
    }
    files.sort();

    let pool = ProcessPoolExecutor::new()?;
    let mut lines = 0;
    let questions = files.iter().map(|file| (text.as_str(), file.as_path()));
    for (file, answer) in files.iter().zip(pool.map(search, questions)) {
        let name = file.strip_prefix(&dir)?.display();
        match answer? {
            Ok(hits) => {
                hits.iter().for_each(|(number, line)| println!("{name}:{number}: {}", line.trim()));
                lines += hits.len();
            }
            Err(reason) => eprintln!("{name} was not searched: {reason}"),
        }
    }
    println!("{lines} lines in {} files contain {text:?}", files.len());
    Ok(ExitCode::SUCCESS)
}
