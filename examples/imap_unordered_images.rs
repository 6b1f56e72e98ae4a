//! Thumbnails of pictures, reported as they are done: a bad picture costs itself.
//!
//! `cargo run --release --example imap_unordered_images`
//!
//! In Python: `for name, size in pool.imap_unordered(make_thumbnail, files)`, with Pillow. The first error ends that loop;
//! here each picture has its own `Result`. To do it to your own pictures, see `blur_images`.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

use image::{GrayImage, ImageError, Luma};
use procpool::{Pool, task};

/// The size that it has then.
#[task]
fn make_thumbnail(picture: &Path, side: u32) -> Result<(String, u32, u32), String> {
    let name = picture.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let small = image::open(picture).map_err(|error| format!("{name}: {error}"))?.thumbnail(side, side);
    let target = picture.with_extension("thumbnail.png");
    small.save(target).map_err(|error| format!("{name}: {error}"))?;
    Ok((name, small.width(), small.height()))
}

/// Stripes, in pictures that are wider from one to the next, and a file that is no picture.
fn make_pictures(dir: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let mut files = Vec::new();
    for number in 1..=6 {
        let file = dir.join(format!("stripes-{number}.png"));
        GrayImage::from_fn(number * 100, 100, |x, _| Luma([(x % 16 * 16) as u8])).save(&file)?;
        files.push(file);
    }
    files.push(dir.join("broken.png"));
    fs::write(dir.join("broken.png"), "this is no picture")?;
    Ok(files)
}

fn make_thumbnails(dir: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let files = make_pictures(dir)?;
    let pool = Pool::new()?;
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for outcome in pool.imap_unordered(make_thumbnail, files.iter().map(|file| (file.as_path(), 60))) {
        // That the process has died is one more reason to fail.
        match outcome.map_err(|error| error.to_string()).flatten() {
            Ok(thumbnail) => done.push(thumbnail),
            Err(reason) => failed.push(reason),
        }
        eprintln!("{} of {}", done.len() + failed.len(), files.len());
    }
    done.sort();
    done.iter().for_each(|(name, width, height)| println!("{name}: {width} × {height}"));
    failed.iter().for_each(|reason| println!("failed: {reason}"));
    let made = files.iter().filter(|file| file.with_extension("thumbnail.png").exists()).count();
    println!("{made} thumbnails of {} files", files.len());
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = env::temp_dir().join(format!("thumbnails-{}", process::id()));
    fs::create_dir(&dir)?;
    let outcome = make_thumbnails(&dir);
    fs::remove_dir_all(&dir)?;
    outcome
}
