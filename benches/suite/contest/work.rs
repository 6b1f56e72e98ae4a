//! The tasks and their amounts.

use std::time::{Duration, Instant};

use super::clock::cpu_of_thread;

/// How much of a workload is done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Size {
    /// As the figures are meant.
    Full,
    /// A fraction, to see that all of it works.
    Quick,
}

impl Size {
    /// The size that the driver names.
    pub fn named(name: &str) -> Option<Size> {
        match name {
            "full" => Some(Size::Full),
            "quick" => Some(Size::Quick),
            _ => None,
        }
    }

    /// How long one task after the other is run before it counts: a kernel that has put two busy processes on one
    /// processor finds the other one for them within some ten milliseconds.
    pub fn warm_up(self) -> Duration {
        Duration::from_millis(self.of(100, 10))
    }

    /// One of two amounts.
    pub fn of(self, full: u64, quick: u64) -> u64 {
        match self {
            Size::Full => full,
            Size::Quick => quick,
        }
    }
}

/// What `count` tasks `n -> n + 1` over `0..count` give together.
pub fn expected_sum(count: u64) -> u64 {
    count * (count + 1) / 2
}

/// Uses so much CPU time.
pub fn burn(time: Duration) {
    let until = cpu_of_thread() + time;
    while cpu_of_thread() < until {}
}

/// Lasts so long by the clock on the wall: sleeps at first, since a machine has few CPUs, and spins at the end, since a
/// sleep is not exact.
pub fn last(time: Duration) {
    let until = Instant::now() + time;
    std::thread::sleep(time.saturating_sub(Duration::from_micros(200)));
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// Kills this process, as the kernel does when memory is short.
#[allow(unsafe_code, reason = "the peers do without rustix; the use is argued")]
pub fn die() -> ! {
    // SAFETY: sending a signal touches no memory of this program.
    unsafe { libc::kill(std::process::id() as i32, libc::SIGKILL) };
    unreachable!("a killed process does not go on")
}

/// The value that a part of sorted samples does not exceed.
pub fn percentile(samples: &mut [Duration], part: f64) -> Duration {
    samples.sort_unstable();
    samples[((samples.len() - 1) as f64 * part).round() as usize]
}

/// Microseconds.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
