//! Decodes, blurs and writes pictures in parallel; whichever is done first is reported first.
//!
//! `cargo run --release --example blur_images [-- FILE.png …]` writes `FILE.blurred.png` beside each file;
//! without files it makes some in a directory for temporary files, and removes them at the end.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, process};

use image::{ImageReader, Rgb, RgbImage, imageops};
use indicatif::ProgressBar;
use procpool::{ProcessPoolExecutor, task};

/// Untrusted files and native decoders are what worker processes are good for: the worst that a picture can
/// do is to take its worker down.
#[task]
fn blur(source: &Path, sigma: f32) -> Result<String, String> {
    let named = |what: &dyn std::fmt::Display| format!("{}: {what}", source.display());
    let reader = ImageReader::open(source).map_err(|error| named(&error))?;
    let picture = reader.decode().map_err(|error| named(&error))?.into_rgb8();
    let target = source.with_extension("blurred.png");
    imageops::blur(&picture, sigma).save(&target).map_err(|error| named(&error))?;
    let (width, height) = picture.dimensions();
    Ok(format!("{} ({width} × {height}, by process {})", target.display(), process::id()))
}

/// A chequered picture, with squares that are larger from one to the next.
fn make_picture(path: &Path, number: u32) -> Result<(), image::ImageError> {
    let square = 8 + 4 * number;
    RgbImage::from_fn(320, 200, |x, y| {
        let light = (x / square + y / square).is_multiple_of(2);
        if light { Rgb([240, 200, 80]) } else { Rgb([20, 40, (x * 255 / 320) as u8]) }
    })
    .save(path)
}

fn blur_all(files: &[PathBuf]) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let pool = ProcessPoolExecutor::new()?;
    let bar = ProgressBar::new(files.len() as u64);
    let mut failed = 0;
    for outcome in pool.map(blur, files.iter().map(|file| (file.as_path(), 4.0))).unordered() {
        // Both kinds of failure concern one picture: what the task says, and that it could not say anything.
        match outcome.map_err(|error| error.to_string()).flatten() {
            Ok(done) => bar.suspend(|| println!("{done}")),
            Err(reason) => {
                failed += 1;
                bar.suspend(|| eprintln!("failed: {reason}"));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!("{} of {} pictures blurred", files.len() - failed, files.len());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let files: Vec<_> = env::args_os().skip(1).map(PathBuf::from).collect();
    if !files.is_empty() {
        return blur_all(&files);
    }
    let dir = env::temp_dir().join(format!("blur-images-{}", process::id()));
    fs::create_dir(&dir)?;
    let files: Vec<_> = (0..12).map(|number| dir.join(format!("squares-{number}.png"))).collect();
    let made = (0..).zip(&files).try_for_each(|(number, file)| make_picture(file, number));
    let outcome = made.map_err(Into::into).and_then(|()| blur_all(&files));
    fs::remove_dir_all(&dir)?;
    outcome
}
