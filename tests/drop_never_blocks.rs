//! Dropping a pool cancels what waits, kills what runs, and never blocks (F24).

mod support;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, TaskErrorKind, TaskFuture, task};
use support::{Program, eventually, tagged_pids};

const DROP: Duration = Duration::from_secs(1);
const ORPHAN: Duration = Duration::from_secs(2);

#[task]
fn spin() {
    loop {
        std::hint::spin_loop()
    }
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

/// A pool with two tasks that never end, and ten that wait.
fn busy_pool() -> (ProcessPoolExecutor, Vec<TaskFuture<()>>) {
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
    let futures: Vec<_> = (0..12).map(|_| pool.submit(spin, ())).collect();
    eventually("two tasks run", Duration::from_secs(5), || {
        futures.iter().filter(|f| f.running()).count() == 2
    });
    (pool, futures)
}

fn drop_timed(pool: ProcessPoolExecutor) {
    let began = Instant::now();
    drop(pool);
    assert!(began.elapsed() < DROP, "the drop took {:?}", began.elapsed());
    println!("T_drop {:?}", began.elapsed());
}

fn assert_all_cancelled(futures: Vec<TaskFuture<()>>) {
    let mut running = 0;
    for future in futures {
        match future.result().expect_err("no value").kind() {
            TaskErrorKind::Cancelled { was_running, .. } => running += usize::from(*was_running),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(running, 2);
    eventually("all workers are gone", ORPHAN, || tagged_pids().is_empty());
}

support::isolated! {
    fn on_a_plain_thread() {
        let (pool, futures) = busy_pool();
        drop_timed(pool);
        assert_all_cancelled(futures);
    }

    fn on_a_tokio_runtime_of_one_thread() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (pool, futures) = busy_pool();
            drop_timed(pool);
            assert_all_cancelled(futures);
        });
    }

    fn on_a_tokio_runtime_of_many_threads() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
        runtime.block_on(async {
            let dropped = tokio::spawn(async {
                let (pool, futures) = busy_pool();
                drop_timed(pool);
                futures
            });
            assert_all_cancelled(dropped.await.expect("no panic"));
        });
    }

    fn in_a_future_without_a_runtime() {
        futures::executor::block_on(async {
            let (pool, futures) = busy_pool();
            drop_timed(pool);
            for future in futures {
                assert!(future.await.expect_err("no value").is_cancelled());
            }
        });
    }

    fn while_unwinding() {
        let caught = std::thread::spawn(|| {
            let (_pool, _futures) = busy_pool();
            panic!("on purpose");
        });
        assert!(caught.join().is_err());
        eventually("all workers are gone", ORPHAN, || tagged_pids().is_empty());
    }

    fn the_last_handle_decides() {
        let (pool, futures) = busy_pool();
        let other = pool.clone();
        drop(pool);
        assert_eq!(other.worker_pids().len(), 2);
        assert!(!futures[0].done());
        drop_timed(other);
        assert_all_cancelled(futures);
    }

    fn a_pool_that_was_shut_down_without_waiting_still_finishes() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let futures: Vec<_> = (0..50).map(|_| pool.submit(own_pid, ())).collect();
        pool.shutdown(false).wait();
        drop(pool);
        for future in futures {
            future.result().expect("a value");
        }
        eventually("the worker is gone", ORPHAN, || tagged_pids().is_empty());
    }
}

static POOL: OnceLock<ProcessPoolExecutor> = OnceLock::new();

support::program! {
    fn main_returns_with_a_busy_pool_in_a_static() -> i32 {
        let (pool, futures) = busy_pool();
        POOL.set(pool).expect("the first");
        std::mem::forget(futures);
        println!("ready");
        7
    }
}

support::program! {
    fn main_returns_with_a_forgotten_busy_pool() -> i32 {
        std::mem::forget(busy_pool());
        println!("ready");
        7
    }
}

support::isolated! {
    fn a_pool_in_a_static_ends_with_its_program_and_leaves_the_exit_code_alone() {
        ends_with_code_seven("main_returns_with_a_busy_pool_in_a_static");
    }

    fn a_forgotten_pool_ends_with_its_program_and_leaves_the_exit_code_alone() {
        ends_with_code_seven("main_returns_with_a_forgotten_busy_pool");
    }
}

fn ends_with_code_seven(name: &str) {
    let mut program = Program::named(name).spawn();
    assert_eq!(program.line(), "ready");
    let status = program.wait(Duration::from_secs(5));
    assert_eq!(status.code(), Some(7));
    let began = Instant::now();
    eventually("all workers are gone", ORPHAN, || tagged_pids().is_empty());
    println!("T_orphan {:?}", began.elapsed());
}
