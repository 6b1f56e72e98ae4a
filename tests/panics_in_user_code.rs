//! Wakers, callbacks, observers and values that panic on the pool's own threads cost nobody but themselves (F38).

mod support;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use procpool::{ProcessPoolExecutor, StartError, TaskErrorKind, TaskFuture, task};
use serde::{Deserialize, Deserializer, Serialize};
use support::{eventually, procfs};

const SOON: Duration = Duration::from_secs(10);

/// A value that does not survive its end.
#[derive(Debug, Serialize, Deserialize)]
struct Bomb(u64);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bomb in a drop");
    }
}

/// A value that survives its end only in the process in which it was made.
#[derive(Debug, Serialize, Deserialize)]
struct Homesick(u32);

impl Drop for Homesick {
    fn drop(&mut self) {
        assert_eq!(self.0, std::process::id(), "far from home");
    }
}

/// A value that can be made and sent, and not be read.
#[derive(Debug, Serialize)]
struct Unreadable(u64);

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Unreadable, D::Error> {
        panic!("it cannot be read")
    }
}

#[task]
fn double(n: u64) -> u64 {
    2 * n
}

#[task]
fn nap(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

#[task]
fn make_bomb(n: u64) -> Bomb {
    Bomb(n)
}

#[task]
fn take_bomb(bomb: Bomb) -> u64 {
    bomb.0
}

#[task]
fn take_homesick(one: Homesick) -> u32 {
    one.0
}

#[task]
fn make_unreadable(n: u64) -> Unreadable {
    Unreadable(n)
}

#[task]
fn refuse_unreadably() -> Result<(), Refused> {
    Err(Refused)
}

/// An initializer's error that cannot be read by the pool's thread.
#[derive(Serialize)]
struct Refused;

impl<'de> Deserialize<'de> for Refused {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Refused, D::Error> {
        panic!("the refusal cannot be read")
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

/// A waker that counts and then panics.
#[derive(Default)]
struct Exploding(AtomicUsize);

impl Wake for Exploding {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("a waker that panics");
    }
}

impl Exploding {
    fn woken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: &Arc<Exploding>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(waker))))
}

fn pool() -> ProcessPoolExecutor {
    let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
    pool.warm_up().wait().expect("workers");
    pool
}

/// The pool's thread is there, no lock is stuck, and work gets done to the end of the pool.
fn assert_unharmed(pool: ProcessPoolExecutor) {
    // A thread that the pool's starts goes by its name at first.
    eventually("the pool has its one thread", SOON, || {
        let threads = procfs::threads(std::process::id());
        threads.iter().filter(|(_, name)| name == "procpool").count() == 1
    });
    let results: Vec<_> = (0..50).map(|n| pool.submit(double, n)).collect::<Vec<_>>();
    for (n, result) in (0..).zip(results) {
        assert_eq!(result.result().expect("a value"), 2 * n);
    }
    eventually("nothing is pending", SOON, || pool.pending() == 0);
    assert_eq!(pool.max_workers(), 2);
    assert!(pool.shutdown(true).wait().leaked.is_empty());
}

/// What each of the callbacks around another one was told.
fn between_callbacks<T: serde::de::DeserializeOwned + 'static>(
    future: &TaskFuture<T>,
    callback: impl FnOnce(&procpool::Done<'_, T>) + Send + 'static,
) -> Receiver<u32> {
    let (before, told) = channel();
    let after = before.clone();
    future.add_done_callback(move |_| before.send(1).expect("a receiver"));
    future.add_done_callback(callback);
    future.add_done_callback(move |_| after.send(2).expect("a receiver"));
    told
}

#[track_caller]
fn assert_both_told(told: &Receiver<u32>) {
    assert_eq!((told.recv_timeout(SOON), told.recv_timeout(SOON)), (Ok(1), Ok(2)));
}

