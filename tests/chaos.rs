//! Chaos: producers, a killer and a clock, at random, and an account that must balance to the last task.
//!
//! The seed decides what is done when, not how the kernel schedules it. Longer runs, as many seconds as you like:
//!
//! ```text
//! PROCPOOL_CHAOS_SECONDS=600 PROCPOOL_CHAOS_SEED=7 cargo test --release --test chaos -- --nocapture
//! ```

#![allow(unsafe_code, reason = "a shared page, and tasks that crash for real")]

mod support;

#[path = "chaos/account.rs"]
mod account;
#[path = "chaos/page.rs"]
mod page;
#[path = "chaos/random.rs"]
mod random;
#[path = "chaos/round.rs"]
mod round;
#[path = "chaos/tasks.rs"]
mod tasks;

use std::time::{Duration, Instant};

use account::Account;
use random::Random;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

support::isolated! {
    timeout = 40000;

    fn whatever_dies_whenever_the_account_balances() {
        let seconds = number("PROCPOOL_CHAOS_SECONDS").unwrap_or(12);
        let seed = number("PROCPOOL_CHAOS_SEED").unwrap_or(1);
        println!("PROCPOOL_CHAOS_SEED={seed} for {seconds} s");
        support::warmed_up(|| drop(round::play(&mut Random::new(seed ^ 0x5eed), Duration::from_millis(500))));
        let mut random = Random::new(seed);
        let mut total = Account::default();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(seconds) {
            let life = Duration::from_millis(800 + random.below(2_500));
            total.add(&round::play(&mut random, life));
        }
        println!("{total}");
        assert!(total.deaths() > 0 && total.accepted > 100, "nothing happened");
        // In a minute there are more, also on a slow machine.
        assert!(seconds < 60 || total.deaths() >= 1_000, "only {} deaths were injected", total.deaths());
        if total.deaths() >= 1_000 {
            // By now everything has happened that can: what is missing is not done any more.
            for kind in ["SIGKILL", "SIGSEGV", "SIGTERM", "SIGSTOP, then SIGKILL", "stopped and continued"] {
                assert!(total.injected.contains_key(kind), "nothing was done to a worker: {kind}");
            }
            for kind in [
                "exit(0)",
                "abort",
                "segmentation fault",
                "stack overflow",
                "impossible allocation",
                "a daemon left, then exit",
                "channel closed",
                "garbage on the channel",
            ] {
                assert!(total.crashes.contains_key(kind), "no task did this to its worker: {kind}");
            }
            for kind in ["value", "error of the task", "panic", "timeout", "cancelled", "lost with its worker"] {
                assert!(total.outcomes.contains_key(kind), "no task ended so: {kind}");
            }
            for kind in ["died", "killed for a timeout", "killed for a cancellation", "recycled", "resized"] {
                assert!(total.ends.contains_key(kind), "no worker ended so: {kind}");
            }
        }
    }
}
