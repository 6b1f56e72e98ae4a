//! Waiting is cheap: whoever waits for what may come at once looks for it for a moment, and sleeps when that is in vain.

mod support;

use std::time::{Duration, Instant};

use futures::FutureExt;
use procpool::{
    Consumer, Lock, Pipe, ProcessPoolExecutor, Producer, Queue, Receiver, Sender, TaskOptions, task,
};
use rustix::time::{ClockId, clock_gettime};
use support::{eventually, procfs};

/// Far longer than anybody looks, and than a turn costs without any look: that is 0.2 to 0.6 ms in a debug build.
const NAP: Duration = Duration::from_millis(20);
const NAPS: u32 = 50;

/// How long a pool is told to look.
const LOOK: Duration = Duration::from_secs(2);

/// Until a death is told, and until a pool has ended.
const DETECT: Duration = Duration::from_secs(2);
const STOP: Duration = Duration::from_secs(2);

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(20);

/// What waiting may cost of the time that is waited.
const SHARE: f64 = 0.1;

#[task]
fn nap() {
    std::thread::sleep(NAP);
}

#[task]
fn nap_and_put(items: Producer<u32>) {
    for item in 0..NAPS {
        std::thread::sleep(NAP);
        items.put(&item).expect("a consumer");
    }
}

#[task]
fn nap_and_send(mut sender: Sender<u32>) {
    for message in 0..NAPS {
        std::thread::sleep(NAP);
        sender.send(&message).expect("a receiver");
    }
}

#[task]
fn nap_inside(lock: Lock) {
    for _ in 0..NAPS {
        let _guard = lock.lock().expect("a lock");
        std::thread::sleep(NAP);
    }
}

/// How much processor time this process has used.
fn used() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

/// That of its workers, in ticks of 10 ms each.
fn used_by_workers(pool: &ProcessPoolExecutor) -> Duration {
    let ticks = pool.worker_pids().into_iter().filter_map(procfs::cpu_ticks).sum::<u64>();
    Duration::from_millis(10 * ticks)
}

/// Does something that is waiting for the most part. It may use a part of that time, and what so many turns cost anyway.
#[track_caller]
fn assert_cheap(what: &str, pool: &ProcessPoolExecutor, wait: impl FnOnce()) {
    let (began, before) = (Instant::now(), used() + used_by_workers(pool));
    wait();
    let (took, cost) = (began.elapsed(), used() + used_by_workers(pool) - before);
    println!("{what}: {cost:?} of {took:?}");
    assert!(cost < took.mul_f64(SHARE), "{what}: {cost:?} of {took:?}");
}

fn pool() -> ProcessPoolExecutor {
    let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
    pool.warm_up().wait().expect("a worker");
    pool
}

