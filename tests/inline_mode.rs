//! An inline pool runs the same tasks on threads of the program: the same outcomes, no process, and nothing left.

mod support;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use procpool::{
    ExitCause, OnCancel, ProcessPoolExecutor, Retry, StartError, TaskErrorKind, TaskOptions, WorkerEvent,
    task,
};
use support::{Program, eventually, procfs, tagged_pids};

const LONG: Duration = Duration::from_secs(20);

#[task]
fn double(n: u32) -> u32 {
    2 * n
}

#[task]
fn process() -> u32 {
    std::process::id()
}

#[task]
fn thread_name() -> Option<String> {
    std::thread::current().name().map(str::to_owned)
}

#[task]
fn give_up(text: &str) {
    panic!("{text}")
}

/// The number of calls so far.
static CALLS: AtomicU32 = AtomicU32::new(0);

#[task]
fn count() -> u32 {
    CALLS.fetch_add(1, Ordering::Relaxed) + 1
}

#[task]
fn fail_at_first() -> Result<u32, String> {
    match procpool::context().attempt() {
        1 => Err("not yet".to_owned()),
        attempt => Ok(attempt),
    }
}

#[task]
fn until_cancelled() -> bool {
    futures::executor::block_on(procpool::context().cancelled());
    procpool::context().is_cancelled()
}

/// Where `blocked` takes what ends it: it does not look at its context.
static GATE: Mutex<Option<Receiver<()>>> = Mutex::new(None);

fn gate() -> Sender<()> {
    let (sender, receiver) = mpsc::channel();
    *GATE.lock().expect("the gate") = Some(receiver);
    sender
}

#[task]
fn blocked() {
    let gate = GATE.lock().expect("the gate").take().expect("a gate");
    let _ = gate.recv();
}

#[task]
fn place_and_depth() -> (usize, u32) {
    (procpool::context().worker_index(), procpool::context().depth())
}

#[task]
fn nest() -> Result<u32, String> {
    let pool = ProcessPoolExecutor::builder().max_workers(1).inline(true).build();
    let pool = pool.map_err(|error| error.to_string())?;
    pool.submit(nest, ()).result().map_err(|error| error.to_string())?.map(|depth| depth + 1)
}

static PREPARED: OnceLock<ThreadId> = OnceLock::new();

#[task]
fn prepare() {
    PREPARED.get_or_init(|| std::thread::current().id());
}

fn inline() -> procpool::Builder {
    ProcessPoolExecutor::builder().max_workers(2).inline(true)
}

/// Makes what is made once per process, the timer thread for example.
fn warmed_up() {
    support::warmed_up(|| {
        let pool = inline().build().expect("a pool");
        pool.submit(double, 1).result().expect("a value");
        pool.shutdown(true).wait();
    });
}

