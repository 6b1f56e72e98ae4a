//! CPU time of this process and of its workers.
#![allow(unsafe_code, reason = "the clock of another process has no name in rustix; the use is argued")]

use std::time::Duration;

fn read(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes for the length of the call, and the clock is only a number to the kernel.
    let code = unsafe { libc::clock_gettime(clock, &mut time) };
    (code == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// CPU time, user and system, of all threads that the process has had; zero if it is gone.
pub fn cpu_of_process(pid: u32) -> Duration {
    // The kernel's name for the CPU clock of another process, as `clock_getcpuclockid` makes it.
    read((!(pid as libc::clockid_t) << 3) | 2).unwrap_or_default()
}

/// CPU time of the calling thread.
pub fn cpu_of_thread() -> Duration {
    read(libc::CLOCK_THREAD_CPUTIME_ID).expect("the clock of a thread")
}