support::isolated! {
    fn who_waits_for_tasks_that_take_their_time_sleeps() {
        let pool = pool();
        assert_cheap("results", &pool, || (0..NAPS).for_each(|_| pool.submit(nap, ()).result().expect("a nap")));
        pool.shutdown(true).wait();
    }

    fn who_awaits_tasks_that_take_their_time_sleeps() {
        let pool = pool();
        assert_cheap("awaited results", &pool, || {
            futures::executor::block_on(async {
                for _ in 0..NAPS {
                    pool.submit(nap, ()).await.expect("a nap");
                }
            });
        });
        pool.shutdown(true).wait();
    }

    fn a_worker_that_gets_a_task_now_and_then_sleeps_between_them() {
        let pool = pool();
        assert_cheap("tasks now and then", &pool, || {
            for _ in 0..NAPS {
                pool.submit(own_pid, ()).result().expect("a value");
                std::thread::sleep(NAP);
            }
        });
        pool.shutdown(true).wait();
    }

    fn who_waits_at_a_queue_or_a_pipe_sleeps() {
        let pool = pool();
        let (producer, items): (Producer<u32>, Consumer<u32>) = Queue::new().expect("a queue").split();
        let done = pool.submit(nap_and_put, producer);
        assert_cheap("items", &pool, || assert_eq!(items.iter().count(), NAPS as usize));
        done.result().expect("a producer");
        let (sender, mut receiver): (Sender<u32>, Receiver<u32>) = Pipe::simplex().expect("a pipe");
        let done = pool.submit(nap_and_send, sender);
        assert_cheap("messages", &pool, || (0..NAPS).for_each(|n| assert_eq!(receiver.recv().expect("a message"), n)));
        done.result().expect("a sender");
        pool.shutdown(true).wait();
    }

    fn who_waits_for_a_lock_sleeps() {
        let pool = pool();
        let lock = Lock::new().expect("a lock");
        let done = pool.submit(nap_inside, lock.clone());
        assert_cheap("a lock", &pool, || {
            while !done.done() {
                drop(lock.lock().expect("a lock"));
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        done.result().expect("naps");
        pool.shutdown(true).wait();
    }

    fn who_is_told_to_look_for_so_long_does_so_and_then_sleeps() {
        let looking = ProcessPoolExecutor::builder().max_workers(1).spin(LOOK);
        let [default, looking] = [pool(), looking.build().expect("a pool")].map(|pool| {
            let worker = pool.submit(own_pid, ()).result().expect("a value");
            // Not the time on a processor: who looks leaves it to others that want it.
            let began = Instant::now();
            eventually("it sleeps", SOON, || procfs::sleeps_in(worker, "futex"));
            let awake = began.elapsed();
            pool.shutdown(true).wait();
            awake
        });
        assert!(looking > LOOK / 2 && default < looking, "{looking:?} and by default {default:?}");
    }

    fn who_looks_for_ever_sees_a_crash_a_time_limit_and_the_end() {
        for spin in [Duration::ZERO, Duration::from_secs(3600)] {
            let pool = ProcessPoolExecutor::builder().max_workers(1).spin(spin).build().expect("a pool");
            let begun = pool.submit(own_pid, ()).result().expect("a value");
            let since = Instant::now();
            assert!(pool.submit(abort, ()).result().expect_err("it died").is_worker_died());
            assert!(since.elapsed() < DETECT, "{spin:?}: {:?}", since.elapsed());
            let next = pool.submit(own_pid, ()).result().expect("a value");
            assert_ne!(begun, next);
            (0..100).for_each(|_| assert_eq!(pool.submit(own_pid, ()).result().expect("a value"), next));
            let since = Instant::now();
            let mut long = pool.submit(sleep, 600);
            assert!((&mut long).now_or_never().is_none(), "{spin:?}");
            assert!(long.result_timeout(NAP).is_err(), "{spin:?}");
            assert!(since.elapsed() < DETECT, "{spin:?}: {:?}", since.elapsed());
            assert!(long.kill(), "{spin:?}");
            let next = pool.submit(own_pid, ()).result().expect("a value");
            // What comes beside the ring, what comes for another, and who is told by somebody else.
            assert_eq!(pool.submit(echo, vec![7; 1 << 20]).result().expect("a value"), [7; 1 << 20]);
            let (first, second) = (pool.submit(own_pid, ()), pool.submit(own_pid, ()));
            assert_eq!((second.result().expect("a value"), first.result().expect("a value")), (next, next));
            let limited = pool.with(TaskOptions::new().timeout(NAP));
            assert!(limited.submit(sleep, 600).result().expect_err("it was stopped").is_timeout(), "{spin:?}");
            let next = pool.submit(own_pid, ()).result().expect("a value");
            let since = Instant::now();
            assert!(pool.shutdown(true).wait().leaked.is_empty());
            assert!(since.elapsed() < STOP, "{spin:?}: {:?}", since.elapsed());
            assert!(!procfs::is_alive(next), "{next} is there");
        }
    }
}

#[task]
fn sleep(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
}

#[task]
fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[task]
fn abort() {
    std::process::abort();
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}