support::isolated! {
    timeout = 60;

    fn a_waker_that_panics_is_its_own_affair() {
        let pool = pool();
        let waker = Arc::new(Exploding::default());
        let mut expected = 0;
        for n in 0..100 {
            let mut future = pool.submit(nap, 2);
            // If this thread was held up, it is done already.
            expected += usize::from(!future.done() && poll(Pin::new(&mut future), &waker).is_pending());
            let neighbour = pool.submit(double, n);
            assert_eq!(neighbour.result().expect("the neighbour"), 2 * n);
            eventually("it is done, and woken if it was waited for", SOON, || future.done() && waker.woken() == expected);
        }
        assert!(expected > 20, "only {expected} were waited for");
        // Who cancels wakes on his own thread, and is not hit either.
        let busy = [pool.submit(nap, 300), pool.submit(nap, 300)];
        let mut waiting = pool.submit(nap, 1);
        assert!(poll(Pin::new(&mut waiting), &waker).is_pending());
        assert!(waiting.cancel());
        assert_eq!(waker.woken(), expected + 1);
        assert!(waiting.result().expect_err("cancelled").is_cancelled());
        drop(busy);
        assert_unharmed(pool);
    }

    fn so_are_those_of_who_waits_for_room_for_workers_or_for_the_end() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).max_pending(3).build().expect("a pool");
        let waker = Arc::new(Exploding::default());
        let mut warm_up = pool.warm_up();
        let before = usize::from(poll(Pin::new(&mut warm_up), &waker).is_pending());
        let naps: Vec<_> = (0..3).map(|_| pool.submit(nap, 300)).collect();
        // Several who panic, and behind them one who does not: no one's turn is lost.
        let mut reserves: Vec<_> = (0..3).map(|_| pool.reserve()).collect();
        for reserve in &mut reserves {
            assert!(poll(Pin::new(reserve), &waker).is_pending());
        }
        for busy in naps {
            busy.result().expect("a value");
        }
        eventually("the first of them is woken", SOON, || waker.woken() > before);
        for reserve in reserves {
            assert_eq!(reserve.wait().expect("there is room").submit(double, 4).result().expect("a value"), 8);
        }
        let patient = (0..3).map(|_| pool.reserve().wait().expect("room")).collect::<Vec<_>>();
        assert!(pool.try_reserve().is_err());
        drop(patient);
        assert_eq!(pool.reserve().wait().expect("room again").submit(double, 5).result().expect("a value"), 10);
        let woken = waker.woken();
        let busy = pool.submit(nap, 300);
        let mut end = pool.shutdown(true);
        assert!(poll(Pin::new(&mut end), &waker).is_pending());
        eventually("the end is told", SOON, || waker.woken() > woken);
        busy.result().expect("a value");
        assert!(end.wait().leaked.is_empty());
    }

    fn a_panic_in_a_callback_stops_neither_its_neighbours_nor_the_pool() {
        let pool = pool();
        let panics: [fn(); 3] = [|| panic!("a callback that panics"), || panic_any(Bomb(1)), || drop(Bomb(2))];
        for panic in panics {
            let future = pool.submit(nap, 50);
            let told = between_callbacks(&future, move |_| panic());
            let neighbour = pool.submit(double, 1);
            assert_both_told(&told);
            assert_eq!(future.result().expect("a value"), 50);
            assert_eq!(neighbour.result().expect("the neighbour"), 2);
            // One that is done calls back here, and the panic stays inside as well.
            let done = pool.submit(double, 3);
            eventually("it is done", SOON, || done.done());
            done.add_done_callback(move |_| panic());
            assert_eq!(done.result().expect("a value"), 6);
        }
        assert_unharmed(pool);
    }

    fn what_a_callback_owns_may_panic_in_its_drop() {
        let pool = pool();
        let bomb = Bomb(1);
        let future = pool.submit(nap, 50);
        let told = between_callbacks(&future, move |_| {
            let bomb = bomb;
            assert_eq!(bomb.0, 1);
        });
        assert_both_told(&told);
        assert_eq!(future.result().expect("a value"), 50);
        // A callback whose future is dropped is called all the same, and dropped on the pool's thread.
        let (sender, receiver) = channel();
        let bomb = Bomb(2);
        let dropped = pool.submit(nap, 300);
        eventually("it runs, or ran before this thread could look", SOON, || dropped.running() || dropped.done());
        dropped.add_done_callback(move |_| {
            let bomb = bomb;
            sender.send(bomb.0).expect("a receiver");
        });
        drop(dropped);
        assert_eq!(receiver.recv_timeout(SOON), Ok(2));
        assert_unharmed(pool);
    }

    fn a_result_may_panic_when_it_is_read_or_dropped_in_a_callback() {
        let pool = pool();
        let (sender, told) = channel();
        let future = pool.submit(make_unreadable, 1);
        future.add_done_callback(move |done| sender.send(done.result().map(drop)).expect("a receiver"));
        let error = told.recv_timeout(SOON).expect("the callback ran").expect_err("unreadable");
        assert!(matches!(error.kind(), TaskErrorKind::Codec { message, .. } if message.contains("cannot be read")), "{error}");
        drop(future);

        // The worker loses its copy by a panic as well, so the value is told as one that could not be sent.
        let future = pool.submit(make_bomb, 1);
        let error = future.result().expect_err("its end panics in the worker");
        assert!(matches!(error.kind(), TaskErrorKind::Codec { message, .. } if message.contains("a bomb in a drop")), "{error}");
        assert_unharmed(pool);
    }

    fn an_argument_may_panic_in_its_drop_on_either_side() {
        let pool = pool();
        // Here it is the caller's own panic; there the task's.
        let submits: [fn(&ProcessPoolExecutor); 3] = [
            |pool| drop(pool.submit(take_bomb, Bomb(1))),
            |pool| drop(pool.try_submit(take_bomb, Bomb(1))),
            |pool| drop(pool.try_reserve().expect("room").submit(take_bomb, Bomb(1))),
        ];
        for submit in submits {
            assert!(catch_unwind(AssertUnwindSafe(|| submit(&pool))).is_err(), "the caller's own copy");
        }
        let error = pool.submit(take_homesick, Homesick(std::process::id())).result().expect_err("it panics there");
        assert!(error.panic().expect("a panic").message().contains("far from home"), "{error}");
        assert_unharmed(pool);
    }

    fn an_observer_that_panics_is_told_the_next_event_as_well() {
        let calls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&calls);
        let observed = ProcessPoolExecutor::builder().max_workers(2).on_worker_event(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            panic!("an observer that panics");
        });
        let pool = observed.build().expect("a pool");
        pool.warm_up().wait().expect("workers");
        assert_unharmed(pool);
        assert!(calls.load(Ordering::Relaxed) >= 4, "two began and two ended");
    }

    fn an_initializer_whose_refusal_cannot_be_read_breaks_the_pool_and_says_why() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).initializer(refuse_unreadably, ()).build().expect("a pool");
        let error = pool.submit(double, 1).result().expect_err("no worker");
        match error.kind() {
            TaskErrorKind::PoolBroken(StartError::Initializer { message, .. }) => assert!(message.contains("the refusal cannot be read"), "{message}"),
            other => panic!("{other:?}"),
        }
        pool.shutdown(true).wait();
    }

    fn a_future_is_of_use_after_its_waker_has_panicked() {
        let pool = pool();
        let waker = Arc::new(Exploding::default());
        let mut future = pin!(pool.submit(nap, 300));
        assert!(poll(future.as_mut(), &waker).is_pending());
        eventually("it is woken", SOON, || waker.woken() == 1);
        match poll(future.as_mut(), &waker) {
            Poll::Ready(result) => assert_eq!(result.expect("a value"), 300),
            Poll::Pending => panic!("it was woken"),
        }
        assert_unharmed(pool);
    }
}
