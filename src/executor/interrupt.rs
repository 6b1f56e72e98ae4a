//! Ctrl-C as a bounded shutdown, for those who ask for it.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::scheduler::engine::Engine;
use crate::scheduler::machine::Close;
use crate::sys::{interrupt, process};

use super::ProcessPoolExecutor;

/// A pool that is to end at an interrupt.
struct Watched {
    id: u64,
    engine: Weak<Engine>,
    grace: Duration,
    /// How often it was told to end.
    told: u8,
}

struct Watch {
    pools: Vec<Watched>,
    next: u64,
    /// The thread that waits for interrupts, counted from 1; 0 when there is none. One that finds another number here
    /// ends.
    attendant: u64,
    threads: u64,
    /// Interrupts that have been acted upon.
    heard: u32,
}

static WATCH: Mutex<Watch> =
    Mutex::new(Watch { pools: Vec::new(), next: 0, attendant: 0, threads: 0, heard: 0 });

/// Nothing under this lock calls foreign code.
fn watch() -> MutexGuard<'static, Watch> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps Ctrl-C turned into a shutdown: see
/// [`shutdown_on_ctrl_c`](ProcessPoolExecutor::shutdown_on_ctrl_c). Dropping it gives Ctrl-C back. It does not keep the
/// pool alive.
#[must_use = "dropping this gives Ctrl-C back at once"]
pub struct CtrlC {
    /// `None` where interrupts are ignored.
    id: Option<u64>,
}

impl ProcessPoolExecutor {
    /// Turns Ctrl-C into a bounded shutdown of this pool, as long as the returned guard lives.
    ///
    /// The first Ctrl-C shuts the pool down: it takes no more tasks, and what it has may finish within `grace`; what is
    /// left then is cancelled and killed, as by [`ShutdownOptions::within`](crate::ShutdownOptions::within). The second
    /// kills at once. The third, or one that finds the pool ended, ends the program as if no handler were there. The
    /// futures tell what became of each task; the program goes on and ends as it likes.
    ///
    /// Several pools may have this, and all are told of each Ctrl-C. Handlers that were there before are called as well
    /// (tokio's `ctrl_c` among them), and are back in their place when the last guard is dropped. A program that was
    /// started to ignore interrupts, as shells do in the background, still does. While there are guards a thread,
    /// `procpool-ctrl-c`, waits for interrupts. Without this, procpool never touches a signal handler; the workers are
    /// not reached by Ctrl-C in any case.
    ///
    /// # Errors
    ///
    /// The handler or the thread cannot be had.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::ProcessPoolExecutor;
    ///
    /// let pool = ProcessPoolExecutor::new()?;
    /// let guard = pool.shutdown_on_ctrl_c(Duration::from_secs(10))?;
    /// // submit and await
    /// drop(guard);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shutdown_on_ctrl_c(&self, grace: Duration) -> io::Result<CtrlC> {
        let mut watch = watch();
        if watch.attendant == 0 {
            if !interrupt::install()? {
                return Ok(CtrlC { id: None });
            }
            watch.heard = interrupt::interrupts();
            watch.threads += 1;
            let number = watch.threads;
            let attend = move || attend(number);
            if let Err(error) = thread::Builder::new().name("procpool-ctrl-c".to_owned()).spawn(attend) {
                interrupt::uninstall();
                return Err(error);
            }
            watch.attendant = number;
        }
        watch.next += 1;
        let id = watch.next;
        watch.pools.push(Watched { id, engine: Arc::downgrade(self.engine()), grace, told: 0 });
        Ok(CtrlC { id: Some(id) })
    }
}

impl Drop for CtrlC {
    fn drop(&mut self) {
        let mut watch = watch();
        watch.pools.retain(|watched| Some(watched.id) != self.id);
        if watch.pools.is_empty() && watch.attendant != 0 {
            watch.attendant = 0;
            interrupt::uninstall();
            interrupt::stir();
        }
    }
}

impl fmt::Debug for CtrlC {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CtrlC").field("listens", &self.id.is_some()).finish()
    }
}

/// The life of the thread: until nobody wants it any more.
fn attend(number: u64) {
    process::block_signals();
    loop {
        let seen = interrupt::seen();
        let mut watch = watch();
        if watch.attendant != number {
            return;
        }
        let mut orders = Vec::new();
        while watch.heard != interrupt::interrupts() {
            watch.heard = watch.heard.wrapping_add(1);
            let told = tell_all(&mut watch.pools);
            if told.is_empty() {
                interrupt::die_of_it();
            }
            orders.extend(told);
        }
        drop(watch);
        for (engine, close) in orders {
            engine.close(close);
        }
        interrupt::wait(seen);
    }
}

/// What one more interrupt means for the pools that have not ended.
fn tell_all(pools: &mut [Watched]) -> Vec<(Arc<Engine>, Close)> {
    let mut orders = Vec::new();
    for watched in pools {
        let Some(engine) = watched.engine.upgrade().filter(|engine| !engine.is_terminated()) else {
            continue;
        };
        watched.told += 1;
        match watched.told {
            // A grace beyond all time is none.
            1 => orders
                .push((engine, Close { by: Instant::now().checked_add(watched.grace), ..Close::default() })),
            2 => orders.push((engine, Close { cancel_pending: true, kill: true, by: None })),
            _ => {}
        }
    }
    orders
}