support::isolated! {
    fn tasks_run_on_threads_of_this_program_and_no_process_is_started() {
        warmed_up();
        let pool = inline().build().expect("a pool");
        assert_eq!(pool.submit(process, ()).result().expect("a value"), std::process::id());
        let name = pool.submit(thread_name, ()).result().expect("a value").expect("a name");
        assert!(name.starts_with("procpool:"), "{name}");
        let doubled = pool.map(double, 0..100).into_iter().collect::<Result<Vec<_>, _>>().expect("values");
        assert_eq!(doubled, (0..100).map(|n| 2 * n).collect::<Vec<_>>());
        assert!(pool.worker_pids().is_empty());
        assert!(tagged_pids().is_empty());
        pool.shutdown(true).wait();
    }

    fn a_panic_is_the_error_of_its_task_with_its_place_and_the_thread_goes_on() {
        warmed_up();
        let pool = inline().max_workers(1).build().expect("a pool");
        let error = pool.submit(give_up, "no more").result().expect_err("a panic");
        let panic = error.panic().expect("what it said");
        assert_eq!(panic.message(), "no more");
        assert!(panic.location().expect("a place").contains("inline_mode.rs"));
        assert_eq!(pool.submit(double, 2).result().expect("the pool goes on"), 4);
        pool.shutdown(true).wait();
    }

    fn state_is_shared_and_retries_and_contexts_work() {
        warmed_up();
        let pool = inline().build().expect("a pool");
        let counts = (0..10).map(|_| pool.submit(count, ()).result().expect("a value")).collect::<Vec<_>>();
        assert_eq!(counts, (1..=10).collect::<Vec<_>>());
        assert_eq!(CALLS.load(Ordering::Relaxed), 10);
        let patient = pool.with(TaskOptions::new().retry(Retry::new(1).on_error(true)));
        assert_eq!(patient.submit(fail_at_first, ()).result().expect("an outcome"), Ok(2));
        let (index, depth) = pool.submit(place_and_depth, ()).result().expect("a value");
        assert!(index < 2 && depth == 1);
        assert_eq!(procpool::context().depth(), 0);
        pool.shutdown(true).wait();
    }

    fn a_task_that_looks_is_stopped_by_a_cancel_a_deadline_and_a_kill() {
        warmed_up();
        let pool = inline().max_workers(1).build().expect("a pool");
        let cooperative = pool.with(TaskOptions::new().on_cancel(OnCancel::Cooperate));
        let task = cooperative.submit(until_cancelled, ());
        eventually("it runs", LONG, || task.running());
        task.cancel();
        assert!(task.result().expect("its own result"), "it saw that it was cancelled");
        let hurried = pool.with(TaskOptions::new().timeout(Duration::from_millis(20)));
        assert!(hurried.submit(until_cancelled, ()).result().expect_err("late").is_timeout());
        let killed = pool.submit(until_cancelled, ());
        eventually("it runs", LONG, || killed.running());
        killed.kill();
        assert!(matches!(killed.result().expect_err("killed").kind(), TaskErrorKind::Cancelled { .. }));
        assert_eq!(pool.submit(double, 4).result().expect("the pool goes on"), 8);
        pool.shutdown(true).wait();
    }

    fn a_task_that_does_not_look_is_given_up_and_holds_up_nobody() {
        warmed_up();
        let (told, events) = mpsc::channel();
        let told = Mutex::new(told);
        let observer = move |event: &WorkerEvent| {
            if let WorkerEvent::Ended { cause, .. } = event {
                let _ = told.lock().expect("the channel").send(*cause);
            }
        };
        let pool = inline().max_workers(1).on_worker_event(observer).build().expect("a pool");
        let open = gate();
        let hurried = pool.with(TaskOptions::new().timeout(Duration::from_millis(20)));
        let late = hurried.submit(blocked, ());
        let next = pool.submit(double, 4);
        assert!(late.result().expect_err("late").is_timeout());
        assert_eq!(next.result().expect("another thread takes the place"), 8);
        assert_eq!(events.recv_timeout(LONG).expect("an event"), ExitCause::Abandoned);
        drop(hurried);
        pool.shutdown(true).wait();
        // The census finds the thread gone, now that its task can end.
        drop(open);
    }

    fn workers_are_replaced_and_resized_like_processes() {
        warmed_up();
        let pool = inline().max_workers(1).max_tasks_per_child(2).initializer(prepare, ()).build().expect("a pool");
        for n in 0..20 {
            assert_eq!(pool.submit(double, n).result().expect("a value"), 2 * n);
        }
        assert!(PREPARED.get().is_some_and(|thread| *thread != std::thread::current().id()));
        pool.resize(3).expect("a size");
        pool.warm_up().wait().expect("three threads");
        let workers = || procfs::threads(std::process::id()).iter().filter(|(_, name)| name.starts_with("procpool:")).count();
        eventually("three threads", LONG, || workers() == 3);
        pool.resize(1).expect("a size");
        eventually("one thread", LONG, || workers() == 1);
        pool.shutdown(true).wait();
    }

    fn pools_nest_as_deep_as_processes_do() {
        warmed_up();
        let pool = inline().max_workers(1).build().expect("a pool");
        let error = pool.submit(nest, ()).result().expect("an outcome").expect_err("it is too deep in the end");
        assert!(error.contains("nested"), "{error}");
        pool.shutdown(true).wait();
    }

    fn a_dropped_pool_leaves_no_thread() {
        warmed_up();
        let pool = inline().build().expect("a pool");
        let tasks = (0..100).map(|n| pool.submit(double, n)).collect::<Vec<_>>();
        let waiting = pool.submit(until_cancelled, ());
        drop(pool);
        for (n, task) in (0..).zip(tasks) {
            match task.result() {
                Ok(doubled) => assert_eq!(doubled, 2 * n),
                Err(error) => assert!(matches!(error.kind(), TaskErrorKind::Cancelled { .. } | TaskErrorKind::PoolClosed), "{error}"),
            }
        }
        let _ = waiting.result().expect_err("nobody waits for it");
    }

    fn what_needs_a_process_is_refused() {
        let error = inline().limits(procpool::Limits::new().nice(5)).build().expect_err("limits of a thread");
        assert!(matches!(error, StartError::Invalid { .. }) && error.to_string().contains("limits"), "{error}");
        let error = inline().stderr(procpool::WorkerStdio::Null).build().expect_err("the program's own output");
        assert!(matches!(error, StartError::Invalid { .. }) && error.to_string().contains("output"), "{error}");
    }

    fn the_environment_makes_pools_inline_that_do_not_say_what_they_are() {
        let mut program = Program::named("says_where_its_tasks_run").env("PROCPOOL_INLINE", "1").spawn();
        assert_eq!((program.line(), program.line()), ("inline".to_owned(), "process".to_owned()));
        assert!(program.wait(LONG).success());
        let mut program = Program::named("says_where_its_tasks_run").env("PROCPOOL_INLINE", "maybe").spawn();
        assert!(program.line().contains("PROCPOOL_INLINE is \"maybe\": it must be 1 or 0"));
    }

    fn callbacks_and_wakers_are_told_as_ever() {
        warmed_up();
        let pool = inline().build().expect("a pool");
        let sum = Arc::new(AtomicU32::new(0));
        let tasks = (1..=10).map(|n| {
            let sum = Arc::clone(&sum);
            let task = pool.submit(double, n);
            task.add_done_callback(move |outcome| {
                sum.fetch_add(u32::from(outcome.is_ok()), Ordering::Relaxed);
            });
            task
        });
        let sums = futures::executor::block_on(futures::future::try_join_all(tasks)).expect("values");
        assert_eq!(sums.iter().sum::<u32>(), 110);
        pool.shutdown(true).wait();
        assert_eq!(sum.load(Ordering::Relaxed), 10);
    }
}

support::program! {
    fn says_where_its_tasks_run() -> Result<(), StartError> {
        let told = |builder: procpool::Builder| -> Result<&str, StartError> {
            let pool = builder.build()?;
            let here = pool.submit(process, ()).result().expect("a value") == std::process::id();
            Ok(if here { "inline" } else { "process" })
        };
        match told(ProcessPoolExecutor::builder()) {
            Ok(place) => println!("{place}"),
            Err(error) => println!("{error}"),
        }
        println!("{}", told(ProcessPoolExecutor::builder().inline(false))?);
        Ok(())
    }
}
