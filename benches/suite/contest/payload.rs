//! Bytes there and back.

use std::time::{Duration, Instant};

use super::work::{Size, micros, percentile};
use super::{Contestant, WORKERS, emit};

/// Samples of one size are taken for about so long.
const PATIENCE: Duration = Duration::from_millis(500);

/// Who needs this long for one size is not asked for the next.
const TOO_SLOW: Duration = Duration::from_millis(600);

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

pub fn bytes<C: Contestant>(size: Size) {
    let mut contestant = C::start(WORKERS);
    contestant.many(100);
    let sizes: &[(&str, usize, usize)] = match size {
        Size::Full => &[
            ("1k", KIB, 200),
            ("64k", 64 * KIB, 100),
            ("1m", MIB, 20),
            ("16m", 16 * MIB, 6),
            ("64m", 64 * MIB, 3),
            ("256m", 256 * MIB, 2),
        ],
        Size::Quick => &[("1k", KIB, 50), ("64k", 64 * KIB, 20), ("1m", MIB, 5), ("16m", 16 * MIB, 2)],
    };
    let mut too_slow = false;
    for &(name, length, times) in sizes {
        if too_slow {
            break;
        }
        // No page is the same as another, so that nothing can be sent once for many.
        let mut bytes: Vec<u8> = (0..length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect();
        let sent = bytes.clone();
        let mut samples = Vec::new();
        // The first one is the warm-up of this size, and is compared byte for byte.
        let first = Instant::now();
        for turn in 0..=times {
            // A slow one is timed less often, but once.
            if turn > 1 && first.elapsed() > PATIENCE {
                break;
            }
            let begun = Instant::now();
            let Some(back) = contestant.echo(bytes) else { return };
            let took = begun.elapsed();
            if turn == 0 {
                assert!(back == sent, "the bytes come back as they went");
            } else {
                assert_eq!((back.len(), back.last()), (sent.len(), sent.last()));
                samples.push(took);
            }
            bytes = back;
        }
        let median = percentile(&mut samples, 0.5);
        too_slow = median > TOO_SLOW;
        if length < MIB {
            emit(&format!("{name}_us"), micros(median));
        } else {
            // Each byte travels twice.
            emit(&format!("{name}_gb_per_s"), 2.0 * length as f64 / median.as_secs_f64() / 1e9);
        }
    }
}
