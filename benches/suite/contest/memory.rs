//! What a contestant costs while it does nothing.

use std::fs;
use std::time::Duration;

use super::kin::{Kin, threads_of};
use super::work::Size;
use super::{Contestant, WORKERS, emit};

/// Bytes that no other process shares, of memory of this process.
pub fn private_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kib = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    let lines = text.lines().filter(|line| line.starts_with("Private_"));
    Some(lines.filter_map(kib).sum::<u64>() * 1024)
}

pub fn memory<C: Contestant>(size: Size) {
    let mut contestant = C::start(WORKERS);
    contestant.many(size.of(5_000, 1_000));
    std::thread::sleep(Duration::from_millis(100));
    let kin = Kin::now();
    let mut workers: Vec<u64> = kin.children.iter().filter_map(|&pid| private_bytes(pid)).collect();
    workers.sort_unstable();
    if !workers.is_empty() {
        // All that runs beside the program counts for its workers, trackers and servers too.
        emit("worker_kib", workers.iter().sum::<u64>() as f64 / 1024.0 / WORKERS as f64);
    }
    let own = std::process::id();
    emit("parent_threads", threads_of(own).len() as f64);
    let count = size.of(200_000, 20_000);
    let before = private_bytes(own).expect("an account of memory");
    let mut at_peak = 0;
    if contestant.pend(count, &mut || at_peak = private_bytes(own).expect("an account of memory")).is_some() {
        emit("pending_bytes", at_peak.saturating_sub(before) as f64 / count as f64);
    }
}

/// How often threads of this process and its descendants have gone to sleep and were woken, but for the one that asks.
fn wake_ups(kin: &Kin) -> u64 {
    let own = fs::read_link("/proc/thread-self").expect("a name for this thread");
    let own: u32 = own.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("a number");
    let count = |(pid, thread): (u32, u32)| {
        let status = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let threads = kin.everyone().flat_map(|pid| threads_of(pid).into_iter().map(move |thread| (pid, thread)));
    threads.filter(|&(_, thread)| thread != own).filter_map(count).sum()
}

pub fn idle<C: Contestant>(size: Size) {
    let mut contestant = C::start(WORKERS);
    contestant.many(1_000);
    // Whoever winds down after work has done so by then.
    std::thread::sleep(Duration::from_secs(size.of(2, 1)));
    let kin = Kin::now();
    let seconds = size.of(10, 2);
    let before = wake_ups(&kin);
    std::thread::sleep(Duration::from_secs(seconds));
    let woken = wake_ups(&kin).saturating_sub(before);
    emit("wake_ups_in_10_s", woken as f64 * 10.0 / seconds as f64);
    drop(contestant);
}
